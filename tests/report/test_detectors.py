"""What a report says of detectors: means over seeds of what records say, in every form of it."""

from __future__ import annotations

import pytest

from recbole_attack.report import latex, markdown, pages
from recbole_attack.report.cells import cells
from recbole_attack.report.detectors import detection_tables


def detecting(made, seed, precision, recall, **changes):
    """A record whose clients were judged: of a clean arm nobody is malicious, so there is nothing to recall."""
    watched = {"precision": precision, "recall": recall, "auroc": 0.75}
    unwatched = {"precision": 0.0, "recall": None, "auroc": None}
    record = made(seed=seed, clean=(0.4, 0.0), **changes)
    return {**record, "detection": {"attacked": {"top_row": watched}, "clean": {"top_row": unwatched}}}


@pytest.fixture
def found(made):
    rows = {"a": [detecting(made, 1, 0.25, 1.0), detecting(made, 2, 0.75, None)], "b": [made(attack="ra")]}
    return cells(rows)


def test_figures_are_means_over_the_seeds_that_have_one(found):
    (table,) = detection_tables(found)
    assert table.title == "Can the malicious clients be found?"
    assert table.head == ["row", "model", "detector", "precision", "recall", "auroc"]
    assert table.body == [
        ["a", "clean", "top_row", "0.0000", "-", "-"],
        ["a", "attacked", "top_row", "0.5000 ± 3.1766", "1.0000 (1 of 2 seeds)", "0.7500"],
    ]


def test_every_form_of_a_report_has_it_and_none_without_detectors(found, made):
    for text in (
        markdown.render(found, "title", "finding", {}),
        latex.render(found),
        pages.render(found, "title", "finding", {}),
    ):
        assert "Can the malicious clients be found?" in text and "0.5000" in text
    bare = cells({"b": [made(attack="ra")]})
    assert detection_tables(bare) == []
    for text in (markdown.render(bare, "t", "f", {}), latex.render(bare), pages.render(bare, "t", "f", {})):
        assert "be found?" not in text and 'id="detectors"' not in text
