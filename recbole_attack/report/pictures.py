"""Lines in panels, for papers and pages; colours for the colour-blind, told apart by marker and stroke as well."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from math import isfinite
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

from recbole_attack.report.numbers import is_share, rounded
from recbole_attack.utils.files import write_atomically

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette without yellow, which is hard to see on white."""
MARKERS = "osD^vPX*"
STROKES = ("-", "--", ":", "-.")
_INK = "#010203"
"""Stands for the colour of the text, which a page has for itself."""
_TITLE = 44
"""Letters in a line of a panel's title."""


class Panel(NamedTuple):
    """One pair of axes.

    Attributes:
        title: Stands above it.
        ylabel: What is measured; a share is drawn in per cent.
        lines: Line label -> points ``(x, y)``; a NaN leaves a gap.
        bands: Line label -> ``(x, low, high)`` of its interval; may lack any of them.
    """

    title: str
    ylabel: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    bands: Mapping[str, Sequence[tuple[float, float, float]]] = {}


class Trade(NamedTuple):
    """One pair of axes of points: what an attack costs against what it gains.

    Attributes:
        title: Stands above it.
        xlabel: What is lost; a share is drawn in per cent.
        ylabel: What is gained; likewise.
        points: Attack -> its points ``(x, y)``.
        front: The points no other is better than in both, by x.
    """

    title: str
    xlabel: str
    ylabel: str
    points: Mapping[str, Sequence[tuple[float, float]]]
    front: Sequence[tuple[float, float]]


def plot_panels(panels: Sequence[Panel], xlabel: str, path: Path) -> None:
    """Draw panels, at most two in a row.

    Args:
        panels: At least one.
        xlabel: What all of them are drawn against; the malicious share has a logarithmic axis in per cent.
        path: Where the picture goes; its suffix says what it is: ``.png``, ``.pdf`` or ``.svg``.
    """
    save(draw_panels(panels, xlabel), path)


def draw_panels(panels: Sequence[Panel], xlabel: str) -> Any:
    """The figure of :func:`plot_panels`."""

    def draw(axes: Any, panel: Panel, style: Mapping[str, Any]) -> None:
        for label, points in panel.lines.items():
            band = panel.bands.get(label, ())
            if band:
                low_high = zip(*band, strict=True)
                axes.fill_between(*low_high, color=style[label]["color"], alpha=0.18, linewidth=0)
            if points:
                axes.plot(*zip(*points, strict=True), **style[label])
        axes.set(xlabel=xlabel, ylabel=panel.ylabel)
        if xlabel == "malicious_ratio":
            _share_axis(axes, sorted({x for points in panel.lines.values() for x, _ in points}))
        _from_zero(axes, [y for points in panel.lines.values() for _, y in points])
        _per_cent(axes.yaxis, panel.ylabel)

    return _figure(panels, draw, [label for panel in panels for label in panel.lines])


def draw_trades(trades: Sequence[Trade]) -> Any:
    """A figure of points with their fronts, at most two pairs of axes in a row."""

    def draw(axes: Any, trade: Trade, style: Mapping[str, Any]) -> None:
        if len(trade.front) > 1:
            axes.plot(*zip(*trade.front, strict=True), color=_INK, linewidth=1, linestyle=":", zorder=1)
        for label, points in trade.points.items():
            axes.plot(*zip(*points, strict=True), **{**style[label], "linestyle": "none"})
        axes.plot(*zip(*trade.front, strict=True), "o", markersize=11, markerfacecolor="none", color=_INK)
        axes.set(xlabel=trade.xlabel, ylabel=trade.ylabel)
        axes.axvline(0, color=_INK, linewidth=0.6, alpha=0.5)
        axes.margins(x=0.08)
        _from_zero(axes, [y for points in trade.points.values() for _, y in points])
        for axis, metric in ((axes.xaxis, trade.xlabel), (axes.yaxis, trade.ylabel)):
            _per_cent(axis, metric)

    return _figure(trades, draw, [label for trade in trades for label in trade.points])


def _figure(panels: Sequence[Any], draw: Callable[[Any, Any, Mapping[str, Any]], None], labels: Iterable[str]) -> Any:
    """Panels at most two in a row, one legend for all of them below."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    style = _styles(dict.fromkeys(labels))
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    wide = 1 if columns > 1 else 1.4
    in_row = max(1, int(columns * wide * 60 / (max(map(len, style), default=0) + 8)))
    legend_rows = -(-len(style) // in_row)
    with _settings():
        figure = Figure(figsize=(4.5 * columns * wide, 3.1 * rows + 0.25 * legend_rows), layout="constrained")
        places = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in places[len(panels) :]:
            axes.set_axis_off()
        for axes, panel in zip(places, panels, strict=False):
            draw(axes, panel, style)
            axes.set_title(fill(panel.title, _TITLE), fontsize="medium")
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", alpha=0.25, linewidth=0.6)
        handles = [Line2D([], [], **kind) for kind in style.values()]
        # matplotlib leaves out labels that begin with an underscore
        names = [f"\u200a{label}" if label.startswith("_") else label for label in style]
        figure.legend(handles, names, loc="outside lower center", ncols=in_row, frameon=False, fontsize="small")
    return figure


def _settings() -> AbstractContextManager[None]:
    from matplotlib import rc_context

    ink = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    return rc_context({**ink, "text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "recbole_attack"})


def _styles(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A look of its own for each line, the same in all panels."""
    return {
        label: {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": STROKES[number % len(STROKES)],
            "markersize": 5,
            "clip_on": False,
        }
        for number, label in enumerate(labels)
    }


def _share_axis(axes: Any, shares: Sequence[float]) -> None:
    """A logarithmic axis in per cent, with a tick at each share that was run."""
    axes.set_xscale("log")
    axes.set_xticks(shares, [rounded(100 * share) for share in shares], fontsize="small")
    axes.set_xticks([], minor=True)
    axes.set_xlabel("malicious clients, %")


def _from_zero(axes: Any, values: Iterable[float]) -> None:
    """Room below zero and above the highest value, so that no line lies on the frame."""
    highest = max((value for value in values if isfinite(value)), default=0.0) or 1.0
    axes.set_ylim(-0.04 * highest, 1.05 * highest)


def _per_cent(axis: Any, metric: str) -> None:
    if is_share(metric):
        from matplotlib.ticker import FuncFormatter

        axis.set_major_formatter(FuncFormatter(lambda share, _: rounded(100 * share, 3)))
        axis.set_label_text(f"{metric}, %")


def save(figure: Any, path: Path) -> None:
    """Write a figure as its file's suffix says; the same figure gives the same bytes."""
    kind = path.suffix.removeprefix(".")
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    with _settings():
        write_atomically(path, lambda target: figure.savefig(target, format=kind, dpi=120, metadata=metadata))


def svg(figure: Any, name: str) -> str:
    """A figure as an ``<svg>`` element that takes its text's colour from the page around it.

    Args:
        figure: The figure.
        name: Goes before every id in it, so that several can stand in one page.
    """
    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _settings():
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    element = text.getvalue()[text.getvalue().index("<svg") :]
    element = re.sub(r'(?<= id=")|(?<=url\(#)|(?<=href="#)', f"{name}-", element)
    return element.replace(_INK, "currentColor")
