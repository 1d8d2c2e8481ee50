"""The commands beside ``run``: what each prints, and that help and mistakes do not wait for torch."""

from __future__ import annotations

import inspect
import io
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import recbole

from recbole_attack import __version__
from recbole_attack.attack import ATTACKS, BACKDOORS, LEVELS, PROFILES, UPLOADS
from recbole_attack.commands.facts import BEHIND
from recbole_attack.commands.main import COMMANDS, main
from recbole_attack.config import AttackConfig
from recbole_attack.config.defaults import properties
from recbole_attack.config.options import OPTIONS, SCENARIOS
from recbole_attack.data import SELECTORS
from recbole_attack.data.convert import CONVERSIONS
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, CLIENT_DETECTORS, DETECTORS, PRE_AGGREGATORS
from recbole_attack.evaluator import EXPOSURE_METRICS
from recbole_attack.model import MODELS, RECBOLE_MODELS
from recbole_attack.stages import PLATFORMS
from recbole_attack.utils.yaml_files import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
TABLES = {
    "scenario": SCENARIOS,
    "model": MODELS,
    "baseline": RECBOLE_MODELS,
    "attack": ATTACKS,
    "upload": UPLOADS,
    "backdoor": BACKDOORS,
    "profile": PROFILES,
    "platform": PLATFORMS,
    "aggregator": AGGREGATORS,
    "pre_aggregator": PRE_AGGREGATORS,
    "client_defense": CLIENT_DEFENSES,
    "client_detector": CLIENT_DETECTORS,
    "detector": DETECTORS,
    "selector": SELECTORS,
    "metric": EXPOSURE_METRICS,
    "conversion": CONVERSIONS,
}


def printed(capsys, *argv):
    assert main(list(argv)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


# What is the same of all


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_with_its_options_and_one_line_for_the_list_of_commands(name, capsys):
    first = import_module(COMMANDS[name]).__doc__.splitlines()[0]
    assert first.endswith(".") and len(first) < 110
    out = printed(capsys, name, "--help")
    assert first in out and out.startswith("usage: recbole_attack")
    assert {"--plugins", "--version", "--help"} <= set(re.findall(r"--\w+", out))
    assert re.search(rf"^  {name} +{re.escape(first)}$", printed(capsys, "--help"), re.MULTILINE)


@pytest.mark.parametrize("argv", [["--version"], *([name, "--version"] for name in COMMANDS)], ids=str)
def test_the_version(argv, capsys):
    assert printed(capsys, *argv) == f"recbole_attack {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["lsit"], "unknown command 'lsit': expected one of run, .*; did you mean 'list'?"),
        (["dvfsr"], "unknown command 'dvfsr': expected one of run, "),
        ([""], "unknown command '': expected one of run, "),
        (["list", "--jsno"], "recbole_attack list: unknown option '--jsno': .*; did you mean '--json'?"),
        (["list", "-x"], "recbole_attack list: expected no more words: found '-x'"),
        (["list", "more"], "recbole_attack list: expected no more words: found 'more'"),
        (["list", "--json=1"], "recbole_attack list: option --json takes no value: found '1'"),
        (["validate", "--version=cheap"], "recbole_attack validate: option --version takes no value: found 'cheap'"),
        (["show"], "recbole_attack show: the following arguments are required: name"),
        (["show", "--jsno"], "recbole_attack show: unknown option '--jsno'"),
        (["show", "dvfrs"], "unknown part 'dvfrs': .*; did you mean 'dvfsr'?"),
        (["show", "malicious_ration"], "unknown part 'malicious_ration': .*; did you mean 'malicious_ratio'?"),
        (["resume"], "recbole_attack resume: the following arguments are required: folder"),
        (["resume", "missing"], "missing is not a run folder"),
        (["resume", "missing", "--epochs=3"], "recbole_attack resume: unknown option '--epochs'"),
        (["run", "dvfsr"], "expected an option such as --attack=dvfsr: found 'dvfsr'"),
        (["run", "--atack=ra"], "did you mean 'attack'?"),
        (["synthetic", "out", "--users=many"], "synthetic: argument --users: invalid int value: 'many'"),
        (["run", "--dataset=ml-100kk"], "'ml-100kk' not found: .*; did you mean 'ml-100k'?"),
        (["convert", "ml-1n", "a", "b"], "did you mean 'ml-1m'?"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_exit_code_2(argv, words, capsys, tmp_path):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert re.search(words.replace("?", r"\?"), err) and re.fullmatch(r"(ConfigError|DataError): [^\n]+\n", err)
    assert (out, list(tmp_path.iterdir())) == ("", [])


def test_names_that_a_terminal_cannot_show_end_no_command(monkeypatch):
    """A reader of the output that knows ASCII alone gets the rest as Python writes it."""
    printing = ModuleType("printing", "Print. Nothing else.")
    printing.add_arguments, printing.run = lambda _: None, lambda _: print("\u8336 \xb1 1")
    monkeypatch.setitem(sys.modules, "printing", printing)
    monkeypatch.setitem(COMMANDS, "list", "printing")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["list"]) == 0
    assert stream.buffer.getvalue() == b"\\u8336 \\xb1 1\n"


def test_help_versions_and_mistakes_do_not_wait_for_torch():
    light = [["--version"], ["lsit"], ["run", "word"], ["--seed"], ["--seed=1", "--seed=2"], ["show"]]
    light += [[name, "--help"] for name in ("list", "show", "resume", "convert")]
    light += [[name, "--nonesuch"] for name in ("list", "show", "resume", "convert")]
    code = f"import sys; from recbole_attack.commands.main import main; [main(argv) for argv in {light!r}]; "
    code += "print('loaded', {'torch', 'recbole', 'pandas'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout.endswith("loaded set()\n")


# list and show


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"'{sys.executable}' run_recbole_attack.py list | true"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True)
    assert "BrokenPipe" not in done.stderr and "Traceback" not in done.stderr


