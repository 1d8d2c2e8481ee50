"""What runs with what, found out by running it: one tiny round of every combination.

``python -m recbole_attack.capabilities > docs/capabilities.md`` writes the table anew.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

from recbole_attack.attack import ATTACKS, BACKDOORS, LEVELS, PROFILES
from recbole_attack.config import AttackConfig
from recbole_attack.config.knowledge import knowledge_levels
from recbole_attack.config.victims import check_victim
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, PRE_AGGREGATORS
from recbole_attack.experiment import prepare, prepare_training
from recbole_attack.federated.rounds import BACKENDS, round_path
from recbole_attack.model import HOSTS, MODELS, NEEDS, RECBOLE_MODELS
from recbole_attack.report.words import markdown
from recbole_attack.stages import PLATFORMS
from recbole_attack.utils.errors import ConfigError

_PATHS = {"summed": "one pass", "layers": "by layer", "vmap": "vmap", "loop": "loop"}
_USERS, _ITEMS, _LENGTH = 6, 12, 5
_SETTING = {
    "dataset": "round",
    "data_path": "",
    "scenario": "federated",
    "epochs": 1,
    "clients_per_round": 2 * _USERS,
    "malicious_ratio": 0.2,
    "MAX_ITEM_LIST_LENGTH": _LENGTH,
    "metrics": ["Hit"],
    "topk": 5,
    "valid_metric": "Hit@5",
    "show_progress": False,
}
_HEAD = """\
# What runs with what

Made by `python -m recbole_attack.capabilities`, which trains one tiny round of every model, backend, attack and
aggregator, a central epoch of every model, every attack on a pre-trained one under every platform, and an epoch of
RecBole's own models, on the log as it is and with fake users in it.

How the updates of honest clients are computed (`--backend=vectorised`, one local step):

- **one pass**: one backward pass for all clients; no client's own update has to exist.
- **by layer**: every client's own gradient out of one batched backward pass.
- **vmap**: every client's own gradient by `torch.func.vmap`; with several local steps, by layer becomes this, or a loop
  for GRU4Rec.
- **loop**: one client after the other, as `--backend=loop` does for every model and rule.

In one pass, malicious clients are computed together as well, otherwise one after the other.
"""


_LEVELS = fill(f"Attackers know, besides their own clients: {'; '.join(map(', '.join, LEVELS.items()))}.", 120)
_REFUSED = "Prompts are made for SASRec; what replaces next items needs a model that predicts the next one."
_BASELINES = """\
## RecBole's own models as baselines

With `--scenario=recbole`, RecBole's own trainer trains any of these on the same split, targets and metrics, clean and,
with an attack of {profiles}, on a log with fake users.
"""
_OF_FEW_ITEMS: dict[str, dict[str, float]] = {
    **{name: {"reranker_CAN_NUM": 3} for name in ("GRU4RecCPR", "SASRecCPR")},
    "BERT4Rec": {"mask_ratio": 0.9},  # RecBole divides by the number of masks of a batch, which may have none
}
"""What the tiny dataset is too small for otherwise."""


_PRETRAINED = {
    "scenario": "pretrain",
    "platform_users": "random:0.5",
    "compare_clean": False,
    "prompt_fields": ["gender"],
}


class Combination(NamedTuple):
    """One federated round."""

    model: str
    backend: str
    attack: str
    aggregator: str


def combinations(models: Sequence[str]) -> list[Combination]:
    """Every round there is of these models."""
    return [Combination(*names) for names in product(models, BACKENDS, ATTACKS, AGGREGATORS)]


def refusals() -> dict[str, str]:
    """Why those of RecBole's models that cannot be attacked cannot, by name."""
    found = {}
    for name in sorted(HOSTS.keys() - MODELS.keys()):
        try:
            _trainer(model=HOSTS[name], attack="none")
        except ConfigError as error:
            # What follows a second colon is the words of a foreign error, which change with its library.
            found[name] = str(error).split(": ")[1]
    return found


