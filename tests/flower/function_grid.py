"""A federation without processes: nodes are functions, messages are what Flower would have carried."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity

from recbole_attack import AttackConfig
from recbole_attack.flower.client_app import app
from recbole_attack.utils.files import plain

Spoil = Callable[[int, Message], Any]


class AppGrid:
    """Nodes 101, 102, ... on which a ClientApp is called as a function.

    Args:
        app: The app.
        run_config: What Flower would have read for the run.
        n_nodes: Number of nodes; each has one shard.
        spoil: ``(node, answer) -> what arrives``: a message, ``None`` for nothing, a list for several, or what has a
            ``top`` and ``contents``, the bytes of objects of which Flower makes a message as it is pulled.

    Attributes:
        asked: Every node and message, in order.
        said: As ``spoil``, of what nodes say of themselves.
    """

    def __init__(self, app: Any, run_config: dict[str, Any], n_nodes: int, spoil: Spoil | None = None) -> None:
        TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
        self.app, self.waiting, self.asked = app, {}, []
        self.spoil, self.said = spoil or as_it_is, as_it_is
        self.contexts = {
            101 + i: Context(
                run_id=1,
                node_id=101 + i,
                node_config={"partition-id": i, "num-partitions": n_nodes},
                state=RecordDict(),
                run_config=dict(run_config),
                series_id=1,
            )
            for i in range(n_nodes)
        }

    def get_node_ids(self) -> Iterable[int]:
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        arrived = [self.waiting.pop(i) for i in list(message_ids) if i in self.waiting]
        return [inflated(one) for many in arrived for one in (many if isinstance(many, list) else [many])]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))

    def _push(self, message: Message) -> str:
        node, name = message.metadata.dst_node_id, f"message {len(self.asked)}"
        message.metadata.__dict__["_message_id"] = name
        message.__dict__["_content"] = recorddict_from_proto(recorddict_to_proto(message.content))
        self.asked.append((node, message))
        try:
            answer = self.app(message, self.contexts[node])
        except ValueError as error:
            answer = Message(Error(2, f"Traceback\n{type(error).__name__}: {error}"), reply_to=message)
        answer = (self.spoil if message.metadata.message_type.startswith("train") else self.said)(node, answer)
        if answer is not None:
            self.waiting[name] = answer
        return name


def as_it_is(node: int, answer: Message) -> Message:
    return answer


def inflated(found: Any) -> Any:
    """A message of the bytes of its objects, as Flower's own grid makes one."""
    if isinstance(found, Message):
        return found
    message = inflate_object_from_contents(found.top, dict(found.contents))
    message.metadata.__dict__["_message_id"] = found.top  # type: ignore[attr-defined]
    return message


class FunctionGrid(AppGrid):
    """The nodes of a run of this package.

    Args:
        config: The run's configuration.
        n_nodes: Number of nodes.
        failure: ``repeat`` or ``accept``.
        spoil: As of :class:`AppGrid`.
    """

    def __init__(self, config: AttackConfig, n_nodes: int, failure: str = "repeat", spoil: Spoil | None = None) -> None:
        run = {"parameters": json.dumps(plain(config.to_dict())), "node-failure": failure}
        super().__init__(app, run, n_nodes, spoil)
