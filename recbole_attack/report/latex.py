r"""A report's tables as LaTeX for ``\usepackage{booktabs}`` and ``\usepackage[T1]{fontenc}``."""

from __future__ import annotations

import pandas as pd

from recbole_attack.report.cells import Cells
from recbole_attack.report.detectors import detection_tables
from recbole_attack.report.matrices import matrices
from recbole_attack.report.texts import WORST, Table, full_table, matrix_table, threat_table

_SPECIAL = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    WORST: r"$\blacktriangle$",
}


def escape(text: str) -> str:
    """Text as LaTeX that sets it as it is, in one line; also after the end of a row, which takes a star or brackets."""
    line = " ".join(text.split())
    apart = "{}" if line.startswith(("[", "*")) else ""
    return apart + "".join(_SPECIAL.get(letter, letter) for letter in line)


def table(of: Table) -> str:
    """A ``table`` in the way of booktabs, names to the left and figures to the right."""
    body = pd.DataFrame([[escape(text) for text in line] for line in of.body])
    style = body.style.hide(axis="index").relabel_index([escape(name) for name in of.head], axis=1)
    return style.to_latex(
        hrules=True, position_float="centering", column_format="l" + "r" * (len(of.head) - 1), caption=escape(of.title)
    )


def render(cells: Cells) -> str:
    """All tables of a report: matrices, all rows, detectors, threats."""
    tables = [matrix_table(matrix, cells.exposure or "") for matrix in matrices(cells)]
    threats = threat_table(cells)
    packages = r"% \usepackage{booktabs} \usepackage{amssymb} \usepackage[T1]{fontenc} \usepackage[utf8]{inputenc}"
    tables += [full_table(cells), *detection_tables(cells), *([threats] if threats else [])]
    return "\n".join([packages, *map(table, tables)])
