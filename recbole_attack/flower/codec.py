"""What the server asks a node and what a node answers, as Flower's records and back.

What arrives is checked before anything is computed with it. A question names the clients it is about; an answer repeats
the question, so that an old one is no answer, and has the arrays of these clients and no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

from recbole_attack.data.sequences import Int
from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.federated.updates import Update
from recbole_attack.utils.errors import DataError, one_line, shown


@dataclass(frozen=True)
class Question:
    """What a node is to compute for one round.

    Attributes:
        attack: The attack of the arm.
        epoch: From 0.
        index: Number of the round in the epoch.
        single: Whether every client's own update is asked for, or their sum.
        honest: ``[H]`` users whose clients are honest.
        malicious: ``[M]`` users whose histories malicious clients hold.
        factors: ``[H + M]`` float32, of the clients in the sum; ones where there is none.
        measured: Places of the clients that are to be measured, honest ones first, ascending.
        parameters: The global model's, by name.
        before: Item rows of an earlier model, of the shape of today's, for clients that compare.
    """

    attack: str
    epoch: int
    index: int
    single: bool
    honest: Int
    malicious: Int
    factors: torch.Tensor
    measured: tuple[int, ...]
    parameters: Update
    before: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.honest) + len(self.malicious)

    def about(self) -> dict[str, Any]:
        """Which question it is, in plain values."""
        names = ("attack", "epoch", "index", "single")
        return {**{name: getattr(self, name) for name in names}, "measured": list(self.measured)}


@dataclass(frozen=True)
class Answer:
    """What a node computed: honest clients first, in the order of the question.

    Attributes:
        losses: ``[N]`` float32.
        norms: Euclidean norms of the measured clients' updates, in their order, float64.
        update: The sum, or the single updates before any is made louder or softer.
    """

    losses: torch.Tensor
    norms: torch.Tensor
    update: Update | ClientUpdates


def write_question(question: Question) -> RecordDict:
    """The question as it is sent."""
    clients = {"honest": question.honest, "malicious": question.malicious, "factors": question.factors.numpy()}
    before = {} if question.before is None else {"before": _arrays({"rows": question.before.cpu().numpy()})}
    return RecordDict(
        {
            "about": ConfigRecord(question.about()),
            "clients": _arrays(clients),
            "parameters": _arrays(_packed(question.parameters)),
            **before,
        }
    )


def read_question(record: RecordDict, parameters: Mapping[str, torch.Tensor]) -> Question:
    """The question that was sent.

    Args:
        record: What arrived.
        parameters: Those of the node's own model, which gives them their names and shapes.

    Raises:
        DataError: It is none.
    """
    about = _part(record, "about", ConfigRecord)
    clients = _named(_part(record, "clients", ArrayRecord), ("honest", "malicious", "factors"))
    kinds: dict[str, type] = {"attack": str, "epoch": int, "index": int, "single": bool, "measured": list}
    for name, kind in kinds.items():
        if type(about.get(name)) is not kind:
            raise DataError(f"question: {name} must be of type {kind.__name__}: found {shown(about.get(name))}")
    honest, malicious = (_array(clients, name, np.int64, (None,)) for name in ("honest", "malicious"))
    measured = about["measured"]
    sizes = (len(honest), len(malicious))
    if not all(type(n) is int and 0 <= n < sum(sizes) for n in measured) or sorted(set(measured)) != measured:
        raise DataError(f"question: measured must be ascending places of {sum(sizes)} clients: found {shown(measured)}")
    if not sum(sizes):
        raise DataError("question: expected at least one client, found none")
    for users in (honest, malicious):
        if len(np.unique(users)) != len(users):
            raise DataError("question: a client is named twice")
    factors = torch.from_numpy(_array(clients, "factors", np.float32, (sum(sizes),)))
    values = _parameters(_part(record, "parameters", ArrayRecord), parameters)
    return Question(
        about["attack"],
        about["epoch"],
        about["index"],
        about["single"],
        honest,
        malicious,
        factors,
        tuple(measured),
        values,
        _rows(record, parameters[ITEM_TABLE]),
    )


def write_answer(answer: Answer, question: Question) -> RecordDict:
    """The answer as it is sent."""
    clients = {"honest": question.honest, "malicious": question.malicious}
    results = {"losses": answer.losses.numpy(), "norms": answer.norms.cpu().numpy()}
    update = answer.update
    if isinstance(update, ClientUpdates):
        sent = {name: getattr(update, name).cpu().numpy() for name in ("dense", "client", "item", "rows")}
    else:
        sent = _packed(update)
    return RecordDict(
        {
            "about": ConfigRecord(question.about()),
            "clients": _arrays({**clients, **results}),
            "update": _arrays(sent),
        }
    )


def read_answer(record: RecordDict, question: Question) -> Answer:
    """The answer that was sent to a question.

    Values that are not finite are the rule's to judge, as those of clients in this process are; all else has to be as
    it was asked for.

    Raises:
        DataError: It answers another question, or is of another shape or type, or is about other clients or items.
    """
    about = {key: _plain(value) for key, value in _part(record, "about", ConfigRecord).items()}
    if about != question.about():
        raise DataError(f"answer to another question: expected {question.about()}, found {shown(about)}")
    if set(record) != {"about", "clients", "update"}:
        raise DataError(f"answer: expected the records about, clients and update, found {shown(sorted(record))}")
    clients = _named(_part(record, "clients", ArrayRecord), ("honest", "malicious", "losses", "norms"))
    for name in ("honest", "malicious"):
        expected = getattr(question, name)
        if not np.array_equal(_array(clients, name, np.int64, expected.shape), expected):
            raise DataError(f"answer about other users: expected those of the question among the {name} ones")
    losses = torch.from_numpy(_array(clients, "losses", np.float32, (len(question),)))
    norms = torch.from_numpy(_array(clients, "norms", np.float64, (len(question.measured),)))
    if (norms < 0).any():
        raise DataError(f"answer: expected norms of at least 0, found {float(norms.min()):g}")
    arrays = _part(record, "update", ArrayRecord)
    read = _single if question.single else _parameters
    return Answer(losses, norms, read(arrays, question.parameters, *([len(question)] if question.single else [])))


def size(record: RecordDict) -> int:
    """Bytes of a record's arrays."""
    return sum(len(array.data) for part in record.array_records.values() for array in part.values())


