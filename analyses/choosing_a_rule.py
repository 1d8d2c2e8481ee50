"""Writes the page on aggregation rules: what each costs without an attack, and the worst that attacks do to it.

    python analyses/choosing_a_rule.py experiments/choosing-a-rule results/store results/seconds-per-round.csv
                                       [--out=docs/choosing-a-rule.md]

The folder holds two grids, ``rates`` (every rule at several learning rates, without an attack) and ``attacks``, and
``notes.md``, which the page begins with. The store holds what was trained of them; ``benchmarks/rules.py`` writes the
seconds. Only attacks that were run against every attacked rule count, so that no rule is worse for having been tried
more often.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_attack.benchmark import Row, Store, kept_runs, read_grid
from recbole_attack.defense import configured_aggregator
from recbole_attack.report.experiment import read_about
from recbole_attack.report.numbers import DASH, percent
from recbole_attack.report.settings import label
from recbole_attack.report.words import markdown
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.files import write_text

RULE = ["aggregator", "per_item"]
ATTACK = ["attack", "upload_search_gradient", "target_items", "malicious_ratio", "seed"]
EXPOSURE, ACCURACY = "er@10", "hit@10"
HALF = 0.5
"""A rule that without an attack keeps no more of the best rule's accuracy is not worth attacking."""


def runs(rows: Sequence[Row], store: Store) -> pd.DataFrame:
    """A line for each arm that the store holds of some rows: parameters, what it was selected by, and test metrics."""
    records = [each for of_row in store.records(kept_runs(rows, store.cells)).values() for each in of_row]
    return pd.DataFrame([_line(record, arm) for record in records for arm in ("clean", "attacked") if record.get(arm)])


def _line(record: Mapping[str, Any], arm: str) -> dict[str, Any]:
    config, of_arm = record["config"], record[arm]
    chosen = {key: config.get(key) for key in [*RULE, *ATTACK, "learning_rate"]}
    return {
        **chosen,
        "arm": arm,
        "target_items": str(chosen["target_items"]),
        "upload_search_gradient": bool(chosen["upload_search_gradient"]),
        "single_updates": not configured_aggregator(config).linear,
        "selected_by": of_arm["best_valid_result"][config["valid_metric"].lower()],
        **{metric: of_arm["test_result"].get(metric) for metric in (EXPOSURE, ACCURACY)},
    }


def tuned(clean: pd.DataFrame, attacked: pd.DataFrame) -> pd.DataFrame:
    """By rule, the runs at the learning rate that validation users of the first seed liked best.

    Of the seeds that all attacked rules have; a rule that is not attacked may lack some.
    """
    first = clean[clean["seed"] == clean["seed"].min()]
    best = first.loc[first.groupby(RULE)["selected_by"].idxmax(), [*RULE, "learning_rate"]]
    chosen = clean.merge(best, on=[*RULE, "learning_rate"])
    rules = attacked[RULE].drop_duplicates()
    shared = chosen.merge(rules, on=RULE)["seed"].value_counts()
    return chosen[chosen["seed"].isin(shared.index[shared == len(rules)])]


def common(attacked: pd.DataFrame) -> pd.DataFrame:
    """The runs of those attacks, targets, shares and seeds that every attacked rule has been through.

    >>> columns = [*RULE, *ATTACK]
    >>> ran = [("mean", False, "eb", False, "1", 0.01, 1), ("mean", False, "eb", False, "1", 0.01, 2)]
    >>> frame = pd.DataFrame([*ran, ("krum", False, *ran[0][2:])], columns=columns)
    >>> common(frame)["seed"].tolist()
    [1, 1]
    """
    rules = len(attacked[RULE].drop_duplicates())
    return attacked[attacked.groupby(ATTACK)["aggregator"].transform("size") == rules]


def worst(attacked: pd.DataFrame) -> pd.DataFrame:
    """By rule and malicious share, the run with the most exposure; of several the one with the least accuracy.

    >>> line = {"aggregator": "mean", "per_item": False, "malicious_ratio": 0.01}
    >>> frame = pd.DataFrame([{**line, EXPOSURE: 0.2, ACCURACY: a} for a in (0.3, 0.1)] + [{**line, EXPOSURE: 0.1}])
    >>> worst(frame)[[EXPOSURE, ACCURACY]].values.tolist()
    [[0.2, 0.1]]
    """
    found = attacked.sort_values([EXPOSURE, ACCURACY], ascending=[False, True], kind="stable")
    return found.drop_duplicates([*RULE, "malicious_ratio"]).sort_values([*RULE, "malicious_ratio"])


def table(accurate: pd.DataFrame, shared: pd.DataFrame, seconds: pd.DataFrame) -> str:
    """A line for each rule: those that were attacked first, the least exposed of the largest share on top.

    Args:
        accurate: What :func:`tuned` leaves.
        shared: What :func:`common` leaves.
        seconds: Of a round, by rule.
    """
    of_rule, found = accurate.groupby(RULE), worst(shared)
    accuracy, first = of_rule[ACCURACY].mean(), of_rule.first()
    shares = sorted(found["malicious_ratio"].unique())
    of_share = {share: found[found["malicious_ratio"] == share].set_index(RULE) for share in shares}
    exposed = of_share[shares[-1]][EXPOSURE].reindex(accuracy.index)
    order = pd.DataFrame({"exposed": exposed, "lost": -accuracy}).sort_values(["exposed", "lost"])
    took = seconds.set_index(RULE)["seconds"]
    head = ["rule", "per item", "server sees single updates", "learning rate"]
    head += [f"{ACCURACY} without attack, %", "points below the best"]
    head += [f"worst {EXPOSURE} at {100 * share:g} %" for share in shares]
    head += [f"{ACCURACY} then, %", "seconds a round"]
    lines = [
        [
            *(rule[0], _yes(rule[1]), _yes(first.single_updates[rule]), f"{first.learning_rate[rule]:g}"),
            *(percent(accuracy[rule]), percent(accuracy.max() - accuracy[rule])),
            *(_worst(of_share[share], rule) for share in shares),
            percent(of_share[shares[-1]][ACCURACY].get(rule)),
            f"{took[rule]:.2f}",
        ]
        for rule in order.index
    ]
    return markdown(head, lines)


