"""The quota against a literal reading with derivatives by autograd, its bound, and what an attacker gains."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from item_rows import H, V, asked, fast, pull, slow, stacked
from scipy.stats import chisquare

from recbole_attack import AttackConfig
from recbole_attack.defense import Aggregator, Known, configured_aggregator
from recbole_attack.defense.quota import Quota
from recbole_attack.experiment import prepare_training
from recbole_attack.federated.client_updates import ITEM_TABLE
from recbole_attack.federated.knowledge import informed

KEY = (3, 1, 2)


def scene(seed: int, rows: int = 40, size: int = V) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """Item embeddings, rows of clients that touched items, and votes of earlier rounds."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(size, H, generator=generator)
    item = torch.randint(1, size, (rows,), generator=generator)
    votes = torch.randint(0, 30, (size,), generator=generator).double()
    votes[0] = 0
    return table, SimpleNamespace(item=item, rows=torch.randn(rows, H, generator=generator)), votes


def literal(quota: Quota, table: torch.Tensor, sent: Any, votes: list[float], longest: int) -> tuple[list, list]:
    """User by user and row by row; how a row changes an item's share by autograd."""
    items, lengths = quota.drawn(torch.tensor(votes, dtype=torch.float64), longest, KEY)
    kept, after = [], list(votes)
    moves = []
    for item, row in zip(sent.item.tolist(), sent.rows, strict=True):
        own = table.double().clone().requires_grad_()
        shares = []
        for part in np.array_split(np.arange(quota.histories), 4):
            chances = []
            for user in part:
                had = items[user][: int(lengths[user])].tolist()
                state = table.double()[had].mean(dim=0)  # a state is what it was: only the item's own score moves
                allowed = [j for j in range(1, len(table)) if j not in had]
                if item not in allowed:
                    chances.append(0 * own.sum())
                else:
                    scores = torch.stack([state @ own[j] for j in allowed])
                    chances.append(scores.softmax(0)[allowed.index(item)])
            shares.append(torch.stack(chances).mean())
        share = max(shares, key=lambda one: float(one.detach()))
        (slope,) = torch.autograd.grad(share, own)
        raises = float(slope[item] @ row.double()) < 0
        moves.append((item, float(share.detach()), raises))
        after[item] += raises
    total = sum(after) + len(table) - 1
    for item, share, raises in moves:
        kept.append(not (raises and share > quota.factor * (after[item] + 1) / total))
    return kept, after


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    histories=st.sampled_from([4, 8, 12]),
    longest=st.integers(1, 9),
    factor=st.sampled_from([0.3, 1.0, 3.0]),
)
def test_rows_and_votes_are_those_of_a_literal_reading(seed: int, histories: int, longest: int, factor: float) -> None:
    table, sent, votes = scene(seed, rows=15)
    quota = Quota(factor, histories)
    kept, after, _ = quota.within(sent, votes, partial(asked, table), longest, KEY)
    expected = literal(quota, table, sent, votes.tolist(), longest)
    assert (kept.tolist(), after.tolist()) == expected


