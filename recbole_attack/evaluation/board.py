"""The board: entries of one evaluation side by side, rules ranked by the worst that attacks did to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from recbole_attack.config.registered import REGISTERED
from recbole_attack.defense import AGGREGATORS
from recbole_attack.evaluation.cases import words
from recbole_attack.evaluation.ensemble import VERSIONS, read_ensemble
from recbole_attack.evaluation.entry import is_ranked, read_entry
from recbole_attack.evaluation.flags import FLAGS, blocking
from recbole_attack.evaluation.texts import board_title, interval, won
from recbole_attack.evaluator.version import EVALUATOR_VERSION
from recbole_attack.model import MODELS
from recbole_attack.report import markdown, pages
from recbole_attack.report.numbers import DASH, percent, rounded
from recbole_attack.report.texts import Section, Table
from recbole_attack.utils.errors import DataError, did_you_mean
from recbole_attack.utils.files import digest_of
from recbole_attack.utils.words import counted

Entry = Mapping[str, Any]

TITLE = "The board"
_ABOUT = (
    "Aggregation rules of federated recommenders under a fixed ensemble of attacks. The worst er@10 is the share of "
    "users who are shown a promoted item among ten, by the attack that did best on validation data, measured on test "
    "data, in the mean over target items and seeds, with a 95 % bootstrap interval over them. Lower is better. Costs "
    "are percentage points of the mean's accuracy without an attack. Seconds a round are those of the machine at the "
    "time, busy or not, and compare roughly.",
    "A dash in place of a rank: a flag says that the figure does not mean what it seems to. Words under conditions "
    "block nothing; they say what the rule asks for. What is measured, and what flags mean: docs/evaluate.md.",
)
_HOW = (
    "Run recbole_attack evaluate --aggregator=<rule> --plugins=<file.py> --version=cheap; it leaves entry.yaml in the "
    "store. Fill in authors, link and remarks, check it with recbole_attack validate entry.yaml, and send it with the "
    "store and the file of the rule. An attack enters the same way, with --attack=<attack>. Figures of others are "
    "checked with the same command before they stand here.",
)


def read_entries(folder: Path) -> list[dict[str, Any]]:
    """The entries in a folder and those below it, by path.

    Raises:
        DataError: There are none, or a file is no entry.
    """
    files = sorted(folder.rglob("*.yaml")) if folder.is_dir() else []
    if not files:
        near = did_you_mean(str(folder), map(str, folder.parent.glob("*")))
        raise DataError(f"{folder}: expected a folder of entries, such as rule/entry.yaml, found none{near}")
    return [read_entry(file) for file in files]


def board_files(entries: Sequence[Entry], out: Path, more: Sequence[Section] = ()) -> dict[Path, str]:
    """The board's page as Markdown, and as HTML beside it.

    Args:
        entries: See :func:`read_entries`.
        out: Its file, which ends in ``.md``.
        more: What follows the tables.
    """
    first = Section("", _ABOUT, findings=[*_findings(entries)])
    sections = [first, *_sections(entries), *more, Section("How to enter", _HOW)]
    return {
        out: markdown.render_sections(TITLE, sections),
        out.with_suffix(".html"): pages.render_sections(TITLE, sections),
    }


def _sections(entries: Sequence[Entry]) -> Iterator[Section]:
    """A table for each version, dataset and board: those of rules, then those of attacks."""
    for kind, table in (("rule", _rules), ("attack", _attacks)):
        for title, board, having in _compared(entries, kind):
            yield Section(title, (), table(having, board))


def _findings(entries: Sequence[Entry]) -> Iterator[str]:
    """A sentence for each table of rules: the best and the worst ranked ones, and which flagged ones had less."""
    for title, board, having in _compared(entries, "rule"):
        ordered = sorted(having, key=partial(_rank, board=board))
        ranked = list(filter(is_ranked, ordered))
        if ranked:
            ends = dict.fromkeys(percent(_worst(entry, board)) for entry in (ranked[0], ranked[-1]))
            least = _worst(ranked[0], board)
            lower = [
                f"{entry['name']} {percent(_worst(entry, board))} % ({', '.join(blocking(entry['flags']))})"
                for entry in ordered
                if not is_ranked(entry) and _worst(entry, board) < least
            ]
            more = f"; lower, but without a rank: {', '.join(lower)}" if lower else ""
            span = " to ".join(f"{end} % ({', '.join(_having(ranked, board, end))})" for end in ends)
            yield f"{title}: {counted(len(ranked), 'ranked rule')}, worst er@10 {span}{more}."


def _having(entries: Iterable[Entry], board: str, worst: str) -> list[str]:
    """Names of those whose worst case reads so."""
    return [entry["name"] for entry in entries if percent(_worst(entry, board)) == worst]


def _compared(entries: Sequence[Entry], kind: str) -> Iterator[tuple[str, str, list[Entry]]]:
    """Title, board and entries of every table."""
    groups = sorted({_group(entry) for entry in entries if entry["kind"] == kind}, key=_order)
    for group in groups:
        own = [entry for entry in entries if entry["kind"] == kind and _group(entry) == group]
        for board in dict.fromkeys(name for entry in own for name in entry["figures"]["boards"]):
            having = [entry for entry in own if board in entry["figures"]["boards"]]
            yield f"{kind.capitalize()}s{group[0]}, {_group_title(group, groups)}: board {board}", board, having


_Group = tuple[str, str, int, str, str, int, str]
"""What compares: of an attack, the rule; name, version and hash of an evaluation; what was attacked; the evaluator's
version; and data."""


def _group(entry: Entry) -> _Group:
    of, setting, rule = entry["evaluation"], entry["setting"], entry["rule"]
    name = rule["aggregator"]
    by = f" under {words(rule, name, 'aggregator')}{_code(entry, 'defense', name)}" if entry["kind"] == "attack" else ""
    victim = f"{setting['model']}{_code(entry, 'model', setting['model'])} on {setting['dataset']}"
    return by, of["name"], of["version"], of["sha256"], victim, entry["evaluator"], digest_of(entry["data"])


def _code(entry: Entry, kind: str, name: str) -> str:
    """What tells parts from outside of one name apart: a hash of the entry's plug-ins; nothing for this package's."""
    ours = name in _OURS[kind] and f"{kind}/{name}" not in REGISTERED
    return "" if ours else f" ({digest_of(entry['plugins'])[:8]})"


_OURS: Mapping[str, Mapping[str, Any]] = {"model": MODELS, "defense": AGGREGATORS}


def _order(group: _Group) -> tuple[Any, ...]:
    """Larger evaluations first, and of one the newest version."""
    under, name, version, digest, victim, evaluator, data = group
    return -(VERSIONS.index(name) if name in VERSIONS else -1), -version, -evaluator, victim, digest, data, under


def _group_title(group: _Group, groups: Iterable[_Group]) -> str:
    """Which entries these are; with a hash of the data where others have the same name for another dataset."""
    _, name, version, digest, victim, evaluator, data = group
    ours = name in VERSIONS and read_ensemble(name).sha256 == digest
    parts = [f"{name} version {version}", *([] if ours else [f"not of this package ({digest[:8]})"]), victim]
    parts += [] if evaluator == EVALUATOR_VERSION else [f"evaluator version {evaluator}"]
    alike = sum(other[:-1] == group[:-1] for other in groups)
    return ", ".join([*parts, *([f"data {data[:8]}"] if alike > 1 else [])])


def _rank(entry: Entry, board: str) -> tuple[Any, ...]:
    return not is_ranked(entry), _worst(entry, board), entry["name"]


def _worst(entry: Entry, board: str) -> float:
    exposure: float = entry["figures"]["boards"][board]["worst"]["er@10"]
    return exposure


def _places(ordered: Sequence[Entry], board: str) -> list[str]:
    """The rank of each, the best first: those with equal figures share one, and who is flagged has none."""
    exposures = [_worst(entry, board) for entry in ordered if is_ranked(entry)]
    return [str(exposures.index(_worst(entry, board)) + 1) if is_ranked(entry) else DASH for entry in ordered]


def _rules(entries: Sequence[Entry], board: str) -> Table:
    head = ["rank", "rule", "worst er@10, %", *_budget_heads(entries, board), "by", "hit@10 cost", "tail hit@10 cost"]
    head += ["seconds a round", *_FLAG_HEADS]
    body, ordered = [], sorted(entries, key=partial(_rank, board=board))
    for entry, place in zip(ordered, _places(ordered, board), strict=True):
        found = entry["figures"]
        of = found["boards"][board]
        cost = [percent(found["cost"].get(name), sign=True) for name in ("hit@10", "tail hit@10")]
        body.append(
            [
                *(place, entry["name"], interval(of["worst"])),
                *(_budget_cells(entries, entry, board)),
                *(won(of["worst"]), *cost, rounded(found["seconds a round"]), *_flag_cells(entry)),
            ]
        )
    return Table(board_title(board), head, body)


def _attacks(entries: Sequence[Entry], board: str) -> Table:
    ordered = sorted(entries, key=lambda entry: (not is_ranked(entry), -_worst(entry, board), entry["name"]))
    body = [
        [
            *(place, entry["name"]),
            *(interval(entry["figures"]["boards"][board]["worst"]), *_budget_cells(entries, entry, board)),
            *_flag_cells(entry),
        ]
        for entry, place in zip(ordered, _places(ordered, board), strict=True)
    ]
    head = ["rank", "attack", "er@10, %", *_budget_heads(entries, board), *_FLAG_HEADS]
    return Table(board_title(board), head, body)


_FLAG_HEADS = ["flags", "conditions"]


def _flag_cells(entry: Entry) -> list[str]:
    """Flags that block a place, and those that do not."""
    blocks = blocking(entry["flags"])
    conditions = [name for name in entry["flags"] if not FLAGS[name].blocks]
    return [", ".join(blocks) or DASH, ", ".join(conditions) or DASH]


def _budgets(entries: Sequence[Entry], board: str) -> list[str]:
    return sorted({ratio for entry in entries for ratio in entry["figures"]["boards"][board]["budgets"]}, key=float)


def _budget_heads(entries: Sequence[Entry], board: str) -> list[str]:
    budgets = _budgets(entries, board)
    return [f"at {rounded(100 * float(ratio), 3)} %" for ratio in budgets] if len(budgets) > 1 else []


def _budget_cells(entries: Sequence[Entry], entry: Entry, board: str) -> list[str]:
    budgets, of = _budgets(entries, board), entry["figures"]["boards"][board]["budgets"]
    if len(budgets) < 2:
        return []
    return [percent(of[ratio]["worst"]["er@10"]) if ratio in of else DASH for ratio in budgets]
