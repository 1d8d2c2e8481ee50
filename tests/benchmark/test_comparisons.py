"""Paired tests, effect sizes and Holm, against scipy, statsmodels and published examples."""

from __future__ import annotations

import doctest
import gc
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.weightstats import DescrStatsW

from recbole_attack.benchmark import comparisons as module
from recbole_attack.benchmark.comparisons import compare, comparisons, holm, users_frame
from recbole_attack.evaluator import Outcomes
from recbole_attack.utils.errors import ConfigError

VALUES = st.integers(0, 1000).map(lambda value: value / 1000)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=7)  # ties are permuted, which takes long
P_VALUES = st.lists(st.one_of(st.floats(1e-12, 1), st.just(math.nan)), max_size=9)
UNDEFINED = ("low", "high", "t", "t_p", "wilcoxon_p", "d_z", "rank_biserial")

# Demšar 2006, Statistical comparisons of classifiers over multiple data sets, JMLR 7: Table 2, C4.5 and C4.5+m
C45 = [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.000, 0.940, 0.619, 0.972, 0.957]
C45_M = [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.000, 0.962, 0.666, 0.981, 0.978]


@pytest.fixture(scope="module", autouse=True)
def _nothing_to_collect():
    """Statsmodels collects garbage with every call of Holm's: what other tests left does not have to be looked at."""
    gc.freeze()
    yield
    gc.unfreeze()


@given(PAIRS)
def test_it_is_students_test_with_its_interval(pairs):
    first, second = np.array(pairs).T
    assume(np.ptp(first - second) > 1e-6)
    found, expected = compare(first, second), stats.ttest_rel(first, second)
    assert (found.t, found.t_p) == pytest.approx((expected.statistic, expected.pvalue))
    assert (found.low, found.high) == pytest.approx(DescrStatsW(first - second).tconfint_mean(), abs=1e-9)
    assert found.d_z == pytest.approx((first - second).mean() / (first - second).std(ddof=1))
    assert found.pairs == len(pairs)


@given(st.lists(st.tuples(st.integers(0, 943), st.integers(0, 943)), min_size=2, max_size=7))
def test_shares_of_users_in_six_decimals_have_the_ranks_of_their_numbers(pairs):
    first, second = np.array(pairs).T
    assume(len(set(first - second)) > 1)
    found, whole = (compare(*of) for of in ((np.round(first / 943, 6), np.round(second / 943, 6)), (first, second)))
    assert (found.wilcoxon_p, found.rank_biserial) == pytest.approx((whole.wilcoxon_p, whole.rank_biserial))


@given(PAIRS)
def test_it_is_wilcoxons_test_of_differences_without_rounding_errors(pairs):
    """In thousandths, so that what is equal stays so."""
    first, second = (np.array(pairs) * 1000).round().astype(int).T
    moved = (first - second)[first != second]
    assume(len(moved))
    found = compare(first / 1000, second / 1000)
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(moved).pvalue)
    in_favour = stats.wilcoxon(moved, alternative="greater").statistic
    whole = len(moved) * (len(moved) + 1) / 2
    assert found.rank_biserial == pytest.approx(2 * in_favour / whole - 1)


def test_a_published_comparison():
    """Demšar gives rank sums of 93 and 12, zeros split among them: 71.5 and 6.5 of 78 without the two zeros."""
    found = compare(C45_M, C45)
    assert found.rank_biserial == pytest.approx((71.5 - 6.5) / 78)
    assert found.wilcoxon_p < 0.05
    assert found.difference == pytest.approx(np.mean(C45_M) - np.mean(C45))


def test_on_hits_of_users_wilcoxon_is_mcnemar_and_the_difference_is_one_of_risks():
    """Users who are hit by both, one, the other, none."""
    counts = {(1, 1): 40, (1, 0): 25, (0, 1): 9, (0, 0): 126}
    first, second = np.repeat(np.array(list(counts)), list(counts.values()), axis=0).T
    found = compare(first, second)
    expected = mcnemar([[40, 25], [9, 126]], exact=False, correction=False)
    assert found.wilcoxon_p == pytest.approx(expected.pvalue)
    assert found.difference == pytest.approx(65 / 200 - 49 / 200)
    assert found.rank_biserial == pytest.approx((25 - 9) / (25 + 9))


