"""The page of an experiment: its rows beside what a paper printed, with what there is to say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_attack.report.markdown import escape, table
from recbole_attack.report.pictures import Panel
from recbole_attack.report.published import Paper, Rows, published_page
from recbole_attack.report.tables import COLUMNS, captions, course_table, curves
from recbole_attack.report.texts import Table
from recbole_attack.utils.errors import ConfigError, lookup, shown
from recbole_attack.utils.files import read_text
from recbole_attack.utils.yaml_files import AliasLoader, YamlLoader, load_yaml

COURSE = """\
How loud the attack was, and when. Of malicious clients, the mean share of a round's weight, and the median update norm
over the honest clients'; how many items the substitution had to choose from (median over rounds); the epoch that was
tested (from 0); `er@10` at its peak and at the last epoch, as measured while training. One figure a seed; a dash was
not recorded or does not apply.\
"""
TABLE = "<!-- table -->"
"""Divides the notes: what was found, and the rest."""


@dataclass(frozen=True)
class About:
    """What a folder of rows says besides its rows, all of it optional.

    Attributes:
        finding: The part of ``notes.md`` above the line ``<!-- table -->``; stands above the table.
        notes: The part below it.
        paper: ``paper.yaml``: what the paper printed; see :func:`~recbole_attack.report.published.published_page`.
        columns: In ``table.yaml``: metrics, if not the usual ones.
        comparisons: In ``table.yaml``: rows that are compared: ``first``, ``second`` and ``metrics``, ``over`` the
            ``seeds`` they share or the ``users`` they were tested on.
        intervals: In ``table.yaml``: intervals over users, at the cut-off ``k``.
        dose: In ``table.yaml``: the ``metric`` that is to reach a ``level``, and ``by`` what groups of runs differ.
        variance: In ``table.yaml``: the ``metric`` whose variance is split by ``factors``, and ``by`` as above.
        figure: In ``table.yaml``: a picture; see :func:`~recbole_attack.report.tables.curves`.
        may_differ: In ``table.yaml``: in what of budget, knowledge and protocol the rows of one victim may differ,
            because the table is about it.
    """

    finding: str = ""
    notes: str = ""
    paper: Paper = field(default_factory=dict)
    columns: Sequence[str] = COLUMNS
    comparisons: Sequence[Mapping[str, Any]] = ()
    intervals: Mapping[str, Any] = field(default_factory=dict)
    dose: Mapping[str, Any] = field(default_factory=dict)
    variance: Mapping[str, Any] = field(default_factory=dict)
    figure: Mapping[str, Any] = field(default_factory=dict)
    may_differ: Sequence[str] = ()


_PARTS: Mapping[str, type] = {
    **{"columns": list, "comparisons": list, "may_differ": list},
    **{"intervals": dict, "dose": dict, "variance": dict, "figure": dict},
}
_NEEDED: Mapping[str, tuple[str, ...]] = {
    **{"dose": ("metric", "by"), "variance": ("metric", "factors"), "figure": ("x", "y", "line", "panel")},
    **{"comparisons": ("first", "second", "metrics"), "intervals": ("k",)},
}
_NAMED = 20
"""Rows that are named one by one."""

_MAY: Mapping[str, tuple[str, ...]] = {"comparisons": ("over",), "dose": ("level",), "variance": ("by",)}


def read_about(source: Path) -> About:
    """What the files beside the rows say; nothing if ``source`` is no folder.

    Raises:
        ConfigError: ``table.yaml`` has a part that is not known, or not of its kind.
        DataError: A file is no YAML mapping.
    """
    notes = source / "notes.md"
    found, _, rest = (read_text(notes) if notes.is_file() else "").partition(TABLE)
    parts = _read(source / "table.yaml", YamlLoader)
    for name, value in parts.items():
        kind = lookup(_PARTS, name, f"part of {source / 'table.yaml'}")
        if not isinstance(value, kind):
            raise ConfigError(f"{source / 'table.yaml'}: {name} must be a {kind.__name__}: found {shown(value)}")
        for entry in parts[name] if name == "comparisons" else [parts[name]]:
            _check_part(name, entry, source / "table.yaml")
    return About(found.strip(), rest.strip(), _read(source / "paper.yaml", AliasLoader), **parts)


def _check_part(name: str, part: Any, file: Path) -> None:
    """A part of ``table.yaml`` has the keys it needs and no other."""
    needed = _NEEDED.get(name, ())
    if needed and not isinstance(part, dict):
        raise ConfigError(f"{file}: {name} must hold {', '.join(needed)}: found {shown(part)}")
    missing = [key for key in needed if key not in part]
    if missing:
        raise ConfigError(f"{file}: {name} must hold {', '.join(needed)}: found no {', '.join(missing)}")
    for key in part if needed else ():
        lookup(dict.fromkeys((*needed, *_MAY.get(name, ()))), key, f"key of {name} in {file}")


def _read(file: Path, loader: type[YamlLoader]) -> dict[str, Any]:
    return load_yaml(file, loader) if file.is_file() and file.stat().st_size else {}


def experiment_page(
    title: str,
    records: Rows,
    missing: Sequence[str],
    about: About,
    statistics: Sequence[Table],
    commands: Sequence[str],
    picture: str,
) -> str:
    """All of it as Markdown.

    Args:
        title: Heading.
        records: Row name -> the records of its seeds.
        missing: Rows without one, and those that lack seeds, in words.
        about: What is said besides.
        statistics: Tables that stand below those of the rows.
        commands: How to run it and to write it again.
        picture: Name of the picture's file.
    """
    course = course_table(records)
    figure = about.figure
    parts = [
        f"# {escape(title)}",
        about.finding,
        published_page(records, about.paper, about.columns) if records else "",
        f"Rows of one victim differ on purpose in: {', '.join(about.may_differ)}." if about.may_differ else "",
        *(f"## {escape(each.title)}\n\n{table(each)}" for each in statistics),
        f"![{figure['y']} against {figure['x']}]({picture})" if panels_of(records, about) else "",
        f"{COURSE}\n\n{course}" if course else "",
        about.notes,
        f"Not run yet: {_some(missing)}." if missing else "",
        "\n".join(["```bash", *commands, "```"]),
        captions(records, about.paper),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _some(rows: Sequence[str]) -> str:
    """Rows by name; of very many, how many others there are."""
    others = f", and {len(rows) - _NAMED} other rows" if len(rows) > _NAMED + 1 else ""
    return ", ".join(rows[:_NAMED] if others else rows) + others


def panels_of(records: Rows, about: About) -> list[Panel]:
    """The panels of the picture; none without one."""
    return curves(records, about.figure) if about.figure else []
