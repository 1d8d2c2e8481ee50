"""The ClientApp: Flower starts it on a SuperNode for every message."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from recbole_attack.flower.node import answer, describe


def query(message: Message, context: Context) -> Message:
    """What the server has to know of this node."""
    return Message(describe(context.run_config, context.node_config), reply_to=message)


def train(message: Message, context: Context) -> Message:
    """What this node's clients send in one round."""
    return Message(answer(message.content, context.run_config, context.node_config), reply_to=message)


app = ClientApp()
app.query()(query)
app.train()(train)