def test_a_parameter_that_may_be_empty_says_so(capsys):
    text = printed(capsys, "show", "exposure_quota")
    assert "(an integer at least 1, or null; default 10)" in text and "(a number above 0; default 2.0)" in text


def test_the_list_names_every_part_as_a_word_of_its_own(capsys):
    text, brief = printed(capsys, "list"), {"baseline"}
    for kind, names in json.loads(printed(capsys, "list", "--json")).items():
        for name, line in names.items():
            assert kind in brief or re.search(rf"^  {re.escape(name)} +{re.escape(line)}$", text, re.MULTILINE)


def test_the_list_as_json_holds_every_table(capsys):
    listed = json.loads(printed(capsys, "list", "--json"))
    assert {kind: list(names) for kind, names in listed.items()} == {
        kind: list(table) for kind, table in TABLES.items()
    }
    assert all(text and "\n" not in text and "``" not in text for names in listed.values() for text in names.values())
    assert printed(capsys, "--list", "--json") == printed(capsys, "list", "--json")
    assert printed(capsys, "--list") == printed(capsys, "list")


FOLDERS = {"scenario": "scenario", "attack": "attack", "backdoor": "attack", "aggregator": "defense"}
FOLDERS |= {"profile": "profile", "pre_aggregator": "pre_aggregator", "client_defense": "defense", "upload": "upload"}
FOLDERS |= {"detector": "detector"}
PARTS = [(kind, name) for kind, table in TABLES.items() for name in table]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_part_is_shown_with_its_parameters_as_they_are_in_its_file(kind, name, capsys):
    parts = json.loads(printed(capsys, "show", name, "--json"))
    assert [part["kind"] for part in parts] == [k for k, other in PARTS if other.lower() == name.lower()]
    (part,) = [part for part in parts if part["kind"] == kind]
    assert (part["name"], bool(part["summary"])) == (name, True)
    host = Path(recbole.__file__).parent / "properties" / "model" if kind == "baseline" else None
    file = (host or properties() / FOLDERS.get(kind, "none")) / f"{name}.yaml"
    values = parse_yaml(file.read_text()) or {} if file.is_file() else {}
    if kind != "model":
        assert {key: about["default"] for key, about in part["parameters"].items()} == values
    text = printed(capsys, "show", name)
    assert part["summary"] in text and part["description"] in text
    assert all(f"--{key} " in text for key in part["parameters"])
    assert name in part["use"] and part["use"] in text and all(line in text for line in part["needs"])
    referred = set(
        re.findall(r":(?:func|class|data|attr|meth):`~?(?:[\w.]+\.)?(\w+)`", inspect.getdoc(TABLES[kind][name]) or "")
    )
    shown = {other.lower() for _, other in PARTS}
    inline = {getattr(behind, "__name__", "").lower() for behind in BEHIND.get(kind, lambda _: [])(name)}
    assert {other for other in referred if other.lower() not in shown | inline} <= part["references"].keys()
    said = "\n\n".join([part["description"], *part["references"].values()]).split("\n\n")
    assert len(set(said)) == len(said), "nothing is said twice"
    assert all(words and f"{other}: {words}" in text for other, words in part["references"].items())


def test_what_a_description_refers_to_is_described_too(capsys):
    """And what that refers to; a table's names, and nothing that ``show`` shows of its own."""
    (krum, rule, attack) = (
        json.loads(printed(capsys, "show", name, "--json"))[0]["references"]
        for name in ("krum", "mixed_rfa", "pip_attack")
    )
    assert "(N - 3) // 2" in krum["assumed_hostile"] and list(krum) == ["assumed_hostile"]
    assert rule["MEAN_WEIGHTS"] == "one of clients, uniform"
    assert "`target_bce`" not in attack["PopularityBoost"] and "BCE towards 1" in attack["target_bce"]


def test_a_part_from_outside_may_refer_to_anything(capsys, monkeypatch):
    def odd(config):
        """Odd rule, see :func:`nonesuch` and :meth:`Foo.bar`.

        As :func:`antigravity.fly` does.
        """
        return AGGREGATORS["mean"](config)

    monkeypatch.setitem(AGGREGATORS, "odd", odd)
    (part,) = json.loads(printed(capsys, "show", "odd", "--json"))
    assert part["summary"] == "Odd rule, see nonesuch and bar." and "FedAvg" in part["description"]
    assert part["references"] == {} and "antigravity" not in sys.modules


