"""What a rule is, whatever is trained with it: asked of the rule itself, on updates made up for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from traceback import extract_tb
from typing import Any, NamedTuple

import torch

import recbole_attack
from recbole_attack.attack import ATTACKS, BACKDOORS, UPLOADS
from recbole_attack.config.defaults import load_defaults
from recbole_attack.config.registered import REGISTERED
from recbole_attack.defense import CLIENT_DEFENSES, Aggregator, Known, configured_aggregator
from recbole_attack.federated.arrivals import aggregate_one_by_one
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.server import Aggregated, aggregate
from recbole_attack.federated.updates import Update
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.rng import stream, torch_stream

CLIENTS, WIDTH, BODY = 80, 4, 8
"""Shape of the updates made up: more clients than a round of the standard evaluation has."""


class Scene(NamedTuple):
    """Updates that are made up.

    Attributes:
        items: Of the catalogue, some of them touched by few clients.
        loud: Clients that stand out.
        factor: How many times as long their item rows are.
    """

    items: int
    loud: int
    factor: float


class MadeUp(NamedTuple):
    """Clients that are made up.

    Attributes:
        sent: The update of each.
        weights: ``[N]`` how much each counts.
        parameters: The server's, all zero.
    """

    sent: list[Update]
    weights: torch.Tensor
    parameters: dict[str, torch.Tensor]

    def turned(self) -> MadeUp:
        """The same clients from the last to the first."""
        return self._replace(sent=self.sent[::-1], weights=self.weights.flip(0))


FEW, MANY = ([Scene(items, *loud) for loud in ((0, 1.0), (6, 1.5), (20, 1.2))] for items in (12, 1500))
"""Some rules draw only among many items, or draw what matters only where some clients stand out a little."""

SHARES = ("byzantine_ratio", "trim_ratio", "hostile_ratio")
"""Parameters that tell a rule of this package how many clients are malicious; empty, it takes the most there can be."""

THREAT = (
    "attack",
    "malicious_clients",
    "malicious_ratio",
    "malicious_seed",
    "norm_budget",
    "gradient_scale",
    "claimed_interactions",
    "upload",
    "target_items",
    "target_seed",
)
"""Parameters of the run that say what attackers do, which no server can read."""


class _Watched(Mapping[str, Any]):
    """Parameters that remember which of them were read; who copies all has read all."""

    def __init__(self, parameters: Mapping[str, Any], read: set[str]) -> None:
        self.parameters, self.read = parameters, read

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return self.parameters[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)


_PACKAGE = str(Path(recbole_attack.__file__).parent)


class Nature(NamedTuple):
    """What a rule is.

    Attributes:
        random: Whether the same updates give another result with other draws.
        by_order: Whether the same updates give another result in another order, in which malicious clients come last;
            of a rule that is not random.
        sees_updates: Whether the server needs single updates, and not their weighted sum alone.
        per_item: Whether the clients that touch an item decide its row, and all others have no say.
        assumed: Parameters that say how many clients are malicious, and those of :data:`THREAT` and of attacks that the
            rule or the client defence read, with their values.
        needs: Words of :data:`~recbole_attack.defense.aggregator.NEEDS`; ``None`` for a rule from outside that does not
            say.
        changes_clients: Whether honest clients train otherwise.
    """

    random: bool
    by_order: bool
    sees_updates: bool
    per_item: bool
    assumed: Mapping[str, Any]
    needs: frozenset[str] | None
    changes_clients: bool


def nature(config: Mapping[str, Any]) -> Nature:
    """Of the rule a configuration asks for.

    Args:
        config: All parameters of a federated run, checked.

    Raises:
        ConfigError: The rule cannot be made, fails on the updates made up for it, or gives what is not finite.
    """
    foreign, read = f"defense/{config['aggregator']}" in REGISTERED, set[str]()
    tried = f"aggregator '{config['aggregator']}' failed on updates made up to try it"
    with _mistakes_named(tried) if foreign else nullcontext():
        rule = configured_aggregator(config)
        random = _is_random(config, read)
        by_order = not random and _goes_by_order(config, read)
        if foreign and not random:
            _check_sparse(config, read)
    with _mistakes_named(f"client_defense '{config['client_defense']}' cannot be made"):
        CLIENT_DEFENSES[config["client_defense"]](_Watched(config, read))
    threat = [key for key in (*THREAT, *_of_attackers()) if key in read and key not in _read_by(config)]
    assumed = {key: config[key] for key in SHARES if config.get(key) is not None and key in _read_by(config)}
    return Nature(
        random=random,
        by_order=by_order,
        sees_updates=not rule.linear or bool(config["client_detectors"]),
        per_item=rule.per_item,
        assumed=assumed | {key: config.get(key) for key in threat},
        needs=frozenset() if rule.needs is None and not foreign else rule.needs,
        changes_clients=config["client_defense"] != "none",
    )


@contextmanager
def _mistakes_named(what: str) -> Iterator[None]:
    """What fails in a part from outside is its author's to mend, and is said in a line: what, and where."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        frames = extract_tb(error.__traceback__)
        last = ([frame for frame in frames if not frame.filename.startswith(_PACKAGE)] or frames)[-1]
        raise ConfigError(
            f"{what}: {type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"
        ) from error


