"""The nodes of a federation as the server sees them: who has which shard, and what came back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from recbole_attack import __version__
from recbole_attack.data.sequences import Int
from recbole_attack.flower.codec import size
from recbole_attack.flower.node import shard
from recbole_attack.flower.own_plugins import check_same_plugins
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError, one_line, shown

_POLL, _LOOK_AGAIN = 0.2, 1.0
"""Seconds between two looks for answers, and for nodes."""


class Nodes:
    """Who hosts which shard of users; a node that fails once hosts nothing from then on.

    Args:
        grid: Flower's connection to the nodes.
        hosts: Shard -> node, of all shards.
        take_over: Whether the shards of a lost node go to the others; without it their clients are lost.
        timeout: Seconds after which a node that does not answer is lost.

    Attributes:
        n_shards: Number of shards, those without a host included.
        sent: Bytes of arrays sent to nodes so far.
        received: Bytes of arrays received from them so far.
    """

    def __init__(self, grid: Grid, hosts: Mapping[int, int], take_over: bool, timeout: float) -> None:
        self.grid, self.hosts, self.take_over, self.timeout = grid, dict(hosts), take_over, timeout
        self.n_shards, self.sent, self.received = len(hosts), 0, 0

    def __len__(self) -> int:
        return len(set(self.hosts.values()))

    def shares(self, users: Int) -> dict[int, Int]:
        """Node -> which of ``users`` it has, as ascending places in them; users nobody hosts are left out."""
        shards = shard(users, self.n_shards)
        owned: dict[int, list[int]] = {}
        for number, node in self.hosts.items():
            owned.setdefault(node, []).append(number)
        shares = {node: np.flatnonzero(np.isin(shards, numbers)) for node, numbers in owned.items()}
        return {node: places for node, places in shares.items() if len(places)}

    def ask(
        self, questions: Mapping[int, RecordDict], read: Callable[[int, RecordDict], Any]
    ) -> tuple[dict[int, Any], dict[int, str]]:
        """Ask nodes, and wait for all of them.

        Args:
            questions: Node -> what it is asked.
            read: ``(node, what it sent) -> answer``; raises a :class:`DataError` for what is none.

        Returns:
            Node -> answer, and of the others node -> why there is none.
        """
        self.sent += sum(size(question) for question in questions.values())
        replies = exchange(self.grid, questions, MessageType.TRAIN, self.timeout)
        answers: dict[int, Any] = {}
        failures = {}
        for node in questions:
            found = replies.get(node, f"no answer within {self.timeout:g} s")
            if isinstance(found, str):
                failures[node] = found
                continue
            self.received += size(found)
            try:
                answers[node] = read(node, found)
            except DataError as error:
                failures[node] = one_line(str(error))
        return answers, failures

    def drop(self, failures: Mapping[int, str]) -> None:
        """Leave nodes out from now on.

        Args:
            failures: Node -> why.

        Raises:
            TrainingError: None is left.
        """
        left = sorted(set(self.hosts.values()) - set(failures))
        if not left:
            raise TrainingError(f"no node is left: {'; '.join(failures.values())}")
        lost = [number for number, node in self.hosts.items() if node in failures]
        for turn, number in enumerate(lost):
            if self.take_over:
                self.hosts[number] = left[turn % len(left)]
            else:
                del self.hosts[number]


def exchange(grid: Grid, questions: Mapping[int, RecordDict], kind: str, timeout: float) -> dict[int, RecordDict | str]:
    """Send a message to each node and wait for the answers.

    Returns:
        Node -> what it sent, or why it sent nothing; nodes that did not answer in time are left out.
    """
    messages = [Message(content, node, kind, ttl=timeout) for node, content in questions.items()]
    sent = dict(zip(grid.push_messages(messages), questions, strict=False))
    waiting, found, end = {i for i in sent if i}, dict[int, RecordDict | str](), time.monotonic() + timeout
    while waiting and time.monotonic() < end:
        for asked in sorted(waiting):
            reply = _pulled(grid, asked)
            if reply is not None:
                waiting.discard(asked)
                found[sent[asked]] = reply
        if waiting:
            time.sleep(_POLL)
    return {node: found[node] for node in questions if node in found}


def _pulled(grid: Grid, asked: str) -> RecordDict | str | None:
    """What came of one question: a record, why there is none, or ``None`` for nothing so far.

    Flower reads all messages it is asked for in one go, and one node's bytes, if they are none, are the end of it: so
    it is asked for one at a time.
    """
    try:
        replies = [one for one in grid.pull_messages([asked]) if one.metadata.reply_to_message_id == asked]
    except Exception as error:  # whatever bytes of others make Flower raise
        return f"what it sent cannot be read: {one_line(f'{type(error).__name__}: {error}')}"
    if not replies:
        return None
    return _reason(replies[0].error) if replies[0].has_error() else replies[0].content


def _reason(error: Any) -> str:
    """The last line of what went wrong: a node sends all of its traceback."""
    lines = str(error.reason).strip().splitlines()
    return one_line(lines[-1] if lines else "") or f"error {error.code}"


def find_nodes(
    grid: Grid, data: Mapping[str, str], plugins: Mapping[str, str], take_over: bool, timeout: float
) -> Nodes:
    """Wait until every shard has a node.

    Args:
        grid: Flower's connection to the nodes.
        data: File name -> SHA-256 of the server's dataset.
        plugins: Module -> SHA-256 of the server's plug-ins, of those the run names.
        take_over: See :class:`Nodes`.
        timeout: Seconds to wait at most.

    Raises:
        ConfigError: Nodes do not fit together, or a shard has none when the time is over.
        DataError: A node has other data.
    """
    hosts: dict[int, int] = {}
    n_shards, asked, end = 0, set[int](), time.monotonic() + timeout
    while not hosts or len(hosts) < n_shards:
        new = [node for node in grid.get_node_ids() if node not in asked]
        asked.update(new)
        left = max(end - time.monotonic(), 0.0)
        if left == 0:
            expected = f"nodes of {n_shards} shards" if n_shards else "at least one node"
            raise ConfigError(f"expected {expected} within {timeout:g} s: found those of shards {sorted(hosts)}")
        replies = exchange(grid, {node: RecordDict() for node in new}, MessageType.QUERY, left) if new else {}
        for node, reply in replies.items():
            if isinstance(reply, str):
                raise ConfigError(f"node {node} cannot take part: {reply}")
            number, n_shards = _joined(node, reply, data, plugins, n_shards)
            if number in hosts:
                raise ConfigError(f"expected one node for each shard: found two of shard {number}")
            hosts[number] = node
        if len(hosts) < n_shards or not hosts:
            time.sleep(_LOOK_AGAIN)
    return Nodes(grid, dict(sorted(hosts.items())), take_over, timeout)


def _joined(
    node: int, reply: RecordDict, data: Mapping[str, str], plugins: Mapping[str, str], n_shards: int
) -> tuple[int, int]:
    """A node's shard, and of how many; refused if it does not fit to the server or to the nodes before it."""
    number, found, version, theirs, code = _described(node, reply)
    if version != __version__:
        raise ConfigError(f"node {node}: expected recbole_attack {__version__}, found {one_line(version)}")
    if n_shards not in (0, found):
        raise ConfigError(f"node {node}: expected num-partitions={n_shards} as of the others, found {found}")
    check_same_plugins(f"node {node}", plugins, code)
    if theirs != dict(data):
        differing = sorted(name for name in {*theirs, *data} if theirs.get(name) != data.get(name))
        raise DataError(f"node {node} has other data: expected the server's files, found others: {shown(differing)}")
    return number, found


def _described(node: int, reply: RecordDict) -> tuple[int, int, str, dict[str, str], dict[str, str]]:
    """What a node says of itself: its shard, of how many, its version, and hashes of its files and plug-ins."""
    said = dict(reply.config_records["node"]) if "node" in reply.config_records else {}
    values: list[Any] = [said.get(key) for key in ("partition", "partitions", "version")]
    number, found, version = values
    valid = type(number) is int and type(found) is int and 0 <= number < found and isinstance(version, str)
    files, code = (_table(said.get(key)) for key in ("data", "plugins"))
    if not valid or files is None or code is None:
        raise ConfigError(
            f"node {node} does not say what it is: expected its shard, version, data and plug-ins, found {shown(said)}"
        )
    return number, found, version, files, code


def _table(text: Any) -> dict[str, Any] | None:
    """A JSON object, ``None`` if it is none."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