def failure(**choices: Any) -> str | None:
    """Train one tiny epoch; why it fails, ``None`` if it does not.

    Args:
        choices: Parameters, the model's name among them.
    """
    try:
        trainer, train_data = _trainer(**choices)
        trainer.fit(train_data, verbose=False, saved=False)
    except Exception as error:  # whatever stops a combination is what the table is to say
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def baseline_failure(model: str, attack: str = "ra") -> str | None:
    """Train one tiny epoch of a model of RecBole's, clean and attacked, and test it; why it fails, else ``None``.

    Args:
        model: A name in :data:`~recbole_attack.model.RECBOLE_MODELS`.
        attack: A name in :data:`~recbole_attack.attack.PROFILES`.
    """
    few = {"scenario": "recbole", "attack": attack, "train_batch_size": 8, **_OF_FEW_ITEMS.get(model, {})}
    try:
        for name, run in prepare(AttackConfig(model, config_dict={**_SETTING, **few})).arms().items():
            run(Path(f"{model}-{name}"), saved=False, verbose=False)
    except Exception as error:  # as in failure
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


class Shipment(NamedTuple):
    """A model that a provider trained and a platform uses."""

    model: str
    attack: str
    platform: str


def shipments(models: Sequence[str]) -> list[Shipment]:
    """Every way to attack and to use a pre-trained one of these models."""
    return [Shipment(*names) for names in product(models, BACKDOORS, PLATFORMS)]


def shipment_failure(shipment: Shipment) -> str | None:
    """Train every stage of it for one tiny epoch; why it fails, ``None`` if it does not or is refused."""
    if _is_refused(shipment):
        return None
    try:
        config = AttackConfig(config_dict={**_SETTING, **_parameters(shipment)})
        for name, run in prepare(config).arms().items():
            run(Path("-".join((*shipment, name))), saved=False, verbose=False)
    except Exception as error:  # as in failure
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def _parameters(shipment: Shipment) -> dict[str, Any]:
    any_loss = next(iter(MODELS[shipment.model].loss_types))
    return {**_PRETRAINED, "loss_type": any_loss, "train_rows": "users", **shipment._asdict()}


def _is_refused(shipment: Shipment) -> bool:
    try:
        check_victim(MODELS[shipment.model], _parameters(shipment))
    except ConfigError:
        return True
    return False


def document(refused: Mapping[str, str], failures: Mapping[Any, str | None]) -> str:
    """The text of ``docs/capabilities.md``.

    Args:
        refused: See :func:`refusals`.
        failures: Why a :class:`Combination`, a :class:`Shipment`, a (model, "central"), a (model, "recbole") or a
            (model, client defence) fails; those that are not named or have no reason run.
    """
    models = {name: _trainer(name, attack="none")[0].model for name in MODELS}
    aggregators = {name: _trainer("SASRec", attack="none", aggregator=name)[0].aggregator for name in AGGREGATORS}
    rules = []
    for rule, aggregator in aggregators.items():
        paths = [_PATHS[round_path(model, aggregator, local_epochs=1)] for model in models.values()]
        rules.append(
            [rule, *(_rule_cell(name, rule, path, failures) for name, path in zip(models, paths, strict=True))]
        )
    levels = knowledge_levels()
    attacks = [
        [name, levels[name] or "", *(_attack_cell(model, name, failures) for model in models)] for name in ATTACKS
    ]
    others = [
        [name, "", *(failures.get((model, name)) or "runs" for model in models)]
        for name in (*(d for d in (*PRE_AGGREGATORS, *CLIENT_DEFENSES) if d != "none"), "central")
    ]
    return "\n".join(
        [
            _HEAD,
            *("## Aggregators", "", markdown(["aggregator", *models], rules), ""),
            *("## Attacks, pre-aggregators, client defences and the central scenario", "", _LEVELS, ""),
            *(markdown(["", "knows", *models], attacks + others), ""),
            *("## Attacks on pre-trained models", "", _REFUSED, ""),
            *(markdown(["attack, platform", *models], _shipped(list(models), failures)), ""),
            *("## Models of RecBole's that are refused", ""),
            markdown(["model", "why"], [[name, reason] for name, reason in refused.items()]),
            "",
            *_baselines(failures),
        ]
    )


