"""The platform's own model: what is assumed of one in a file is said, and one that is trained starts from its own."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recbole_attack import inspect_model
from recbole_attack.inspection.calibration import cache_folder
from recbole_attack.inspection.given_model import fitted_to, own_configuration, with_file
from recbole_attack.inspection.local_model import local_model
from recbole_attack.inspection.model_file import ModelFile, read_model_file
from recbole_attack.inspection.platform import prepare_platform
from recbole_attack.utils.errors import ConfigError, DataError
from recbole_attack.utils.rng import stream

QUICK = {"clean_models": 3, "false_alarms": 0.25, "detector": "excess_tail"}
UNSAID = ["n_heads", "hidden_act", "layer_norm_eps", "position_alignment"]


def said_of(file, caplog):
    return [text for text in (record.getMessage() for record in caplog.records) if text.startswith(f"{file} ")]


def test_what_is_assumed_of_a_local_file_is_said_and_not_taken_from_the_vendors(theirs, mine, tmp_path, caplog):
    """A vendor's model of four heads says so; the platform's has two and is bare. Its checkpoint is the oracle."""
    vendor = theirs(n_heads=4, checkpoint_dir=str(tmp_path / "vendor"))
    own = theirs(n_heads=2, checkpoint_dir=str(tmp_path / "own"), seed=3)
    torch.save(read_model_file(own.file).weights, tmp_path / "bare.pth")
    (tmp_path / "tokens.txt").write_text("\n".join(vendor.tokens))
    given = {"dataset": "tiny", "config_dict": mine, "items": str(tmp_path / "tokens.txt"), **QUICK}
    whole = inspect_model(vendor.file, local=str(own.file), **given)
    order = f"{own.file} does not say which items its rows are: the order of dataset 'tiny' is assumed; a wrong one "
    assert [text.startswith(order) for text in said_of(own.file, caplog)] == [True]
    assert not said_of(vendor.file, caplog)
    bare = inspect_model(vendor.file, local=str(tmp_path / "bare.pth"), **given)
    assert (bare.header, bare.rows, bare.verdict) == (whole.header, whole.rows, whole.verdict)
    *assumed, last = said_of(tmp_path / "bare.pth", caplog)
    assert [text.split(" does not say its ")[1].split(":")[0] for text in assumed] == UNSAID
    assert "n_heads: 2 is assumed" in assumed[0] and "the order of dataset 'tiny' is assumed" in last


@pytest.mark.parametrize(("given", "heads", "said"), [({}, 2, UNSAID), ({"n_heads": 1}, 1, UNSAID[1:])], ids=str)
def test_what_a_local_file_does_not_say_is_what_the_platform_says(mine, caplog, given, heads, said):
    vendor = ModelFile(Path("vendor.pth"), "", {}, {"model": "SASRec", "n_heads": given.get("n_heads", 4)})
    own = own_configuration(vendor, None, "tiny", None, {**mine, **given})
    assert with_file(vendor, own)["n_heads"] == given.get("n_heads", 4)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert fitted_to(ModelFile(Path("bare.pth"), "", {}, {}), own)["n_heads"] == heads
    assert [text.split(" its ")[1].split(":")[0] for text in said_of("bare.pth", caplog)] == said
    told = {"model": "SASRec", "n_heads": 8, "hidden_act": "relu", "layer_norm_eps": 1e-12}
    assert fitted_to(ModelFile(Path("told.pth"), "", {}, told), own)["n_heads"] == 8
    assert not said_of("told.pth", caplog)
    with pytest.raises(ConfigError, match=r"other\.pth holds a model 'GRU4Rec': found model 'SASRec'"):
        fitted_to(ModelFile(Path("other.pth"), "", {}, {"model": "GRU4Rec"}), own)


def test_a_local_file_of_other_items_is_named_and_not_asked_for_the_vendors_tokens(planted, mine, tmp_path):
    _, file = planted
    weights = load_file(file)
    weights["item_embedding.weight"] = weights["item_embedding.weight"][:-3]
    torch.save(weights, tmp_path / "short.pth")
    with pytest.raises(DataError, match=r"short\.pth has 36 items and dataset 'tiny' 39: expected a model") as raised:
        inspect_model(file, "SASRec", "tiny", config_dict=mine, local=str(tmp_path / "short.pth"), **QUICK)
    assert "--items" not in str(raised.value)
    assert not (tmp_path / "saved").exists(), "before anything is trained"


def test_the_record_has_the_hashes_of_both_files(theirs, mine, tmp_path):
    made = theirs(n_heads=2)
    torch.save(made.model.state_dict(), tmp_path / "own.pth")
    given = {"dataset": "tiny", "config_dict": mine, "output": "out", **QUICK}
    inspect_model(made.file, local=str(tmp_path / "own.pth"), **given)
    record = json.loads((tmp_path / "out" / "inspection.json").read_text())
    for name, file in (("model_file", made.file), ("local_file", tmp_path / "own.pth")):
        assert record[name] == {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert inspect_model(made.file, **{**given, "output": None}).record["local_file"] is None


def test_a_trained_local_model_does_not_start_from_what_a_provider_starts_from_by_default(mine):
    """Both leave ``seed`` as it is: a provider's model of the very same users would be the platform's, bit by bit."""
    file = ModelFile(Path("none.pth"), "", {}, {"model": "SASRec"})
    given = {**mine, "hidden_size": 8, "inner_size": 16, "MAX_ITEM_LIST_LENGTH": 12}
    own = own_configuration(file, None, "tiny", None, given)
    platform = prepare_platform(own)
    assert platform.config["seed"] == 2020
    rows = local_model(platform, None, own).item_rows()[1:]
    kept = cache_folder(platform.config) / "local.pth"
    assert torch.equal(read_model_file(kept).weights["item_embedding.weight"][1:], rows)
    seed = int(stream(2020, "model of the platform").integers(2**32))
    assert torch.equal(platform.trained(platform.users, seed).item_rows()[1:], rows)
    assert not torch.isclose(platform.trained(platform.users, 2020).item_rows()[1:], rows).all(dim=1).any()
    assert torch.equal(local_model(platform, None, own).item_rows()[1:], rows), "as it was kept"