@given(PAIRS, st.randoms())
def test_pairs_and_rows_can_be_exchanged(pairs, random):
    first, second = np.array(pairs).T
    found, swapped = compare(first, second), compare(second, first)
    assert swapped.difference == pytest.approx(-found.difference)
    for name in ("t", "d_z", "rank_biserial"):
        assert getattr(swapped, name) == pytest.approx(-getattr(found, name), nan_ok=True)
    assert swapped.wilcoxon_p == pytest.approx(found.wilcoxon_p, nan_ok=True)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low), nan_ok=True)
    random.shuffle(pairs)
    assert compare(*np.array(pairs).T) == pytest.approx(found, nan_ok=True, rel=1e-6)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=6))
def test_undefined_numbers_are_nan_and_no_p_value_is_0(pairs):
    first, second = np.array(pairs).reshape(-1, 2).T
    found = compare(first, second)
    assert found.pairs == len(pairs)
    for p_value in (found.t_p, found.wilcoxon_p):
        assert math.isnan(p_value) or 0 < p_value <= 1
    assert math.isnan(found.rank_biserial) or -1 <= found.rank_biserial <= 1
    assert math.isnan(found.low) or found.low <= found.difference <= found.high


@pytest.mark.parametrize("first", [[], [0.3], [0.5, 0.5, 0.5]])
def test_without_differences_nothing_is_defined_but_their_number(first):
    found = compare(first, first)
    assert (found.pairs, found.difference) == (len(first), pytest.approx(0 if first else math.nan, nan_ok=True))
    assert all(math.isnan(getattr(found, name)) for name in UNDEFINED)


def test_saturated_rows_differ_without_spread():
    found = compare([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    assert (found.difference, found.wilcoxon_p, found.rank_biserial) == (1.0, 0.25, 1.0)
    assert all(math.isnan(getattr(found, name)) for name in ("low", "high", "t", "t_p", "d_z"))


def test_a_p_value_too_small_for_a_number_is_not_0():
    found = compare(np.ones(3000), np.r_[np.zeros(2999), 1])
    assert 0 < found.t_p < 1e-300 and 0 < found.wilcoxon_p < 1e-300


def test_undefined_values_take_their_pair_with_them():
    found = compare([0.9, None, 0.7, 0.8, 0.1], [0.5, 0.4, 0.5, 0.5, math.nan])
    assert found == compare([0.9, 0.7, 0.8], [0.5, 0.5, 0.5])


# Holm


def test_holm_as_published():
    """Demšar 2006, section 3.2.2: of 0.016, 0.019 and 0.607 Holm rejects two at 0.05, Bonferroni and Dunn but one."""
    ranks, error = np.array([1.964, 2.000, 2.893]), math.sqrt(4 * 5 / (6 * 14))
    p_values = 2 * stats.norm.sf((3.143 - ranks) / error)
    assert p_values == pytest.approx([0.016, 0.019, 0.607], abs=1.5e-3)
    assert (holm(p_values) <= 0.05).tolist() == [True, True, False]
    assert holm([0.016, 0.019, 0.607]) == pytest.approx([0.048, 0.048, 0.607])
    assert (3 * p_values <= 0.05).tolist() == [True, False, False]


@given(P_VALUES, st.randoms())
def test_holm_steps_down_from_the_smallest(p_values, random):
    """Literally: a hypothesis falls at a level if all smaller ones do and it is below the level by what is left."""
    adjusted = holm(p_values)
    tested = sorted(p for p in p_values if not math.isnan(p))
    for p, found in zip(p_values, adjusted, strict=True):
        if math.isnan(p):
            assert math.isnan(found)
            continue
        steps = [min(1, (len(tested) - i) * smaller) for i, smaller in enumerate(tested) if smaller <= p]
        assert found == pytest.approx(max(steps))
        assert p <= found <= 1
    order = list(range(len(p_values)))
    random.shuffle(order)
    assert holm([p_values[i] for i in order]) == pytest.approx(adjusted[order], nan_ok=True)
    known = [(p, found) for p, found in zip(p_values, adjusted, strict=True) if not math.isnan(p)]
    assert [found for _, found in sorted(known)] == sorted(found for _, found in known)


# Frames


def tidy(values, arm="attacked", metric="er@10", unit="seed"):
    rows = [(run, arm, "configured", metric, name, v) for run in values for name, v in values[run].items()]
    return pd.DataFrame(rows, columns=["run", "arm", "protocol", "metric", unit, "value"])


THREE = {
    "dvfsr": {1: 0.9, 2: 0.7, 3: 0.8, 4: 0.6},
    "eb": {4: 0.1, 3: 0.2, 2: 0.3, 9: 0.9},
    "ra": {1: 0.1, 2: 0.1, 3: 0.1},
}


def test_rows_are_compared_over_the_seeds_they_share():
    frame = pd.concat([tidy(THREE), tidy(THREE, metric="hit@10"), tidy({"eb": {2: 0.5}}, arm="clean")])
    found = comparisons(frame, [("dvfsr", "eb"), ("eb", "ra")], metrics=["er@10"])
    assert found[["first", "second", "metric", "pairs"]].values.tolist() == [
        ["dvfsr", "eb", "er@10", 3],
        ["eb", "ra", "er@10", 2],
    ]
    expected = [compare([0.7, 0.8, 0.6], [0.3, 0.2, 0.1]), compare([0.3, 0.2], [0.1, 0.1])]
    for row, comparison in zip(found.itertuples(), expected, strict=True):
        assert [getattr(row, name) for name in comparison._fields] == pytest.approx(comparison)
    assert found["t_p_holm"].tolist() == pytest.approx(holm([e.t_p for e in expected]).tolist())
    assert found["wilcoxon_p_holm"].tolist() == pytest.approx(holm([e.wilcoxon_p for e in expected]).tolist())


def test_all_that_is_compared_is_adjusted_for():
    frame = pd.concat([tidy(THREE), tidy(THREE, metric="hit@10")])
    found = comparisons(frame, [("dvfsr", "eb"), ("dvfsr", "ra")], metrics=["er@10", "hit@10"])
    assert len(found) == 4
    assert found["t_p_holm"].min() == pytest.approx(4 * found["t_p"].min())


def test_an_attack_is_compared_with_its_clean_twin():
    frame = pd.concat([tidy(THREE), tidy({"eb": {2: 0.5, 3: 0.5, 4: 0.5}}, arm="clean")])
    (found,) = comparisons(frame, [("eb", "eb")], ["er@10"], arms=("attacked", "clean")).itertuples()
    assert found.difference == pytest.approx(-0.3) and found.pairs == 3


def test_rows_without_a_seed_in_common_have_no_pairs():
    (found,) = comparisons(tidy({"a": {1: 0.5}, "b": {2: 0.5}}), [("a", "b")], ["er@10"]).itertuples()
    assert found.pairs == 0 and math.isnan(found.t_p_holm)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pairs": [("dvfsr", "ebb")]}, "unknown run 'ebb'.*did you mean 'eb'"),
        ({"metrics": ["er@1"]}, "unknown metric 'er@1'"),
        ({"arms": ("attacked", "clean")}, "unknown arm 'clean'"),
        ({"protocol": "ful"}, "unknown protocol 'ful'"),
    ],
)
def test_what_is_not_in_the_frame_is_an_error(changes, words):
    with pytest.raises(ConfigError, match=words):
        comparisons(tidy(THREE), **{"pairs": [("dvfsr", "eb")], "metrics": ["er@10"], **changes})


