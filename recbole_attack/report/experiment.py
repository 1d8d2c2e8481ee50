"""The page of an experiment: its rows beside what a paper printed, with what there is to say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_attack.report.markdown import escape
from recbole_attack.report.pictures import Panel
from recbole_attack.report.published import Paper, Rows, published_page
from recbole_attack.report.tables import COLUMNS, captions, comparison_table, course_table, curves
from recbole_attack.utils.errors import ConfigError, lookup, shown
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
        comparisons: In ``table.yaml``: rows that t-tests over seeds compare; see
            :func:`~recbole_attack.report.tables.comparison_table`.
        figure: In ``table.yaml``: a picture; see :func:`~recbole_attack.report.tables.curves`.
        may_differ: In ``table.yaml``: in what of budget, knowledge and protocol the rows of one victim may differ,
            because the table is about it.
    """

    finding: str = ""
    notes: str = ""
    paper: Paper = field(default_factory=dict)
    columns: Sequence[str] = COLUMNS
    comparisons: Sequence[Mapping[str, Any]] = ()
    figure: Mapping[str, Any] = field(default_factory=dict)
    may_differ: Sequence[str] = ()


_PARTS: Mapping[str, type] = {"columns": list, "comparisons": list, "figure": dict, "may_differ": list}
_FIGURE = ("x", "y", "line", "panel")


def read_about(source: Path) -> About:
    """What the files beside the rows say; nothing if ``source`` is no folder.

    Raises:
        ConfigError: ``table.yaml`` has a part that is not known, or not of its kind.
        DataError: A file is no YAML mapping.
    """
    notes = source / "notes.md"
    found, _, rest = (notes.read_text(encoding="utf-8") if notes.is_file() else "").partition(TABLE)
    parts = _read(source / "table.yaml", YamlLoader)
    for name, value in parts.items():
        kind = lookup(_PARTS, name, f"part of {source / 'table.yaml'}")
        if not isinstance(value, kind):
            raise ConfigError(f"{source / 'table.yaml'}: {name} must be a {kind.__name__}: found {shown(value)}")
    for name in _FIGURE if parts.get("figure") else ():
        if name not in parts["figure"]:
            raise ConfigError(f"{source / 'table.yaml'}: figure must hold {', '.join(_FIGURE)}: found no {name}")
    return About(found.strip(), rest.strip(), _read(source / "paper.yaml", AliasLoader), **parts)


def _read(file: Path, loader: type[YamlLoader]) -> dict[str, Any]:
    return load_yaml(file, loader) if file.is_file() and file.stat().st_size else {}


def experiment_page(
    title: str, records: Rows, missing: Sequence[str], about: About, commands: Sequence[str], picture: str
) -> str:
    """All of it as Markdown.

    Args:
        title: Heading.
        records: Row name -> the records of its seeds.
        missing: Rows without one.
        about: What is said besides.
        commands: How to run it and to write it again.
        picture: Name of the picture's file.
    """
    tests = comparison_table(records, about.comparisons)
    course = course_table(records)
    figure = about.figure
    parts = [
        f"# {escape(title)}",
        about.finding,
        published_page(records, about.paper, about.columns) if records else "",
        f"Rows of one victim differ on purpose in: {', '.join(about.may_differ)}." if about.may_differ else "",
        f"Paired t-tests over seeds, first minus second:\n\n{tests}" if tests else "",
        f"![{figure['y']} against {figure['x']}]({picture})" if panels_of(records, about) else "",
        f"{COURSE}\n\n{course}" if course else "",
        about.notes,
        f"Not run yet: {', '.join(missing)}." if missing else "",
        "\n".join(["```bash", *commands, "```"]),
        captions(records, about.paper),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def panels_of(records: Rows, about: About) -> list[Panel]:
    """The panels of the picture; none without one."""
    return curves(records, about.figure) if about.figure else []
