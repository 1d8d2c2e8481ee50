"""Attacks on item rows: their formulas written out by loops, and what none of them may touch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from victims import score, state_of

from recbole_attack import AttackConfig
from recbole_attack.attack import ATTACKS, AttackContext, Profile
from recbole_attack.attack.field_objectives import Competition, HardUsers, TowardsDirection
from recbole_attack.attack.mining_objectives import Alignment, PopularUsers, mined_items
from recbole_attack.attack.objective import training_loss
from recbole_attack.attack.row_objectives import Covert, Margin, Quiet, Uncounted, turned
from recbole_attack.attack.row_recipes import ROW_ATTACKS
from recbole_attack.data import TrainData
from recbole_attack.data.histories import random_histories, sampled_histories, weighted_histories
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.rng import stream

SIZES = {
    "SASRec": {"hidden_size": 8, "inner_size": 16},
    "BERT4Rec": {"hidden_size": 8, "inner_size": 16, "mask_ratio": 0.8},
    "GRU4Rec": {"hidden_size": 6, "embedding_size": 8},
}
LENGTHS = (3, 2, 7, 5)
USERS = np.array([4, 9, 11, 23])
OBJECTIVES = {
    "margin": Margin(histories=5, length=4, rank=3, margin=0.5),
    "quiet": Quiet(Margin(histories=5, length=4, rank=3, margin=0.5), share=0.25),
    "covert": Covert(Margin(histories=5, length=4, rank=3, margin=0.5), weight=2.0, lengths="log"),
    "uncounted": Uncounted(Margin(histories=5, length=4, rank=3, margin=0.5), lengths="even"),
    "items": TowardsDirection("items", 4.0, 3, 5, 4),
    "states": TowardsDirection("states", 4.0, 3, 5, 4),
    "psmu": Competition(length=6, recommended=3, competitors=7),
    "pieck_ipe": Alignment(items=6, strength=0.9),
    "pieck_uea": PopularUsers(items=8, histories=5, length=4),
}
"""Those whose uploads hold nothing but the targets' rows."""

Scene = tuple[Any, TrainData]