def _of_attackers() -> list[str]:
    """Parameters of the attacks there are, and of how their clients upload."""
    recipes = [*(f"attack/{name}" for name in (*ATTACKS, *BACKDOORS)), *(f"upload/{name}" for name in UPLOADS)]
    return sorted({key for recipe in recipes for key in load_defaults(recipe)})


def _read_by(config: Mapping[str, Any]) -> set[str]:
    """Parameters of the rule's own and of what is done before it."""
    parts = (f"defense/{config['aggregator']}", f"pre_aggregator/{config['pre_aggregator']}")
    return {key for part in parts for key in load_defaults(part)}


def _is_random(config: Mapping[str, Any], read: set[str]) -> bool:
    """Whether results differ between draws: of the server's own streams, and of torch's global state.

    What the rule reads of its parameters is added to ``read``.
    """
    scenes = FEW if config["per_item"] else FEW + MANY  # one item at a time, others do not matter
    return any(_differ(*(_result(config, of, draw, read) for draw in range(3))) for of in map(_made_up, scenes))


def _goes_by_order(config: Mapping[str, Any], read: set[str]) -> bool:
    """Whether results differ between orders of the clients; see :func:`_is_random`."""
    orders = ((of, of.turned()) for of in map(_made_up, FEW))
    return any(_differ(*(_result(config, of, 0, read) for of in both)) for both in orders)


def _differ(first: torch.Tensor, *others: torch.Tensor) -> bool:
    """By more than what sums in another order come to."""
    near = 1e-5 * float(first.abs().max())
    return any(not torch.allclose(first, other, rtol=1e-5, atol=near) for other in others)


def _check_sparse(config: Mapping[str, Any], read: set[str]) -> None:
    """That a rule makes of sparse rows, a few coordinates at a time, what it makes of whole updates.

    Raises:
        ConfigError: It does not.
    """
    for of in map(_made_up, FEW):
        whole, pieces = (_result(config, of, 0, read, way) for way in (aggregate_one_by_one, _aggregate))
        if (whole - pieces).norm() > 1e-3 * whole.norm():
            raise ConfigError(
                f"aggregator '{config['aggregator']}', tried on updates made up: expected the same for all coordinates "
                "at once and for a few at a time, found another result; combine sees a few, and must not look at how "
                "they hang together"
            )


def _aggregate(
    sent: Sequence[Update], weights: torch.Tensor, rule: Aggregator, parameters: Mapping[str, torch.Tensor]
) -> Aggregated:
    stacked = {name: torch.stack([update[name] for update in sent]) for name in parameters}
    return aggregate(ClientUpdates.from_stacked(stacked), weights, rule)


def _result(
    config: Mapping[str, Any], made_up: MadeUp, draw: int, read: set[str], way: Any = _aggregate
) -> torch.Tensor:
    """``[P]`` what a rule that was just made gives for the updates made up, with one draw of everything random."""
    sent, weights, parameters = made_up
    rule = configured_aggregator(_Watched({**config, "seed": draw}, read)).in_round(draw, draw)
    if rule.asks:
        rule = replace(rule, known=_known(rule, parameters, draw))
    with torch_stream(torch.device("cpu"), draw, "probe"):
        found = way(sent, weights, rule, parameters)
    for name, value in parameters.items():
        _check(config["aggregator"], name, found.update[name], value)
    return torch.cat([found.update[name].flatten() for name in parameters])


def _check(rule: str, name: str, found: torch.Tensor, parameter: torch.Tensor) -> None:
    tried = f"aggregator '{rule}', tried on updates made up: expected"
    if found.shape != parameter.shape:
        raise ConfigError(f"{tried} {[*parameter.shape]} numbers for '{name}', found {[*found.shape]}")
    if not found.isfinite().all():
        raise ConfigError(f"{tried} finite numbers for '{name}', found {int((~found.isfinite()).sum())} that are not")


def _known(rule: Aggregator, parameters: Mapping[str, torch.Tensor], draw: int) -> Known:
    """A server that takes plain steps; an update of its own comes of what it draws."""
    rng, table = stream(draw, "made-up root"), parameters[ITEM_TABLE]
    root = {name: torch.from_numpy(rng.normal(size=value.shape)).float() for name, value in parameters.items()}
    states = torch.from_numpy(rng.normal(size=(1, WIDTH))).float()

    def asked(items: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = torch.zeros(len(items), len(table)).scatter(1, items, -torch.inf)
        return states.expand(len(items), -1), scores.index_fill(1, torch.tensor([0]), -torch.inf)

    given = None if rule.root is None else root
    return Known(table, lambda items, rows: table[items] - rows, given, asked, longest=6)


def _made_up(scene: Scene) -> MadeUp:
    """Updates of clients around a common direction, item rows sparse."""
    rng = stream(0, "made-up updates")
    common = rng.normal(size=BODY + scene.items * WIDTH)
    touched = rng.random((CLIENTS, scene.items)) < 0.5
    sent = []
    for place, own in enumerate(touched):
        values = torch.from_numpy(common + rng.normal(size=len(common))).float()
        length = scene.factor if place < scene.loud else 1.0
        table = values[BODY:].view(scene.items, WIDTH) * length * torch.from_numpy(own)[:, None]
        sent.append({"body": values[:BODY], ITEM_TABLE: table})
    weights = torch.from_numpy(rng.integers(1, 50, CLIENTS)).float()
    return MadeUp(sent, weights, {"body": torch.zeros(BODY), ITEM_TABLE: torch.zeros(scene.items, WIDTH)})
