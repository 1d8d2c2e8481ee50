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

_INK = "#010203"
"""Black, so that a page can tell it from other colours and take that of its text instead."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", _INK, "#E69F00", "#56B4E9")
"""Okabe and Ito's palette without yellow, which is hard to see on white."""
MARKERS = "osD^vPX*"
STROKES = ("-", "--", ":", "-.")
_TITLE = 44
"""Letters in a line of a panel's title."""
_FEW = 12
"""Points up to which each has a marker and its interval a bar of its own."""


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


class Drawing(NamedTuple):
    """Panels, and how one is drawn.

    Attributes:
        panels: At least one.
        draw: Fills a pair of axes with a panel, its lines in their styles.
        styles: Label -> its look, the same in all panels.
        labels: The labels of a panel.
    """

    panels: Sequence[Any]
    draw: Callable[[Any, Any, Mapping[str, Any]], None]
    styles: Mapping[str, Mapping[str, Any]]
    labels: Callable[[Any], Iterable[str]]

    def together(self) -> Any:
        """One figure of all panels, at most two in a row."""
        return self._figure(self.panels)

    def apart(self) -> dict[str, Any]:
        """Title -> a figure of its panel alone."""
        return {panel.title: self._figure([panel]) for panel in self.panels}

    def _figure(self, panels: Sequence[Any]) -> Any:
        shown = {label for panel in panels for label in self.labels(panel)}
        return _figure(panels, self.draw, {label: style for label, style in self.styles.items() if label in shown})


def plot_panels(panels: Sequence[Panel], xlabel: str, path: Path) -> None:
    """Draw panels, at most two in a row.

    Args:
        panels: At least one.
        xlabel: What all of them are drawn against; the malicious share has a logarithmic axis in per cent.
        path: Where the picture goes; its suffix says what it is: ``.png``, ``.pdf`` or ``.svg``.
    """
    save(curves_drawing(panels, xlabel).together(), path)


def curves_drawing(panels: Sequence[Panel], xlabel: str, order: Iterable[str] = ()) -> Drawing:
    """Lines against ``xlabel``, see :func:`plot_panels`; in the looks of ``order``, as far as they are there."""
    highest = {panel.ylabel: _highest(p for p in panels if p.ylabel == panel.ylabel) for panel in panels}

    def draw(axes: Any, panel: Panel, styles: Mapping[str, Any]) -> None:
        for label, points in panel.lines.items():
            _draw_band(axes, panel.bands.get(label, ()), styles[label]["color"])
            if points:
                axes.plot(*zip(*points, strict=True), **styles[label], markevery=1 + len(points) // _FEW)
        axes.set(xlabel=xlabel, ylabel=panel.ylabel)
        if xlabel == "malicious_ratio":
            _share_axis(axes, sorted({x for points in panel.lines.values() for x, _ in points}))
        _from_zero(axes, highest[panel.ylabel])
        _per_cent(axes.yaxis, panel.ylabel)

    return Drawing(panels, draw, _styles([p.lines for p in panels], STROKES, order), lambda panel: panel.lines)


def trades_drawing(trades: Sequence[Trade], order: Iterable[str] = ()) -> Drawing:
    """Points with their fronts, otherwise as :func:`curves_drawing`."""
    highest = max(y for trade in trades for points in trade.points.values() for _, y in points)

    def draw(axes: Any, trade: Trade, styles: Mapping[str, Any]) -> None:
        if len(trade.front) > 1:
            axes.plot(*zip(*trade.front, strict=True), color=_INK, linewidth=1, linestyle=":", zorder=1)
        for label, points in trade.points.items():
            axes.plot(*zip(*points, strict=True), **styles[label])
        axes.plot(*zip(*trade.front, strict=True), "o", markersize=11, markerfacecolor="none", color=_INK)
        axes.set(xlabel=trade.xlabel, ylabel=trade.ylabel)
        axes.axvline(0, color=_INK, linewidth=0.6, alpha=0.5)
        axes.margins(x=0.08)
        _from_zero(axes, highest)
        for axis, metric in ((axes.xaxis, trade.xlabel), (axes.yaxis, trade.ylabel)):
            _per_cent(axis, metric)

    return Drawing(trades, draw, _styles([t.points for t in trades], ["none"], order), lambda trade: trade.points)


def _draw_band(axes: Any, band: Sequence[tuple[float, float, float]], colour: str) -> None:
    if band:
        x, low, high = zip(*band, strict=True)
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        if len(band) <= _FEW:
            axes.vlines(x, low, high, color=colour, alpha=0.7, linewidth=1)


def _highest(panels: Iterable[Panel]) -> float:
    """The top of all lines and bands of panels."""
    several = list(panels)
    values = [y for panel in several for points in panel.lines.values() for _, y in points]
    ends = [high for panel in several for band in panel.bands.values() for _, _, high in band]
    return max(filter(isfinite, [*values, *ends]), default=0.0)


def _figure(
    panels: Sequence[Any], draw: Callable[[Any, Any, Mapping[str, Any]], None], styles: Mapping[str, Mapping[str, Any]]
) -> Any:
    """Panels at most two in a row, one legend for all of them below."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.lines import Line2D

    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    in_row = max(1, 60 * columns // (max(map(len, styles), default=0) + 8))
    height = 3.1 * rows + 0.25 * -(-len(styles) // in_row)
    with _settings():
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06)
        figure = Figure(figsize=(4.5 * columns, height), layout=layout)
        places = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in places[len(panels) :]:
            axes.set_axis_off()
        for axes, panel in zip(places, panels, strict=False):
            draw(axes, panel, styles)
            axes.set_title(fill(panel.title, _TITLE), fontsize="medium")
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", alpha=0.25, linewidth=0.6)
        handles = [Line2D([], [], **style) for style in styles.values()]
        # matplotlib leaves out labels that begin with an underscore
        names = [f"\u200a{label}" if label.startswith("_") else label for label in styles]
        figure.legend(handles, names, loc="outside lower center", ncols=in_row, frameon=False, fontsize="small")
    return figure


def _settings() -> AbstractContextManager[None]:
    from matplotlib import rc_context

    ink = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    return rc_context({**ink, "text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "recbole_attack"})


def _styles(panels: Iterable[Iterable[str]], strokes: Sequence[str], order: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A look of its own for each label of the panels, in ``order`` and then as they come."""
    labels = dict.fromkeys(label for panel in panels for label in panel)
    first = [label for label in dict.fromkeys(order) if label in labels]
    return {
        label: {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": strokes[number % len(strokes)],
            "markersize": 5,
            "clip_on": False,
        }
        for number, label in enumerate(dict.fromkeys([*first, *labels]))
    }


def _share_axis(axes: Any, shares: Sequence[float]) -> None:
    """A logarithmic axis in per cent, with a tick at each share that was run."""
    axes.set_xscale("log")
    axes.set_xticks(shares, [f"{100 * share:.6g}" for share in shares], fontsize="small")
    axes.set_xticks([], minor=True)
    axes.set_xlabel("malicious clients, %")


def _from_zero(axes: Any, highest: float) -> None:
    """Room below zero and above the highest value, so that no line lies on the frame."""
    axes.set_ylim(-0.04 * (highest or 1.0), 1.05 * (highest or 1.0))


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