def test_two_values_of_a_seed_are_an_error():
    twice = pd.concat([tidy(THREE), tidy({"eb": {3: 0.4}})])
    with pytest.raises(ConfigError, match="run eb, arm attacked, metric er@10: found several of seed 3"):
        comparisons(twice, [("dvfsr", "eb")], ["er@10"])


def outcomes_of(users, seed):
    ranks = np.random.default_rng(seed).integers(1, 20, size=(len(users), 3))
    return Outcomes(np.array(users), ranks[:, 0], ranks[:, 1:], ranks[:, 1:] % 3 > 0)


def test_users_are_compared_with_themselves():
    users = [5, 3, 9, 4, 7, 8]
    first, other, second = outcomes_of(users, 1), outcomes_of(users, 2), outcomes_of([4, 3, 9, 11, 8, 7], 3)
    frame = users_frame({("a", "attacked"): [first, other], ("b", "attacked"): [second]})
    found = comparisons(frame, [("a", "b")], ["hit@10", "er@10"], unit="user").set_index("metric")

    def hit(outcomes, user):
        return float(outcomes.rank_truth[outcomes.user.tolist().index(user)] <= 10)

    common = [3, 4, 7, 8, 9]
    expected = compare([(hit(first, u) + hit(other, u)) / 2 for u in common], [hit(second, u) for u in common])
    assert found.loc["hit@10", list(expected._fields)].tolist() == pytest.approx(expected, nan_ok=True)
    exposed = frame[(frame["run"] == "b") & (frame["metric"] == "er@10")].set_index("user")["value"]
    for row, user in enumerate(second.user):
        counted = second.rank_target[row][second.eligible[row]]
        assert exposed[user] == pytest.approx((counted <= 10).mean() if len(counted) else math.nan, nan_ok=True)
    assert users_frame({}).empty


def test_examples():
    failed, tried = doctest.testmod(module)
    assert failed == 0 < tried
