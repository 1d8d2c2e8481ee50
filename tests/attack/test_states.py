"""Users drawn from a model: that they come from its distribution, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from recbole_attack import AttackConfig
from recbole_attack.attack.attack import Profile
from recbole_attack.attack.states import pool_of, row_scores
from recbole_attack.data.histories import frozen, random_histories, sampled_histories
from recbole_attack.experiment import prepare_training

SIZES = {
    "SASRec": {"hidden_size": 8, "inner_size": 16},
    "BERT4Rec": {"hidden_size": 8, "inner_size": 16},
    "GRU4Rec": {"hidden_size": 6, "embedding_size": 8},
    "NARM": {"hidden_size": 6, "embedding_size": 8},
}
"""Victims with dropout, as by default."""
NOBODY = torch.zeros(0, dtype=torch.int64)


@pytest.fixture
def model(small: Callable[..., dict[str, Any]]) -> Callable[[str], Any]:
    """A victim in training mode whose scores differ by a few units."""

    def build(name: str = "SASRec") -> Any:
        common = {key: value for key, value in small().items() if key not in ("hidden_size", "inner_size")}
        config = AttackConfig(name, config_dict={**common, **SIZES[name]})
        victim = prepare_training(config).model(config).double().train()
        with torch.no_grad():
            for parameter in victim.parameters():
                parameter.normal_(0.0, 0.7, generator=torch.Generator().manual_seed(parameter.numel()))
        return victim

    return build


def rng(*keys: int) -> np.random.Generator:
    return np.random.default_rng(keys or 5)


def histories_by_loops(model: Any, shares: np.ndarray, barred: set[int]) -> list[list[int]]:
    """Item by item: each has a stretch of [0, 1) as long as its probability, in the order of ids."""
    found = []
    for row in shares:
        history: list[int] = []
        for share in row:
            items = [i for i in range(1, model.n_items) if i not in barred and i not in history]
            scores = np.zeros(model.n_items)
            if history:
                with torch.no_grad():
                    scores = model.score_items(torch.tensor([history]), torch.tensor([len(history)]))[0].numpy()
            weights = np.exp(scores[items] - scores[items].max())
            history.append(items[int(np.searchsorted(np.cumsum(weights / weights.sum()), share, side="right"))])
        found.append(history)
    return found


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("barred", [(), (3, 17)])
def test_histories_are_those_of_a_loop_over_items(model: Any, name: str, barred: tuple[int, ...]) -> None:
    victim = model(name)
    drawn = sampled_histories(victim, 6, 5, torch.tensor(barred, dtype=torch.int64), rng())
    assert victim.training, "the mode is given back"
    expected = histories_by_loops(victim.eval(), rng().random((6, 5)), set(barred))
    assert drawn.item_seq.tolist() == expected
    assert drawn.item_seq_len.tolist() == [5] * 6


def test_the_second_item_has_the_models_distribution(model: Any) -> None:
    victim = model().eval()
    others = torch.arange(4, victim.n_items)  # all but three items are barred, so that every pair is seen often
    drawn = sampled_histories(victim, 6000, 2, others, rng()).item_seq
    for first in (1, 2, 3):
        followers = drawn[drawn[:, 0] == first, 1]
        rest = [item for item in (1, 2, 3) if item != first]
        with torch.no_grad():
            scores = victim.score_items(torch.tensor([[first]]), torch.tensor([1]))[0, rest]
        expected = scores.softmax(dim=0).numpy() * len(followers)
        assert chisquare([int((followers == item).sum()) for item in rest], expected).pvalue > 1e-3
    starts = [int((drawn[:, 0] == item).sum()) for item in (1, 2, 3)]
    assert chisquare(starts).pvalue > 1e-3, "the first item is uniform"


def test_random_histories_ask_no_model(model: Any) -> None:
    victim = model()
    drawn = random_histories(victim, 500, 10, torch.tensor([3]), rng()).item_seq
    with torch.no_grad():
        for parameter in victim.parameters():
            parameter.zero_()
    assert torch.equal(drawn, random_histories(victim, 500, 10, torch.tensor([3]), rng()).item_seq)
    counts = torch.bincount(drawn.flatten(), minlength=victim.n_items)
    assert counts[[0, 3]].tolist() == [0, 0]
    assert chisquare(counts[[i for i in range(1, victim.n_items) if i != 3]]).pvalue > 1e-3


@settings(
    max_examples=30,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(barred=st.sets(st.integers(1, 39), max_size=39), length=st.integers(1, 40), seed=st.integers(0, 99))
def test_random_histories_are_those_of_a_model_that_likes_all_items_alike(
    model: Any, barred: set[int], length: int, seed: int
) -> None:
    victim, nobody_has = model(), torch.tensor(list(barred), dtype=torch.int64)
    with torch.no_grad():
        for parameter in victim.parameters():
            parameter.zero_()
    drawn = random_histories(victim, 7, length, nobody_has, rng(seed))
    kept = barred if len(barred) < victim.n_items - 1 else set()
    assert drawn.item_seq.tolist() == histories_by_loops(victim, rng(seed).random(drawn.item_seq.shape), kept)


@settings(
    max_examples=20,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(count=st.integers(1, 5), length=st.integers(1, 200), barred=st.integers(0, 38), seed=st.integers(0, 9))
def test_histories_have_no_item_twice_and_none_that_is_barred(
    model: Any, count: int, length: int, barred: int, seed: int
) -> None:
    victim = model()
    allowed = victim.n_items - 1 - barred
    drawn, lengths = sampled_histories(victim, count, length, torch.arange(1, 1 + barred), rng(seed))
    assert drawn.shape == (count, int(lengths[0])) and (lengths == lengths[0]).all()
    assert 1 <= lengths[0] <= min(length, victim.max_seq_length, allowed)
    for history in drawn.tolist():
        assert len(set(history)) == len(history)
        assert min(history) > barred and max(history) < victim.n_items


def test_where_every_item_is_barred_none_is(model: Any) -> None:
    victim = model()
    assert (sampled_histories(victim, 3, 4, torch.arange(1, victim.n_items), rng()).item_seq > 0).all()


@pytest.mark.parametrize("name", SIZES)
def test_a_pool_is_what_the_model_says_without_dropout(model: Any, name: str) -> None:
    victim = model(name)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    histories = sampled_histories(victim, 7, 4, NOBODY, rng())
    pool = pool_of(victim, histories)
    assert torch.equal(torch.get_rng_state(), before) and victim.training
    assert not pool.states.requires_grad and not pool.scores.requires_grad
    with torch.no_grad():
        scores = victim.eval().score_items(*histories)
    for rank in (1, 3, 10_000):
        for row, history in enumerate(histories.item_seq.tolist()):
            left = sorted((float(scores[row, i]) for i in range(1, victim.n_items) if i not in history), reverse=True)
            assert float(pool.kth_best(rank)[row]) == pytest.approx(left[min(rank, len(left)) - 1], rel=1e-12)
    best = pool.best(3).indices
    assert all(not set(found) & set(had) for found, had in zip(best.tolist(), histories.item_seq.tolist(), strict=True))


def test_users_do_not_depend_on_each_other_or_on_padding(model: Any) -> None:
    victim = model()
    items, lengths = sampled_histories(victim, 6, 5, NOBODY, rng())
    whole = pool_of(victim, Profile(items, lengths))
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    shuffled = pool_of(victim, Profile(items[order], lengths[order]))
    assert torch.allclose(shuffled.kth_best(4), whole.kth_best(4)[order], rtol=1e-12)
    padded = pool_of(victim, Profile(torch.cat([items, torch.zeros(6, 3, dtype=torch.int64)], dim=1), lengths))
    assert torch.allclose(padded.kth_best(4), whole.kth_best(4), rtol=1e-9)


@pytest.mark.parametrize("name", SIZES)
def test_scores_of_rows_are_the_models_and_reach_nothing_but_rows(model: Any, name: str) -> None:
    victim, items = model(name), torch.tensor([5, 9])
    states = pool_of(victim, sampled_histories(victim, 4, 3, NOBODY, rng())).states
    scores = row_scores(victim, states, items)
    with frozen(victim):
        assert torch.allclose(scores, victim.item_scores(states, items), rtol=1e-12)
    gradients = torch.autograd.grad(scores.sum(), list(victim.parameters()), materialize_grads=True)
    for (parameter, _), gradient in zip(victim.named_parameters(), gradients, strict=True):
        touched = gradient.flatten(1).any(dim=1).nonzero().flatten().tolist() if gradient.dim() > 1 else gradient.any()
        assert touched == [5, 9] if parameter == "item_embedding.weight" else not touched
