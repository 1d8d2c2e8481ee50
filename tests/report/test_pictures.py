"""What pictures show: lines inside their frames, labels as they are, one legend that covers nothing."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from recbole_attack.report.pictures import (
    COLOURS,
    MARKERS,
    STROKES,
    Panel,
    Trade,
    curves_drawing,
    plot_panels,
    save,
    svg,
    trades_drawing,
)

LONG = "a title that is much longer than the axes it stands above, and has to go on below, upload_search_gradient"


def boxes(figure):
    """The figure as drawn: its size, and the places of all axes and of the legend, in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    axes = [a for a in figure.axes if a.axison]
    return figure.bbox, axes, figure.legends[0].get_window_extent(renderer), renderer


@pytest.mark.parametrize("count", [1, 2, 3])
def test_titles_are_whole_and_the_legend_covers_no_axes(count):
    panels = [
        Panel(f"{number} {LONG}", "er@10", {f"{LONG} {n}": [(0, 0), (1, 1)] for n in range(3)})
        for number in range(count)
    ]
    whole, axes, legend, renderer = boxes(curves_drawing(panels, "epoch").together())
    for each in axes:
        title = each.title.get_window_extent(renderer)
        assert whole.x0 <= title.x0
        assert title.x1 <= whole.x1
        assert title.y1 <= whole.y1
        assert not legend.overlaps(each.get_tightbbox(renderer))
    titles = [each.title.get_window_extent(renderer) for each in axes]
    assert not any(a.overlaps(b) for a in titles for b in titles if a is not b)
    assert " ".join(axes[0].get_title().split()) == panels[0].title


@pytest.mark.parametrize("values", [(0, 0), (0, 1), (0.001, 0.002), (1, 1)])
def test_no_line_lies_on_the_frame(values):
    panel = Panel("", "er@10", {"a": list(enumerate(values))}, {"a": [(0, 0, values[0]), (1, 0, max(values) * 1.5)]})
    (axes,) = curves_drawing([panel], "epoch").together().axes
    low, high = axes.get_ylim()
    assert low < 0 <= min(values)
    assert max(values) * 1.5 < high


def test_panels_of_one_metric_have_one_scale():
    panels = [
        Panel("a", "er@5", {"x": [(0, 0.1)]}),
        Panel("b", "er@5", {"x": [(0, 0.9)]}),
        Panel("c", "hit@5", {"x": [(0, 0.2)]}),
    ]
    first, second, other = curves_drawing(panels, "epoch").together().axes[:3]
    assert first.get_ylim() == second.get_ylim() != other.get_ylim()


def test_shares_are_in_per_cent_on_a_logarithmic_axis_with_a_tick_at_each():
    panel = Panel("", "er@10", {"a": [(0.001, 0.25), (0.05, 0.5)], "b": [(0.01, 0.5)]})
    (axes,) = curves_drawing([panel], "malicious_ratio").together().axes
    assert axes.get_xscale() == "log"
    assert list(axes.get_xticks()) == [0.001, 0.01, 0.05]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "1", "5"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("malicious clients, %", "er@10, %")
    assert axes.yaxis.get_major_formatter()(0.125, 0) == "12.5"


def test_what_is_no_share_stays_as_it_is():
    (axes,) = curves_drawing([Panel("", "ndcg@10", {"a": [(0, 0.5)]})], "epoch").together().axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "ndcg@10")


def test_a_line_looks_the_same_in_all_panels_and_like_no_other():
    labels = [f"line {number}" for number in range(24)]
    panels = [Panel("all", "er@5", {label: [(0, 0)] for label in labels}), Panel("one", "er@5", {labels[5]: [(0, 0)]})]
    first, second = curves_drawing(panels, "epoch").together().axes[:2]
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in first.lines]
    assert len(set(looks)) == len(labels)
    assert (second.lines[0].get_color(), second.lines[0].get_marker()) == looks[5][:2]
    neighbours = pairwise(looks)
    assert all(
        a != b for pair in neighbours for a, b in zip(*pair, strict=True)
    )  # colour, marker and stroke all differ
    assert len(set(COLOURS)) == 7
    assert math.lcm(len(COLOURS), len(MARKERS), len(STROKES)) == 56


def test_the_order_of_the_lines_is_the_callers():
    panels = [Panel("", "er@5", {"b": [(0, 0)], "a": [(0, 1)]})]
    assert list(curves_drawing(panels, "epoch", ["z", "a"]).styles) == ["a", "b"]


@pytest.mark.parametrize("label", ["$x^2", "_hidden", "<b>&", "100 %", "a\\b", "$a$ {b}"])
def test_labels_come_out_as_they_are(label):
    panel = Panel(label, "er@10", {label: [(0, 0.5), (1, 0.5)]})
    element = ElementTree.fromstring(svg(curves_drawing([panel], "epoch").together(), "name"))
    texts = [" ".join("".join(node.itertext()).split()) for node in element.iter() if node.tag.endswith("text")]
    assert texts.count(label) == 2  # title and legend


def test_an_svg_for_a_page_has_ids_of_its_own_and_the_colour_of_the_text_around_it():
    drawing = curves_drawing([Panel(f"p{n}", "er@10", {"a": [(0, 0.5), (1, 0.5)]}) for n in range(2)], "epoch")
    figures = [svg(figure, f"f{number}") for number, figure in enumerate(drawing.apart().values())]
    ids = [{node.get("id") for node in ElementTree.fromstring(text).iter()} - {None} for text in figures]
    assert all(ids)
    assert not ids[0] & ids[1]
    for text, known in zip(figures, ids, strict=True):
        assert text.startswith("<svg")
        assert "currentColor" in text
        links = [
            value for node in ElementTree.fromstring(text).iter() for key, value in node.items() if key.endswith("href")
        ]
        assert links
        assert {link[1:] for link in links} <= known


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG\r\n\x1a\n"), ("pdf", b"%PDF-"), ("svg", b"<?xml")])
def test_a_picture_is_what_its_name_says_and_the_same_every_time(tmp_path, kind, start):
    panel = Panel("t", "er@10", {"a": [(0, 0.5), (1, math.nan)]})
    for name in ("first", "second"):
        plot_panels([panel], "epoch", tmp_path / f"{name}.{kind}")
    content = (tmp_path / f"first.{kind}").read_bytes()
    assert content.startswith(start)
    assert content == (tmp_path / f"second.{kind}").read_bytes()


def test_a_front_is_circled_and_joined(tmp_path):
    points = {"a": [(0.0, 0.1), (0.02, 0.5)], "b": [(0.01, 0.05)]}
    drawing = trades_drawing([Trade("t", "hit@10 lost", "er@10", points, [(0.0, 0.1), (0.02, 0.5)])])
    (axes,) = drawing.together().axes
    lines = [list(zip(*line.get_data(), strict=True)) for line in axes.lines]
    assert lines.count([(0.0, 0.1), (0.02, 0.5)]) == 3  # joined, drawn, circled
    assert [(0.01, 0.05)] in lines
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("hit@10 lost, %", "er@10, %")
    save(drawing.together(), tmp_path / "t.png")
    assert (tmp_path / "t.png").stat().st_size > 1000
