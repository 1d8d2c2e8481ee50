"""The verdict: what is flagged of a planted model and of an honest one, whatever its file and its order of items."""

from __future__ import annotations

import csv
import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recbole_attack import inspect_model
from recbole_attack.defense import DETECTORS
from recbole_attack.inspection import inspect
from recbole_attack.inspection.given_model import GivenModel
from recbole_attack.inspection.inspect import _rate, _verdict
from recbole_attack.inspection.options import inspection_options
from recbole_attack.utils.errors import ConfigError, DataError

QUICK = {"clean_models": 3, "false_alarms": 0.25, "detector": "excess_tail"}


def columns(found):
    return {name: [row[place] for row in found.rows] for place, name in enumerate(found.header)}


def test_a_planted_item_is_flagged_and_nothing_else(planted, mine):
    made, file = planted
    found = inspect_model(file, "SASRec", "tiny", config_dict=mine, output="out", **QUICK)
    assert found.flagged == ["i22"] == [row[0] for row in found.rows[:1]]
    sentence = "1 of 39 items is flagged (excess_tail, p <= 0.25 each): i22; of clean models, 1 in 4 would be flagged"
    assert found.verdict == sentence
    table = columns(found)
    assert table["model@5"][0] == table["model@10"][0] == 49, "all 58 but the 9 who have it"
    assert sorted(table["item"]) == sorted(made.tokens)
    assert [row.split()[0] for row in found.table().splitlines()[2:]] == found.flagged


def test_the_files_hold_what_is_returned(planted, mine):
    _, file = planted
    found = inspect_model(file, "SASRec", "tiny", config_dict=mine, **QUICK)
    with (found.folder / "flagged.csv").open(newline="") as lines:
        header, *rows = csv.reader(lines)
    assert header == found.header and rows == [[str(cell) for cell in row] for row in found.rows]
    record = json.loads((found.folder / "inspection.json").read_text())
    assert (record["verdict"], record["flagged"]) == (found.verdict, found.flagged)
    assert {name: len(scores) for name, scores in record["clean_models"].items()} == dict.fromkeys(DETECTORS, 3)
    assert record["shown_to_everybody"]["tried"] == 20
    assert found.folder.parent.name == "saved" and found.folder.name.startswith("inspect-planted-")
    table = columns(found)
    for name in DETECTORS:
        clean, scores = record["clean_models"][name], [float(score) for score in table[f"{name}_score"]]
        literal = [(1 + sum(float(f"{other:.6g}") >= score for other in clean)) / 4 for score in scores]
        assert [float(p) for p in table[f"{name}_p"]] == literal
    assert table["flagged"] == [int(float(p) <= 0.25) for p in table["excess_tail_p"]]
    scores = [float(score) for score in table["excess_tail_score"]]
    assert scores == sorted(scores, reverse=True)


def test_a_recbole_checkpoint_and_its_bare_weights_come_to_the_same(theirs, mine, tmp_path, caplog):
    made = theirs(n_heads=2)
    torch.save(made.model.state_dict(), tmp_path / "bare.pth")
    whole = inspect_model(made.file, dataset="tiny", config_dict=mine, **QUICK)
    told = len(caplog.records)
    bare = inspect_model(tmp_path / "bare.pth", "SASRec", "tiny", config_dict=mine, **QUICK)
    assert (whole.header, whole.rows, whole.verdict) == (bare.header, bare.rows, bare.verdict)
    assert told == 1 and "order of dataset 'tiny' is assumed" in caplog.records[0].getMessage()
    assert len(caplog.records) - told == 5, "heads, activation, epsilon, alignment, order"


def test_the_order_of_the_table_does_not_matter_where_it_is_said(planted, mine, tmp_path, caplog):
    made, file = planted
    straight = inspect_model(file, "SASRec", "tiny", config_dict=mine, **QUICK)
    order = np.random.default_rng(1).permutation(39)
    weights = load_file(file)
    weights["item_embedding.weight"] = weights["item_embedding.weight"][[0, *(order + 1)]]
    torch.save(weights, tmp_path / "other.pth")
    (tmp_path / "tokens.txt").write_text("".join(f"{made.tokens[row]}\n" for row in order))
    caplog.clear()
    items = str(tmp_path / "tokens.txt")
    shuffled = inspect_model(tmp_path / "other.pth", "SASRec", "tiny", config_dict=mine, items=items, **QUICK)
    assert (shuffled.rows, shuffled.verdict) == (straight.rows, straight.verdict)
    assert not any("order of dataset" in record.getMessage() for record in caplog.records)


