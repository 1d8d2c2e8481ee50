"""The command line: what it passes on, what it prints, and that a mistake costs one line and nothing else."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from recbole_attack import quick_start
from recbole_attack.attack import ATTACKS, BACKDOORS, PROFILES
from recbole_attack.commands.main import main
from recbole_attack.commands.run import read_arguments
from recbole_attack.config.options import OPTIONS, SCENARIOS
from recbole_attack.defense import AGGREGATORS, DETECTORS
from recbole_attack.evaluator import EXPOSURE_METRICS
from recbole_attack.model import HOSTS, MODELS, find_model
from recbole_attack.report.run_table import result_table
from recbole_attack.stages import PLATFORMS
from recbole_attack.trainer import FederatedTrainer
from recbole_attack.utils.errors import ConfigError, TrainingError

ROOT = Path(__file__).resolve().parents[2]
DATA = f"--data_path={ROOT / 'dataset'}"


@pytest.fixture
def passed_on(monkeypatch):
    """What the command line hands to the Python API, call by call."""
    calls = []
    monkeypatch.setattr(quick_start, "run_recbole_attack", lambda **kwargs: calls.append(kwargs))
    return calls


def names(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


# What is passed on


def test_no_argument_leaves_everything_to_the_defaults(passed_on):
    assert main([]) == 0
    assert passed_on == [{"model": None, "dataset": None, "config_file_list": [], "config_dict": {}}]


@pytest.mark.parametrize(
    "argv",
    [
        ["--model=SASRec", "--dataset=tiny", "--config_files=a.yaml b.yaml", "--seed=3", "--attack=ra"],
        ["--model", "SASRec", "--dataset", "tiny", "--config_files", "a.yaml b.yaml", "--seed", "3", "--attack", "ra"],
        ["-m", "SASRec", "-d", "tiny", "-c", "a.yaml b.yaml", "--seed", "3", "--attack=ra"],
        ["-m=SASRec", "-d=tiny", "-c=a.yaml b.yaml", "--seed=3", "--attack", "ra"],
    ],
    ids=["equals", "space", "short", "short-equals"],
)
def test_all_forms_of_an_option_mean_the_same(passed_on, argv):
    assert main(argv) == 0
    assert passed_on == [
        {
            "model": "SASRec",
            "dataset": "tiny",
            "config_file_list": ["a.yaml", "b.yaml"],
            "config_dict": {"seed": "3", "attack": "ra"},
        }
    ]


def test_values_reach_the_configuration_as_texts(passed_on, tmp_path):
    code = "__import__('os').mkdir('executed')"
    argv = ["--topk=[5, 10]", "--min_cosine", "-1", "--mask_history=false", "--target_items=a=b", f"--x={code}"]
    assert main(argv) == 0
    assert passed_on[0]["config_dict"] == {
        "topk": "[5, 10]",
        "min_cosine": "-1",
        "mask_history": "false",
        "target_items": "a=b",
        "x": code,
    }
    assert not list(tmp_path.iterdir())


def test_names_stay_texts(passed_on):
    main(["--dataset=100", "--model=1e3"])
    assert (passed_on[0]["dataset"], passed_on[0]["model"]) == ("100", "1e3")


def test_an_option_may_be_repeated_with_the_same_value(passed_on):
    assert main(["--seed=3", "--seed", "3", "-m", "SASRec", "--model=SASRec"]) == 0
    assert passed_on[0]["config_dict"] == {"seed": "3"}


def test_resume_is_passed_on_alone(passed_on):
    assert main(["--resume=saved/some run"]) == 0
    assert passed_on == [{"resume": "saved/some run"}]


def test_the_programs_own_arguments_are_the_default(monkeypatch, passed_on):
    monkeypatch.setattr(sys, "argv", ["program", "--seed=5"])
    assert main() == 0
    assert passed_on[0]["config_dict"] == {"seed": "5"}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["word"], "found 'word'"),
        (["--seed=1", "word"], "found 'word'"),
        (["-x", "1"], "found '-x'"),
        (["-"], "found '-'"),
        (["--"], "found '--'"),
        (["--=1"], "found '--=1'"),
        (["--seed"], "--seed needs a value"),
        (["--seed", "--epochs=3"], "--seed needs a value"),
        (["-m"], "--model needs a value"),
        (["--seed=1", "--seed=2"], "twice: found '1' and '2'"),
        (["-m", "SASRec", "--model", "Other"], "--model is given twice"),
        (["--json=False"], "option --json takes no value: found 'False'"),
        (["--version=x"], "option --version takes no value: found 'x'"),
    ],
    ids=str,
)
def test_words_that_are_no_options_are_refused(argv, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_arguments(argv)


# Help and list


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["--attack=ra", "--help"]], ids=str)
def test_help_names_attacks_models_aggregators_and_options(argv, capsys, tmp_path):
    assert main(argv) == 0
    out, err = capsys.readouterr()
    options = {*OPTIONS, "model", "dataset", "config_files", "resume", "list"}
    assert {*ATTACKS, *BACKDOORS, *PROFILES, *PLATFORMS, *MODELS, *AGGREGATORS, *options} <= names(out)
    assert all(option.help in out for option in OPTIONS.values())
    assert (err, list(tmp_path.iterdir())) == ("", [])


def test_list_names_everything_there_is_to_choose_with_a_description(capsys, tmp_path):
    assert main(["--list"]) == 0
    out, err = capsys.readouterr()
    parts = (*ATTACKS, *BACKDOORS, *PROFILES, *PLATFORMS, *MODELS, *AGGREGATORS, *DETECTORS, *SCENARIOS)
    for name in (*parts, *EXPOSURE_METRICS):
        assert re.search(rf"^  {name} +\S+ \S+", out, re.MULTILINE), name
    assert (err, list(tmp_path.iterdir())) == ("", [])


def test_help_list_and_errors_offer_the_same_models(capsys):
    """Those that run; tests/test_capabilities.py finds out which."""
    main(["--help"])
    usage = re.search(r"the victim: ([\w, ]+)\n", capsys.readouterr().out)[1].split(", ")
    main(["--list"])
    listed = re.findall(r"^  (\w+)", re.search(r"^models\n(.+?)\n\n", capsys.readouterr().out, re.M | re.S)[1], re.M)
    with pytest.raises(ConfigError) as error:
        find_model("nonesuch")
    offered = re.search(r"expected one of ([\w, ]+), or register_model's", str(error.value))[1].split(", ")
    assert usage == listed == offered == list(MODELS)


@pytest.mark.parametrize("name", sorted(set(HOSTS) - set(MODELS)))
def test_a_model_that_is_not_offered_is_refused_by_name(name, capsys, tmp_path):
    assert main([DATA, "--dataset=tiny", f"--model={name}", "--attack=none"]) == 2
    out, err = capsys.readouterr()
    assert re.fullmatch(rf"ConfigError: model '{name}' cannot be attacked: [^\n]+\n", err)
    assert (out, list(tmp_path.iterdir())) == ("", [])


# Mistakes


MISTAKES = {
    "positional word": (["dvfsr"], "dvfsr"),
    "missing value": (["--attack"], "--attack"),
    "twice": (["--seed=1", "--seed=2"], "--seed"),
    "unknown parameter": (["--atack=ra"], "did you mean 'attack'?"),
    "parameter of another attack": (["--attack=ra", "--min_cosine=0.1"], "min_cosine"),
    "unknown attack": (["--attack=dvfrs"], "did you mean 'dvfsr'?"),
    "no attack name": (["--attack=None"], "did you mean 'none'?"),
    "unknown model": (["-m", "SASrec"], "did you mean 'SASRec'?"),
    "unknown aggregator": (["--aggregator=mena"], "did you mean 'mean'?"),
    "unknown metric": (["--metrics=['Hit','ERR']", "--valid_metric=Hit@10"], "err"),
    "wrong type": (["--epochs=many"], "epochs must be int"),
    "out of range": (["--malicious_ratio=2"], "malicious_ratio"),
    "code": (["--epochs=__import__('os').mkdir('executed')"], "epochs"),
    "central attack": (["--scenario=central", "--attack=ra"], "central"),
    "no malicious client": (["--malicious_ratio=0"], "malicious_ratio"),
    "unmeasured": (["--valid_metric=MRR@10"], "MRR@10"),
    "zero cut-off": (["--topk=[10, 0]"], "topk"),
    "two kinds of metrics": (["--metrics=['NDCG', 'AUC']"], "AUC|[Vv]alue"),
    "part of a dictionary": (["--eval_args={'mode': 'uni100'}"], "mode|split"),
    "line break": (["--attack=dv\nfsr"], "attack"),
    "missing file": (["-c", "missing.yaml"], "missing.yaml"),
    "resume nothing": (["--resume=missing"], "missing is not a run folder"),
    "resume and more": (["--resume=missing", "--epochs=3"], "--epochs"),
    "unknown dataset": (["-d", "tini"], "did you mean 'tiny'?"),
    "unknown target": (["-d", "tiny", "--target_items=i1000"], "i1000"),
    "unknown time field": (["-d", "tiny", "--TIME_FIELD=timestmp"], "did you mean 'timestamp'?"),
    "nothing left": (["-d", "tiny", "--user_inter_num_interval=[1000,inf)"], "nothing of .inter"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(mistake, capsys, tmp_path):
    argv, words = MISTAKES[mistake]
    assert main([DATA, *argv] if "--resume" not in argv[0] else argv) == 2
    out, err = capsys.readouterr()
    assert re.search(words.replace("?", r"\?"), err)
    assert re.fullmatch(r"(ConfigError|DataError): [^\n]+\n", err)
    assert out == ""
    assert not list(tmp_path.iterdir())


def interrupt(*_, **__):
    raise KeyboardInterrupt


def terminate(*_, **__):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
    raise AssertionError("the signal did not arrive")


STOPS = pytest.mark.parametrize(("stop", "code"), [(interrupt, 130), (terminate, 143)], ids=["SIGINT", "SIGTERM"])


@STOPS
def test_an_interruption_before_there_is_a_folder_names_none(monkeypatch, capsys, tmp_path, stop, code):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("recbole_attack.quick_start.quick_start.prepare", stop)
    assert main(["--attack=ra", DATA, "--dataset=tiny"]) == code
    assert capsys.readouterr() == ("", "interrupted before anything was trained\n")
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


@STOPS
def test_an_interrupted_run_is_continued_under_the_name_it_printed(monkeypatch, capsys, small, stop, code):
    argv = [f"--{key}={value}" for key, value in small(attack="none", epochs=1, checkpoint_dir="my runs").items()]
    with monkeypatch.context() as patch:
        patch.setattr(FederatedTrainer, "_train_epoch", stop)
        assert main(argv) == code
    err = capsys.readouterr().err
    (hint,) = shlex.split(re.search(r"^interrupted; continue with (--resume=.+)$", err, re.MULTILINE)[1])
    folder = Path(hint.removeprefix("--resume="))
    assert f"run folder: {folder}\n" in err
    names = {"config.yaml", "dataset.json", "clean", "run.log", "tensorboard"}
    assert {path.name for path in folder.iterdir()} == names
    assert main([hint]) == 0
    assert (folder / "result.json").is_file()


def test_commands_run_in_any_thread():
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["--seed"])))
    thread.start()
    thread.join(60)
    assert codes == [2]


def test_a_diverged_arm_is_one_line_and_exit_code_1(monkeypatch, capsys, small, tmp_path):
    train = FederatedTrainer._train_epoch

    def diverging(self, *args, **kwargs):
        if self.attack:
            raise TrainingError("training diverged")
        return train(self, *args, **kwargs)

    monkeypatch.setattr(FederatedTrainer, "_train_epoch", diverging)
    argv = [f"--{key}={value}" for key, value in small(epochs=1).items()]
    assert main(argv) == 1
    (file,) = tmp_path.glob("saved/*/result.json")
    expected = (
        f"TrainingError: arm 'attacked': training diverged; {file.relative_to(tmp_path)} holds what came before it"
    )
    assert capsys.readouterr().err.splitlines()[-1] == expected


@pytest.mark.parametrize("logs", [False, True], ids=["nothing", "a folder of logs"])
def test_logging_to_wandb_without_wandb_is_refused_before_anything_is_made(monkeypatch, capsys, tmp_path, logs):
    if logs:
        (tmp_path / "wandb").mkdir()
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "wandb", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "wandb", None)
    before = list(tmp_path.iterdir())
    assert main([DATA, "--dataset=tiny", "--log_wandb=True"]) == 2
    assert re.fullmatch(r"ConfigError: log_wandb needs the package wandb[^\n]*\n", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == before


def test_a_place_that_cannot_be_written_is_one_line(capsys, small, tmp_path):
    (tmp_path / "saved").write_text("in the way")
    argv = [f"--{key}={value}" for key, value in small(attack="none", epochs=1).items()]
    assert main(argv) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"(FileExistsError|NotADirectoryError): [^\n]*saved[^\n]*", last)
    assert not list(tmp_path.glob("saved/*"))


def test_an_error_of_the_program_itself_is_not_hidden(monkeypatch):
    def broken(**_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(quick_start, "run_recbole_attack", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main([])


# The program


def program(*argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    command = [sys.executable, str(ROOT / "run_recbole_attack.py"), *argv]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_the_program_refuses_a_mistake(tmp_path):
    done = program("--attack=dvfrs")
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"ConfigError: [^\n]*did you mean 'dvfsr'\?\n", done.stderr)
    assert not list(tmp_path.iterdir())


def table_of(folder: Path) -> str:
    """The table of the one run below a folder, as its record has it."""
    (file,) = folder.glob("saved/*/result.json")
    return result_table(json.loads(file.read_text()))


def test_the_program_runs_from_any_folder_and_writes_the_table_to_stdout(tmp_path, small):
    options = [f"--{key}={value}" for key, value in small(epochs=1, compare_clean=False, attack="ra").items()]
    done = program(*options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == table_of(tmp_path) + "\n"
    assert "attack ra: 3 malicious clients" in done.stdout
    assert "attacked, epoch 0 [" in done.stderr and "hit@10, %" not in done.stderr


@pytest.mark.parametrize("state", ["INFO", "WARNING", "CRITICAL"])
def test_the_table_is_all_of_stdout_whatever_the_logs_level(state, capsys, tmp_path, small):
    options = small(epochs=1, compare_clean=False, attack="ra", state=state)
    assert main([f"--{key}={value}" for key, value in options.items()]) == 0
    out, err = capsys.readouterr()
    table = table_of(tmp_path)
    assert out == table + "\n"
    assert table.splitlines()[-1] not in err, "not on the screen twice"
    logged = "".join(file.read_text() for file in tmp_path.glob("saved/*/run.log"))
    assert (table in logged, "epoch 0 [" in err) == (state == "INFO",) * 2


def test_what_a_model_prints_does_not_get_into_the_table(monkeypatch, capsys, tmp_path, small):
    epoch = FederatedTrainer._train_epoch

    def talkative(*args, **kwargs):
        print("a remark")
        return epoch(*args, **kwargs)

    monkeypatch.setattr(FederatedTrainer, "_train_epoch", talkative)
    assert main([f"--{key}={value}" for key, value in small(epochs=1, attack="none").items()]) == 0
    out, err = capsys.readouterr()
    assert out == table_of(tmp_path) + "\n"
    assert "a remark" in err


def test_the_python_api_logs_the_table_and_prints_nothing(capsys, tmp_path, small):
    main([f"--{key}={value}" for key, value in small(epochs=1, attack="none").items()])  # leaves nothing behind
    shutil.rmtree(tmp_path / "saved")
    capsys.readouterr()
    quick_start.run_recbole_attack(config_dict=small(epochs=1, attack="none"))
    out, err = capsys.readouterr()
    assert out == ""
    assert table_of(tmp_path) in err


def test_a_table_that_cannot_be_written_is_an_error(monkeypatch, capsys, small):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Full())
        code = main([f"--{key}={value}" for key, value in small(epochs=1, attack="none").items()])
    assert code == 2
    assert "No space left on device" in capsys.readouterr().err