@pytest.fixture
def scene(small: Callable[..., dict[str, Any]]) -> Callable[..., Scene]:
    """A victim in double precision and in training mode, without dropout unless it is asked for."""

    def build(name: str = "SASRec", **changes: Any) -> Scene:
        common = {key: value for key, value in small().items() if key not in ("hidden_size", "inner_size")}
        silent = {"dropout_prob": 0.0} if name == "GRU4Rec" else {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
        config = AttackConfig(name, config_dict={**common, **silent, **SIZES[name], **changes})
        experiment = prepare_training(config)
        victim = experiment.model(config).double().train()
        with torch.no_grad():
            for parameter in victim.parameters():
                parameter.normal_(0.0, 0.7, generator=torch.Generator().manual_seed(parameter.numel()))
        return victim, experiment.train_data

    return build


def profile_of() -> Profile:
    items = np.zeros((len(LENGTHS), max(LENGTHS)), dtype=np.int64)
    for row, length in enumerate(LENGTHS):
        items[row, :length] = np.random.default_rng(row).integers(1, 40, length)
    return Profile(torch.from_numpy(items), torch.tensor(LENGTHS))


def context_of(scene: Scene, targets: tuple[int, ...] = (7, 31), **changes: Any) -> AttackContext:
    """What an attacker sees who remembers other rows."""
    model, data = scene
    before = model.item_embedding.weight.detach() + torch.from_numpy(
        np.random.default_rng(3).normal(size=tuple(model.item_embedding.weight.shape))
    )
    context = AttackContext(torch.tensor(targets), data.outside, seed=1, epoch=2, before=before)
    return replace(context, **changes)


def losses_of(scene: Scene, objective: Any, context: AttackContext, rows: Any = slice(None)) -> torch.Tensor:
    profile = profile_of()
    width = int(profile.item_seq_len[rows].max())
    part = Profile(profile.item_seq[rows, :width], profile.item_seq_len[rows])
    return objective(scene[0], part, part, USERS[rows], 1, context)


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


def drawn(scene: Scene, how: Any, purpose: str, user: int, count: int, length: int, barred: torch.Tensor) -> list[Any]:
    """The histories of one client's users, as lists."""
    return how(scene[0], count, length, barred, stream(1, purpose, 2, 0, user)).item_seq.tolist()


def ranked(model: Any, state: torch.Tensor, without: list[int]) -> list[tuple[float, int]]:
    """Score and item of all that is left, best first."""
    left = [item for item in range(1, model.n_items) if item not in without]
    return sorted(((float(score(model, state, item)), item) for item in left), reverse=True)


# Formulas


Rows = dict[int, torch.Tensor]


def margin_by_loops(scene: Scene, user: int, context: AttackContext, rows: Rows) -> torch.Tensor:
    model, total, count = scene[0], torch.zeros(()), 0
    for history in drawn(scene, sampled_histories, "sampled histories", user, 5, 4, context.targets):
        state = state_of(model, history)
        tau = ranked(model, state, history)[3 - 1][0]
        for target, row in rows.items():
            total = total + torch.log1p(torch.exp(tau + 0.5 - score(model, state, target, row)))
            count += 1
    return total / count


def covert_by_loops(scene: Scene, user: int, context: AttackContext, rows: Rows) -> torch.Tensor:
    model, seen = scene[0], []
    counts = torch.from_numpy(scene[1].outside.popularity).double()
    shares = [0.0 if item == 0 or item in rows else 1 + float(counts[item]) for item in range(model.n_items)]
    rng = stream(1, "histories without taste", 2, 0, user)
    longest = model.max_seq_length
    wanted = [max(n for n in range(1, longest + 1) if n**15 <= longest ** (4 * place)) for place in range(4)] + [
        longest
    ]
    items, lengths = weighted_histories(torch.tensor(shares).double(), wanted, rng)
    assert lengths.tolist() == wanted and wanted[-1] == model.max_seq_length
    for history, length in zip(items.tolist(), lengths.tolist(), strict=True):
        assert not set(history) & set(rows) and 0 not in history[:length]
        state = state_of(model, history[:length])
        tau = ranked(model, state, history[:length])[3 - 1][0]
        seen += [torch.log1p(torch.exp(score(model, state, t, row) - tau + 0.5)) for t, row in rows.items()]
    return margin_by_loops(scene, user, context, rows) + 2.0 * sum(seen) / len(seen)


def competition_by_loops(scene: Scene, user: int, context: AttackContext, rows: Rows) -> torch.Tensor:
    model, table, total = scene[0], scene[0].item_embedding.weight.detach(), torch.zeros(())
    (history,) = drawn(scene, random_histories, "synthetic user", user, 1, 6, context.targets)
    state = state_of(model, history)
    for target, row in rows.items():
        order = ranked(model, state, [*history, *rows])
        best = [item for _, item in order[:3]]
        alike = sorted((item for _, item in order[3:]), key=lambda item: -float(table[item] @ table[target]))
        for item in [*best, *alike[: 7 - 3]]:
            total = total + 1 / (1 + torch.exp(score(model, state, target, row) - score(model, state, item)))
    return total / len(rows)


def popular_by_loops(model: Any, count: int, context: AttackContext) -> list[int]:
    now, then = model.item_embedding.weight.detach(), context.before
    assert then is not None
    moved = {
        item: math.sqrt(sum(float(a - b) ** 2 for a, b in zip(now[item], then[item], strict=True)))
        for item in range(1, model.n_items)
        if item not in context.targets.tolist()
    }
    return sorted(moved, key=lambda item: -moved[item])[:count]


def alignment_by_loops(scene: Scene, user: int, context: AttackContext, rows: Rows) -> torch.Tensor:
    popular, total = popular_by_loops(scene[0], 6, context), torch.zeros(())
    for row in rows.values():
        terms = []
        for place, item in enumerate(popular, start=1):
            other = scene[0].item_embedding.weight[item].detach()
            weight = (6 + 1 - place) / (1 + 2 + 3 + 4 + 5 + 6)
            terms.append(weight * (row @ other) / (row.norm() * other.norm()))
        positive, rest = [c for c in terms if c > 0], [c for c in terms if c <= 0]
        total = total - 0.9 * sum(sum(part) / len(part) for part in (positive, rest) if part)
    return total / len(rows)


def popular_users_by_loops(scene: Scene, user: int, context: AttackContext, rows: Rows) -> torch.Tensor:
    model, popular, total, count = scene[0], popular_by_loops(scene[0], 8, context), torch.zeros(()), 0
    barred = torch.tensor([item for item in range(1, model.n_items) if item not in popular])
    for history in drawn(scene, random_histories, "popular users", user, 5, 4, barred):
        assert set(history) <= set(popular)
        for target, row in rows.items():
            total = total - torch.log(torch.sigmoid(score(model, state_of(model, history), target, row)))
            count += 1
    return total / count


FORMULAS = {
    "margin": margin_by_loops,
    "covert": covert_by_loops,
    "psmu": competition_by_loops,
    "pieck_ipe": alignment_by_loops,
    "pieck_uea": popular_users_by_loops,
}


@pytest.mark.parametrize("targets", [(7,), (3, 12, 31)])
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("objective", FORMULAS)
def test_losses_and_gradients_are_those_of_the_formula(
    scene: Callable[..., Scene], objective: str, name: str, targets: tuple[int, ...]
) -> None:
    victim = scene(name)
    model, context = victim[0], context_of(victim, targets)
    losses = losses_of(victim, OBJECTIVES[objective], context)
    for user, loss in zip(USERS.tolist(), losses, strict=True):
        rows = {target: model.item_embedding.weight[target].detach().clone().requires_grad_() for target in targets}
        expected = FORMULAS[objective](victim, user, context, rows)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
        wanted = torch.autograd.grad(expected, list(rows.values()))
        table = gradients(model, loss)["item_embedding.weight"]
        for target, row in zip(targets, wanted, strict=True):
            assert torch.allclose(table[target], row, rtol=1e-9, atol=1e-12)
            assert row.norm() > 1e-6


def test_a_row_that_is_aligned_is_lengthened(scene: Callable[..., Scene]) -> None:
    victim = scene()
    model, context = victim[0], context_of(victim, (7, 31))
    popular, _ = mined_items(model, 2, context)
    with torch.no_grad():
        model.item_embedding.weight[7] = sum(torch.nn.functional.normalize(model.item_embedding.weight[popular], dim=1))
    aligned = Alignment(items=2, strength=0.9, aligned=-0.99)
    loss = losses_of(victim, aligned, context)[0]
    table, row = gradients(model, loss)["item_embedding.weight"], model.item_embedding.weight[7].detach()
    assert torch.allclose(table[7], -row / row.norm() / 2)
    assert not torch.allclose(
        gradients(model, losses_of(victim, replace(aligned, aligned=2.0), context)[0])["item_embedding.weight"][7],
        table[7],
    )


@pytest.mark.parametrize("objective", ["pieck_ipe", "pieck_uea"])
def test_nothing_is_uploaded_before_there_are_two_models(scene: Callable[..., Scene], objective: str) -> None:
    victim = scene()
    losses = losses_of(victim, OBJECTIVES[objective], context_of(victim, before=None))
    assert losses.shape == (len(USERS),)
    assert not any(gradient.any() for gradient in gradients(victim[0], losses.sum()).values())


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("targets", [(7,), (3, 12, 31)])
def test_quiet_is_margins_direction_and_a_share_of_an_honest_update(
    scene: Callable[..., Scene], name: str, targets: tuple[int, ...]
) -> None:
    victim = scene(name, hidden_dropout_prob=0.5) if name != "GRU4Rec" else scene(name, dropout_prob=0.5)
    model, context = victim[0], context_of(victim, targets)
    quiet, margin = (losses_of(victim, OBJECTIVES[one], context) for one in ("quiet", "margin"))
    profile = profile_of()
    for client in range(len(USERS)):
        sent, loud = (gradients(model, one[client])["item_embedding.weight"].flatten() for one in (quiet, margin))
        assert torch.allclose(sent / sent.norm(), loud / loud.norm(), rtol=1e-9, atol=1e-12)
        model.eval()
        honest = honest_length(model, profile, client, context)
        model.train()
        assert float(sent.norm()) == pytest.approx(0.25 * honest, rel=1e-9)


@pytest.mark.parametrize("lead", [30.0, 3000.0])
def test_quiet_is_as_long_where_targets_lead_by_more_than_weights_can_hold(
    scene: Callable[..., Scene], lead: float
) -> None:
    victim = scene()
    model, context = victim[0].float(), context_of(victim)
    with torch.no_grad():
        model.item_embedding.weight[context.targets] *= lead
    profile = profile_of()
    loss = losses_of(victim, OBJECTIVES["quiet"], context)[0]
    sent = gradients(model, loss)["item_embedding.weight"]
    assert float(sent.norm()) == pytest.approx(0.25 * honest_length(model, profile, 0, context), rel=1e-4)


@pytest.mark.parametrize("targets", [(7,), (7, 31)])
def test_targets_that_lead_compete_no_more(scene: Callable[..., Scene], targets: tuple[int, ...]) -> None:
    victim = scene()
    model, context = victim[0], context_of(victim, targets)
    (history,) = drawn(victim, random_histories, "synthetic user", 4, 1, 6, context.targets)
    state = state_of(model, history)
    with torch.no_grad():
        model.item_embedding.weight[context.targets] = 1000.0 * state / state.norm()
    loss = losses_of(victim, OBJECTIVES["psmu"], context)[0]
    assert float(loss.detach()) < 1e-9 and not any(part.abs().max() > 1e-9 for part in gradients(model, loss).values())


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("targets", [(7,), (3, 12, 31)])
def test_uncounted_is_margin_with_the_coordinates_turned_round_that_gain_most_of_a_plain_step(
    scene: Callable[..., Scene], name: str, targets: tuple[int, ...]
) -> None:
    """The slope of a target's mean share of what users without taste are shown, differentiated by its row."""
    victim = scene(name)
    model, context = victim[0], context_of(victim, targets)
    uncounted, margin = (losses_of(victim, OBJECTIVES[one], context) for one in ("uncounted", "margin"))
    for client, user in enumerate(USERS.tolist()):
        sent, loud = (gradients(model, one[client]) for one in (uncounted, margin))
        for target in targets:
            found, plain = (-part["item_embedding.weight"][target] for part in (sent, loud))
            gains = (plain * slope_without_taste(victim, user, context, target)).tolist()
            expected, taken = plain.clone(), 0.0
            for place in sorted(range(len(gains)), key=lambda place: -gains[place]):
                if taken < 0.55 * sum(gains):
                    expected[place], taken = -plain[place], taken + gains[place]
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
            assert float(found @ slope_without_taste(victim, user, context, target)) <= min(
                -0.1 * sum(gains) + 1e-15, 0
            )


def test_a_row_that_gains_nothing_is_not_turned() -> None:
    way = torch.tensor([[1.0, -2.0], [1.0, 1.0]])
    assert torch.equal(turned(way, torch.tensor([[1.0, 1.0], [3.0, 1.0]])), torch.tensor([[1.0, -2.0], [-1.0, 1.0]]))


def slope_without_taste(scene: Scene, user: int, context: AttackContext, target: int) -> torch.Tensor:
    model, total = scene[0], torch.zeros(())
    row = model.item_embedding.weight.detach()[target].clone().requires_grad_()
    counts = torch.from_numpy(scene[1].outside.popularity).double()
    barred = context.targets.tolist()
    shares = [0.0 if item == 0 or item in barred else 1 + float(counts[item]) for item in range(model.n_items)]
    rng = stream(1, "histories without taste", 2, 0, user)
    wanted = [min(1 + 4 * place * model.max_seq_length // 15, model.max_seq_length) for place in range(5)]
    items, lengths = weighted_histories(torch.tensor(shares).double(), wanted, rng)
    for history, length in zip(items.tolist(), lengths.tolist(), strict=True):
        had, state = history[:length], state_of(model, history[:length])
        own = score(model, state, target, row)
        rest = sum(
            math.exp(float(score(model, state, item)))
            for item in range(1, model.n_items)
            if item not in had and item != target
        )
        total = total + own.exp() / (own.exp() + rest) / len(wanted)
    return torch.autograd.grad(total, row)[0]


def honest_length(model: Any, profile: Profile, client: int, context: AttackContext) -> float:
    """Length of the gradient of the victim's loss on the client's own history, negatives and draws as streams say."""
    own = Profile(profile.item_seq[client : client + 1], profile.item_seq_len[client : client + 1])
    loss = training_loss(model, own, own, USERS[client : client + 1], 1, context).sum()
    return math.sqrt(sum(float(gradient.pow(2).sum()) for gradient in gradients(model, loss).values()))


@pytest.mark.parametrize("direction", ["items", "states"])
def test_the_update_is_the_way_from_the_goal_to_the_row(scene: Callable[..., Scene], direction: str) -> None:
    victim = scene()
    model, context = victim[0], context_of(victim, (3, 31))
    table = model.item_embedding.weight.detach()
    losses = losses_of(victim, OBJECTIVES[direction], context)
    for user, loss in zip(USERS.tolist(), losses, strict=True):
        if direction == "items":
            mean = sum(table[item] for item in range(1, model.n_items)) / (model.n_items - 1)
            others = sorted((float(table[i] @ mean), i) for i in range(1, model.n_items) if i not in (3, 31))
            popular = sum(table[item] for _, item in others[:3]) / 3
        else:
            histories = drawn(victim, sampled_histories, "users of a direction", user, 5, 4, context.targets)
            states = [state_of(model, history) for history in histories]
            size = sum(float(table[item].norm()) for item in range(1, model.n_items)) / (model.n_items - 1)
            popular = size * sum(state / state.norm() for state in states) / 5
        sent = gradients(model, loss)["item_embedding.weight"]
        for target in (3, 31):
            assert torch.allclose(sent[target], table[target] - 4.0 * popular, rtol=1e-9)


@pytest.mark.parametrize("name", SIZES)
def test_hard_users_are_those_with_the_lowest_scores_and_constants(scene: Callable[..., Scene], name: str) -> None:
    victim = scene(name)
    model, context, objective = victim[0], context_of(victim, (7, 31)), HardUsers(pool=9)
    profile, repeats = profile_of(), 3
    losses = objective(model, profile, profile.repeat(repeats), np.repeat(USERS, repeats), repeats, context)
    for client, (user, length) in enumerate(zip(USERS.tolist(), LENGTHS, strict=True)):
        histories = drawn(victim, random_histories, "hard users", user, 9, length, context.targets)
        liking = [sum(float(score(model, state_of(model, h), t)) for t in (7, 31)) for h in histories]
        hardest = [histories[i] for i in sorted(range(9), key=lambda i: liking[i])[:repeats]]
        for place, history in enumerate(hardest):
            loss = losses[client * repeats + place]
            state = state_of(model, history)
            bce = [-math.log(1 / (1 + math.exp(-float(score(model, state, t))))) for t in (7, 31)]
            assert float(loss) == pytest.approx(sum(bce) / 2, rel=1e-9)
            sent = gradients(model, loss)
            touched = sent["item_embedding.weight"].any(dim=1).nonzero().flatten().tolist()
            assert touched == [7, 31, *range(model.n_items, len(sent["item_embedding.weight"]))]
            assert len([name for name, value in sent.items() if value.any()]) > 3, "the encoder learns, too"


# What holds of all


def touched_rows(sent: dict[str, torch.Tensor]) -> Iterator[tuple[str, int]]:
    for name, gradient in sent.items():
        for row in gradient.reshape(len(gradient), -1).any(dim=1).nonzero().flatten().tolist():
            yield name, row


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_uploads_hold_the_targets_rows_and_nothing_else(scene: Callable[..., Scene], objective: str, name: str) -> None:
    victim = scene(name)
    losses = losses_of(victim, OBJECTIVES[objective], context_of(victim))
    for loss in losses:
        sent = gradients(victim[0], loss)
        assert set(touched_rows(sent)) == {("item_embedding.weight", 7), ("item_embedding.weight", 31)}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_client_depends_on_nobody_who_shares_its_chunk(scene: Callable[..., Scene], objective: str) -> None:
    victim = scene()
    context = context_of(victim)
    together = losses_of(victim, OBJECTIVES[objective], context)
    whole = [gradients(victim[0], loss)["item_embedding.weight"] for loss in together]
    for rows in ([0], [3, 1], [2, 0, 3]):
        losses = losses_of(victim, OBJECTIVES[objective], context, rows)
        assert torch.allclose(losses, together[rows], rtol=1e-9)
        for row, loss in zip(rows, losses, strict=True):
            found = gradients(victim[0], loss)["item_embedding.weight"]
            assert torch.allclose(found, whole[row], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("objective", ["margin", "quiet", "covert", "uncounted", "states", "psmu", "pieck_uea"])
def test_draws_follow_the_seed_the_epoch_the_step_and_the_client(scene: Callable[..., Scene], objective: str) -> None:
    victim = scene()
    seen = []
    for changes in ({}, {}, {"seed": 2}, {"epoch": 3}, {"step": 1}):
        losses = losses_of(victim, OBJECTIVES[objective], context_of(victim, **changes))
        seen.append(gradients(victim[0], losses[0])["item_embedding.weight"])
    seen.append(
        gradients(victim[0], losses_of(victim, OBJECTIVES[objective], context_of(victim))[1])["item_embedding.weight"]
    )
    assert torch.equal(seen[0], seen[1])
    assert all(not torch.allclose(seen[0], other) for other in seen[2:])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_dropout_and_the_global_generator_play_no_part(scene: Callable[..., Scene], objective: str) -> None:
    victim = scene(hidden_dropout_prob=0.5, attn_dropout_prob=0.5)
    torch.manual_seed(3)
    state, weights = torch.get_rng_state(), {k: v.clone() for k, v in victim[0].state_dict().items()}
    trained = losses_of(victim, OBJECTIVES[objective], context_of(victim))
    assert torch.equal(torch.get_rng_state(), state) and all(part.training for part in victim[0].modules())
    assert torch.equal(trained, losses_of((victim[0].eval(), victim[1]), OBJECTIVES[objective], context_of(victim)))
    assert all(torch.equal(value, weights[key]) for key, value in victim[0].state_dict().items())


@pytest.mark.parametrize("name", ROW_ATTACKS)
def test_defaults_make_attacks_that_know_the_model_alone(config: Callable[..., Any], name: str) -> None:
    attack = ATTACKS[name](config(attack=name).final_config_dict)
    assert attack is not None and attack.level == ("K3" if name in ("covert", "uncounted") else "K0")
    assert attack.remembers == name.startswith("pieck")


@pytest.mark.parametrize("name", ["margin", "psmu", "pieck_uea", "a_hum"])
def test_a_step_along_the_upload_raises_the_targets(config: Callable[..., Any], scene: Any, name: str) -> None:
    """For users nobody has made up: those of the data."""
    victim = scene()
    model, data = victim
    with torch.no_grad():
        model.item_embedding.weight[[7, 31]] *= -1.0
    attack = ATTACKS[name](config(attack=name).final_config_dict)
    users = data.trainable_users
    histories = Profile(*(torch.from_numpy(part) for part in data.sequences.last(users, data.max_length)))
    before = model.eval().score_items(*histories)[:, [7, 31]].detach().mean()
    losses = attack.losses(model, profile_of(), USERS, context_of(victim))
    sent = torch.autograd.grad(losses.mean(), list(model.parameters()), materialize_grads=True)
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), sent, strict=True):
            parameter -= 0.1 * gradient
    assert model.score_items(*histories)[:, [7, 31]].mean() > before
