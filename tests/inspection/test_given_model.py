"""The model in a file is RecBole's model, whatever order its items have, and what it does not say is said aloud."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from configured import configured
from recbole.data.interaction import Interaction

from recbole_attack.inspection.architecture import SEEN, UNSEEN, seen_sizes
from recbole_attack.inspection.catalogue import catalogue
from recbole_attack.inspection.given_model import GivenModel, item_rows, restored
from recbole_attack.inspection.model_file import ModelFile, read_model_file
from recbole_attack.inspection.platform import prepare_platform
from recbole_attack.model import MODELS
from recbole_attack.utils.errors import ConfigError, DataError

SMALL_SIZES = {
    "SASRec": {"hidden_size": 8, "inner_size": 24, "n_layers": 3, "n_heads": 4, "MAX_ITEM_LIST_LENGTH": 9},
    "BERT4Rec": {"hidden_size": 8, "inner_size": 24, "n_layers": 1, "n_heads": 4, "MAX_ITEM_LIST_LENGTH": 9},
    "LightSANs": {"hidden_size": 8, "inner_size": 24, "n_layers": 1, "k_interests": 3, "MAX_ITEM_LIST_LENGTH": 9},
    "GRU4Rec": {"hidden_size": 6, "embedding_size": 8, "num_layers": 2},
    "NARM": {"hidden_size": 6, "embedding_size": 10, "n_layers": 2},
    "SINE": {"embedding_size": 8, "prototype_size": 20, "interest_size": 2},
    "STAMP": {"embedding_size": 10},
}


def opened(file, mine, model=None, items=None, **changes):
    config = configured(file, model, "tiny", None, {**mine, **changes})
    platform = prepare_platform(config)
    found = catalogue(platform.dataset, item_rows(config, platform.dataset, file), items)
    return restored(config, platform.dataset, file, found), platform


def interaction_of(histories, length):
    rows = torch.zeros(len(histories), length, dtype=torch.int64)
    for row, history in enumerate(histories):
        rows[row, : len(history)] = torch.tensor(history)
    return Interaction({"item_id_list": rows, "item_length": torch.tensor(list(map(len, histories)))})


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec"])
def test_a_checkpoint_of_recboles_scores_as_recboles_model(model, theirs, mine):
    sizes = {"embedding_size": 8, "hidden_size": 6, "inner_size": None} if model == "GRU4Rec" else {}
    made = theirs(model, **{key: value for key, value in sizes.items() if value})
    given, platform = opened(read_model_file(made.file), mine, MAX_ITEM_LIST_LENGTH=12)
    assert made.tokens == platform.dataset.tokens("item_id", np.arange(1, platform.dataset.item_num))
    asked = 0
    for interaction, _, _, _ in made.test_data:
        with torch.no_grad():
            expected = made.model.full_sort_predict(interaction)
        assert torch.allclose(given.scores(interaction)[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-6)
        asked += len(interaction)
    assert asked == 58


@pytest.mark.parametrize("model", MODELS)
def test_sizes_are_read_from_shapes_alone(model, mine, config):
    experiment = prepare_platform(config_of(model, mine, **SMALL_SIZES[model]))
    weights = experiment.trained(experiment.users, 1).model.state_dict()
    shown = {key: value for key, value in SMALL_SIZES[model].items() if key not in UNSEEN[model]}
    assert seen_sizes(model, weights) == shown
    file = ModelFile(Path("x.pth"), "", dict(weights), {})
    read = configured(file, model, "tiny", None, mine)
    assert {key: read[key] for key in shown} == shown


def config_of(model, mine, **changes):
    return configured(ModelFile(Path("none.pth"), "", {}, {}), model, "tiny", None, {**mine, **changes})


def test_every_victim_has_an_entry():
    assert SEEN.keys() == UNSEEN.keys() == MODELS.keys()


@pytest.mark.parametrize(
    ("told", "given", "assumed"),
    [
        ({}, {}, ["model", "n_heads", "hidden_act", "layer_norm_eps", "position_alignment"]),
        ({}, {"model": "SASRec", "n_heads": 4}, ["hidden_act", "layer_norm_eps", "position_alignment"]),
        ({"model": "SASRec", "n_heads": 4, "hidden_act": "relu", "layer_norm_eps": "1e-12"}, {}, []),
        ({"model": "SASRec", "n_heads": 4}, {}, ["hidden_act", "layer_norm_eps"]),
    ],
)
def test_what_no_shape_shows_is_taken_from_the_file_or_said_to_be_assumed(told, given, assumed, mine, caplog):
    given = dict(given)
    with caplog.at_level(logging.WARNING):
        found = configured(
            ModelFile(Path("x.pth"), "", {}, told), given.pop("model", None), "tiny", None, {**mine, **given}
        )
    said = [record.getMessage().split(" does not say its ")[1].split(":")[0] for record in caplog.records]
    assert said == assumed
    assert found["n_heads"] == {**told, **given}.get("n_heads", 2)
    assert found["hidden_act"] == told.get("hidden_act", "gelu")


@pytest.mark.parametrize(
    ("told", "given", "words"),
    [
        ({"model": "GRU4Rec"}, {"model": "SASRec"}, "x.pth holds a model 'GRU4Rec': found model 'SASRec'"),
        ({"model": "SASRec", "n_heads": 4}, {"n_heads": 2}, "n_heads of x.pth is 4: found 2"),
        ({"model": "SASRec", "n_heads": 10**9}, {}, "n_heads must be"),
        ({"model": "SASRec", "hidden_act": "__import__('os')"}, {}, "hidden_act"),
        ({"model": "../evil"}, {}, "unknown model '../evil'"),
        ({}, {"scenario": "federated"}, "scenario 'central' here: found scenario 'federated'"),
        ({}, {"hidden_size": 16}, "hidden_size of x.pth is 8: found 16"),
    ],
)
def test_what_contradicts_the_file_is_refused(told, given, words, mine):
    weights = {"item_embedding.weight": torch.zeros(40, 8)}
    given = dict(given)
    with pytest.raises(ConfigError) as raised:
        configured(
            ModelFile(Path("x.pth"), "", weights, told), given.pop("model", None), "tiny", None, {**mine, **given}
        )
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weights: weights.pop("LayerNorm.bias"), "Missing key"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "Unexpected key"),
        (lambda weights: weights.update({"LayerNorm.bias": torch.zeros(9)}), "size mismatch"),
        (lambda weights: weights.update({"item_embedding.weight": torch.zeros(40)}), "holds no item table"),
        (lambda weights: weights.pop("item_embedding.weight"), "holds no item table"),
    ],
)
def test_weights_of_another_shape_are_refused(change, words, theirs, mine):
    file = read_model_file(theirs().file)
    change(file.weights)
    with pytest.raises(DataError, match=words) as raised:
        opened(file, mine)
    assert "\n" not in str(raised.value)


def test_a_file_that_sets_other_attributes_of_a_model_is_refused(theirs, mine):
    file = read_model_file(theirs().file)
    with pytest.raises(DataError, match="expected weights alone, found 'other_parameter'"):
        opened(ModelFile(file.path, "", file.weights, file.config, {"n_items": 3}), mine)


def test_items_in_another_order_get_the_scores_of_their_own_rows(theirs, mine, tmp_path):
    """A literal reading: row by row of a model whose table was shuffled, three of its items being nobody's."""
    file = read_model_file(theirs().file)
    given, platform = opened(file, mine)
    rng = np.random.default_rng(0)
    n_items, order = platform.dataset.item_num, rng.permutation(np.arange(1, 43))  # 39 items, 40 to 42 are foreign
    old = file.weights["item_embedding.weight"]
    table = torch.cat([old, torch.randn(3, old.shape[1])])[[0, *order]]
    tokens = [*platform.dataset.tokens("item_id", np.arange(1, n_items)), "foreign 1", "foreign 2", "foreign 3"]
    (tmp_path / "tokens.txt").write_text("".join(f"{tokens[row - 1]}\n" for row in order))
    shuffled = ModelFile(file.path, "", {**file.weights, "item_embedding.weight": table}, file.config)
    again, _ = opened(shuffled, mine, items=tmp_path / "tokens.txt")
    asked = interaction_of([[1], [5, 39, 2], [*range(1, 12)]], 12)
    assert torch.allclose(again.scores(asked), given.scores(asked), atol=1e-6)


def test_items_the_model_lacks_are_left_out_of_histories_and_never_scored(theirs, mine):
    given, platform = opened(read_model_file(theirs().file), mine)
    lacking = given.rows.clone()
    lacking[[2, 7]] = 0
    less = GivenModel(given.model, catalogue(platform.dataset, platform.dataset.item_num, None))
    less.rows, less.known = lacking, lacking > 0
    scores = less.scores(interaction_of([[2, 1, 7, 3], [4]], 12))
    expected = given.scores(interaction_of([[1, 3], [4]], 12))
    assert torch.isneginf(scores[:, [0, 2, 7]]).all()
    assert torch.equal(scores[:, less.known], expected[:, less.known])
    assert less.lengths(torch.tensor([[2, 1, 7, 3], [2, 7, 0, 0]])).tolist() == [2, 0]


def test_histories_beyond_a_models_length_are_cut_to_their_last_items(theirs, mine):
    given, _ = opened(read_model_file(theirs().file), mine)
    long = list(range(1, 31))
    assert torch.equal(given.scores(interaction_of([long], 30)), given.scores(interaction_of([long[-12:]], 12)))
