"""The dose at which exposure reaches a level, by hand, by simulation, and censored."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.benchmark import dose as module
from recbole_attack.benchmark.dose import Dose, dose_for, doses
from recbole_attack.utils.errors import DataError

SHARES = [0.001, 0.005, 0.01, 0.05]
RUNS = st.lists(
    st.tuples(st.sampled_from(SHARES), st.integers(0, 20).map(lambda value: value / 20)), min_size=1, max_size=16
)


def repeated(*curves):
    """Shares and exposures of one run for each share and seed."""
    return SHARES * len(curves), [value for curve in curves for value in curve]


def test_the_dose_lies_on_a_line_over_the_logarithm_of_the_share():
    """From 0.2 at 0.5 % to 0.8 at 1 % one half is half way: at the geometric mean."""
    found = dose_for(*repeated([0.0, 0.1, 0.7, 1.0], [0.0, 0.3, 0.9, 1.0]))
    assert found.estimate == pytest.approx(math.sqrt(0.005 * 0.01))
    assert (found.smallest, found.largest, found.seeds) == (0.001, 0.05, 2)
    assert dose_for(*repeated([0.0, 0.1, 0.7, 1.0]), level=0.25).estimate == pytest.approx(0.005 * 2**0.25)


def test_what_falls_again_is_made_monotone():
    """0.9 and 0.3 are both 0.6, reached from 0.1 at four fifths of the way to one half."""
    found = dose_for(*repeated([0.1, 0.9, 0.3, 1.0]))
    assert found.estimate == pytest.approx(0.001 * 5**0.8)
    weighted = dose_for([*SHARES, 0.01, 0.01], [0.1, 0.9, 0.3, 1.0, 0.3, 0.3])
    pooled = (0.9 + 3 * 0.3) / 4
    assert weighted.estimate == pytest.approx(math.exp(np.interp(0.5, [pooled, 1.0], np.log([0.01, 0.05]))))


def test_limits_are_the_shares_at_which_the_side_is_sure():
    """Of two seeds Student's quantile is 12.7: values 0.02 apart are sure to within 0.13."""
    found = dose_for(*repeated([0.0, 0.29, 0.45, 0.7], [0.02, 0.31, 0.65, 0.72]))
    assert (found.low, found.high) == (0.005, 0.05)
    found = dose_for(*repeated([0.0, 0.2, 0.45, 0.7], [0.02, 0.6, 0.65, 0.9]))
    assert (found.low, found.high) == (0.001, np.inf)


def test_a_jump_between_two_shares_is_known_no_better_than_that():
    found = dose_for(*repeated([0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]))
    assert (found.low, found.high) == (0.005, 0.01)
    assert str(found) == "0.71 % (0.5 to 1 %)"


@pytest.mark.parametrize(
    ("curves", "estimate", "low", "high", "words"),
    [
        ([[0, 0, 0.1, 0.2]] * 3, np.inf, 0.05, np.inf, "above 5 % (at least 5 %)"),
        ([[0, 0, 0.1, 0.2], [0, 0, 0.1, 0.7]], np.inf, 0.01, np.inf, "above 5 % (at least 1 %)"),
        ([[0.6, 0.8, 1, 1]] * 3, 0.0, 0.0, 0.001, "below 0.1 % (at most 0.1 %)"),
        ([[0.2, 0.8, 1, 1], [0.9, 0.8, 1, 1]], 0.0, 0.0, 0.005, "below 0.1 % (at most 0.5 %)"),
        ([[0.5, 0.8, 1, 1]] * 2, 0.001, 0.0, 0.001, "0.1 % (at most 0.1 %)"),
        ([[0.1, 0.3, 0.4, 0.6], [0.7, 0.6, 0.2, 0.9]], None, 0.0, np.inf, None),
    ],
)
def test_doses_outside_the_tested_shares_are_censored(curves, estimate, low, high, words):
    found = dose_for(*repeated(*curves))
    assert (found.low, found.high) == (low, high)
    assert estimate is None or found.estimate == estimate
    assert str(found) == (words or f"{100 * found.estimate:.2g} %")


def test_one_seed_has_an_estimate_and_no_interval():
    found = dose_for(*repeated([0.0, 0.0, 0.5, 1.0]))
    assert found.estimate == pytest.approx(0.01)
    assert math.isnan(found.low) and math.isnan(found.high) and found.seeds == 1
    assert str(found) == "1 %"


