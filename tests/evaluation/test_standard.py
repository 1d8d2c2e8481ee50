"""An evaluation from the command line and from Python, on a rule from a file; its files, and their validation."""

from __future__ import annotations

import json
import re
import shutil
import sys

import pytest
import torch
import yaml

from recbole_attack import evaluate, register_aggregator
from recbole_attack.commands.main import main
from recbole_attack.config.registered import REGISTERED, REGISTERED_CODE, REGISTERED_OPTIONS
from recbole_attack.defense import AGGREGATORS, Aggregator
from recbole_attack.evaluation import prepare
from recbole_attack.utils.errors import ConfigError, TrainingError

DEAF = """\
from recbole_attack import register_aggregator
from recbole_attack.defense import Aggregator

register_aggregator("deaf", lambda config: Aggregator(combine=lambda values, weights: 0 * values[0]))
"""
"""A rule that nothing moves: not robust, but deaf. It must be flagged as weak and starved, and for saying nothing."""


@pytest.fixture(scope="module")
def deaf(tmp_path_factory, parts):
    """A folder with a rule from outside, and with the store of its evaluation once it is evaluated."""
    folder = tmp_path_factory.mktemp("deaf")
    (folder / "deaf.py").write_text(DEAF, encoding="utf-8")
    (folder / "own.yaml").write_text(yaml.safe_dump(parts), encoding="utf-8")
    yield folder
    AGGREGATORS.pop("deaf", None)
    REGISTERED.pop("defense/deaf", None)
    sys.modules.pop("deaf", None)
    sys.path[:] = [path for path in sys.path if path != str(folder)]


def words(folder):
    return [
        *("evaluate", "--aggregator=deaf", f"--plugins={folder / 'deaf.py'}", f"--version={folder / 'own.yaml'}"),
        *("--jobs=1", f"--store={folder / 'store'}"),
    ]


def test_a_rule_from_a_file_is_evaluated_kept_and_checked(deaf, capsys):
    assert main(words(deaf)) == 0
    out, err = capsys.readouterr()
    assert re.search(r"^rule deaf$", out, re.MULTILINE) and "[6/6]" in err
    record = json.loads((deaf / "store" / "evaluation.json").read_text(encoding="utf-8"))
    assert list(record["flags"]) == ["weak victim", "starved", "does not say", "sees updates"]
    assert record["figures"]["clean"]["tail moved"] == 0 < record["figures"]["mean"]["tail moved"]
    assert len(record["cases"]) == 4 and list(record["plugins"]) == ["deaf"]
    page = (deaf / "store" / "evaluation.md").read_text(encoding="utf-8")
    assert all(flag in out and flag in page for flag in record["flags"])
    worst = record["figures"]["boards"]["norm"]["worst"]
    cases = [case for case in record["cases"] if case["board"] == "norm"]
    assert worst["er@10"] == max(cases, key=lambda case: case["valid"])["test"]

    assert main(words(deaf)) == 0
    again, err = capsys.readouterr()
    assert again == out and err == ""  # nothing left to train
    entry = yaml.safe_load((deaf / "store" / "entry.yaml").read_text(encoding="utf-8"))
    assert {key: entry[key] for key in record if key != "cases"} == {k: v for k, v in record.items() if k != "cases"}
    assert [entry[key] for key in ("authors", "link", "remarks")] == ["", "", ""]

    own = {"authors": "A. Author", "link": "https://example.org", "remarks": "tried: all"}
    (deaf / "store" / "entry.yaml").write_text(yaml.safe_dump({**entry, **own}), encoding="utf-8")
    assert main(words(deaf)) == 0  # what its author has filled in is not lost
    assert yaml.safe_load((deaf / "store" / "entry.yaml").read_text(encoding="utf-8")) == {**entry, **own}
    (deaf / "store" / "entry.yaml").write_text(yaml.safe_dump({**entry, **own, "name": "other"}), encoding="utf-8")
    assert main(words(deaf)) == 0  # nor taken for what was said of another rule
    assert yaml.safe_load((deaf / "store" / "entry.yaml").read_text(encoding="utf-8")) == entry
    capsys.readouterr()


