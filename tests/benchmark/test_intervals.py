"""Intervals, against statsmodels, scipy, a published table and resampling written out."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from recbole_attack.benchmark import intervals
from recbole_attack.benchmark.intervals import (
    bootstrap_interval,
    seed_intervals,
    t_interval,
    user_intervals,
    wilson_interval,
)
from recbole_attack.evaluator import Outcomes
from recbole_attack.utils.errors import ConfigError

SHARES = st.floats(0, 1).map(lambda value: round(value, 4))
ROWS = st.lists(SHARES, min_size=2, max_size=9)
HITS = st.lists(st.integers(0, 1), min_size=1, max_size=60)


@given(ROWS, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_over_seeds_it_is_students_around_the_mean(values, level):
    assume(np.ptp(values) > 0)
    found, expected = t_interval(values, level), DescrStatsW(values).tconfint_mean(1 - level)
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.low < found.estimate < found.high
    assert found.estimate == pytest.approx(sum(values) / len(values))
    assert found.n == len(values)


def test_students_interval_by_hand():
    """Four seeds, mean 0.5, deviation 0.1, quantile 3.1824 with three degrees of freedom."""
    values = 0.5 + 0.1 * np.array([-1, -1, 1, 1]) * math.sqrt(3) / 2
    assert t_interval(values) == pytest.approx((0.5, 0.5 - 0.15912, 0.5 + 0.15912, 4), abs=1e-5)


@given(ROWS, st.randoms())
def test_the_order_of_seeds_does_not_matter_nor_do_undefined_ones(values, random):
    assume(np.ptp(values) > 1e-3)
    shuffled = [*values, math.nan, None, math.inf]
    random.shuffle(shuffled)
    assert t_interval(np.array(shuffled, dtype=float)) == pytest.approx(t_interval(values), abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1 + 0.2, 1.0])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_without_spread_there_are_no_limits(value, count):
    found = t_interval([value] * count)
    assert found[::3] == (pytest.approx(value), count)
    assert math.isnan(found.low) and math.isnan(found.high)


@pytest.mark.parametrize("interval", [t_interval, wilson_interval, bootstrap_interval])
@pytest.mark.parametrize("values", [[], [math.nan], [math.nan, math.nan]])
def test_without_values_all_is_undefined(interval, values):
    *numbers, n = interval(values)
    assert all(math.isnan(number) for number in numbers) and n == 0


@pytest.mark.parametrize(
    ("hits", "users", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_as_published(hits, users, low, high):
    """Newcombe 1998, Two-sided confidence intervals for the single proportion, Table I, method 3."""
    found = wilson_interval([1] * hits + [0] * (users - hits))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert (found.estimate, found.n) == (hits / users, users)


@given(HITS, st.randoms())
def test_wilsons_limits_are_where_the_score_test_turns(hits, random):
    """At a limit p the share is 1.96 standard errors away, of the errors it would have were p true."""
    found, n = wilson_interval(hits), len(hits)
    for limit in (found.low, found.high):
        distance = abs(found.estimate - limit) / math.sqrt(max(limit * (1 - limit), 1e-300) / n)
        assert limit in (0, 1) or distance == pytest.approx(stats.norm.ppf(0.975), rel=1e-6)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert found.low < found.high, "a share of 0 or 1 has an interval as well"
    random.shuffle(hits)
    assert wilson_interval([*hits, math.nan]) == found


def test_a_share_is_of_hits():
    with pytest.raises(ValueError, match="0 or 1"):
        wilson_interval([0, 0.5, 1])


# Bootstrap


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_over_users_it_is_the_percentile_bootstrap(level):
    gains = np.random.default_rng(1).gamma(0.4, 0.3, size=200)
    rng = np.random.default_rng(2)
    expected = stats.bootstrap(
        (gains,), np.mean, n_resamples=6000, confidence_level=level, method="percentile", rng=rng
    ).confidence_interval
    found = bootstrap_interval(gains, level, resamples=6000)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.003)
    assert (found.estimate, found.n) == (pytest.approx(gains.mean()), 200)


def made_exposures(users=80, targets=4, seed=5):
    """Targets of unlike exposure, and for each of them some users who do not count."""
    rng = np.random.default_rng(seed)
    shown = (rng.random((users, targets)) < np.linspace(0.2, 0.8, targets)).astype(float)
    return np.where(rng.random((users, targets)) < 0.3, np.nan, shown)


def test_over_users_and_targets_both_are_drawn():
    """The same, by copying rows and columns."""
    values, rng, drawn = made_exposures(), np.random.default_rng(3), []
    for _ in range(4000):
        table = values[rng.integers(80, size=80)][:, rng.integers(4, size=4)]
        drawn.append(np.nanmean(table, axis=0).mean())
    found = bootstrap_interval(values, resamples=4000)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.015)
    assert found.estimate == pytest.approx(np.nanmean(values, axis=0).mean())
    users_only = bootstrap_interval(pd.DataFrame(values).mean(axis=1))
    assert found.high - found.low > 2 * (users_only.high - users_only.low), "few targets say little about others"


def test_users_and_targets_that_never_count_are_left_out():
    values = made_exposures()
    padded = np.full((83, 6), np.nan)
    padded[:80, [0, 1, 3, 5]] = values
    assert bootstrap_interval(padded, resamples=50) == bootstrap_interval(values, resamples=50)


def test_what_is_drawn_depends_on_the_seed_alone():
    values = made_exposures()
    assert bootstrap_interval(values, resamples=50) == bootstrap_interval(values, resamples=50)
    assert bootstrap_interval(values, resamples=50) != bootstrap_interval(values, resamples=50, seed=1)


@pytest.mark.parametrize("shape", [(1,), (5,), (1, 1), (6, 3)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_saturated_exposure_has_no_limits(shape, value):
    found = bootstrap_interval(np.full(shape, value))
    assert (found.estimate, found.n) == (value, shape[0])
    assert math.isnan(found.low) and math.isnan(found.high)


def test_saturated_targets_that_differ_have_limits():
    found = bootstrap_interval(np.array([[0.0, 1.0]] * 5))
    assert (found.estimate, found.low, found.high) == (0.5, 0.0, 1.0)


@pytest.mark.parametrize("targets", [1, 3])
def test_intervals_of_an_arm_are_those_of_its_users(targets):
    rng = np.random.default_rng(8)
    ranks = rng.integers(1, 40, size=(50, targets + 1))
    outcomes = Outcomes(np.arange(50), ranks[:, 0], ranks[:, 1:], rng.random((50, targets)) < 0.7)
    found = user_intervals(outcomes, k=10, level=0.9)
    assert found["hit@10"] == wilson_interval(ranks[:, 0] <= 10, 0.9)
    gains = [1 / math.log2(rank + 1) if rank <= 10 else 0 for rank in ranks[:, 0]]
    assert found["ndcg@10"] == bootstrap_interval(gains, 0.9)
    shown = outcomes.exposures(10)
    assert found["er@10"] == (wilson_interval(shown[:, 0], 0.9) if targets == 1 else bootstrap_interval(shown, 0.9))


# Frames


def made_frame(rows):
    return pd.DataFrame(rows, columns=["run", "arm", "protocol", "metric", "seed", "value"])


def test_a_frame_is_averaged_over_its_seeds():
    values = {"b": [0.2, 0.4, 0.9], "a": [0.5, math.nan, 0.5]}
    rows = [[run, "attacked", "configured", "er@10", seed, v] for run in values for seed, v in enumerate(values[run])]
    found = seed_intervals(made_frame(rows))
    assert found["run"].tolist() == ["b", "a"]
    for run, row in zip(values, found.itertuples(), strict=True):
        expected = t_interval(values[run])
        assert (row.mean, row.low, row.high, row.seeds) == pytest.approx(expected, nan_ok=True)
    assert seed_intervals(made_frame([])).empty


def test_what_is_not_told_apart_is_refused():
    rows = [[run, "attacked", "configured", "er@10", 1, 0.5] for run in ("a", "b")]
    with pytest.raises(ConfigError, match="one value of each seed for metric er@10: found several of seed 1"):
        seed_intervals(made_frame(rows), by=["metric"])


def test_examples():
    failed, tried = doctest.testmod(intervals)
    assert failed == 0 < tried
