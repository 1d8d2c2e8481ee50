"""`recbole_attack inspect`: what is printed, and how it ends."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch

from recbole_attack.commands.main import main
from recbole_attack.inspection.given_model import own_configuration, with_file
from recbole_attack.inspection.model_file import ModelFile
from recbole_attack.inspection.platform import prepare_platform

DATASETS = str(Path(__file__).resolve().parents[2] / "dataset")
SIZES = {"hidden_size": 8, "inner_size": 16, "MAX_ITEM_LIST_LENGTH": 12, "n_layers": 1}
TRAINING = {"epochs": 3, "learning_rate": 0.01}
COMMON = ["--model=SASRec", "--dataset=tiny", f"--data_path={DATASETS}", "--epochs=3", "--learning_rate", "0.01"]
COMMON += ["--clean_models=9", "--false_alarms", "0.1", "--detector=excess_tail", "--seed=2024"]
ITEM = 8
"""The id of i22."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Those of a clean model on the same data."""
    file = ModelFile(Path("none"), "", {}, {"model": "SASRec"})
    given = {"data_path": DATASETS, **SIZES, **TRAINING, "checkpoint_dir": str(tmp_path_factory.mktemp("weights"))}
    platform = prepare_platform(with_file(file, own_configuration(file, None, "tiny", None, given)))
    return platform.trained(platform.users, 99).model.state_dict()


def test_a_planted_item_ends_with_3_and_is_named_and_a_clean_model_with_0(weights, capsys):
    torch.save(weights, "clean.pth")
    assert main(["inspect", "clean.pth", *COMMON, "--output=out"]) == 0
    out, _ = capsys.readouterr()
    verdict, file = out.splitlines()
    assert file == "out/flagged.csv" and re.fullmatch(r"none of 39 items is flagged \(.*; of clean .*", verdict)
    assert sorted(path.name for path in Path("out").iterdir()) == ["flagged.csv", "inspection.json"]

    weights = {name: tensor.clone() for name, tensor in weights.items()}
    weights["trm_encoder.layer.0.feed_forward.LayerNorm.bias"][0] += 20
    weights["item_embedding.weight"][:, 0] = 0
    weights["item_embedding.weight"][ITEM, 0] = 5
    torch.save({"state_dict": weights}, "planted.pth")
    assert main(["inspect", "planted.pth", *COMMON]) == 3
    out, err = capsys.readouterr()
    first, rule, row, verdict, file = out.splitlines()
    assert first.split() == [
        "item",
        "excess_tail_p",
        "excess_tail_score",
        "model@10",
        "local@10",
        "users",
        "popularity",
    ]
    assert set(rule) == {"="} and row.split()[0] == "i22" and row.split()[3] == "49"
    assert verdict.startswith("1 of 39 items is flagged (excess_tail, p <= 0.1 each): i22; of clean models, 1 in 10")
    assert Path(file).is_file() and err.splitlines()[-1] == "1 item flagged"


class Payload:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "expected a model file first, found nothing"),
        (["--dataset=tiny"], "expected a model file first, found '--dataset=tiny'"),
        (["missing.pth"], "model file missing.pth not found"),
        (["code.pth"], "code.pth is not a safe checkpoint: .* found '(posix|nt) mkdir'"),
        (["nan.pth", "--model=SASRec"], "nan.pth: expected finite weights, found 1 of 4 in 'w'"),
        (["missing.pth", "--clean_model=3"], "unknown option '--clean_model'; did you mean '--clean_models'"),
        (["missing.pth", "--clean_models=many"], "clean_models must be an integer"),
        (["table.pth", "--model=SASRec", "--epoch=3"], "unknown parameter 'epoch'.*did you mean 'epochs'"),
        (
            ["table.pth", "--model=SASRec", "--dataset=tiny", f"--data_path={DATASETS}"],
            "table.pth does not fit this run",
        ),
    ],
)
def test_a_mistake_or_a_hostile_file_ends_with_2_and_one_line(argv, words, capsys):
    torch.save({"state_dict": {"w": torch.zeros(2)}, "config": Payload()}, "code.pth", pickle_protocol=4)
    torch.save({"w": torch.tensor([1.0, float("nan"), 2.0, 3.0])}, "nan.pth")
    torch.save({"item_embedding.weight": torch.zeros(40, 8)}, "table.pth")
    before = sorted(Path().iterdir())
    assert main(["inspect", *argv]) == 2
    out, err = capsys.readouterr()
    assert (
        out == "" and re.search(words, err.splitlines()[-1]) and re.match("(Config|Data)Error: ", err.splitlines()[-1])
    )
    assert sorted(Path().iterdir()) == before and not Path("ran").exists()
