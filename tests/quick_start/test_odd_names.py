"""A dataset and items whose names read like something else, from the command line to a resumed run."""

import json

import numpy as np
import pytest

from recbole_attack.commands.main import main
from recbole_attack.quick_start import run_recbole_attack

ITEMS = [
    "1e5",
    "100000.0",
    "012",
    "10",
    "12",
    "null",
    "yes",
    "2020-01-01",
    "Half-Life, Episode 2",
    "Half-Life",
    "Episode 2",
]


@pytest.fixture
def odd(tmp_path):
    folder = tmp_path / "data" / "1e5"
    folder.mkdir(parents=True)
    rng, lines = np.random.default_rng(0), ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(20):
        lines += [f"0{user}\t{ITEMS[item]}\t{time}" for time, item in enumerate(rng.permutation(len(ITEMS))[:6])]
    (folder / "1e5.inter").write_text("\n".join(lines) + "\n")
    return tmp_path


def targets(folder):
    (file,) = folder.glob("saved/*/result.json")
    return json.loads(file.read_text())["budget"]["target_items"], file.parent


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1e5", ["1e5"]),
        ("[012, yes]", ["012", "yes"]),
        ("['Half-Life, Episode 2']", ["Half-Life, Episode 2"]),
    ],
)
def test_the_items_that_are_named_are_attacked_and_the_run_can_be_resumed(odd, small, given, expected):
    options = {**small(attack="ra", epochs=1, compare_clean=False), "data_path": odd / "data", "dataset": "1e5"}
    assert main([f"--{key}={value}" for key, value in options.items()] + [f"--target_items={given}"]) == 0
    found, folder = targets(odd)
    assert sorted(found) == sorted(expected)
    before = json.loads((folder / "result.json").read_text())
    run_recbole_attack(resume=str(folder))
    after = json.loads((folder / "result.json").read_text())
    assert after["config"] == before["config"] and after["attacked"] == before["attacked"]


def test_an_item_of_a_file_is_the_one_that_is_written_there(odd, small):
    file = odd / "given.yaml"
    file.write_text("dataset: 1e5\ntarget_items: 012\n")
    given = {**small(attack="ra", epochs=1, compare_clean=False), "data_path": str(odd / "data")}
    del given["dataset"]
    run_recbole_attack(config_file_list=[str(file)], config_dict=given)
    assert targets(odd)[0] == ["012"]