def test_what_a_part_knows_or_asks_for(capsys):
    assert "(K2): global model of every round, interactions of other users" in printed(capsys, "show", "fed_rec_attack")
    assert "every client counts once" in printed(capsys, "show", "krum")
    assert "not finite ends the run" in printed(capsys, "show", "mean")
    assert "whole updates only" in printed(capsys, "show", "flame")
    assert "--client_detectors='{clone: <" in printed(capsys, "show", "clone")
    assert '"Self-Attentive Sequential Recommendation." in ICDM 2018' in printed(capsys, "show", "SASRec")


def test_a_parameter_is_shown_with_who_reads_it(capsys):
    text = printed(capsys, "show", "min_cosine")
    assert OPTIONS["min_cosine"].help in text and "--min_cosine=<a number at least -1 and at most 1>" in text
    assert re.findall(r"^default of (.*)", text, re.MULTILINE) == ["attack dvfsr: 0.5", "attack s_fsr: 0.5"]
    assert "default of every run: 40\n" in printed(capsys, "show", "epochs")


def test_the_list_explains_the_levels_of_knowledge(capsys):
    words = " ".join(printed(capsys, "list").split())
    assert all(f"{level}, {what}" in words for level, what in LEVELS.items())


@pytest.mark.parametrize("name", MODELS)
def test_a_models_parameters_are_those_its_configuration_has(name, capsys):
    (part,) = (part for part in json.loads(printed(capsys, "show", name, "--json")) if part["kind"] == "model")
    config = AttackConfig(model=name)
    assert {key: config[key] for key in part["parameters"]} == {
        key: about["default"] for key, about in part["parameters"].items()
    }
    assert "loss_type" in part["parameters"] and "epochs" not in part["parameters"]


def test_what_is_shown_of_a_parameter_is_what_is_checked(capsys):
    (part,) = json.loads(printed(capsys, "show", "dvfsr", "--json"))
    assert part["parameters"]["min_cosine"] == {
        "default": 0.5,
        "expected": "a number at least -1 and at most 1",
        "help": OPTIONS["min_cosine"].help,
    }
    assert "Released code differs" in part["description"] and "Algorithms 1 and 2" in part["description"]


def test_a_rule_is_shown_with_its_formula_and_a_metric_by_any_case(capsys):
    assert "argmin_i sum_{j in near(i)}" in printed(capsys, "show", "krum")
    assert {"N - 2 f", "N - 4 f"} <= set(re.findall(r"`(.*?)`", printed(capsys, "show", "bulyan")))
    assert printed(capsys, "show", "er") == printed(capsys, "show", "ER")
    assert "ndcg" in printed(capsys, "show", "NDCG")
    assert "floor(2 f / N (N - f))" in printed(capsys, "show", "arc")
    assert "S_j R({min(1, b / |u_cj|) u_cj})" in printed(capsys, "show", "support_shrunk")
    assert printed(capsys, "show", "NONE").count("\n\n\n") == 3, "an attack, a backdoor, a pre-aggregator and a defence"


# Help of run


def test_every_default_of_the_help_is_that_of_a_configuration(capsys):
    out = printed(capsys, "run", "--help")
    config, groups = AttackConfig(), re.split(r"\n\n(?=parameters of )", out)[1:]
    assert [group.splitlines()[0].removeprefix("parameters of ") for group in groups] == [
        *("every run", "scenarios", "attacks", "profiles of fake users", "uploads", "detectors", "aggregators"),
        *("pre-aggregators", "client defenses", "models", "--engine=flower"),
    ]
    shown = re.findall(r"^  --(\w+) .*; default (.*)\)$", groups[0], re.MULTILINE)
    assert len(shown) > 40
    for key, default in shown:
        assert default == ("null" if config[key] is None else str(config[key])), key
    assert re.search(r"--n_layers .*; default 2 \(BERT4Rec, SASRec, LightSANs\), 1 \(NARM\)\)\n", out)
    names = re.findall(r"^  --(\w+) ", "\n".join(groups), re.MULTILINE)
    assert sorted(names) == sorted(OPTIONS), "each once"


# run and resume


def test_the_record_as_json_is_all_of_stdout(capsys, tmp_path, small):
    options = [f"--{key}={value}" for key, value in small(epochs=1, attack="none").items()]
    assert main(["run", *options, "--json"]) == 0
    out = capsys.readouterr().out
    (file,) = tmp_path.glob("saved/*/result.json")
    assert out == file.read_text() and json.loads(out)["config"]["epochs"] == 1
    assert main(["resume", str(file.parent), "--json"]) == 0
    resumed = json.loads(capsys.readouterr().out)
    assert resumed["clean"] == json.loads(out)["clean"]
    assert main(["resume", str(file.parent)]) == 0
    table = capsys.readouterr().out
    assert main([f"--resume={file.parent}"]) == 0
    assert capsys.readouterr().out == table != ""
