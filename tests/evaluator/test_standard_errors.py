"""Standard errors against the binomial, scipy's, statsmodels' clusters, and users drawn again and again."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from recbole_attack.evaluator import standard_errors
from recbole_attack.evaluator.exposure import exposure_ratio, exposure_share, target_ndcg

K, N_ITEMS = 5, 12


@st.composite
def outcomes(draw, min_users=1):
    """Ranks of the item to predict and of up to three targets, and who counts, for up to ten users."""
    users, targets = draw(st.integers(min_users, 10)), draw(st.integers(1, 3))
    ranks = arrays.arrays(np.int64, (users, 1 + targets), elements=st.integers(1, N_ITEMS))
    drawn = draw(ranks)
    return drawn[:, 0], drawn[:, 1:], draw(arrays.arrays(bool, (users, targets)))


def gains(ranks):
    return np.where(ranks <= K, 1 / np.log2(ranks + 1), 0.0)


@given(outcomes(min_users=2))
def test_accuracy_has_the_error_of_a_mean(case):
    truth, *rest = case
    found = standard_errors(["hit@5", "recall@5", "ndcg@5", "mrr@5", "map@5"], truth, *rest)
    share = (truth <= K).mean()
    assert found["hit@5"] == pytest.approx(np.sqrt(share * (1 - share) / (len(truth) - 1)))
    assert found["recall@5"] == found["hit@5"]
    assert found["ndcg@5"] == pytest.approx(stats.sem(gains(truth)))
    assert found["mrr@5"] == found["map@5"] == pytest.approx(stats.sem(np.where(truth <= K, 1 / truth, 0)))


def clustered(values, eligible):
    """The mean of the targets' coefficients in a regression on targets, users as clusters."""
    user, target = np.nonzero(eligible)
    design = np.eye(eligible.shape[1])[target][:, eligible.any(axis=0)]
    clusters = {"groups": user, "use_correction": False}
    covariance = sm.OLS(values[user, target], design).fit(cov_type="cluster", cov_kwds=clusters).cov_params()
    n, weights = len(np.unique(user)), np.full(design.shape[1], 1 / design.shape[1])
    return np.sqrt(max(n / (n - 1) * weights @ covariance @ weights, 0.0))  # rounded, it may fall below


@given(outcomes(min_users=2))
def test_exposure_has_the_error_of_clusters_of_users(case):
    truth, ranks, eligible = case
    found = standard_errors(["er@5", "target_ndcg@5"], truth, ranks, eligible)
    if eligible.any(axis=1).sum() < 2:
        assert found == {}
        return
    assert found["er@5"] == pytest.approx(clustered((ranks <= K).astype(float), eligible), abs=1e-7)
    assert found["target_ndcg@5"] == pytest.approx(clustered(gains(ranks), eligible), abs=1e-7)


@given(outcomes(min_users=2))
def test_one_target_has_the_binomials_error(case):
    truth, ranks, eligible = (part[..., :1] if part.ndim == 2 else part for part in case)
    exposed = (ranks <= K)[eligible]
    found = standard_errors(["er@5"], truth, ranks, eligible).get("er@5")
    expected = stats.sem(exposed.astype(float)) if len(exposed) > 1 else None
    assert found == (expected if expected is None else pytest.approx(expected))


@given(outcomes(min_users=2))
def test_a_share_of_the_largest_exposure_is_as_uncertain_as_the_exposure(case):
    truth, ranks, eligible = case
    found = standard_errors(["er@1", "exposure_share@1"], truth, ranks, eligible)
    assert found.keys() <= {"er@1", "exposure_share@1"}
    if found and exposure_ratio(ranks, eligible, 1):
        scale = exposure_share(ranks, eligible, 1) / exposure_ratio(ranks, eligible, 1)
        assert found["exposure_share@1"] == pytest.approx(scale * found["er@1"])


@given(outcomes(), st.randoms(use_true_random=False))
def test_groups_are_measured_as_if_they_were_all_there_is(case, random):
    truth, ranks, eligible = case
    inside = np.array([random.random() < 0.5 for _ in truth])
    names = ["hit@5", "ndcg@5", "er@5", "target_ndcg@5", "exposure_share@5"]
    for side, rows in (("in", inside), ("out", ~inside)):
        whole = standard_errors(names, truth[rows], ranks[rows], eligible[rows])
        grouped = [name.replace("@", f"_{side}@") for name in names]
        part = standard_errors(grouped, truth, ranks, eligible, inside)
        assert part == {name.replace("@", f"_{side}@"): value for name, value in whole.items()}
    assert standard_errors(["hit_out@5"], truth, ranks, eligible) == {}, "everybody is inside"


def test_users_drawn_again_vary_as_much():
    """Many evaluations of other users of the same kind: their spread is what one of them says it is."""
    rng = np.random.default_rng(0)
    names, measured, claimed = ["hit@5", "ndcg@5", "er@5", "target_ndcg@5"], [], []
    for _ in range(2000):
        taste = rng.random((60, 1)) < 0.3  # users who are shown one target are shown the others
        ranks = np.where(taste, rng.integers(1, 7, (60, 3)), rng.integers(3, N_ITEMS, (60, 3)))
        truth, eligible = rng.integers(1, N_ITEMS, 60), rng.random((60, 3)) < [0.9, 0.5, 0.2]
        values = (exposure_ratio(ranks, eligible, K), target_ndcg(ranks, eligible, K))
        measured.append([(truth <= K).mean(), gains(truth).mean(), *values])
        errors = standard_errors(names, truth, ranks, eligible)
        claimed.append([errors[name] for name in names])
    spread, said = np.std(measured, axis=0, ddof=1), np.sqrt(np.mean(np.square(claimed), axis=0))
    assert said == pytest.approx(spread, rel=0.06)


def test_what_is_no_mean_over_users_has_no_error():
    truth, ranks, eligible = np.array([1, 9]), np.array([[1], [9]]), np.ones((2, 1), dtype=bool)
    assert (
        standard_errors(["invisibility", "invisibility@5", "itemcoverage@5", "precision@5"], truth, ranks, eligible)
        == {}
    )
    assert standard_errors(["hit@5", "er@5"], truth[:1], ranks[:1], eligible[:1]) == {}, "one user"
    assert standard_errors(["hit@5"], truth[:0], ranks[:0], eligible[:0]) == {}
