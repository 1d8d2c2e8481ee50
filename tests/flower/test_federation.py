"""A real federation on loopback: its numbers, a node that is killed, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recbole_attack import AttackConfig, run_recbole_attack
from recbole_attack.commands.main import main
from recbole_attack.utils.errors import ConfigError, DataError

pytest.importorskip("flwr", reason="needs Flower: pip install 'recbole_attack[flower]'")

from recbole_attack.flower.launch import run_on_flower
from recbole_attack.flower.local import LOOPBACK, _free_ports, _kept, _wait_for, local_federation
from recbole_attack.flower.own_plugins import PLUGINS

PROGRAM = Path(__file__).resolve().parents[2] / "run_recbole_attack.py"
ONE_ARM = {"epochs": 1, "attack": "dvfsr", "compare_clean": False, "clients_per_round": 32, "aggregator": "mixed_rfa"}


def processes(folder: Path) -> dict[int, str]:
    """Running processes that were started with Flower's home in ``folder``, and their command lines."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def of_flower(folder: Path) -> list[str]:
    return list(processes(folder).values())


@contextmanager
def nothing_left(folder: Path, patience: float = 15) -> Iterator[None]:
    folder.mkdir()
    yield
    end = time.monotonic() + patience
    while of_flower(folder) and time.monotonic() < end:
        time.sleep(0.1)
    assert not of_flower(folder)


def rounds(result: Any) -> pd.DataFrame:
    return pd.read_csv(Path(result["result_file"]).with_name("attacked") / "rounds.csv")


@pytest.mark.slow
def test_two_nodes_give_the_numbers_of_one_process(
    settings: Callable[..., AttackConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "flower"))
    monkeypatch.setattr("tempfile.tempdir", None)
    config = settings(**ONE_ARM)
    here = run_recbole_attack(config_dict=config.to_dict())
    with nothing_left(tmp_path / "flower"):
        there = run_on_flower(config, {"flower_nodes": 2})
    assert there["test_result"] == pytest.approx(here["test_result"], rel=1e-4, abs=1e-5)
    assert there.record["attacked"]["uploads"] == pytest.approx(here.record["attacked"]["uploads"], rel=1e-4)
    for column in ("loss", "update_norm", "malicious_weight"):
        assert list(rounds(there)[column]) == pytest.approx(list(rounds(here)[column]), rel=1e-4)
    assert set(rounds(there)["nodes"]) == {2}


