"""Curves over shares and epochs, and fronts of exposure against its cost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.report.cells import cells, estimate
from recbole_attack.report.curves import epoch_panels, front, line_names, share_panels, trades


def test_exposure_over_shares_in_order_with_bands_where_there_are_seeds(made):
    records = [
        made(er=0.75, malicious_ratio=0.1),
        made(er=0.25, malicious_ratio=0.01),
        made(er=0.35, malicious_ratio=0.01, seed=2021),
        made("eb", er=0.5, malicious_ratio=0.1),
    ]
    (panel,) = share_panels(cells(records))
    assert panel.lines == {"dvfsr": [(0.01, pytest.approx(0.3)), (0.1, 0.75)], "eb": [(0.1, 0.5)]}
    low, high = (round(bound, 9) for bound in panel.bands["dvfsr"][0][1:])
    assert (low, high) == (0, round(0.3 + estimate([0.25, 0.35]).margin, 9))
    assert all(math.isnan(bound) for bound in panel.bands["dvfsr"][1][1:])
    assert "eb" not in panel.bands


def test_a_single_share_makes_no_curve(made):
    assert share_panels(cells([made(), made("eb"), made("none")])) == []


def test_exposure_over_epochs_is_the_mean_of_the_epochs_all_seeds_have(made):
    records = [made(course=(0.0, 0.5, 0.25)), made(course=(0.5, 0.5), seed=2021), made("none", course=(0.5, 0.5))]
    (panel,) = epoch_panels(cells(records))
    assert panel.lines == {"dvfsr": [(0, 0.25), (1, 0.5)]}
    (_, low, high), (_, *alike) = panel.bands["dvfsr"]
    assert (low, high) == (0, pytest.approx(min(0.25 + estimate([0.0, 0.5]).margin, 1)))
    assert all(map(math.isnan, alike)), "two values that are alike say nothing about how far they are off"


def test_panels_over_epochs_are_as_few_as_can_be(made):
    course = (0.25, 0.5)
    shares = [made(course=course, malicious_ratio=share) for share in (0.1, 0.01)]
    (panel,) = epoch_panels(cells(shares))
    assert list(panel.lines) == ["1 %", "10 %"]
    (panel,) = epoch_panels(cells([made(attack, course=course) for attack in ("dvfsr", "eb", "ra")]))
    assert list(panel.lines) == ["dvfsr", "eb", "ra"]


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_point_beats(points):
    def beaten(point):
        return any(o != point and o[0] <= point[0] and o[1] >= point[1] for o in points)

    assert front(points) == sorted({point for point in points if not beaten(point)})


def test_a_point_of_a_trade_is_of_the_same_seeds_on_both_axes(made):
    twin = made("none", hit=0.5)
    rows = {"a": [made(hit=0.25, attack_weight=9), made(hit=0.5, seed=2021, attack_weight=9)], "none": [twin]}
    assert trades(cells(rows)) == []
    rows["none"].append(made("none", hit=0.5, seed=2021))
    assert trades(cells(rows))[0].points


def test_a_trade_has_every_row_with_a_clean_twin_by_its_line(made):
    records = [
        made(er=0.5, hit=0.25, clean=(0.5, 0.0)),
        made("eb", er=0.25, hit=0.5, clean=(0.5, 0.0)),
        made("ra", er=0.125, data="elsewhere"),
    ]
    found = cells(records)
    (trade,) = trades(found)
    assert trade.points == {"dvfsr": [(0.25, 0.5)], "eb": [(0.0, 0.25)]}
    assert trade.front == [(0.0, 0.25), (0.25, 0.5)]
    assert line_names(found) == ["dvfsr", "eb", "ra"]
    assert trades(cells(records[2:])) == []