@given(seed=st.integers(0, 10**6), histories=st.integers(4, 30), longest=st.integers(1, 40))
def test_made_up_users_have_no_item_twice_and_are_of_every_length(seed: int, histories: int, longest: int) -> None:
    _, _, votes = scene(seed, size=20)
    items, lengths = Quota(1.0, histories).drawn(votes, longest, KEY)
    width = min(longest, 18)
    assert items.shape == (histories, width) and lengths.tolist() == sorted(lengths.tolist())
    last = [user for user in range(histories) if user * 4 // histories == 3]
    assert lengths[0] == 1 and (lengths[last] == width).all()
    if histories * 3 // 4 >= longest:
        assert set(lengths.tolist()) == set(range(1, width + 1))
    for row, length in zip(items.tolist(), lengths.tolist(), strict=True):
        assert 0 not in row[:length] and len(set(row[:length])) == length and not any(row[length:])


def test_items_are_drawn_as_often_as_they_have_votes() -> None:
    votes = torch.tensor([0.0, 0.0, 4.0, 9.0, 19.0, 39.0])
    items, _ = Quota(1.0, 8000).drawn(votes.double(), 1, KEY)
    shares = torch.tensor([1, 5, 10, 20, 40]) / 76
    counted = torch.bincount(items[:, 0], minlength=6)[1:]
    longer, _ = Quota(1.0, 8000).drawn(votes.double(), 4, KEY)
    places = torch.stack([torch.bincount(longer[-2000:, place], minlength=6)[1:] for place in range(4)])
    assert min(chisquare(row.numpy(), places.double().mean(dim=0).numpy()).pvalue for row in places) > 0.001, (
        "any order"
    )
    assert chisquare(counted.numpy(), (8000 * shares).numpy(), sum_check=False).pvalue > 0.001
    other, _ = Quota(1.0, 8000).drawn(votes.double(), 1, (*KEY[:2], 3))
    assert not torch.equal(items, other), "drawn anew in every round"


@given(seed=st.integers(0, 10**6), k=st.integers(1, 4))
def test_no_more_users_are_shown_an_item_than_its_share_allows(seed: int, k: int) -> None:
    table, _, votes = scene(seed, size=12)
    quota = Quota(1.0, 40)
    _, scores = asked(table, *quota.drawn(votes, 5, KEY))
    chances = scores.double().softmax(dim=1)
    best = chances.topk(k, dim=1)
    exposed = torch.bincount(best.indices.flatten(), minlength=12) / len(chances)
    assert (exposed <= chances.mean(dim=0) / best.values.min() + 1e-12).all()


def test_a_client_has_one_vote_however_loud_and_rejected_ones_have_none() -> None:
    updates, weights = stacked(6, 1.0, 4)
    updates[ITEM_TABLE][2] *= 1e6
    updates["body"][4] = float("nan")
    found = fast(updates, weights, ruled())
    assert found.saved is not None and found.kept.tolist() == [True] * 4 + [False, True]
    assert float(found.saved.max()) <= 5 and float(found.saved[0]) == 0
    without = {name: value[[0, 1, 2, 3, 5]] for name, value in updates.items()}
    alone = fast(without, weights[[0, 1, 2, 3, 5]], ruled())
    assert torch.equal(alone.saved, found.saved)
    for name, value in found.update.items():
        torch.testing.assert_close(alone.update[name], value)


def ruled(table: torch.Tensor | None = None, **options: Any) -> Aggregator:
    table = torch.randn(V, H, generator=torch.Generator().manual_seed(9)) if table is None else table
    config = {**AttackConfig(config_dict={"aggregator": "exposure_quota"}).final_config_dict, **options}
    known = Known(table, lambda items, rows: table[items] - rows, None, partial(asked, table), 4, partial(pull, table))
    return replace(configured_aggregator(config), known=known, key=KEY)


@settings(max_examples=30)
@given(
    n=st.integers(1, 8),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 10**6),
    base=st.sampled_from(["mean", "norm_clipping", "geometric_median", "median"]),
    factor=st.sampled_from([0.5, 1.0, 100.0]),
    projection=st.booleans(),
)
def test_sparse_rows_and_one_by_one_agree_and_what_is_left_goes_to_the_rule(
    n: int, share: float, seed: int, base: str, factor: float, projection: bool
) -> None:
    updates, weights = stacked(n, share, seed)
    rule = ruled(quota_rule=base, quota_factor=factor, quota_projection=projection)
    first, second = fast(updates, weights, rule), slow(updates, weights, rule)
    assert first.kept.tolist() == second.kept.tolist() and first.frozen == second.frozen
    for name in updates:
        torch.testing.assert_close(first.update[name], second.update[name], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(first.saved, second.saved)
    if factor == 100:
        plain = fast(updates, weights, replace(rule, quota=None))
        for name, value in plain.update.items():
            torch.testing.assert_close(first.update[name], value)


def test_an_item_shown_to_all_that_few_ask_for_comes_down_and_its_fans_push_in_vain() -> None:
    """Item 1 is before all others for everybody; one client in a hundred wants more of it, one has drawn it as a
    negative."""
    generator = torch.Generator().manual_seed(2)
    table = torch.rand(60, H, generator=generator)
    table[1] = 20.0
    votes = torch.full((60,), 500.0, dtype=torch.float64)
    votes[1] = 5.0
    sent = SimpleNamespace(item=torch.tensor([1, 1, 2]), rows=torch.tensor([[-1.0] * H, [1.0] * H, [-1.0] * H]))
    kept, after, _ = Quota(4.0, 16).within(sent, votes, partial(asked, table), 10, KEY)
    assert kept.tolist() == [False, True, True] and (after - votes)[1:3].tolist() == [1.0, 1.0]


def test_rows_of_no_item_are_left_alone() -> None:
    """BERT4Rec's mask has a row and is never shown."""
    table, sent, votes = scene(1)
    sent.item[::3] = V
    kept, after, _ = Quota(1e-9, 8).within(sent, votes, partial(asked, table), 5, KEY)
    assert kept[::3].all() and float((after - votes).sum()) == (~kept).sum()


def literal_excess(quota: Quota, table: torch.Tensor, histories: Any, votes: torch.Tensor) -> float:
    """User by user and item by item, in numbers."""
    allowed_share = quota.factor * (votes + 1) / float((votes[1:] + 1).sum())
    shown = []
    for part in np.array_split(np.arange(quota.histories), 4):
        chances = torch.zeros(len(table), dtype=torch.float64)
        for user in part:
            had = [item for item in histories.item_seq[user].tolist() if item]
            scores = table.double() @ table.double()[had].mean(dim=0)
            free = [item for item in range(1, len(table)) if item not in had]
            chances[free] += scores[free].softmax(0) / len(part)
        shown.append(chances)
    most = torch.stack(shown).max(dim=0).values
    return sum(max(float(most[j] - allowed_share[j]), 0.0) for j in range(1, len(table)))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), factor=st.sampled_from([0.3, 1.0, 2.0]))