@pytest.mark.slow
@pytest.mark.parametrize("failure", ["repeat", "accept"])
def test_a_node_that_is_killed_in_a_round(
    settings: Callable[..., AttackConfig], tmp_path: Path, failure: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config = settings(**ONE_ARM)
    home = tmp_path / "flower"
    with nothing_left(home), local_federation(2, home) as address:
        log = home / "federation.log"
        killer = threading.Thread(target=kill_in_a_round, args=(log,))
        killer.start()
        there = run_on_flower(config, {"superlink": address, "node_failure": failure, "node_timeout": 60}, saved=True)
        killer.join()
    found = rounds(there)
    assert list(found["nodes"]) == [1, 1]
    assert "1 of 2 nodes lost" in capfd.readouterr().err
    here = run_recbole_attack(config_dict=config.to_dict())
    everybody = rounds(here)["honest"] + rounds(here)["malicious"]
    if failure == "repeat":
        assert there["test_result"] == pytest.approx(here["test_result"], rel=1e-4, abs=1e-5)
        assert list(found["lost"]) == [0, 0]
    else:
        assert (found["lost"] > 0).all()
        assert list(found["lost"] + found["honest"] + found["malicious"]) == list(everybody)


def kill_in_a_round(log: Path) -> None:
    """Kill the second SuperNode and all it started as soon as it has received something to train on."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        text = log.read_text(errors="replace") if log.is_file() else ""
        if text.count("Receiving: train message") >= 2:
            os.killpg(json.loads(text.splitlines()[0])[2], signal.SIGKILL)
            return
        time.sleep(0.05)


LIES = """
from flwr.app import ConfigRecord as Honest
from flwr.supercore.inflatable.inflatable_object import add_header_to_object_body
from recbole_attack.flower import node

class ConfigRecord(Honest):
    def deflate(self):
        return add_header_to_object_body(b"\\xff" * 9, self)

honest = node.write_answer

def write_answer(answer, question):
    record = honest(answer, question)
    record["about"] = ConfigRecord(dict(record["about"]))
    return record

node.write_answer = write_answer
"""


@pytest.mark.slow
def test_a_node_whose_bytes_are_none(
    settings: Callable[..., AttackConfig], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bytes that a SuperLink takes and no Flower can read: they are the end of that node, and not of the run."""
    config, home, lies = settings(**ONE_ARM), tmp_path / "flower", tmp_path / "lies.py"
    lies.write_text(LIES)
    link, *ports = _free_ports(3)
    common, address = ["--insecure", "--host", LOOPBACK], f"{LOOPBACK}:{link}"
    commands = [["flower-superlink", *common, "--port", str(link), "--disable-runtime-dependency-installation"]]
    for number, port in enumerate(ports):
        where = ["--superlink", address, "--port", str(port)]
        shard = ["--node-config", f"partition-id={number} num-partitions=2"]
        commands.append(["env", f"{PLUGINS}={lies if number else ''}", "flower-supernode", *common, *where, *shard])
    with nothing_left(home, 60), _kept(commands, home):
        _wait_for(link, home)
        there = run_on_flower(config, {"superlink": address})
    said = capfd.readouterr().err
    assert "1 of 2 nodes lost" in said
    assert "what it sent cannot be read: DecodeError" in said
    here = run_recbole_attack(config_dict=config.to_dict())
    assert there["test_result"] == pytest.approx(here["test_result"], rel=1e-4, abs=1e-5)
    assert list(rounds(there)["nodes"]) == [1, 1]
    assert list(rounds(there)["lost"]) == [0, 0]


def test_whoever_started_a_federation_may_be_killed(tmp_path: Path) -> None:
    """The keeper ends what it keeps when the other end of its pipe is gone."""
    home = tmp_path / "flower"
    code = (
        "import sys, time, pathlib; from recbole_attack.flower.local import _kept\n"
        f"with _kept([['sleep', '600'], ['sh', '-c', 'sleep 601 & sleep 602']], pathlib.Path({str(home)!r})):\n"
        "    print('kept', flush=True); time.sleep(600)"
    )
    with nothing_left(home):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "kept\n"
        end = time.monotonic() + 60
        while len(of_flower(home)) < 5 and time.monotonic() < end:
            time.sleep(0.1)
        assert len([line for line in of_flower(home) if "sleep" in line]) >= 4
        process.kill()
        process.wait()
    assert not home.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells processes that the one that started them has ended")
def test_the_keeper_may_be_killed(tmp_path: Path) -> None:
    home = tmp_path / "flower"
    with nothing_left(home), _kept([["sleep", "600"], ["sleep", "601"]], home):
        end = time.monotonic() + 60
        while len(of_flower(home)) < 3 and time.monotonic() < end:
            time.sleep(0.1)
        assert len(of_flower(home)) == 3
        (keeper,) = (pid for pid, line in processes(home).items() if "keeper" in line)
        os.kill(keeper, signal.SIGKILL)


ENDINGS = [
    (signal.SIGINT, "process", 130),
    (signal.SIGINT, "group", 130),
    (signal.SIGTERM, "process", 143),
    (signal.SIGKILL, "process", -9),
]


def end_of_a_run(config: AttackConfig, folder: Path, number: int, whom: str, begun: Callable[[], bool]) -> int:
    """The exit code of a run that is sent a signal, alone or with all of its group, once it has begun."""
    options = [f"--{key}={value}" for key, value in config.changed().items()]
    command = [sys.executable, str(PROGRAM), "run", "--engine=flower", *options]
    environment = {**os.environ, "TMPDIR": str(folder)}
    told = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # shells ignore it in the background
    with subprocess.Popen(command, env=environment, start_new_session=True, **told) as process:
        try:
            end = time.monotonic() + 150
            while not begun() and time.monotonic() < end:
                time.sleep(0.1)
            assert begun()
            (os.killpg if whom == "group" else os.kill)(process.pid, number)
            process.wait(100)
        finally:
            process.kill()
    return process.returncode


@pytest.mark.parametrize(("number", "whom", "code"), ENDINGS)
def test_a_run_that_is_ended_leaves_no_process(
    settings: Callable[..., AttackConfig], tmp_path: Path, number: int, whom: str, code: int
) -> None:
    folder = tmp_path / "flower"
    with nothing_left(folder):
        assert end_of_a_run(settings(**ONE_ARM), folder, number, whom, lambda: len(nodes(folder)) == 2) == code


@pytest.mark.slow
@pytest.mark.parametrize(("number", "whom", "code"), ENDINGS)
def test_nor_does_one_that_is_ended_in_a_round(
    settings: Callable[..., AttackConfig], tmp_path: Path, number: int, whom: str, code: int
) -> None:
    folder = tmp_path / "flower"

    def in_a_round() -> bool:
        return any("Receiving: train" in log.read_text(errors="replace") for log in folder.glob("*/federation.log"))

    with nothing_left(folder, 60):
        assert end_of_a_run(settings(**ONE_ARM), folder, number, whom, in_a_round) == code


@pytest.mark.slow
def test_nor_does_one_whose_server_fails(
    settings: Callable[..., AttackConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "flower"))
    monkeypatch.setattr("tempfile.tempdir", None)
    with nothing_left(tmp_path / "flower"), pytest.raises(DataError, match="nobody"):
        run_on_flower(settings(**ONE_ARM, target_items=["nobody"]), {"flower_nodes": 2})


def nodes(folder: Path) -> list[str]:
    return [line for line in of_flower(folder) if "flower-supernode" in line and "keeper" not in line]


def test_a_superlink_that_is_not_there_is_said(settings: Callable[..., AttackConfig], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SuperLink '127\.0\.0\.1:9': flwr run failed: "):
        run_on_flower(settings(), {"superlink": "127.0.0.1:9"})
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--engine=flowers", "unknown engine 'flowers': .*did you mean 'flower'"),
        ("--node_failure=ignore", "unknown node_failure 'ignore': expected one of repeat, accept"),
        ("--flower_nodes=0", "flower_nodes must be an integer at least 1"),
        ("--node_timeout=0", "node_timeout must be a number above 0"),
        ("--superlinks=here", "unknown parameter 'superlinks'.*did you mean 'superlink'"),
        ("--scenario=central", "engine 'flower' needs scenario 'federated'"),
    ],
)
def test_mistakes_cost_no_federation(option: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    others = [] if option.startswith("--engine") else ["--engine=flower"]
    assert main(["run", *others, option]) == 2
    assert re.search(words, capsys.readouterr().err)


def test_parameters_of_the_engine_need_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--flower_nodes=2"]) == 2
    assert "unknown parameter 'flower_nodes'" in (err := capsys.readouterr().err)
    assert "read by engine flower" in err
