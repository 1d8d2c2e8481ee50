"""Components of variance: the formulas written out, REML, and data made with known components."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from recbole_attack.benchmark.variance import FACTORS, variance_components
from recbole_attack.utils.errors import DataError


def made(levels, deviations, seed=0, repeats=1):
    """Crossed effects of every subset of factors, and a residual; names of factors as formulas would misread them."""
    rng, shape = np.random.default_rng(seed), (*levels.values(), repeats)
    values = rng.normal(0.5, deviations["residual"], size=shape)
    for term, deviation in deviations.items():
        if term != "residual":
            inside = [name in term.split(":") for name in levels]
            size = [n if there else 1 for n, there in zip(levels.values(), inside, strict=True)]
            values = values + rng.normal(0, deviation, size=(*size, 1))
    rows = [
        [*(f"{name} {i}" for name, i in zip(levels, place, strict=False)), values[place]]
        for place in itertools.product(*map(range, shape))
    ]
    return pd.DataFrame(rows, columns=[*levels, "value"]).sample(frac=1, random_state=1)


def variances(frame, factors):
    return variance_components(frame, factors).set_index("source")["variance"].to_dict()


def test_two_factors_by_hand():
    """Rows 1, 2 and 4, 9: means 1.5 and 6.5, 2.5 and 5.5, overall 4."""
    frame = pd.DataFrame({"t": [0, 0, 1, 1], "s": [0, 1, 0, 1], "value": [1.0, 2.0, 4.0, 9.0]})
    found = variance_components(frame, ["t", "s"])
    assert found["source"].tolist() == ["t", "s", "residual"]
    assert found["df"].tolist() == [1, 1, 1]
    assert found["mean_square"].tolist() == pytest.approx([25.0, 9.0, 4.0])
    assert found["variance"].tolist() == pytest.approx([10.5, 2.5, 4.0])
    assert found["share"].tolist() == pytest.approx([10.5 / 17, 2.5 / 17, 4 / 17])


def test_three_factors_by_their_expected_mean_squares():
    """All seven sums of squares from means, and the equations solved as a whole."""
    levels = {"target_items": 4, "malicious_seed": 3, "seed": 2}
    frame = made(levels, {"target_items": 0.3, "target_items:seed": 0.2, "residual": 0.1}, seed=3)
    table = frame.sort_values(list(levels))["value"].to_numpy().reshape(4, 3, 2)
    terms = [subset for size in (1, 2, 3) for subset in itertools.combinations(range(3), size)]
    effects, squares = {(): np.full_like(table, table.mean())}, []
    for term in terms:
        others = tuple(axis for axis in range(3) if axis not in term)
        mean = np.broadcast_to(table.mean(axis=others, keepdims=True), table.shape)
        smaller = [effect for below, effect in effects.items() if set(below) < set(term)]
        effects[term] = mean - sum(smaller)
        squares.append((effects[term] ** 2).sum() / math.prod(table.shape[axis] - 1 for axis in term))
    expected = [
        [
            math.prod(n for axis, n in enumerate(table.shape) if axis not in above) * (set(term) <= set(above))
            for above in terms
        ]
        for term in terms
    ]
    found = variance_components(frame, FACTORS)
    assert found["mean_square"].tolist() == pytest.approx(squares)
    assert found["variance"].tolist() == pytest.approx(np.linalg.solve(expected, squares).tolist())
    assert found["source"].tolist()[:4] == [*FACTORS, "target_items:malicious_seed"]
    assert found["df"].tolist() == [3, 2, 1, 6, 3, 2, 6]


def test_where_none_is_below_0_they_are_those_of_restricted_likelihood():
    frame = made({"t": 6, "s": 5}, {"t": 0.4, "s": 0.3, "residual": 0.2}, seed=2)
    parts = {"t": "0 + C(t)", "s": "0 + C(s)"}
    fit = smf.mixedlm("value ~ 1", frame, groups=np.ones(len(frame)), vc_formula=parts, re_formula="0").fit(reml=True)
    found = variances(frame, ["t", "s"])
    assert min(found.values()) > 0
    expected = dict(zip(fit.model.exog_vc.names, fit.vcomp, strict=True)) | {"residual": fit.scale}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("repeats", [1, 2])
def test_known_components_come_back_on_average(repeats):
    levels = {"target_items": 5, "malicious_seed": 3, "seed": 3}
    deviations = {"target_items": 0.3, "malicious_seed": 0.2, "seed": 0.1, "malicious_seed:seed": 0.15, "residual": 0.1}
    drawn = pd.DataFrame([variances(made(levels, deviations, i, repeats), FACTORS) for i in range(60)])
    for source, found in drawn.items():
        error = found.std() / math.sqrt(len(found))
        assert found.mean() == pytest.approx(deviations.get(source, 0) ** 2, abs=4 * error), source


def test_one_factor_with_repeats_is_the_analysis_of_groups():
    """Group means 1 and 5, variances within them 2: between (32 - 2) / 2 less ... by the formula."""
    frame = pd.DataFrame({"seed": [1, 1, 2, 2], "value": [0.0, 2.0, 4.0, 6.0]})
    found = variance_components(frame, ["seed"])
    assert found["mean_square"].tolist() == pytest.approx([16.0, 2.0])
    assert found["variance"].tolist() == pytest.approx([7.0, 2.0])


def test_shares_add_up_and_leave_out_what_is_below_0():
    frame = pd.DataFrame({"t": [0, 0, 1, 1], "s": [0, 1, 0, 1], "value": [0.0, 1.0, 1.0, 0.1]})
    found = variance_components(frame, ["t", "s"])
    assert found["variance"].min() < 0
    assert found["share"].tolist() == [0, 0, 1]


def test_where_all_runs_are_alike_nothing_has_a_share():
    found = variance_components(made({"t": 2, "s": 3}, {"residual": 0.0}), ["t", "s"])
    assert found["variance"].tolist() == pytest.approx([0, 0, 0], abs=1e-20)
    assert found["share"].isna().all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.iloc[1:], "needs all 6 combinations equally often: found 5, 1 to 1 times"),
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "found 6, 1 to 2 times"),
        (lambda frame: frame[frame["t"] == "t 0"], "two values of it or more"),
        (lambda frame: frame.assign(value=[math.nan, *frame["value"][1:]]), "undefined"),
    ],
)
def test_unbalanced_results_are_refused(change, words):
    with pytest.raises(DataError, match=words):
        variance_components(change(made({"t": 2, "s": 3}, {"residual": 0.1})), ["t", "s"])


def test_one_factor_needs_repeats():
    with pytest.raises(DataError, match="several results at each value"):
        variance_components(made({"seed": 4}, {"residual": 0.1}), ["seed"])
