"""What a stage changes, what it starts from and what it trains on."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch

from recbole_attack.model import PromptSASRec, SASRec
from recbole_attack.stages import ATTACK_TUNE, FAKE_TUNE, FINE_TUNE, LOCAL_TRAIN, PRE_TRAIN, PROMPT_TUNE, plans

THREE_STEPS = {"attack": "pea", "platform": "prompt_tune", "weight_decay": 0.01}


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before, after):
    """Names of the weights that are not the same bit by bit."""
    assert set(before) == set(after)
    return {name for name in before if not torch.equal(before[name], after[name])}


def prompts_of(names):
    return {name for name in names if name.startswith("generator.")}


@pytest.fixture
def run(experiment, tmp_path):
    """``run(**changes)``: every stage of the attacked arm as (stage, weights before, weights after)."""

    def steps(**changes):
        made, trainer, found = experiment(**changes), None, []
        for number, stage in enumerate(plans(made.config.final_config_dict)["attacked"]):
            trainer = made.trainer(made.config, stage, tmp_path / str(number), trainer)
            before = weights(trainer.model)
            trainer.fit(made.data[stage.party], verbose=False, saved=False)
            found.append((stage, before, weights(trainer.model)))
        return found

    return steps


def test_the_three_steps_freeze_what_they_should_bit_by_bit(run):
    (_, _, first), (_, start, second), (_, again, third), (_, fresh, last) = run(**THREE_STEPS)
    backbone, prompts = set(first), prompts_of(second)
    assert changed(start, second) == prompts, "step 2 trains the fake prompts"
    assert changed(again, third) == set(third) - prompts, "step 3 trains the model"
    assert changed(fresh, last) == prompts, "the platform trains its own"
    for before, after in ((first, start), (third, fresh)):
        assert all(torch.equal(before[name], after[name]) for name in backbone), "the model is passed on"
    assert not changed(second, again), "step 3 sees the fake prompts"


def test_the_platforms_prompts_are_neither_the_fake_ones_nor_start_like_them(run):
    (_, _, _), (_, start, second), _, (_, fresh, _) = run(**THREE_STEPS)
    drawn = {name for name in prompts_of(fresh) if name.endswith("weight")}
    assert drawn <= changed(start, fresh) and drawn <= changed(second, fresh)


@pytest.mark.parametrize("platform", ["direct", "fine_tune", "prompt_tune"])
@pytest.mark.parametrize(("attack", "steps"), [("bra", None), ("pea", True), ("pea", False)], ids=str)
def test_a_stage_starts_where_the_last_one_ended_but_for_new_prompts(run, attack, steps, platform):
    given = {"attack": attack, "platform": platform} | ({"three_steps": steps} if attack == "pea" else {})
    found = run(**given)
    for (_, _, ended), (stage, started, _) in pairwise(found):
        shared = set(ended) & set(started)
        kept = shared - prompts_of(shared) if stage.new_prompts else shared
        assert all(torch.equal(ended[name], started[name]) for name in kept)
        assert bool(prompts_of(started)) == stage.prompted
        assert not stage.prompted or stage.new_prompts or prompts_of(kept)


def test_the_providers_arms_start_from_the_same_weights_and_the_platforms_own_elsewhere(experiment, tmp_path):
    """A detector compares with the platform's own model: what started alike would stay alike but for an attack."""
    made = experiment(**THREE_STEPS)
    arms = plans(made.config.final_config_dict)
    first = {arm: weights(made.trainer(made.config, stages[0], tmp_path / arm).model) for arm, stages in arms.items()}
    assert not changed(first["clean"], first["attacked"])
    drawn = {name for name, value in first["clean"].items() if value.unique().numel() > 1}
    assert "item_embedding.weight" in drawn and changed(first["local"], first["clean"]) == drawn
    joint = experiment(**{**THREE_STEPS, "three_steps": False})
    for arm, stages in plans(joint.config.final_config_dict).items():
        model = made.trainer(joint.config, stages[0], tmp_path / arm).model
        assert isinstance(model, PromptSASRec) == (arm != "local")
        same = first["local" if arm == "local" else "clean"]
        assert all(torch.equal(model.state_dict()[name], value) for name, value in same.items())


def test_the_platforms_own_model_starts_as_its_seed_says(experiment, tmp_path):
    def first(**changes):
        made = experiment(**changes)
        return weights(made.trainer(made.config, LOCAL_TRAIN, tmp_path / "local").model)

    assert not changed(first(), first(attack="none", platform="local"))
    assert "item_embedding.weight" in changed(first(), first(seed=5))


@pytest.mark.parametrize("learner", ["adam", "adamw", "sgd", "adagrad", "rmsprop"])
@pytest.mark.parametrize("stage", [FAKE_TUNE, ATTACK_TUNE], ids=lambda s: s.name)
def test_no_optimiser_moves_what_is_frozen(experiment, tmp_path, stage, learner):
    made = experiment(attack="pea", learner=learner, weight_decay=0.1)
    trainer = made.trainer(made.config, stage, tmp_path)
    before = weights(trainer.model)
    trainer.fit(made.data["provider"], verbose=False, saved=False)
    moved = changed(before, weights(trainer.model))
    assert moved == (prompts_of(before) if stage is FAKE_TUNE else set(before) - prompts_of(before))


