"""Lines in panels, drawn as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from recbole_attack.utils.files import write_atomically


class Panel(NamedTuple):
    """One pair of axes.

    Attributes:
        title: Stands above it.
        ylabel: What is measured.
        lines: Line label -> points ``(x, y)``; a NaN leaves a gap.
    """

    title: str
    ylabel: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def plot_panels(panels: Sequence[Panel], xlabel: str, path: Path) -> None:
    """Draw panels, at most two in a row.

    Args:
        panels: At least one.
        xlabel: What all of them are drawn against.
        path: Where the picture goes.
    """
    from matplotlib.figure import Figure

    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.5 * columns, 3 * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(places, panels, strict=False):
        for label, points in panel.lines.items():
            axes.plot(*zip(*points, strict=True), label=label, marker=".")
        axes.set(title=panel.title, xlabel=xlabel, ylabel=panel.ylabel, ylim=(0, None))
        axes.legend(fontsize="small")
    write_atomically(path, lambda target: figure.savefig(target, format="png", dpi=120))