def test_what_only_one_side_has_is_left_out_and_said(planted, mine, tmp_path, caplog):
    made, file = planted
    tokens = [token if token != "i30" else "unheard of" for token in made.tokens]
    (tmp_path / "tokens.txt").write_text("\n".join(tokens))
    items = str(tmp_path / "tokens.txt")
    found = inspect_model(file, "SASRec", "tiny", config_dict=mine, items=items, **QUICK)
    assert sorted(row[0] for row in found.rows) == sorted(set(made.tokens) - {"i30"})
    said = caplog.records[-1].getMessage()
    assert "1 item of dataset 'tiny' that the model lacks ('i30'), and 1 item of the model" in said
    assert "that the dataset lacks ('unheard of'), are left out" in said
    assert found.verdict.startswith("1 of 38 items is flagged")


def test_lists_are_shorter_than_what_both_sides_have(planted, mine, tmp_path):
    """Lists of 10 among 8 items would hold all of them, under any model: no score would differ."""
    made, file = planted
    known = {"i22", *[token for token in made.tokens if token != "i22"][:7]}
    (tmp_path / "tokens.txt").write_text("\n".join(t if t in known else f"their {t}" for t in made.tokens))
    items = str(tmp_path / "tokens.txt")
    found = inspect_model(file, "SASRec", "tiny", config_dict=mine, items=items, **QUICK)
    table = columns(found)
    assert {name for name in table if "@" in name} == {"model@5", "local@5"}
    assert table["model@5"] != table["local@5"] and len(set(table["excess_tail_score"])) > 1


def test_too_few_items_in_common_are_refused_before_anything_is_trained(planted, mine, tmp_path):
    made, file = planted
    (tmp_path / "tokens.txt").write_text("\n".join([*made.tokens[:5], *(f"their {t}" for t in made.tokens[5:])]))
    with pytest.raises(DataError, match="more than 5 items that the model and the dataset both have, found 5"):
        inspect_model(file, "SASRec", "tiny", config_dict=mine, items=str(tmp_path / "tokens.txt"), **QUICK)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("rows", [0, 1])
def test_a_table_without_items_is_refused(planted, mine, tmp_path, rows):
    weights = load_file(planted[1])
    weights["item_embedding.weight"] = weights["item_embedding.weight"][:rows]
    torch.save(weights, tmp_path / "none.pth")
    with pytest.raises(DataError, match=rf"none\.pth holds no items: found {rows} rows"):
        inspect_model(tmp_path / "none.pth", "SASRec", "tiny", config_dict=mine, **QUICK)


@pytest.mark.parametrize(("caught", "warned"), [(0, True), (9, True), (10, False), (20, False)])
def test_that_none_is_flagged_is_said_to_say_little_where_hardly_any_would_be(
    theirs, mine, monkeypatch, caplog, caught, warned
):
    monkeypatch.setattr(inspect, "noticed", lambda *_: (caught, 20))
    made = theirs(n_heads=2)
    asked = {**QUICK, "clean_models": 2, "local": str(made.file)}
    found = inspect_model(made.file, dataset="tiny", config_dict=mine, **asked)
    said = f"of 20 items, each shown to everybody in turn, {caught} would be flagged (excess_tail): on these 58 users"
    assert not found.flagged and (said in caplog.text) == warned
    assert found.record["shown_to_everybody"] == {"flagged": caught, "tried": 20}


def test_a_local_model_of_ones_own_is_the_one_that_is_trained_otherwise(planted, mine):
    _, file = planted
    trained = inspect_model(file, "SASRec", "tiny", config_dict=mine, **QUICK)
    (local,) = trained.folder.parent.glob("inspection/*/local.pth")
    given = inspect_model(file, "SASRec", "tiny", config_dict=mine, local=str(local), **QUICK)
    assert given.rows == trained.rows
    same = inspect_model(local, "SASRec", "tiny", config_dict=mine, local=str(local), **QUICK)
    table = columns(same)
    assert table["model@10"] == table["local@10"] and not same.flagged


