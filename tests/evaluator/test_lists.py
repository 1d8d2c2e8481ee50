"""Every ranking metric there is, on lists that may end early, against definitions that are read literally."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from recbole.data.interaction import Interaction
from recbole.evaluator import Evaluator, metrics_dict
from recbole.evaluator.register import metric_types
from recbole.utils import EvaluatorType

from recbole_attack.data import UserSequences
from recbole_attack.evaluator import AttackCollector, ListEvaluator, register_metrics

TOPK = [1, 3, 12]
MOST_ITEMS = 9  # with the padding item: lists of 12 always end early
register_metrics()
RANKING = sorted(name for name, kind in metric_types.items() if kind == EvaluatorType.RANKING)


class Case(NamedTuple):
    """One evaluation: user ``u + 1`` has row ``u``."""

    scores: torch.Tensor
    histories: list[list[int]]
    targets: list[int]
    target_users: list[bool]
    counts: dict[int, int]

    @property
    def truths(self) -> list[int]:
        return [history[-1] for history in self.histories]

    @property
    def lists(self) -> list[list[int]]:
        """What competes for each user, best first."""
        rows = self.scores.tolist()
        return [sorted((i for i, s in enumerate(row) if s > -math.inf), key=lambda i: -row[i]) for row in rows]


@st.composite
def cases(draw):
    n_users, n_items = draw(st.integers(1, 5)), draw(st.integers(3, MOST_ITEMS))
    items = st.integers(1, n_items - 1)
    histories = [draw(st.lists(items, min_size=1, max_size=6)) for _ in range(n_users)]
    scores = torch.tensor([draw(st.permutations(range(n_items))) for _ in range(n_users)], dtype=torch.float32)
    for row, history in enumerate(histories):
        for item in {0, *draw(st.sets(items))} - {history[-1]}:
            scores[row, item] = -torch.inf
    targets = sorted(draw(st.sets(items, min_size=1, max_size=4)))
    counts = draw(st.dictionaries(items, st.integers(1, 5), min_size=1))
    return Case(scores, histories, targets, [draw(st.booleans()) for _ in range(n_users)], counts)


def measured(settings, case: Case, evaluator=ListEvaluator) -> dict[str, float]:
    """The results of an evaluation in batches of two users."""
    n_items = case.scores.shape[1]
    items = np.array([item for history in case.histories for item in history], dtype=np.int32)
    sequences = UserSequences(items, np.cumsum([0, 0, *map(len, case.histories)]), n_items)
    collector = AttackCollector(settings, np.array(case.targets), sequences, np.array([False, *case.target_users]))
    for key, value in (("num_items", n_items), ("num_users", len(case.scores) + 1), ("count_items", case.counts)):
        collector.data_struct.set(f"data.{key}", value)
    for start in range(0, len(case.scores), 2):
        rows = slice(start, start + 2)
        truths = torch.tensor(case.truths[rows])
        users = torch.arange(1, len(case.scores) + 1)[rows]
        batch = Interaction({"user_id": users})
        collector.eval_batch_collect(case.scores[rows].clone(), batch, torch.arange(len(users)), truths)
    return dict(evaluator(settings).evaluate(collector.get_data_struct()))


# Definitions, read literally


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else math.nan


def accuracy(case: Case, k: int, users: list[int]) -> dict[str, float]:
    places = [case.lists[u][:k].index(case.truths[u]) + 1 if case.truths[u] in case.lists[u][:k] else 0 for u in users]
    hit = [float(place > 0) for place in places]
    return {
        "hit": mean(hit),
        "recall": mean(hit),  # one item to predict
        "mrr": mean(1 / place if place else 0.0 for place in places),
        "map": mean(1 / place if place else 0.0 for place in places),  # the precision where the one item stands
        "ndcg": mean(1 / math.log2(place + 1) if place else 0.0 for place in places),
        "precision": mean(h / len(case.lists[u][:k]) for h, u in zip(hit, users, strict=True)),
    }


def exposure(case: Case, k: int, users: list[int]) -> dict[str, float]:
    eligible = {t: [u for u in users if t not in case.histories[u]] for t in case.targets}
    eligible = {t: able for t, able in eligible.items() if able}
    place = {(t, u): case.lists[u].index(t) + 1 for t in case.targets for u in users if t in case.lists[u][:k]}
    ratio = mean(mean(float((t, u) in place) for u in able) for t, able in eligible.items())
    gain = mean(
        mean(1 / math.log2(place[t, u] + 1) if (t, u) in place else 0.0 for u in able) for t, able in eligible.items()
    )
    worth = {u: sorted((1 / len(able) for able in eligible.values() if u in able), reverse=True) for u in users}
    most = sum(sum(weights[:k]) for weights in worth.values()) / len(eligible) if eligible else math.nan
    return {"er": ratio, "target_ndcg": gain, "exposure_share": ratio / most}


def diversity(case: Case, k: int, tail_ratio: float | None) -> dict[str, float]:
    lists, n_items = [ranking[:k] for ranking in case.lists], case.scores.shape[1]
    shown = Counter(item for ranking in lists for item in ranking)
    total = sum(shown.values())
    rarest = sorted(case.counts, key=lambda item: (case.counts[item], item))
    ratio = tail_ratio or 0.1
    tail = rarest[: max(int(len(rarest) * ratio), 1)] if ratio <= 1 else [i for i in rarest if case.counts[i] <= ratio]
    ascending = sorted([0] * (n_items - len(shown)) + list(shown.values()))
    weighted = sum((2 * place - n_items - 1) * count for place, count in enumerate(ascending, start=1))
    return {
        "itemcoverage": len(shown) / n_items,
        "shannonentropy": -sum(n / total * math.log(n / total) for n in shown.values()) / len(shown),
        "giniindex": weighted / (n_items * total),
        "averagepopularity": mean(mean(case.counts.get(item, 0) for item in ranking) for ranking in lists),
        "tailpercentage": mean(mean(float(item in tail) for item in ranking) for ranking in lists),
    }


def gauc(case: Case) -> float:
    others = [(ranking, truth) for ranking, truth in zip(case.lists, case.truths, strict=True) if len(ranking) > 1]
    return mean((len(ranking) - 1 - ranking.index(truth)) / (len(ranking) - 1) for ranking, truth in others)


def expected(case: Case, tail_ratio: float | None) -> dict[str, float]:
    everybody = list(range(len(case.scores)))
    sides = {s: [u for u in everybody if case.target_users[u] == (s == "in")] for s in ("in", "out")}
    result: dict[str, float] = {"gauc": gauc(case)}
    ratios = {}
    for k in TOPK:
        for values in (accuracy(case, k, everybody), exposure(case, k, everybody), diversity(case, k, tail_ratio)):
            result |= {f"{name}@{k}": value for name, value in values.items()}
        parts = {side: accuracy(case, k, users) | exposure(case, k, users) for side, users in sides.items()}
        for side, values in parts.items():
            kept = ("hit", "ndcg", "er", "target_ndcg", "exposure_share")
            result |= {f"{name}_{side}@{k}": values[name] for name in kept}
        for name in ("er", "target_ndcg"):
            inside, outside = parts["in"][name], parts["out"][name]
            ratios[k, name] = inside / outside if outside > 0 else math.nan
        result[f"invisibility@{k}"] = (ratios[k, "er"] + ratios[k, "target_ndcg"]) / 2
    result["invisibility"] = sum(ratios.values()) / len(ratios)
    result["invisibility_defined"] = sum(not math.isnan(ratio) for ratio in ratios.values())
    return result


@pytest.fixture
def settings_of(config):
    """A configuration with all ranking metrics."""
    common = {"metrics": RANKING, "topk": TOPK, "valid_metric": "NDCG@3", "metric_decimal_place": 12}
    return lambda **changes: config(**common, **changes)


@pytest.mark.parametrize("tail_ratio", [None, 0.5, 2])
@pytest.mark.filterwarnings("ignore:invalid value encountered")  # GAUC of nobody
def test_every_ranking_metric_is_its_definition(settings_of, tail_ratio):
    settings = settings_of(**({"tail_ratio": tail_ratio} if tail_ratio else {}))

    @hypothesis_settings(max_examples=60)
    @given(cases())
    def check(case):
        assert measured(settings, case) == pytest.approx(expected(case, tail_ratio), abs=1e-6, nan_ok=True)

    check()


def test_the_definitions_cover_recboles_registry():
    case = Case(torch.tensor([[-torch.inf, 1.0, 2.0]]), [[1, 2]], [1], [True], {1: 1})
    assert {key.split("@")[0] for key in expected(case, None)} - {"invisibility_defined"} == set(RANKING)
    assert {"giniindex", "itemcoverage", "gauc", "er_in"} <= set(RANKING) <= set(metrics_dict)


def test_full_lists_give_recboles_figures_bit_by_bit(settings_of):
    """What must not change: where no list ends early, RecBole's evaluator says the same."""
    settings = settings_of()
    settings["topk"] = [1, 3, 7]

    @hypothesis_settings(max_examples=30)
    @given(st.integers(2, 6), st.integers(0, 2**32 - 1))
    def check(n_users, seed):
        scores = torch.rand(n_users, 12, generator=torch.Generator().manual_seed(seed))
        scores[:, 0] = -torch.inf
        histories = [[1 + (seed + user) % 11, 1 + (seed * user) % 11] for user in range(n_users)]
        case = Case(scores, histories, [1, 5], [True] * n_users, {item: 1 + item % 3 for item in range(1, 9)})
        theirs = measured(settings, case, Evaluator)
        assert {k: v for k, v in measured(settings, case).items() if v == v} == {
            k: v for k, v in theirs.items() if v == v
        }

    check()


