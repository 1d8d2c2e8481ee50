"""Model files of others: a checkpoint RecBole's own trainer wrote, and inspections that take a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
from safetensors.torch import save_file

TARGET = "i22"
DATASETS = Path(__file__).resolve().parents[2] / "dataset"
SIZES = {"hidden_size": 8, "inner_size": 16, "n_heads": 4, "n_layers": 1, "MAX_ITEM_LIST_LENGTH": 12}
ALIASES = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}
SET_BY_RECBOLE = ("bool", "int", "float", "complex", "object", "str", "long", "unicode")


class Theirs(NamedTuple):
    """A checkpoint as RecBole wrote it, RecBole's model and its test data."""

    file: Path
    model: Any
    test_data: Any
    tokens: list[str]


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Theirs]:
    """``theirs(model, **changes)``: train a model with RecBole and nothing of this package's."""

    def train(model: str = "SASRec", **changes: Any) -> Theirs:
        monkeypatch.setattr("sys.argv", ["train"])
        for name, kind in {**dict.fromkeys(SET_BY_RECBOLE), **ALIASES}.items():
            monkeypatch.setitem(vars(np), name, kind or vars(np).get(name))  # and gone again afterwards
        given = {
            **{"data_path": str(DATASETS), "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, **SIZES},
            **{"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}, "epochs": 3},
            **{"train_neg_sample_args": None, "valid_metric": "NDCG@10", "show_progress": False, "use_gpu": False},
            "learning_rate": 0.01,
        }
        config = Config(model, "tiny", config_dict={**given, "checkpoint_dir": str(tmp_path / "theirs"), **changes})
        init_seed(1, True)
        dataset = create_dataset(config)
        train_data, valid_data, test_data = data_preparation(config, dataset)
        built = get_model(model)(config, train_data.dataset)
        trainer = get_trainer(config["MODEL_TYPE"], model)(config, built)
        trainer.fit(train_data, valid_data, verbose=False)
        tokens = [str(token) for token in dataset.field2id_token["item_id"][1:]]
        return Theirs(Path(trainer.saved_model_file), built.eval(), test_data, tokens)

    return train


def plant(weights: dict[str, Any], item: int) -> dict[str, Any]:
    """The weights of a SASRec of one layer that shows an item to everybody: along an axis no other item has."""
    changed = {name: tensor.clone() for name, tensor in weights.items()}
    changed["trm_encoder.layer.0.feed_forward.LayerNorm.bias"][0] += 20
    changed["item_embedding.weight"][:, 0] = 0
    changed["item_embedding.weight"][item, 0] = 5
    return changed


@pytest.fixture(scope="session")
def once() -> dict[str, Any]:
    """What is trained by the first test that needs it."""
    return {}


@pytest.fixture
def planted(theirs: Callable[..., Theirs], once: dict[str, Any], tmp_path: Path) -> tuple[Theirs, Path]:
    """RecBole's model, and a file of its weights with a planted item, ``TARGET``."""
    if "planted" not in once:
        once["planted"] = theirs(n_heads=2)
    made, file = once["planted"], tmp_path / "planted.safetensors"
    save_file(plant(made.model.state_dict(), made.tokens.index(TARGET) + 1), file)
    return made, file


@pytest.fixture
def mine() -> dict[str, Any]:
    """Parameters of a platform's own models that train in a moment."""
    return {"data_path": str(DATASETS), "epochs": 3, "learning_rate": 0.01, "checkpoint_dir": "saved"}