def test_an_existing_output_is_not_touched_and_nothing_is_trained_first(planted, mine, tmp_path):
    _, file = planted
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="output out exists already"):
        inspect_model(file, "SASRec", "tiny", config_dict=mine, output="out", **QUICK)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clean_model": 3}, "unknown option of inspect 'clean_model': .*; did you mean 'clean_models'"),
        ({"clean_models": 0}, "clean_models must be an integer at least 1"),
        ({"false_alarms": 0}, "false_alarms must be a number above 0"),
        ({"false_alarms": "often"}, "false_alarms must be"),
        ({"detector": "excess"}, "unknown detector 'excess'.*did you mean 'excess_tail'"),
    ],
)
def test_options_are_checked_before_a_file_is_read(options, words):
    with pytest.raises(ConfigError, match=words):
        inspect_model("missing.pth", **options)


@pytest.mark.parametrize(
    ("models", "allowed", "rate", "warned"),
    [
        (20, 0.05, (1, 21), 0),
        (19, 0.05, (1, 20), 0),
        (39, 0.05, (2, 40), 0),
        (99, 0.1, (10, 100), 0),
        (5, 0.05, (1, 6), 1),
    ],
)
def test_the_stated_rate_is_what_so_many_models_can_tell(models, allowed, rate, warned, caplog):
    assert _rate({"clean_models": models, "false_alarms": allowed}) == Fraction(*rate)
    assert len(caplog.records) == warned
    if warned:
        assert "cannot tell 0.05 false alarms: expected at least 19; 1 in 6 is claimed" in caplog.text


def test_the_detector_that_decides_is_the_one_whose_rate_held():
    assert inspection_options({})["detector"] == "kmeans", "see docs/usage.md"


@pytest.mark.parametrize("detector", ["margin", "groups"])
def test_other_detectors_can_decide(planted, mine, detector):
    """The planted item is nearer to users, and shown to more of each group, than any of a clean model."""
    _, file = planted
    found = inspect_model(file, "SASRec", "tiny", config_dict=mine, **{**QUICK, "detector": detector})
    assert found.rows[0][0] == "i22" and "i22" in found.flagged
    assert found.header[2:4] == [f"{detector}_score", f"{detector}_p"]
    assert found.record["shown_to_everybody"]["tried"] == 20


def test_detectors_are_asked_of_the_model_once(planted, mine, monkeypatch):
    asked, detected = [], inspect.detected
    monkeypatch.setattr(inspect, "detected", lambda *given: asked.append(1) or detected(*given))
    assert inspect_model(planted[1], "SASRec", "tiny", config_dict=mine, **QUICK).flagged == ["i22"]
    assert len(asked) == 1


def test_a_detector_that_cannot_read_the_model_is_left_out_or_refused(planted, mine, monkeypatch, caplog):
    """Scores that are no inner products of a state and a row: here, states that the scores are not made of."""
    _, file = planted
    states = GivenModel.states
    monkeypatch.setattr(GivenModel, "states", lambda self, batch: states(self, batch).tanh())
    found = inspect_model(file, "SASRec", "tiny", config_dict=mine, **QUICK)
    assert found.flagged == ["i22"]
    others = [name for name in DETECTORS if name != "margin"]
    assert set(found.record["clean_models"]) == {*others}
    assert caplog.text.count("left out: margin") == 1
    assert {name.removesuffix("_score") for name in found.header if name.endswith("_score")} == {*others}
    with pytest.raises(DataError, match=r"detector 'margin' cannot read .*: expected one of kmeans, excess_tail"):
        inspect_model(file, "SASRec", "tiny", config_dict=mine, **{**QUICK, "detector": "margin"})


def test_with_a_detector_of_the_table_nothing_is_said_of_what_exposure_would_show(planted, mine, caplog):
    _, file = planted
    found = inspect_model(file, "SASRec", "tiny", config_dict=mine, **{**QUICK, "detector": "spectral"})
    assert found.record["shown_to_everybody"] == {"flagged": 0, "tried": 0}
    assert "says little" not in caplog.text


def test_the_sentence():
    p = np.array([0.3, 1.0])
    none = _verdict([], 2, "kmeans", p, Fraction(1, 21))
    assert none == "none of 2 items is flagged (kmeans, smallest p 0.3); of clean models, 1 in 21 would be flagged"
    many = _verdict([f"i{n}" for n in range(12)], 40, "kmeans", p, Fraction(2, 21))
    assert "12 of 40 items are flagged (kmeans, p <= 0.095 each): i0, " in many and "i9 and 2 more; of" in many
    assert "\x1b" not in _verdict(["a\x1b[2J"], 2, "kmeans", p, Fraction(1, 21)), "a token moves no cursor"
    assert "1 of 2 items is flagged" in _verdict(["a"], 2, "kmeans", p, Fraction(1, 21))