def test_lists_that_end_early_by_hand(settings_of):
    """Two users of a catalogue of 4: the first is shown 1, 2 and 3, the second 4 alone."""
    inf = -torch.inf
    scores = torch.tensor([[inf, 3.0, 2.0, 1.0, inf], [inf, inf, inf, inf, 1.0]])
    case = Case(scores, [[4, 2], [1, 4]], [3], [True, True], {1: 9, 2: 6, 3: 3, 4: 10})
    result = measured(settings_of(), case)
    assert result["averagepopularity@12"] == pytest.approx((6 + 10) / 2)
    assert result["itemcoverage@12"] == pytest.approx(4 / 5)  # RecBole counts the padding item in the catalogue
    assert result["giniindex@12"] == pytest.approx(1 / 5)  # four items once each, the padding item never
    assert result["shannonentropy@12"] == pytest.approx(math.log(4) / 4)
    assert result["tailpercentage@12"] == pytest.approx((1 / 3 + 0) / 2)
    assert result["precision@12"] == pytest.approx((1 / 3 + 1) / 2)
    assert result["averagepopularity@1"] == pytest.approx((9 + 10) / 2)


def test_the_longest_lists_are_measured(config):
    settings = config(metrics=["Hit", "ER", "ItemCoverage"], topk=[1, 10000], valid_metric="Hit@1")
    case = Case(torch.tensor([[-torch.inf, 1.0, 2.0, -torch.inf]]), [[3, 1]], [2, 3], [True], {})
    result = measured(settings, case)
    assert (result["hit@10000"], result["er@10000"], result["er@1"]) == (1.0, 1.0, 1.0)
    assert result["itemcoverage@10000"] == pytest.approx(2 / 4)
