"""Rows of figures: means, intervals, costs, and what must not be mixed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.report.cells import Estimate, cells, estimate, figure
from recbole_attack.report.record import check_record
from recbole_attack.utils.errors import DataError

SHARES = st.floats(0, 1, allow_subnormal=False)


@given(st.lists(SHARES, min_size=2, max_size=9))
def test_the_interval_is_scipys_for_the_mean_of_a_normal_sample(values):
    found = estimate([*values, None, math.nan])
    assert found.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert found.seeds == len(values)
    if scipy.stats.sem(values) > 1e-12:
        low, high = scipy.stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=scipy.stats.sem(values))
        assert found.margin == pytest.approx((high - low) / 2, abs=1e-9)
    else:
        assert found.margin is None or found.margin == pytest.approx(0, abs=1e-11)


def test_a_textbook_interval_over_three_seeds():
    # the 97.5 % quantile of t with two degrees of freedom is 4.303 in every table
    assert estimate([0.1, 0.2, 0.3]).margin == pytest.approx(4.303 * 0.1 / math.sqrt(3), abs=1e-4)


def test_one_seed_has_no_interval_and_no_seed_no_figure():
    assert estimate([0.5]) == Estimate(0.5, None, 1)
    assert estimate([None, math.nan, math.inf]) is None


@pytest.mark.parametrize(
    ("value", "metric", "seeds", "text"),
    [
        (Estimate(0.13804, 0.0125, 3), "er@10", 3, "13.80 ± 1.25"),
        (Estimate(0.2, 0.421, 3), "er@10", 3, "20.00 (0.00 to 62.10)"),
        (Estimate(0.9, 0.2, 2), "hit@10", 3, "90.00 (70.00 to 100.00) (2 of 3 seeds)"),
        (Estimate(0.2, 0.421, 3), "hit@10 lost", 3, "20.00 ± 42.10"),
        (Estimate(0.2, 0.421, 3), "ndcg@10", 3, "0.2000 ± 0.4210"),
        (Estimate(0.13804, None, 1), "ndcg@10", 1, "0.1380"),
        (Estimate(-0.00001, None, 1), "hit@10 lost", 1, "0.00"),
        (Estimate(0.5, 0.1, 2), "hit@10", 3, "50.00 ± 10.00 (2 of 3 seeds)"),
        (None, "er@10", 3, "-"),
    ],
)
def test_shares_are_written_in_per_cent_with_their_interval(value, metric, seeds, text):
    assert figure(value, metric, seeds) == text


def test_the_accuracy_lost_is_taken_seed_by_seed_from_the_own_clean_arm(made):
    records = [made(hit=hit, clean=(0.5, 0.0), seed=seed) for seed, hit in ((2021, 0.3), (2020, 0.4))]
    (row,) = cells({"a": records}).rows
    assert [record["seed"] for record in row.records] == [2020, 2021]
    assert row.figures["hit@10 lost"] == estimate([0.5 - 0.4, 0.5 - 0.3])


def test_an_arm_may_lack_all_but_its_test_metrics(made):
    """What a full ranking would say beside a sampled one is undefined then."""
    record = made(er=0.25, hit=0.3, clean=(0.5, 0.0), exposure_candidates=1000)
    bare = {arm: {"test_result": record[arm]["test_result"]} for arm in ("clean", "attacked")}
    check_record({**record, **bare}, "here")
    sampled, full = cells({"a": [{**record, **bare}]}).rows
    assert (sampled.ranking, full.ranking) == ("1000 sampled", "full")
    assert sampled.figures == cells({"a": [record]}).rows[0].figures
    assert set(full.figures.values()) == {None}


def test_a_clean_row_of_the_same_parameters_and_seed_is_the_twin(made):
    rows = {
        "attacked": [made(hit=0.3, seed=2020, attack_weight=9), made(hit=0.2, seed=2021, attack_weight=9)],
        "other data": [made("none", 0.0, 0.9, data="other")],
        "other rule": [made("none", 0.0, 0.8, aggregator="krum")],
        "twin": [made("none", 0.0, 0.5, malicious_ratio=0.01)],
    }
    found = {row.name: row for row in cells(rows).rows}
    assert found["attacked"].figures["hit@10 lost"] == Estimate(0.2, None, 1)
    assert all(found[name].figures["hit@10 lost"] is None for name in rows if name != "attacked")


@pytest.mark.parametrize(
    ("on", "off"),
    [
        ({"per_item": True}, {"per_item": False}),
        ({"client_defense": "adversarial_training"}, {"client_defense": "none"}),
        ({"clip_norm": 1.0}, {"clip_norm": None}),
    ],
    ids=str,
)
def test_a_clean_row_without_the_defence_is_no_twin(made, on, off):
    rows = {"attacked": [made(attack_weight=9, **on)], "none": [made("none", hit=0.5, **off)]}
    assert "hit@10 lost" not in cells(rows).metrics
    rows["twin"] = [made("none", hit=0.6, **on)]
    found = {row.name: row.figures["hit@10 lost"] for row in cells(rows).rows}
    assert found["attacked"].mean == pytest.approx(0.6 - 0.4)


def test_who_is_compromised_is_not_tested_so_that_a_run_with_all_users_is_no_twin(made):
    rows = {"attacked": [made(hit=0.4, malicious_clients="compromise")], "none": [made("none", hit=0.5)]}
    assert "hit@10 lost" not in cells(rows).metrics


def test_what_a_record_does_not_know_of_is_not_the_attacks(made):
    rows = {"attacked": [made(hit=0.4, pre_aggregator="nnm")], "none": [made("none", hit=0.5)]}
    assert "hit@10 lost" not in cells(rows).metrics


def test_who_is_malicious_changes_nothing_without_them(made):
    rows = {"attacked": [made(hit=0.4, malicious_seed=7)], "none": [made("none", hit=0.5, malicious_seed=None)]}
    assert cells(rows).rows[0].figures["hit@10 lost"].mean == pytest.approx(0.1)


def test_values_that_are_all_alike_have_no_interval():
    assert estimate([0.5, 0.5, 0.5]) == Estimate(0.5, None, 3)


def test_with_compromised_users_the_twin_leaves_out_the_same_ones(made):
    compromised = {"malicious_clients": "compromise"}
    rows = {"a": [made(**compromised)], "none": [made("none", malicious_ratio=0.01, **compromised)]}
    assert "hit@10 lost" not in cells(rows).metrics
    rows["none"] = [made("none", hit=0.5, **compromised)]
    assert cells(rows).rows[0].figures["hit@10 lost"].mean == pytest.approx(0.1)


def test_rows_under_sampled_rankings_come_once_more_under_the_full_one(made):
    sampled = made(exposure_candidates=1000, er=1.0, full=(0.1, 0.125))
    found = cells({"sampled": [sampled], "full": [made(er=0.5)]}).rows
    assert [(row.name, row.ranking, row.configured, row.figures["er@10"].mean) for row in found] == [
        ("sampled", "1000 sampled", True, 1.0),
        ("full", "full", True, 0.5),
        ("sampled", "full", False, 0.125),
    ]


def test_records_alone_are_told_apart_by_their_parameters(made):
    records = [made(a, seed=s, malicious_ratio=r) for a in ("dvfsr", "eb") for r in (0.01, 0.1) for s in (2020, 2021)]
    found = cells(records).rows
    assert [row.name for row in found] == ["dvfsr, 1 %", "dvfsr, 10 %", "eb, 1 %", "eb, 10 %"]
    assert all(row.seeds == 2 for row in found)


def test_an_undefined_figure_is_none_and_a_partly_defined_one_says_so(made):
    (row,) = cells({"a": [made(er=None), made(er=0.5, seed=2021)]}).rows
    assert figure(row.figures["er@10"], "er@10", row.seeds) == "50.00 (1 of 2 seeds)"


def test_a_failed_run_is_no_clean_one(made):
    failed = {**made(seed=2021), "attacked": None, "failed": {"arm": "attacked", "reason": "not finite"}}
    found = cells({"a": [made(), failed], "b": [failed]}, {"c": "out of memory"})
    assert [(row.name, row.seeds) for row in found.rows] == [("a", 1)]
    assert found.failures == {
        "c": "out of memory",
        "a, seed 2021": "arm 'attacked': not finite",
        "b, seed 2021": "arm 'attacked': not finite",
    }
    with pytest.raises(DataError, match="no finished run to report on: b, seed 2021: arm 'attacked': not finite"):
        cells({"b": [failed]})


def test_a_seed_that_was_run_twice_counts_once(made):
    (row,) = cells([made(), made()]).rows
    assert row.figures["er@10"] == Estimate(0.25, None, 1)
    with pytest.raises(DataError, match="row 'dvfsr' has seed 2020 twice with different results"):
        cells([made(), made(er=0.5)])


def test_records_of_different_schemas_are_refused(made):
    with pytest.raises(DataError, match=r"expected one schema, found 1 \(row 'a'\), 2 \(row 'b'\)"):
        cells({"a": [made()], "b": [{**made(), "schema": 2}]})


def test_other_cut_offs_and_metrics_are_shown_as_they_are(made):
    record = made()
    record["attacked"]["test_result"] = {"recall@7": 0.1, "hit@7": 0.2, "er@7": 0.3}
    found = cells([record])
    assert (found.metrics, found.exposure) == (("recall@7", "hit@7", "er@7"), "er@7")
