"""The table of one run: its models side by side, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from texttable import Texttable

from recbole_attack.report.numbers import base, heading, is_share, number, percent
from recbole_attack.report.words import ARMS, caption, details, nearest, sought

MAIN = ("hit", "ndcg", "er")
"""The metrics of a short table."""

OF_GROUPS = (*MAIN, "er_in", "er_out"), ("invisibility",)
"""Those of one where the attacker means a group of users: at a cut-off, and over all of them."""

_ONE_ITEM = {"recall": "hit", "map": "mrr"}
_ERRORS = {"test_result": "standard_error", "test_result_full": "standard_error_full"}


def result_table(record: Mapping[str, Any]) -> str:
    """What a run found: a caption, and test metrics of every model.

    Args:
        record: The content of ``result.json``.
    """
    tables = [_table(record, "test_result")]
    if record["config"]["exposure_candidates"] != "full":
        tables.append("the same models under full ranking:\n" + _table(record, "test_result_full"))
    if record.get("detection"):
        tables.append(f"can the {sought(record)} be found?\n" + _detection_table(record["detection"]))
    known = any((record.get(name) or {}).get("standard_error") for name in ARMS)
    sign = "\N{PLUS-MINUS SIGN} one standard error over test users" if known else ""
    return "\n".join([*filter(None, [caption(record), details(record), sign]), *tables])


def _detection_table(detection: Mapping[str, Any]) -> str:
    qualities = list(next(iter(next(iter(detection.values())).values())))
    rows = [
        [model, detector, *(number(values[quality]) for quality in qualities)]
        for model, detectors in detection.items()
        for detector, values in detectors.items()
    ]
    return drawn(["model", "detector", *qualities], rows, labels=2)


def _table(record: Mapping[str, Any], key: str) -> str:
    head, *rows = metric_rows(record, key)
    if rows:
        return drawn(head, rows)
    if key == "test_result":
        return "no test user; best validation:\n" + _table(record, "best_valid_result")
    return "no evaluated user"


def drawn(head: Sequence[str], rows: Sequence[Sequence[str]], labels: int = 1) -> str:
    """A table as text, its first columns to the left and the others to the right."""
    table = Texttable(max_width=0)
    table.set_deco(Texttable.HEADER)
    table.set_cols_dtype(["t"] * len(head))
    align = ["l"] * labels + ["r"] * (len(head) - labels)
    table.set_cols_align(align)
    table.set_header_align(align)
    table.add_rows([head, *rows])
    return str(table.draw())


def metric_rows(record: Mapping[str, Any], key: str = "test_result") -> list[list[str]]:
    """Metrics of every model, as text: shares in per cent, with standard errors over users where they are known.

    Hit, NDCG and ER at the cut-off nearest to 10, of target users and others as well where the attacker means a group;
    with ``verbose`` all that differ by definition.

    Args:
        record: The content of ``result.json``.
        key: ``test_result``, ``test_result_full`` or ``best_valid_result``; the first comes with the difference.

    Returns:
        The header and a row for each metric; nothing but a header where nobody was evaluated.
    """
    arms = {name: arm for name, arm in _models(record).items() if arm.get(key)}
    delta = record["delta"] if key == "test_result" else None
    head, rows = ["metric", *arms, *(["delta"] if delta else [])], []
    for metric in _shown(list(next(iter(arms.values()))[key]), record) if arms else []:
        write = percent if is_share(metric) else number
        row = [heading(metric)]
        for arm in arms.values():
            error = (arm.get(_ERRORS.get(key, "")) or {}).get(metric)
            row.append(write(arm[key][metric]) + ("" if error is None else f" \N{PLUS-MINUS SIGN} {write(error)}"))
        rows.append(row + ([write(delta[metric], sign=True)] if delta else []))
    return [head, *rows]


def _models(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The record's arms, and what was repaired of them as it was before."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in (name for name in ARMS if record.get(name)):
        before = record[name].get("shipped")
        found |= {f"{name}, as shipped": before, f"{name}, repaired": record[name]} if before else {name: record[name]}
    return found


def _shown(metrics: Sequence[str], record: Mapping[str, Any]) -> list[str]:
    meant = {metric: _meant(metric, record) for metric in metrics}
    # What is so by definition comes last, and so stands for what has the same value.
    distinct = {meant[metric]: metric for metric in sorted(metrics, key=lambda m: m == meant[m])}
    cut_offs = [int(k) for _, _, k in (metric.partition("@") for metric in metrics) if k.isdecimal()]
    names, others = (MAIN, ()) if record["config"].get("target_group", "all") == "all" else OF_GROUPS
    main = {*others, *(f"{name}@{nearest(cut_offs)}" for name in names if cut_offs)} & distinct.keys()
    wanted = main if main and not record["config"].get("verbose") else distinct.keys()
    return [metric for metric in metrics if meant[metric] in wanted and distinct[meant[metric]] == metric]


def _meant(metric: str, record: Mapping[str, Any]) -> str:
    """The metric that has the same value by definition, or the metric itself.

    There is one item to predict for each user, a group of all users is everybody, and a list that could hold all
    targets allows any exposure.
    """
    name, at, k = metric.partition("@")
    if record["config"].get("target_group", "all") == "all":
        name = name.removesuffix("_in")
    if base(name) == "exposure_share" and k.isdecimal() and len(record["budget"]["target_items"]) <= int(k):
        name = name.replace("exposure_share", "er")
    return f"{_ONE_ITEM.get(name, name)}{at}{k}"