def test_an_entry_is_held_against_its_store(deaf, tmp_path, capsys):
    if not (deaf / "store").is_dir():
        assert main(words(deaf)) == 0
        capsys.readouterr()
    shutil.copytree(deaf / "store", tmp_path / "store")
    file = tmp_path / "store" / "entry.yaml"
    entry = yaml.safe_load(file.read_text(encoding="utf-8"))
    argv = ["validate", str(file), f"--plugins={deaf / 'deaf.py'}", f"--evaluation={deaf / 'own.yaml'}"]

    def said(code, **changes):
        file.write_text(yaml.safe_dump({**entry, **changes}), encoding="utf-8")
        assert main(argv) == code
        out, err = capsys.readouterr()
        assert (out + err).count("\n") == 1
        return out + err

    assert said(0) == f"{file} agrees with {file.parent}\n"
    assert main(argv[:-1]) == 2
    assert "'own': expected --evaluation=<its YAML file>, found none" in capsys.readouterr().err
    assert main([argv[0], argv[1], argv[3]]) == 2
    assert "expected --plugins=<deaf, as modules or .py files>, found no deaf" in capsys.readouterr().err
    figures = json.loads(json.dumps(entry["figures"]))
    figures["boards"]["norm"]["worst"]["er@10"] -= 0.1
    assert "1 difference: figures > boards > norm > worst > er@10: expected 0." in said(3, figures=figures)
    del (flags := dict(entry["flags"]))["starved"]
    assert "1 difference: flags > starved: expected rows of tail items move 0" in said(3, flags=flags)
    assert "1 difference: store: expected" in said(3, store="0" * 64)
    assert "1 difference: name: expected deaf, found better" in said(3, name="better")
    moved = {"rule": {"aggregator": "mean"}, "setting": {**entry["setting"], **entry["rule"]}}
    assert "1 difference: rule > aggregator: expected deaf, found mean" in said(3, **moved)
    other = {**entry["evaluation"], "version": 99}
    assert "1 difference: evaluation > version: expected 3, found 99" in said(3, evaluation=other)
    assert "plugins > deaf: expected" in said(3, plugins={"deaf": "0" * 64})
    assert "is no entry of a board: expected 'kind' as one of attack, rule, found 'rul'" in said(2, kind="rul")
    assert "unknown flag in" in said(2, flags={"starving": ""})
    lines = (file.parent / "cells.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (file.parent / "cells.jsonl").write_text("".join(lines[1:]), encoding="utf-8")
    assert "expected the 6 arms of the entry, found 1 missing" in said(2)


def test_an_attack_is_evaluated_from_python(written, tmp_path):
    found = evaluate(written(boards={"free": _BOARD}), jobs=1, tell=lambda line: None, attack="eb", attack_weight=2.0)
    assert found.folder.name == "evaluate-eb-attack_weight-2.0-under-mean-own"
    assert found.record["kind"] == "attack" and list(found.record["figures"]["boards"]) == ["free"]
    assert str(found).startswith("attack eb, attack_weight 2.0 under mean")
    assert found.record["figures"]["cost"]["hit@10"] == 0 and found.record["figures"]["mean"]["hit@10"] > 0


_BOARD = {"norm_budget": None, "malicious_ratio": [0.1], "targets": ["stratified:3:2"]}


def test_what_an_author_said_outlasts_an_evaluation_of_something_else_in_the_same_store(written, tmp_path):
    def said(rule, **words):
        evaluate(version, store=tmp_path / "store", jobs=1, tell=lambda line: None, aggregator=rule)
        entry = tmp_path / "store" / "entry.yaml"
        found = yaml.safe_load(entry.read_text(encoding="utf-8"))
        entry.write_text(yaml.safe_dump({**found, **words}), encoding="utf-8")
        return found["name"], found["remarks"]

    version = written(chosen=["margin"], boards={"free": _BOARD})
    assert said("mean", remarks="of the mean") == ("mean", "")
    assert said("sum", remarks="of the sum") == ("sum", "")
    assert said("mean") == ("mean", "of the mean")
    assert said("sum") == ("sum", "of the sum")


def test_an_entry_knows_the_code_of_a_rule_that_no_plug_in_registers(written, tmp_path, monkeypatch, capsys):
    """Entries of two rules of one name are two lines of a board, whose code tells them apart."""

    def scaled(factor):
        return lambda config: Aggregator(combine=lambda values, weights: factor * values.mean(0))

    entries, version = [], written(chosen=["margin"], boards={"free": _BOARD})
    monkeypatch.setitem(AGGREGATORS, "own", None)  # so that all of it is taken back
    for parts in (REGISTERED, REGISTERED_OPTIONS, REGISTERED_CODE):
        monkeypatch.setitem(parts, "defense/own", None)
    for factor in (0.5, 0.25):
        AGGREGATORS.pop("own")
        register_aggregator("own", scaled(factor))
        folder = tmp_path / str(factor)
        evaluate(version, store=folder, jobs=1, tell=lambda line: None, aggregator="own")
        entries.append(yaml.safe_load((folder / "entry.yaml").read_text(encoding="utf-8")))
    assert [list(entry["plugins"]) for entry in entries] == [["defense/own"]] * 2
    assert entries[0]["plugins"] != entries[1]["plugins"]
    assert main(["validate", str(tmp_path / "0.25" / "entry.yaml"), f"--evaluation={version}"]) == 0
    assert main(["validate", str(tmp_path / "0.5" / "entry.yaml"), f"--evaluation={version}"]) == 3
    assert "plugins > defense/own: expected" in capsys.readouterr().err
    del REGISTERED_CODE["defense/own"]
    assert main(["validate", str(tmp_path / "0.25" / "entry.yaml"), f"--evaluation={version}"]) == 2
    assert "parts of a script or notebook" in capsys.readouterr().err


def test_what_is_given_and_does_nothing_is_said_of_the_rule_alone(written):
    """The mean, beside which it stands, counts clients by their examples."""
    given = {"aggregator": "median", "client_weighting": "examples", "lr_decay_gamma": "0.5"}
    found = prepare(written(boards={"free": _BOARD}), None, 1, None, given).idle
    assert found["client_weighting"] == "aggregator 'median' counts all clients alike"
    assert (
        "client_weighting"
        not in prepare(written(boards={"free": _BOARD}), None, 1, None, {**given, "aggregator": "sum"}).idle
    )


@pytest.mark.parametrize(
    ("victim", "words"),
    [
        ({"metrics": ["NDCG", "ER"]}, "expected metrics Hit, NDCG, ER at 10, found NDCG, ER at "),
        ({"topk": [5], "valid_metric": "NDCG@5"}, "at 10, found .* at 5"),
        (
            {"eval_args": {"split": {"LS": "test_only"}}},
            "expected a split with validation and test data, found test_only",
        ),
    ],
    ids=["metrics", "topk", "split"],
)
def test_a_victim_that_gives_no_score_is_refused_before_anything_is_trained(written, parts, tmp_path, victim, words):
    version = written(victim={**parts["victim"], **victim})
    with pytest.raises(ConfigError, match=words):
        evaluate(version, store=tmp_path / "store", jobs=1, tell=lambda line: None)
    assert not (tmp_path / "store").exists()


def test_an_entry_says_nothing_of_a_place(deaf, tmp_path):
    entry = yaml.safe_load((deaf / "store" / "entry.yaml").read_text(encoding="utf-8"))
    entry["setting"] = {"model": "SASRec", "dataset": "synthetic", "data_path": str(tmp_path / "new")}
    (tmp_path / "entry.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    assert main(["validate", str(tmp_path / "entry.yaml"), f"--evaluation={deaf / 'own.yaml'}"]) == 2
    assert not (tmp_path / "new").exists()


def test_a_failed_arm_is_no_score(written, monkeypatch):
    monkeypatch.setattr("recbole_attack.evaluation.standard.train_arm", lambda *arguments: 1 / 0)
    with pytest.raises(TrainingError, match="2 of 2 arms failed, and a score of the others would flatter"):
        evaluate(written(chosen=["margin"], boards={"free": _BOARD}), jobs=1, tell=lambda line: None)


def test_a_rule_that_cannot_be_probed_fails_before_anything_is_trained(written, monkeypatch, tmp_path):
    monkeypatch.setitem(AGGREGATORS, "median", lambda config: Aggregator(combine=lambda values, weights: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        evaluate(written(), store=tmp_path / "store", jobs=1, aggregator="median")
    assert not (tmp_path / "store").exists()


def rule_of(combine, **more):
    return lambda config: Aggregator(combine=combine, **more)


MISTAKEN = {
    "nothing": (lambda config: None, "aggregator 'foreign' must return an Aggregator: found None"),
    "neither": (lambda config: Aggregator(), "aggregator 'foreign': an aggregator needs exactly one of weigh"),
    "misspelt": (rule_of(torch.sum, needs={"atackers"}), "found atackers; did you mean 'attackers'?"),
    "no set": (rule_of(torch.sum, needs="attackers"), "needs must be a set of attackers, .*: found 'attackers'"),
    "no key": (lambda config: config["nokey"], "aggregator 'foreign' asks for what there is not: 'nokey'"),
    "fails": (rule_of(lambda values, weights: 1 / 0), r"ZeroDivisionError: .* \(test_standard.py, line"),
    "a scalar": (rule_of(lambda values, weights: values.sum()), "failed on updates made up to try it: RuntimeError"),
    "too few": (rule_of(lambda values, weights: values[0, :1]), "failed on updates made up to try it: RuntimeError"),
    "nan": (
        rule_of(lambda values, weights: values.mean(dim=0) * torch.nan),
        "tried on updates made up: expected finite numbers for 'body', found 8 that are not",
    ),
}


@pytest.mark.parametrize(("recipe", "words"), MISTAKEN.values(), ids=MISTAKEN)
def test_mistakes_of_a_rule_from_outside_are_said_in_a_line_under_dry_run_too(
    recipe, words, written, monkeypatch, capsys
):
    monkeypatch.setitem(AGGREGATORS, "foreign", recipe)
    monkeypatch.setitem(REGISTERED, "defense/foreign", {})
    assert main(["evaluate", f"--version={written()}", "--aggregator=foreign", "--dry_run"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ConfigError: ") and said.count("\n") == 1 and re.search(words, said)


def test_what_would_be_trained_is_told(written, capsys):
    assert main(["evaluate", f"--version={written()}", "--dry_run"]) == 0
    assert capsys.readouterr().out.startswith("6 rows, 6 runs, 5 arms instead of 6 by sharing\n")
    assert main(["evaluate", "--version", written(), "--dry_run", "--aggregator", "median"]) == 0
    assert "6 arms instead of 6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--version=chaep"], "found 'chaep'; did you mean 'cheap'?"),
        (["--epochs=3"], "an evaluation fixes all but the rule"),
        (["--dry-run"], "option --dry-run needs a value: .*; did you mean '--dry_run'?"),
        (["--jobs=0"], "jobs must be an integer at least 1: found 0"),
        (["--jobs=many"], "jobs must be an integer at least 1: found 'many'"),
        (["--out=a.md"], "--out goes with --board"),
        (["--board=missing"], "missing: expected a folder of entries"),
        (["--board=a", "--aggregator=median"], "--board evaluates nothing: .* found --aggregator"),
        (["--board=a", "--strong=b"], "--strong goes with --claims: expected one, found none"),
        (["--board=a", "--out=b.html"], "out must be a file whose name ends in .md: found b.html"),
        (["deaf"], "expected an option such as"),
    ],
    ids=str,
)
def test_mistakes(argv, words, capsys):
    assert main(["evaluate", *argv]) == 2
    assert re.search(words.replace("?", r"\?"), capsys.readouterr().err)


def test_jobs_are_counted_in_python_too(written):
    with pytest.raises(ConfigError, match="jobs must be an integer at least 1"):
        evaluate(written(), jobs=0)