def _yes(given: bool) -> str:
    return "yes" if given else "no"


def _worst(of_share: pd.DataFrame, rule: tuple[str, bool]) -> str:
    """The exposure, and the attack that reached it if there is any."""
    if rule not in of_share.index:
        return DASH
    run = of_share.loc[rule]
    return percent(run[EXPOSURE]) + (f" ({attack_name(run)})" if run[EXPOSURE] else "")


def attack_name(run: Mapping[str, Any] | pd.Series) -> str:
    """As tables call it; the released upload of DV-FSR by its own name."""
    return label({"attack": run["attack"]}) + (" as released" if run["upload_search_gradient"] else "")


def tried(accurate: pd.DataFrame, shared: pd.DataFrame, planned: int) -> str:
    """What the worst case is over, and of how much; arguments as for :func:`table`.

    Raises:
        DataError: A rule was not attacked although it is accurate enough.
    """
    of_rule = accurate.groupby(RULE)
    accuracy, seeds = of_rule[ACCURACY].mean(), of_rule["seed"].unique()
    left = accuracy.drop(list(shared.groupby(RULE).groups))
    if (left > HALF * accuracy.max()).any():
        raise DataError(f"{left.idxmax()} was not attacked: expected every rule that keeps half of the best {ACCURACY}")
    of_one = shared.drop_duplicates(ATTACK).sort_values(ATTACK)
    said = (
        f"The worst case is over {len(of_one)} of {planned} combinations of attack, malicious share, target and seed,"
        f" those that all {len(accuracy) - len(left)} attacked rules have been through: {_combinations(of_one)}."
        f" {ACCURACY} then is that of the one worst run. Without an attack: mean of seeds {_listed(seeds.explode())}"
    )
    if not len(left):
        return f"{said}."
    return (
        f"{said}, of rules that were not attacked {_listed(seeds[left.index].explode())}. A dash: not attacked, as it"
        f" keeps less than half of the best {ACCURACY} without an attack."
    )


def _combinations(of_one: pd.DataFrame) -> str:
    """By share, the attacks with their targets and seeds."""
    named = of_one.assign(name=[attack_name(run) for _, run in of_one.iterrows()])
    parts = [
        f"at {100 * share:g} % {name} (targets {targets}, seeds {_listed(found['seed'])})"
        for (share, name, targets), found in named.groupby(["malicious_ratio", "name", "target_items"])
    ]
    return "; ".join(parts)


def _listed(seeds: pd.Series) -> str:
    return ", ".join(map(str, sorted(seeds.unique())))


def planned(rows: Sequence[Row]) -> int:
    """How many combinations of attack, share, target and seed there are."""
    attacking = [row for row in rows if row.parameters["attack"] != "none"]
    found = {
        (*(str(row.parameters.get(key)) for key in ATTACK[:-1]), seed) for row in attacking for seed in row.seeds or [0]
    }
    return len(found)


def page(folder: Path, store: Store, seconds: pd.DataFrame) -> str:
    """All of the page but how to make it again, in Markdown.

    Raises:
        DataError: No attack was run against every attacked rule.
    """
    about, rates, attacks = read_about(folder), read_grid(folder / "rates"), read_grid(folder / "attacks")
    found = pd.concat([runs(rates, store), runs(attacks, store)], ignore_index=True)
    clean = found[found["arm"] == "clean"].drop_duplicates([*RULE, "learning_rate", "seed"])
    attacked = found[found["arm"] == "attacked"]
    accurate, shared = tuned(clean, attacked), common(attacked)
    if shared.empty:
        raise DataError(
            f"{folder / 'attacks'}: expected an attack that was run against every attacked rule, found none"
        )
    said = tried(accurate, shared, planned(attacks))
    return "\n\n".join([about.finding, table(accurate, shared, seconds), said, about.notes])


def main(given: Sequence[str] | None = None) -> None:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the grids rates and attacks, and of notes.md")
    parser.add_argument("store", type=Path, help="folder of the results")
    parser.add_argument("seconds", type=Path, help="CSV file with aggregator, per_item and seconds of a round")
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="write it there")
    arguments = parser.parse_args(given)
    text = page(arguments.folder, Store(arguments.store), pd.read_csv(arguments.seconds))
    places = [arguments.folder.as_posix(), arguments.store.as_posix(), arguments.seconds.as_posix()]
    out = [f"--out={arguments.out.as_posix()}"] if arguments.out else []
    text += f"\n\n```bash\npython analyses/choosing_a_rule.py {shlex.join([*places, *out])}\n```\n"
    if arguments.out:
        write_text(arguments.out, text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