def _single(arrays: ArrayRecord, parameters: Update, n_clients: int) -> ClientUpdates:
    _named(arrays, ("dense", "client", "item", "rows"))
    table = parameters[ITEM_TABLE]
    others = [value for name, value in parameters.items() if name != ITEM_TABLE]
    kind = np.dtype(str(table.dtype).removeprefix("torch."))
    dense = _array(arrays, "dense", kind, (n_clients, sum(value.numel() for value in others)))
    client, item = (_array(arrays, name, np.int64, (None,)) for name in ("client", "item"))
    rows = _array(arrays, "rows", kind, (len(client), table.shape[1]))
    if len(item) != len(client):
        raise DataError(f"answer: expected an item for each of {len(client)} rows, found {len(item)}")
    for name, ids, high in (("client", client, n_clients), ("item", item, len(table))):
        if len(ids) and not (ids.min() >= 0 and ids.max() < high):
            raise DataError(f"answer: expected a {name} from 0 to {high - 1}, found {ids.min()} to {ids.max()}")
    if (np.diff(client * len(table) + item) <= 0).any():
        raise DataError("answer: expected rows by client, then item, none twice")
    shapes = {name: value.shape for name, value in parameters.items()}
    return ClientUpdates(shapes, *(torch.from_numpy(value) for value in (dense, client, item, rows)))


def _rows(record: RecordDict, table: torch.Tensor) -> torch.Tensor | None:
    """The item rows a question brings along, if it does."""
    if "before" not in record:
        return None
    arrays = _named(_part(record, "before", ArrayRecord), ("rows",))
    return torch.from_numpy(_array(arrays, "rows", np.dtype(str(table.dtype).removeprefix("torch.")), table.shape))


def _packed(update: Update) -> dict[str, NDArray[Any]]:
    """One array of all parameters, in their order: Flower carries every array by requests of its own."""
    kinds = {str(value.dtype) for value in update.values()}
    if len(kinds) > 1:
        raise DataError(f"expected parameters of one type: found {', '.join(sorted(kinds))}")
    return {"all": torch.cat([value.detach().flatten() for value in update.values()]).cpu().numpy()}


def _parameters(arrays: ArrayRecord, like: Mapping[str, torch.Tensor]) -> Update:
    _named(arrays, ("all",))
    sizes = [value.numel() for value in like.values()]
    kind = np.dtype(str(next(iter(like.values())).dtype).removeprefix("torch."))
    whole = torch.from_numpy(_array(arrays, "all", kind, (sum(sizes),)))
    return {name: part.view(like[name].shape) for name, part in zip(like, whole.split(sizes), strict=True)}


def _part(record: RecordDict, name: str, kind: type) -> Any:
    found = record.get(name)
    if not isinstance(found, kind):
        raise DataError(f"expected a {kind.__name__} named {name}: found {type(found).__name__}")
    return found


def _named(arrays: ArrayRecord, names: tuple[str, ...]) -> ArrayRecord:
    """The same, if its arrays have these names and no others."""
    if set(arrays) != set(names):
        raise DataError(f"expected the arrays {', '.join(names)}: found {shown(sorted(arrays))}")
    return arrays


def _array(arrays: ArrayRecord, name: str, kind: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """An array of that name, type and shape, ``None`` standing for any length; a copy that may be written to."""
    try:
        value = arrays[name].numpy()
    except Exception as error:  # whatever bytes of others make NumPy raise, for want of memory too
        raise DataError(f"array {name} cannot be read: {one_line(f'{type(error).__name__}: {error}')}") from error
    if not isinstance(value, np.ndarray):  # NumPy reads archives of arrays, too
        raise DataError(f"array {name}: expected one array, found {type(value).__name__}")
    fits = value.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True))
    if value.dtype != np.dtype(kind) or not fits:
        form = ", ".join("any" if n is None else str(n) for n in shape)
        raise DataError(f"array {name}: expected {np.dtype(kind)} [{form}], found {value.dtype} {list(value.shape)}")
    return np.array(value, order="C")


def _arrays(values: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.ascontiguousarray(value)) for name, value in values.items()})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
