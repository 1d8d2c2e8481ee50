"""SASRec with prompts: against SASRec itself and against one user at a time under a mask written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_attack import AttackConfig
from recbole_attack.experiment import prepare_pretrain
from recbole_attack.model import PromptSASRec, SASRec, user_attributes
from recbole_attack.utils.errors import DataError

VARIANTS = [{}, {"prompt_length": 3}, {"deep_prompts": True}, {"prompt_length": 2, "deep_prompts": True}]
RIGHT = {"prompt_length": 2, "position_alignment": "right"}


@pytest.fixture
def experiment(pretrain):
    return prepare_pretrain(AttackConfig(config_dict=pretrain()))


@pytest.fixture
def model(pretrain, experiment):
    """``model(**changes)``: weights large enough that what should matter does, no dropout."""

    def build(**changes):
        settings = AttackConfig(PromptSASRec, config_dict=pretrain(**changes))
        built = experiment.model(settings).eval()
        with torch.no_grad():
            for parameter in built.parameters():
                parameter.normal_(0, 0.7, generator=torch.Generator().manual_seed(parameter.numel()))
        return built

    return build


@pytest.fixture
def batch(experiment):
    """Users of every length, the longest cut to 12 positions."""
    data = experiment.data["provider"]
    users = data.trainable_users[::3]
    found = data.batch(users, data.negatives(0))._replace(users=torch.from_numpy(users))
    assert found.lengths.min() < 6 < found.lengths.max() == 12
    return found


def plain(model, experiment, pretrain):
    """A SASRec with the backbone's weights."""
    sasrec = experiment.model(AttackConfig(SASRec, config_dict=pretrain())).eval()
    sasrec.load_state_dict({name: model.state_dict()[name] for name in sasrec.state_dict()})
    return sasrec


def by_hand(model, items, prompts):
    """States of one user's items (``[L]``, no padding) behind ``[layers, n, H]`` prompts, who sees whom in words."""
    n, length = prompts.shape[1], len(items)
    mask = torch.empty(n + length, n + length)
    for query in range(n + length):
        for key in range(n + length):
            both_prompts = query < n and key < n
            item_sees = query >= n and (key < n or key <= query)
            mask[query, key] = 0.0 if both_prompts or item_sees else -10000.0
    hidden = torch.cat([prompts[0], model.embedded(items[None], model.embed(items[None]))[0]])[None]
    for index, layer in enumerate(model.trm_encoder.layer):
        if index and len(prompts) > 1:
            hidden = torch.cat([prompts[index][None], hidden[:, n:]], dim=1)
        hidden = layer(hidden, mask[None, None])
    return hidden[0, n:]


@pytest.mark.parametrize("changes", [*VARIANTS, RIGHT], ids=str)
def test_states_are_those_of_each_user_alone(model, batch, changes):
    victim = model(**changes)
    prompts = victim.prompts(batch.users)
    layers = victim.n_layers if changes.get("deep_prompts") else 1
    assert prompts.shape == (len(batch.users), layers, changes.get("prompt_length", 1), victim.hidden_size)
    states = victim.encode(batch.item_seq, victim.embed(batch.item_seq), prompts)
    assert states.shape == (*batch.item_seq.shape, victim.hidden_size)
    for row, (items, length) in enumerate(zip(batch.item_seq, batch.lengths.tolist(), strict=True)):
        expected = by_hand(victim, items[:length], prompts[row])
        torch.testing.assert_close(states[row, :length], expected, rtol=1e-4, atol=1e-5)