def _shipped(models: Sequence[str], failures: Mapping[Any, str | None]) -> list[list[str]]:
    rows = []
    for attack, platform in product(BACKDOORS, PLATFORMS):
        each = [Shipment(model, attack, platform) for model in models]
        rows.append([f"{attack}, {platform}", *(_shipment_cell(shipment, failures) for shipment in each)])
    return rows


def _shipment_cell(shipment: Shipment, failures: Mapping[Any, str | None]) -> str:
    return "refused" if _is_refused(shipment) else failures.get(shipment) or "runs"


def _baselines(failures: Mapping[Any, str | None]) -> list[str]:
    others = {name: f"it needs {need}" for name, need in NEEDS.items()}
    others |= {name: why for name in RECBOLE_MODELS if (why := failures.get((name, "recbole")))}
    running = ", ".join(sorted(RECBOLE_MODELS.keys() - others.keys()))
    table = markdown(["model", "why not"], [[name, others[name]] for name in sorted(others)])
    return [_BASELINES.format(profiles=", ".join(PROFILES)), f"{running}.", "", table]


@contextlib.contextmanager
def workplace() -> Iterator[None]:
    """A directory of its own with a tiny dataset; what RecBole's models print goes to stderr."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        os.chdir(folder)
        try:
            lines = ["user_id:token\titem_id:token\ttimestamp:float"]
            for user, time in product(range(_USERS), range(_LENGTH + 3)):
                lines.append(f"{user}\t{(user * user + time * (1 + user % 3)) % _ITEMS}\t{time}")
            path = Path("round/round.inter")
            path.parent.mkdir()
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            people = ["user_id:token\tgender:token", *(f"{user}\t{'FM'[user % 2]}" for user in range(_USERS))]
            path.with_suffix(".user").write_text("\n".join(people) + "\n", encoding="utf-8")
            yield
        finally:
            os.chdir(before)


def main() -> None:
    """Run everything and print the document."""
    with workplace():
        refused = refusals()
        failures: dict[Any, str | None] = {each: failure(**each._asdict()) for each in combinations(list(MODELS))}
        for model in MODELS:
            failures[model, "central"] = failure(model=model, scenario="central", attack="none")
            for mixing in PRE_AGGREGATORS:
                failures[model, mixing] = failure(model=model, pre_aggregator=mixing, attack="none")
            for defense in CLIENT_DEFENSES:
                failures[model, defense] = failure(model=model, client_defense=defense, attack="none")
        failures |= {each: shipment_failure(each) for each in shipments(list(MODELS))}
        for model in RECBOLE_MODELS:
            failures[model, "recbole"] = baseline_failure(model)
        text = document(refused, failures)
    print(text)


def _trainer(model: Any, **choices: Any) -> tuple[Any, Any]:
    config = AttackConfig(model, config_dict={**_SETTING, **choices})
    experiment = prepare_training(config)
    return experiment.trainer(config), experiment.train_data


def _rule_cell(model: str, aggregator: str, path: str, failures: Mapping[Any, str | None]) -> str:
    reasons = {failures.get(Combination(model, "vectorised", attack, aggregator)) for attack in ATTACKS} - {None}
    return "; ".join([path, *sorted(map(str, reasons))])


def _attack_cell(model: str, attack: str, failures: Mapping[Any, str | None]) -> str:
    rounds = (Combination(model, backend, attack, rule) for backend, rule in product(BACKENDS, AGGREGATORS))
    reasons = {failures.get(each) for each in rounds} - {None}
    return "; ".join(sorted(map(str, reasons))) or "runs"


if __name__ == "__main__":
    main()