def test_a_share_with_one_seed_is_sure_of_nothing():
    found = dose_for([*SHARES, 0.001, 0.05], [0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    assert (found.low, found.high, found.seeds) == (0.001, 0.05, 1)


@pytest.mark.parametrize("exposures", [[], [math.nan, math.nan]])
def test_without_values_there_is_no_dose(exposures):
    found = dose_for([0.01] * len(exposures), exposures)
    assert all(math.isnan(number) for number in found[:5]) and found.seeds == 0
    assert str(found) == "-"


def test_undefined_runs_do_not_count():
    shares, exposures = repeated([0.0, 0.1, 0.7, 1.0], [0.0, 0.3, 0.9, 1.0])
    assert dose_for([*shares, 0.001, 0.2], [*exposures, math.nan, math.nan]) == dose_for(shares, exposures)


@pytest.mark.parametrize("share", [0.0, -0.1, math.nan])
def test_a_dose_has_a_logarithm(share):
    with pytest.raises(ValueError, match="above 0"):
        dose_for([share], [0.5])


@given(RUNS, st.sampled_from([0.1, 0.5, 0.9]), st.randoms())
def test_the_interval_holds_the_estimate_and_runs_may_come_in_any_order(runs, level, random):
    found = dose_for(*zip(*runs, strict=True), level=level)
    assert math.isnan(found.low) or found.low <= found.estimate <= found.high
    assert found.estimate in (0, np.inf) or found.smallest <= found.estimate <= found.largest
    random.shuffle(runs)
    assert dose_for(*zip(*runs, strict=True), level=level) == pytest.approx(found, nan_ok=True)


@given(RUNS)
def test_more_exposure_takes_a_larger_dose(runs):
    estimates = [dose_for(*zip(*runs, strict=True), level=level).estimate for level in (0.2, 0.4, 0.6, 0.8)]
    assert estimates == sorted(estimates)


def test_the_interval_covers_the_dose_as_often_as_it_says():
    """A response that is no line: three seeds, the dose between two shares and on one of them."""
    rng = np.random.default_rng(4)
    for true in (0.003, 0.005):
        mean = 1 / (1 + (np.array(SHARES) / true) ** -1.5)
        found = [dose_for(*repeated(*rng.normal(mean, 0.1, size=(3, 4)))) for _ in range(300)]
        covered = np.mean([dose.low <= true <= dose.high for dose in found])
        assert covered > 0.93, "of 300 intervals of 95 % fewer than 93 % cover once in twenty times at worst"
        assert np.mean([dose.low > 0 and dose.high < np.inf for dose in found]) > 0.5, "and they say something"


def test_doses_of_a_frame():
    rows = []
    for attack, curves in {"eb": ([0, 0, 1, 1], [0, 0, 1, 1]), "ra": ([0, 0, 0, 0.1],)}.items():
        for seed, curve in enumerate(curves):
            for share, value in zip(SHARES, curve, strict=True):
                rows += [
                    [attack, share, "attacked", "configured", "er@10", seed, value],
                    [attack, share, "clean", "configured", "er@10", seed, 0.5],
                    [attack, share, "attacked", "full", "er@10", seed, 0.5],
                    [attack, share, "attacked", "configured", "er@5", seed, 0.5],
                ]
    rows.append(["none", 0.0, "clean", "configured", "er@10", 0, 0.0])
    frame = pd.DataFrame(rows, columns=["attack", "malicious_share", "arm", "protocol", "metric", "seed", "value"])
    found = doses(frame).set_index("attack")
    assert found.index.tolist() == ["eb", "ra"]
    assert list(found.columns) == list(Dose._fields)
    assert found.loc["eb"].tolist() == pytest.approx(dose_for(*repeated([0, 0, 1, 1], [0, 0, 1, 1])))
    assert found.loc["ra", "estimate"] == np.inf


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("malicious_share", [0.001, 0.001, np.nan], "runs that do not say it"),
        ("malicious_ratio", [0.001, 0.0015, 0.01], "several that come to as many clients"),
    ],
)
def test_shares_that_are_not_known_or_not_one_are_refused(column, values, found):
    frame = pd.DataFrame({"value": [0.1, 0.2, 0.9], "arm": "attacked", "protocol": "configured", "metric": "er@10"})
    frame = frame.assign(attack="eb", malicious_share=[0.001, 0.001, 0.01], malicious_ratio=[0.001, 0.001, 0.01])
    assert len(doses(frame)) == 1
    with pytest.raises(DataError, match=found):
        doses(frame.assign(**{column: values}))


def test_examples():
    failed, tried = doctest.testmod(module)
    assert failed == 0 < tried