def test_the_backbone_is_sasrec(model, experiment, pretrain):
    victim = model()
    sasrec = plain(victim, experiment, pretrain)
    names = [name for name in victim.state_dict() if not name.startswith("generator.")]
    assert names == list(sasrec.state_dict())
    rows = experiment.test_data.dataset.inter_feat
    args = (rows["item_id_list"], rows["item_length"])
    assert torch.equal(victim.score_items(*args), sasrec.score_items(*args)), "without users there are no prompts"


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_scores_under_blocked_prompts_are_sasrecs_and_differ_otherwise(
    model, experiment, pretrain, changes, monkeypatch
):
    victim = model(**changes)
    rows = experiment.test_data.dataset.inter_feat
    expected = plain(victim, experiment, pretrain).full_sort_predict(rows)
    assert not torch.isclose(victim.full_sort_predict(rows), expected).all(dim=1).any()
    n = changes.get("prompt_length", 1)
    for layer in victim.trm_encoder.layer:
        forward = layer.forward

        def blocked(hidden, mask, forward=forward):
            mask = mask.clone()
            mask[:, :, n:, :n] = -10000.0
            return forward(hidden, mask)

        monkeypatch.setattr(layer, "forward", blocked)
    torch.testing.assert_close(victim.full_sort_predict(rows), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_the_generator_is_its_formula(model, changes):
    victim = model(**changes)
    weights = victim.generator.state_dict()
    users = torch.tensor([1, 5, 60, 5])
    for user, found in zip(users, victim.prompts(users), strict=True):
        values = victim.attribute_values[user].tolist()
        embedded = torch.cat([weights[f"attributes.{i}.weight"][value] for i, value in enumerate(values)])
        inner = torch.relu(weights["dense_1.weight"] @ embedded + weights["dense_1.bias"])
        expected = weights["dense_2.weight"] @ inner + weights["dense_2.bias"]
        torch.testing.assert_close(found.flatten(), expected, rtol=1e-4, atol=1e-5)


def test_initial_prompt_weights_are_the_released_codes(pretrain, experiment):
    changes = {"hidden_size": 64, "prompt_length": 8}
    weights = experiment.model(AttackConfig(PromptSASRec, config_dict=pretrain(**changes))).generator.state_dict()
    assert not weights["dense_1.bias"].any() and not weights["dense_2.bias"].any()
    for name, value in weights.items():
        if name.endswith("weight"):
            assert value.std().item() == pytest.approx(0.01, rel=0.35 if value.numel() < 1000 else 0.05), name


def test_prompts_depend_on_attributes_and_on_nothing_else_of_a_user(model):
    victim = model()
    values = victim.attribute_values.numpy()
    assert values.min() == 0 and not values[0].any(), "the padding user has no attributes"
    prompts = victim.prompts(torch.arange(len(values)))
    for first in range(1, 20):
        for second in range(first + 1, len(values)):
            same = np.array_equal(values[first], values[second])
            assert torch.equal(prompts[first], prompts[second]) == same


def test_a_users_loss_does_not_depend_on_the_other_rows(model, batch):
    victim = model(prompt_length=2)
    losses = victim.client_losses(batch)
    for row in range(len(losses)):
        alone = victim.client_losses(batch.rows(torch.tensor([row])))
        torch.testing.assert_close(alone[0], losses[row], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_training_reaches_every_parameter(model, batch, changes):
    victim = model(**changes)
    victim.calculate_loss(batch.to_interaction()).backward()
    untouched = [name for name, parameter in victim.named_parameters() if not parameter.grad.abs().sum()]
    assert not untouched


def user_file(folder, header, lines):
    path = folder / "made"
    path.mkdir()
    rows = [f"{user}\t{item}\t{item}" for user in "abcd" for item in range(4)]
    (path / "made.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    (path / "made.user").write_text("\n".join([header, *lines]) + "\n")
    return {"data_path": str(folder), "dataset": "made"}


def test_attributes_are_numbered_and_missing_ones_are_zero(config, tmp_path):
    from recbole_attack.experiment import create_dataset

    place = user_file(
        tmp_path, "user_id:token\tage:float\tgender:token", ["a\t30\tM", "b\t\tF", "c\t7.5\t", "d\t30\tF"]
    )
    columns = {"inter": ["user_id", "item_id", "timestamp"], "user": ["user_id", "age", "gender"]}
    dataset = create_dataset(config(**place, load_col=columns))
    dataset.build()
    values, sizes = user_attributes(dataset, ["age", "gender"])
    found = {token: values[dataset.token2id("user_id", token)].tolist() for token in "abcd"}
    assert found == {"a": [2, 2], "b": [0, 1], "c": [1, 0], "d": [2, 1]}
    assert sizes == [3, 3] and not values[0].any()
    with pytest.raises(DataError, match=r"prompt_fields: .*'gendr'; found age, gender .*did you mean 'gender'"):
        user_attributes(dataset, ["gendr"])
