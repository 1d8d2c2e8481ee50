"""The quota against a literal reading with derivatives by autograd, its bound, and what an attacker gains."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from item_rows import H, V, asked, fast, slow, stacked
from scipy.stats import chisquare

from recbole_attack import AttackConfig
from recbole_attack.defense import Aggregator, Known, configured_aggregator
from recbole_attack.defense.quota import JUDGED, Quota, _of_like_votes
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
    lengths=st.sampled_from(list(JUDGED)),
)
def test_rows_and_votes_are_those_of_a_literal_reading(
    seed: int, histories: int, longest: int, factor: float, lengths: str
) -> None:
    table, sent, votes = scene(seed, rows=15)
    quota = Quota(factor, histories, lengths=lengths)
    kept, (after, *_), _ = quota.within(sent, nothing_but(votes, quota), partial(asked, table), longest, KEY)
    expected = literal(quota, table, sent, votes.tolist(), longest)
    assert (kept.tolist(), after.tolist()) == expected


@given(
    seed=st.integers(0, 10**6),
    histories=st.integers(4, 30),
    longest=st.integers(1, 40),
    spread=st.sampled_from(list(JUDGED)),
)
def test_made_up_users_have_no_item_twice_and_are_of_every_length(
    seed: int, histories: int, longest: int, spread: str
) -> None:
    _, _, votes = scene(seed, size=20)
    items, lengths = Quota(1.0, histories, lengths=spread).drawn(votes, longest, KEY)
    width = min(longest, 18)
    assert items.shape == (histories, width) and lengths.tolist() == sorted(lengths.tolist())
    last = [user for user in range(histories) if user * 4 // histories == 3]
    assert lengths[0] == 1 and (lengths[last] == width).all()
    if histories * 3 // 4 >= longest and spread == "even":
        assert set(lengths.tolist()) == set(range(1, width + 1))
    if spread == "log":  # the longest of at most longest ** (4 user / 3 histories) items, by whole numbers
        bounds = [longest ** min(4 * user, 3 * histories) for user in range(histories)]
        exact = [max(n for n in range(1, longest + 1) if n ** (3 * histories) <= bound) for bound in bounds]
        assert lengths.tolist() == [min(length, width) for length in exact]
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
    assert float(found.saved.max()) <= 5 and not found.saved[:, 0].any()
    without = {name: value[[0, 1, 2, 3, 5]] for name, value in updates.items()}
    alone = fast(without, weights[[0, 1, 2, 3, 5]], ruled())
    assert torch.equal(alone.saved, found.saved)
    for name, value in found.update.items():
        torch.testing.assert_close(alone.update[name], value)


def nothing_but(votes: torch.Tensor, quota: Quota) -> torch.Tensor:
    """The memory of a quota that has seen votes and no lists."""
    memory = torch.zeros(quota.remembered, len(votes), dtype=torch.float64)
    memory[0] = votes
    return memory


def ruled(table: torch.Tensor | None = None, **options: Any) -> Aggregator:
    table = torch.randn(V, H, generator=torch.Generator().manual_seed(9)) if table is None else table
    config = {**AttackConfig(config_dict={"aggregator": "exposure_quota"}).final_config_dict, **options}
    known = Known(table, lambda items, rows: table[items] - rows, None, partial(asked, table), 4)
    return replace(configured_aggregator(config), known=known, key=KEY)


@settings(max_examples=30)
@given(
    n=st.integers(1, 8),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 10**6),
    base=st.sampled_from(["mean", "norm_clipping", "geometric_median", "median"]),
    factor=st.sampled_from([0.5, 1.0, 100.0]),
    topk=st.sampled_from([None, 2]),
)
def test_sparse_rows_and_one_by_one_agree_and_what_is_left_goes_to_the_rule(
    n: int, share: float, seed: int, base: str, factor: float, topk: int | None
) -> None:
    updates, weights = stacked(n, share, seed)
    rule = ruled(quota_rule=base, quota_factor=factor, quota_topk=topk)
    first, second = fast(updates, weights, rule), slow(updates, weights, rule)
    assert first.kept.tolist() == second.kept.tolist() and first.frozen == second.frozen
    for name in updates:
        torch.testing.assert_close(first.update[name], second.update[name], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(first.saved, second.saved)
    if factor == 100 and topk is None:
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
    quota = Quota(4.0, 16)
    kept, (after, *_), _ = quota.within(sent, nothing_but(votes, quota), partial(asked, table), 10, KEY)
    assert kept.tolist() == [False, True, True] and (after - votes)[1:3].tolist() == [1.0, 1.0]


def test_rows_of_no_item_are_left_alone() -> None:
    """BERT4Rec's mask has a row and is never shown."""
    table, sent, votes = scene(1)
    sent.item[::3] = V
    quota = Quota(1e-9, 8)
    kept, (after, *_), _ = quota.within(sent, nothing_but(votes, quota), partial(asked, table), 5, KEY)
    assert kept[::3].all() and float((after - votes).sum()) == (~kept).sum()