def test_a_projected_step_does_not_raise_the_excess_and_is_the_nearest_that_does_not(seed: int, factor: float) -> None:
    table, sent, votes = scene(seed)
    table, quota = table.double() / 3, Quota(factor, 8, projection=True)
    said = quota.within(sent, votes, partial(asked, table), 4, KEY)
    rng = torch.Generator().manual_seed(seed)
    update = {"body": torch.randn(4, generator=rng).double(), ITEM_TABLE: torch.randn(V, H, generator=rng).double()}
    held = quota.held(update, said, partial(pull, table))

    def rise(step: torch.Tensor) -> float:
        """Per length of a step against ``step``."""
        ends = [literal_excess(quota, table - sign * 1e-6 * step, said.histories, said.votes) for sign in (1, -1)]
        return (ends[0] - ends[1]) / 2e-6

    basis = torch.eye(V * H, dtype=torch.float64).view(-1, V, H)
    slope = -torch.tensor([rise(one) for one in basis], dtype=torch.float64).view(V, H)  # the excess along the table
    assume(float(slope.norm()) > 1e-4)  # differences tell no direction of less
    along = float((update[ITEM_TABLE] * slope).sum())
    nearest = update[ITEM_TABLE] - min(along, 0.0) / float(slope.square().sum()) * slope
    torch.testing.assert_close(held[ITEM_TABLE], nearest, atol=1e-5, rtol=1e-5)
    assert torch.equal(held["body"], update["body"])
    assert rise(held[ITEM_TABLE]) <= 1e-6
    if along > 0:
        assert torch.equal(held[ITEM_TABLE], update[ITEM_TABLE])
    assert all(quota_off is update[name] for name, quota_off in Quota(factor, 8).held(update, said, pull).items())


def test_no_excess_leaves_the_step_as_it_is() -> None:
    table, sent, votes = scene(5)
    quota = Quota(1e9, 8, projection=True)
    said = quota.within(sent, votes, partial(asked, table), 4, KEY)
    update = {"body": torch.ones(4), ITEM_TABLE: torch.ones(V, H)}
    held = quota.held(update, said, partial(pull, table))
    assert all(torch.equal(held[name], value) for name, value in update.items())


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec"])
def test_the_server_knows_what_its_parameters_do_to_what_is_shown(config: Any, model: str) -> None:
    """Against differences, in double precision; dropout would change the number from one time to the next."""
    chosen = config(model=model, attack="none", aggregator="exposure_quota", hidden_dropout_prob=0.5)
    victim = prepare_training(chosen).model(chosen).double().train()
    histories = torch.tensor([[3, 5, 0], [2, 4, 6]]), torch.tensor([2, 3])
    known = informed(configured_aggregator(chosen.final_config_dict), victim, chosen).known
    assert known is not None and known.pull is not None and known.asked is not None
    gradient = known.pull(*histories, lambda scores: scores.softmax(dim=1)[:, 7].sum())
    parameters = dict(victim.named_parameters())
    assert victim.training and list(gradient) == list(parameters)
    assert all(p.grad is None and p.requires_grad for p in parameters.values())
    rng = torch.Generator().manual_seed(5)
    direction = {name: torch.randn(p.shape, generator=rng, dtype=p.dtype) for name, p in parameters.items()}
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for name, p in parameters.items():
                p += sign * 1e-6 * direction[name]
            ends.append(float(known.asked(*histories)[1].softmax(dim=1)[:, 7].sum()))
            for name, p in parameters.items():
                p -= sign * 1e-6 * direction[name]
    expected = sum(float((gradient[name] * direction[name]).sum()) for name in parameters)
    assert expected == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5) and abs(expected) > 1e-6


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec"])
def test_the_model_answers_as_it_does_in_an_evaluation(config: Any, model: str) -> None:
    chosen = config(model=model, attack="none", aggregator="exposure_quota")
    victim = prepare_training(chosen).model(chosen).train()
    items, lengths = torch.tensor([[3, 5, 0], [2, 4, 6]]), torch.tensor([2, 3])
    known = informed(configured_aggregator(chosen.final_config_dict), victim, chosen).known
    assert known is not None and known.asked is not None and known.longest == victim.max_seq_length
    states, scores = known.asked(items, lengths)
    assert victim.training and not states.requires_grad
    expected = victim.eval().score_items(items, lengths)
    barred = torch.zeros_like(scores, dtype=torch.bool).scatter(1, items, True)
    barred[:, 0] = True
    assert torch.equal(scores.isinf(), barred)
    torch.testing.assert_close(scores[~barred], expected[~barred])
