"""A federation on this machine: a SuperLink and SuperNodes on loopback, for as long as they are needed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from recbole_attack.flower.own_plugins import PLUGINS
from recbole_attack.utils.errors import ConfigError

LOOPBACK = "127.0.0.1"
_START, _LOOK, _STOP = 60.0, 0.1, 30.0
"""Seconds a SuperLink has to answer, between two looks whether it does, and a federation has to stop."""


def flower_environment(home: Path, plugins: Sequence[str] = ()) -> dict[str, str]:
    """The environment of Flower's programs: this Python's, a home of their own, and nothing told to anyone.

    Args:
        home: Where Flower has its configuration and the apps it is sent.
        plugins: Files of plug-ins that apps import first.
    """
    named = {PLUGINS: ",".join(plugins)} if plugins else {}
    return {
        **os.environ,
        **named,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
    }


@contextmanager
def local_federation(n_nodes: int, folder: Path, plugins: Sequence[str] = ()) -> Iterator[str]:
    """The address of a SuperLink with ``n_nodes`` SuperNodes; all of it is gone at the end of the block.

    Nodes and server work where this process stands, so that relative paths mean the same to them.

    Args:
        n_nodes: Number of nodes, each with one shard.
        folder: Where Flower may write; ``federation.log`` there holds what its programs say. It is gone, too.
        plugins: Files of plug-ins that nodes and server import first.

    Raises:
        ConfigError: The SuperLink does not answer.
    """
    link, *nodes = _free_ports(1 + n_nodes)
    address = f"{LOOPBACK}:{link}"
    common = ["--insecure", "--host", LOOPBACK]
    commands = [["flower-superlink", *common, "--port", str(link), "--disable-runtime-dependency-installation"]]
    for number, port in enumerate(nodes):
        shard = f"partition-id={number} num-partitions={n_nodes}"
        where = ["--superlink", address, "--port", str(port), "--node-config", shard]
        commands.append(["flower-supernode", *common, *where])
    with _kept(commands, folder, plugins):
        _wait_for(link, folder)
        yield address


@contextmanager
def _kept(commands: list[list[str]], folder: Path, plugins: Sequence[str] = ()) -> Iterator[None]:
    """Run commands under a keeper, which ends them when this process does, however that is."""
    with ExitStack() as stack:
        log = stack.enter_context((folder / "federation.log").open("wb"))
        keeper = subprocess.Popen(
            [sys.executable, "-m", "recbole_attack.flower.keeper", json.dumps(commands), str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=flower_environment(folder, plugins),
            start_new_session=True,
        )
        assert keeper.stdin is not None
        try:
            yield
        finally:
            keeper.stdin.close()
            keeper.wait(_STOP)


def _wait_for(port: int, folder: Path) -> None:
    end = time.monotonic() + _START
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(_LOOK)
    said = (folder / "federation.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise ConfigError(
        f"the local SuperLink did not start within {_START:g} s: {said[-1] if said else 'it said nothing'}"
    )


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on at the moment, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]