def literal_places(
    quota: Quota, table: torch.Tensor, votes: list[float], before: torch.Tensor, after: list[float], longest: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares of places of each part and pushes, user by user and item by item."""
    assert quota.topk is not None
    items, lengths = quota.drawn(torch.tensor(votes, dtype=torch.float64), longest, KEY)
    parts = np.array_split(np.arange(quota.histories), 4) if quota.lengths == "log" else [range(quota.histories)]
    judged = [(part, items[part], lengths[part]) for part in (list(part) for part in parts)]
    shares, most, pushes = [], [0.0] * len(table), torch.zeros(table.shape, dtype=torch.float64)
    for (users, had_items, had_lengths), old in zip(judged, before, strict=True):
        now, ways = torch.zeros(len(table), dtype=torch.float64), torch.zeros(table.shape, dtype=torch.float64)
        for user in range(len(users)):
            had = had_items[user][: int(had_lengths[user])].tolist()
            state = table.double()[had].mean(dim=0)
            scores = {j: float(state @ table[j].double()) for j in range(1, len(table)) if j not in had}
            best = [*sorted(scores.values(), reverse=True), -math.inf]
            few = min(quota.topk, len(table) - 1, len(best) - 1)
            tau = (best[few - 1] + best[few]) / 2
            for j, score in scores.items():
                w = 1 / (1 + math.exp(-4 * (score - tau)))
                now[j] += w
                ways[j] += w * state
        places = float(now.sum())
        now = 0.9 * old + 0.1 * now / places
        shares.append(now)
        for j in range(1, len(table)):
            own = after[j] + 1
            others = [i for i in range(1, len(table)) if i != j]
            alike = [float(now[i]) for i in others if own / 2 <= after[i] + 1 <= 2 * own]
            limit = max(own / (sum(after) + len(table) - 1), sum(alike) / max(len(alike), 1))
            chance = math.sqrt(limit / (19 * places)) if quota.lengths == "log" else 0.0
            over, length = (float(now[j]) - chance) / limit - 1, float(ways[j].norm())
            if over > most[j] and length:
                most[j], pushes[j] = over, over * ways[j] / max(length, 1e-12)
    return torch.stack(shares), pushes


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    histories=st.sampled_from([4, 9, 20]),
    longest=st.integers(1, 9),
    factor=st.sampled_from([0.3, 1.0, 3.0]),
    topk=st.integers(1, 8),
    lengths=st.sampled_from(list(JUDGED)),
)
def test_places_and_pushes_are_those_of_a_literal_reading(
    seed: int, histories: int, longest: int, factor: float, topk: int, lengths: str
) -> None:
    table, sent, votes = scene(seed, rows=15)
    quota = Quota(factor, histories, topk, lengths)
    memory = torch.rand(quota.remembered, V, generator=torch.Generator().manual_seed(seed)).double()
    memory[:, 0] = 0
    memory, memory[0] = memory / memory.sum(dim=1, keepdim=True), votes
    said = quota.within(sent, memory, partial(asked, table), longest, KEY)
    shares, pushes = literal_places(quota, table, votes.tolist(), memory[1:], said.memory[0].tolist(), longest)
    torch.testing.assert_close(said.memory[1:], shares, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(said.pushes, pushes, atol=1e-4, rtol=1e-4)
    plain = replace(quota, topk=None).within(sent, memory, partial(asked, table), longest, KEY)
    assert torch.equal(plain.within, said.within) and torch.equal(plain.memory[1:], memory[1:]) and plain.pushes is None


def test_an_item_that_short_histories_alone_are_shown_is_pushed_back() -> None:
    """Item 1 is before all others for who has one or two items, which few have where lengths are even."""
    votes = torch.tensor([0.0, *[100.0] * 39], dtype=torch.float64)
    sent = SimpleNamespace(item=torch.arange(2, 40), rows=torch.zeros(38, H))
    generator = torch.Generator().manual_seed(4)

    def model(items: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = 50 * torch.rand(len(items), 40, generator=generator, dtype=torch.float64)
        scores[:, 0], scores[:, 1] = -torch.inf, torch.where(lengths <= 2, 100.0, -100.0)
        return torch.ones(len(items), H), scores

    pushed = {}
    for lengths in JUDGED:
        quota = Quota(2.0, 96, 3, lengths)
        memory = nothing_but(votes, quota)
        for index in range(60):
            said = quota.within(sent, memory, model, 30, (3, 1, index))
            memory = said.memory
        pushed[lengths] = said.pushes.norm(dim=1)
    assert float(pushed["log"][1]) > 9 and float(pushed["even"][1]) == 0


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.01, 1.0, 100.0]))
def test_a_push_is_as_long_as_the_usual_row_and_rows_of_no_item_have_none(seed: int, scale: float) -> None:
    table, sent, votes = scene(seed)
    votes[2] = 1e6  # so that others are over their share
    quota = Quota(1.0, 8, 2)
    said = quota.within(sent, nothing_but(votes, quota), partial(asked, table), 4, KEY)
    rng = torch.Generator().manual_seed(seed)
    update = scale * torch.randn(V + 1, H, generator=rng).double()
    update[: V // 2] = 0
    usual = sorted(float(row.norm()) for row in update[V // 2 :])[(V + 1 - V // 2 - 1) // 2]
    added = said.pushed_back(update) - update
    torch.testing.assert_close(added[:V], usual * said.pushes)
    assert (added[V:] == 0).all()
    assert said.pushes.any() and not said.pushed_back(torch.zeros(V, H)).any()
    assert said._replace(pushes=None).pushed_back(update) is update


def test_an_item_that_a_moved_model_shows_to_all_is_pushed_back_though_nobody_touches_its_row() -> None:
    """It is the states that were moved; a quota on rows alone has nothing to leave out. Plain steps of a server."""
    generator = torch.Generator().manual_seed(4)
    start = 1 + torch.rand(60, H, generator=generator)
    start[1] = 2.2
    memory = nothing_but(torch.full((60,), 50.0), Quota(2.0, 40))
    memory[0, 1] = 5.0
    shown = {}
    for topk in (None, 3):
        table, kept, quota = start.clone(), memory, Quota(2.0, 40, topk)
        for index in range(80):
            sent = SimpleNamespace(item=torch.arange(2, 60), rows=0.02 * torch.randn(58, H, generator=generator))
            said = quota.within(sent, kept, partial(asked, table), 10, (3, 1, index))
            update = torch.zeros(60, H).index_copy(0, sent.item, sent.rows * said.within[:, None])
            table, kept = table - said.pushed_back(update), said.memory
        _, scores = asked(table, *quota.drawn(memory[0], 10, KEY))
        shown[topk] = float((scores.topk(3, dim=1).indices == 1).any(dim=1).double().mean())
    assert shown[None] > 0.9 and shown[3] < 0.2


def test_items_of_like_votes_do_not_depend_on_the_names_of_items() -> None:
    rng = np.random.default_rng(6)
    votes, places = torch.from_numpy(rng.integers(0, 6, 40).astype(float)), torch.from_numpy(rng.random(40))
    votes[0] = places[0] = 0
    names = torch.from_numpy(np.r_[0, 1 + rng.permutation(39)])
    torch.testing.assert_close(_of_like_votes(places[names], votes[names]), _of_like_votes(places, votes)[names])


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