def recorded(made, stage, folder, monkeypatch):
    """Every batch a stage is trained with."""
    trainer, seen = made.trainer(made.config, stage, folder), []
    plain = trainer._loss

    def loss(interaction):
        seen.append({name: interaction[name].clone() for name in ("item_seq", "pos_items", "neg_items")})
        return plain(interaction)

    monkeypatch.setattr(trainer, "_loss", loss)
    trainer.fit(made.data[stage.party], verbose=False, saved=False)
    return seen


@pytest.mark.parametrize("push", [False, True])
@pytest.mark.parametrize("field", [None, "class"])
def test_clean_and_attacked_batches_differ_in_what_is_replaced_and_in_nothing_else(
    experiment, tmp_path, monkeypatch, push, field
):
    made = experiment(
        attack="bra", replacement_negatives="push" if push else "sampled", category_field=field, train_batch_size=10**6
    )
    clean, attacked = (
        plans(made.config.final_config_dict)["clean"][0],
        plans(made.config.final_config_dict)["attacked"][0],
    )
    (before,), (after,) = (
        recorded(made, stage, tmp_path / name, monkeypatch) for name, stage in (("c", clean), ("a", attacked))
    )
    assert torch.equal(before["item_seq"], after["item_seq"])
    histories = {tuple(made.data["provider"].sequences[u][-13:].tolist()): u for u in range(61)}
    assert len(histories) > made.parties.provider.sum(), "histories tell users apart"
    replaced = {"pos_items": 0, "neg_items": 0}
    for row, inputs in enumerate(before["item_seq"]):
        length = int((before["pos_items"][row] != 0).sum())
        user = histories[(*inputs[:length].tolist(), int(before["pos_items"][row, length - 1]))]
        for name, acts in (("pos_items", made.target_users[user]), ("neg_items", push and not made.target_users[user])):
            new, old = after[name][row].numpy(), before[name][row].numpy()
            moved = np.flatnonzero(new != old)
            assert acts or not len(moved)
            assert (moved < length).all()
            for position in moved:
                assert new[position] in made.similar[int(before["pos_items"][row, position])]
            replaced[name] += len(moved)
    assert replaced["pos_items"] > 50 and (replaced["neg_items"] > 50) == push


def test_training_leaves_histories_and_evaluation_as_they_were(experiment, tmp_path):
    made = experiment(attack="bra", replacement_ratio=1.0, replacement_negatives="push")
    split = made.dataset.split

    def contents():
        arrays = [part.items for part in (split.full, split.train)] + [
            data.sequences.items for data in made.data.values()
        ]
        arrays += [rows.users for rows in (split.valid, split.test)]
        rows = [loader.dataset.inter_feat.interaction for loader in (made.valid_data, made.test_data)]
        return [a.tobytes() for a in arrays] + [v.numpy().tobytes() for row in rows for v in row.values()]

    before = copy.deepcopy(contents())
    made.trainer(made.config, plans(made.config.final_config_dict)["attacked"][0], tmp_path).fit(
        made.data["provider"], made.valid_data, verbose=False, saved=False
    )
    assert contents() == before


def test_each_party_trains_on_its_own_users(experiment):
    made = experiment()
    provider, platform = (set(made.data[party].trainable_users.tolist()) for party in ("provider", "platform"))
    assert provider and platform and not provider & platform
    assert provider <= set(np.flatnonzero(made.parties.provider)) and platform <= set(
        np.flatnonzero(made.parties.platform)
    )
    for party, users in (("provider", made.parties.provider), ("platform", made.parties.platform)):
        sequences = made.data[party].sequences
        assert all(np.array_equal(sequences[u], made.dataset.split.train[u] if users[u] else []) for u in range(61))
    for loader in (made.valid_data, made.test_data):
        assert set(loader.dataset.inter_feat["user_id"].tolist()) <= set(np.flatnonzero(made.parties.platform))
    assert made.dataset.split.full.lengths[made.parties.platform].max() <= 9, "the last nine interactions are known"


def test_stages_train_with_their_own_epochs_rate_and_model(experiment, tmp_path):
    fine = {"fine_tune_epochs": 3, "fine_tune_learning_rate": 0.25}
    fake = {"fake_tune_epochs": 2, "fake_tune_learning_rate": 0.5}
    made = experiment(attack="pea", **fine, **fake, prompt_tune_epochs=4, prompt_tune_learning_rate=0.125)
    for stage, epochs, rate, model in (
        (PRE_TRAIN, 1, 0.001, SASRec),
        (FAKE_TUNE, 2, 0.5, PromptSASRec),
        (FINE_TUNE, 3, 0.25, SASRec),
        (PROMPT_TUNE, 4, 0.125, PromptSASRec),
    ):
        trainer = made.trainer(made.config, stage, tmp_path / stage.name)
        assert type(trainer.model) is model
        assert (trainer.epochs, trainer.optimizer.param_groups[0]["lr"]) == (epochs, rate)
