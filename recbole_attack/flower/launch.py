"""Runs on a federation: one that is there already, or one that is started for the run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tomli_w

from recbole_attack.config import AttackConfig
from recbole_attack.config.plugins import plugin_files, plugin_hashes
from recbole_attack.experiment import data_hashes
from recbole_attack.flower.engine import engine_parameters
from recbole_attack.flower.local import flower_environment, local_federation
from recbole_attack.flower.server_app import MARK
from recbole_attack.flower.training import check_runs_on_nodes
from recbole_attack.quick_start.quick_start import log_table
from recbole_attack.quick_start.result import Result
from recbole_attack.report.run_table import result_table
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError, shown
from recbole_attack.utils.files import plain
from recbole_attack.utils.words import counted

_ERRORS = {error.__name__: error for error in (ConfigError, DataError, TrainingError)}
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}")
_NAME = "recbole-attack"


def run_on_flower(
    config: AttackConfig, engine: Mapping[str, Any] | None = None, saved: bool = True, resume: str | None = None
) -> Result:
    """Train a victim, clean and attacked, with its clients on the nodes of a Flower federation.

    The run is the one of :func:`~recbole_attack.quick_start.run_recbole_attack`, in a ServerApp: its folder lies where
    the SuperLink is, which is here for a local federation. What it logs comes to stderr.

    Args:
        config: The run's configuration; that of the folder to resume, if there is one.
        engine: Parameters of ``properties/engine/flower.yaml``.
        saved: Write the run folder.
        resume: The folder of an interrupted run.

    Raises:
        ConfigError: A parameter is not valid, Flower is not installed, the federation cannot be reached or does not
            fit.
        DataError: A file, field or token is missing.
        TrainingError: An arm diverged, no node was left, or the run ended without a result.
    """
    chosen = engine_parameters(engine or {})
    check_runs_on_nodes(config)
    superlink = chosen["superlink"]
    with TemporaryDirectory() as temporary:
        home = Path(temporary)
        app = _write_app(home / "app", config, chosen, saved, resume)
        if superlink is None:
            data_hashes(config)  # a mistyped dataset is told before anything is started
            return _on_this_machine(app, config, chosen["flower_nodes"], home)
        if _ADDRESS.fullmatch(superlink):
            return _followed(app, _connected(home, superlink))
        return _followed(app, Connection(superlink, None))


def _on_this_machine(app: Path, config: AttackConfig, n_nodes: int, home: Path) -> Result:
    """Run the app on a federation of its own; an interruption while it is stopped does not hide what was done."""
    result = None
    sys.stderr.write(f"starting Flower on this machine: a SuperLink and {counted(n_nodes, 'SuperNode')}\n")
    try:
        with local_federation(n_nodes, home, plugin_files(config["plugins"] or ())) as address:
            result = _followed(app, _connected(home, address))
    except KeyboardInterrupt as interrupt:
        if result is None:
            raise
        where = f"; {result['result_file']} holds its result" if result["result_file"] else ""
        raise type(interrupt)(f"interrupted after the run was done{where}") from None
    return result


class Connection:
    """A SuperLink by the name it has in a configuration of Flower.

    Args:
        name: The name.
        home: Flower's home with that configuration; the user's own if None.
        address: What it is called in messages instead.
    """

    def __init__(self, name: str, home: Path | None, address: str | None = None) -> None:
        self.name, self.known_as = name, address or name
        self.environment = flower_environment(home) if home else None

    def command(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).with_name("flwr")), *words]

    def ask(self, *words: str) -> dict[str, Any]:
        """What a command of Flower answers.

        Raises:
            ConfigError: It fails.
        """
        command = self.command(*words, "--format", "json")
        done = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment, text=True
        )
        out, err = done.communicate()
        start = out.find("{")
        try:
            answer = json.loads(out[start:]) if start >= 0 else {}
        except ValueError:
            answer = {}
        if done.returncode or not answer.get("success"):
            reason = answer.get("error-message") or err or out
            raise ConfigError(f"SuperLink '{self.known_as}': flwr {words[0]} failed: {' '.join(str(reason).split())}")
        return answer


def _connected(home: Path, address: str) -> Connection:
    """A connection without TLS to an address."""
    text = tomli_w.dumps({"superlink": {"default": _NAME, _NAME: {"address": address, "insecure": True}}})
    (home / "config.toml").write_text(text, encoding="utf-8")
    return Connection(_NAME, home, address)


def _write_app(folder: Path, config: AttackConfig, engine: Mapping[str, Any], saved: bool, resume: str | None) -> Path:
    """A Flower app that names this package's ServerApp and ClientApp, and the run's parameters."""
    components = {part: f"recbole_attack.flower.{part[:6]}_app:app" for part in ("serverapp", "clientapp")}
    run = {
        "parameters": json.dumps(plain({**config.to_dict(), "show_progress": False})),
        "node-failure": engine["node_failure"],
        "node-timeout": float(engine["node_timeout"]),
        "saved": saved,
        "resume": resume or "",
        "plugins": json.dumps(plugin_hashes(config["plugins"] or ())),
    }
    project = {"name": _NAME, "version": "1.0.0", "description": "A run of recbole_attack", "license": "MIT"}
    flower = {"publisher": "recbole-attack", "components": components, "config": run}
    folder.mkdir()
    (folder / "pyproject.toml").write_text(tomli_w.dumps({"project": project, "tool": {"flwr": {"app": flower}}}))
    return folder


def _followed(app: Path, link: Connection) -> Result:
    """Start the run, show its log, and return what it tells."""
    sys.stderr.write(f"starting the run on SuperLink '{link.known_as}'\n")
    run_id = str(link.ask("run", str(app), link.name)["run-id"])
    told: dict[str, Any] = {}
    command = link.command("log", run_id, link.name, "--stream")
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, env=link.environment, text=True) as log,
        _stopped_if_interrupted(link, run_id, log),
    ):
        assert log.stdout is not None
        for line in log.stdout:
            if line.startswith(MARK):
                told = json.loads(line.removeprefix(MARK))
            else:
                sys.stderr.write(line)
    if "error" in told:
        raise _ERRORS[told["error"]](told["message"])
    if "record" not in told:
        raise TrainingError(f"the run ended without a result: {_end_of(link, run_id)}")
    log_table(result_table(told["record"]))
    return Result(told["values"], told["record"])


@contextmanager
def _stopped_if_interrupted(link: Connection, run_id: str, log: subprocess.Popen[str]) -> Iterator[None]:
    """End the run with the block, where the block does not end by itself."""
    try:
        yield
    except BaseException as error:
        log.terminate()
        with suppress(ConfigError):  # the SuperLink may be what has failed
            link.ask("stop", run_id, link.name)
        if isinstance(error, KeyboardInterrupt):
            raise type(error)(
                "interrupted; --engine=flower --resume=<the run folder named above> continues it"
            ) from None
        raise


def _end_of(link: Connection, run_id: str) -> str:
    """How Flower says that a run ended."""
    runs = link.ask("list", link.name, "--run-id", run_id).get("runs") or [{}]
    return f"{runs[0].get('status', 'unknown')}, {shown(runs[0].get('status-details', ''))}"
