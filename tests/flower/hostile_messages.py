"""What a hostile node may send, and what has to come of it: tables for tests, and for counting them.

A node is more than its ClientApp: whoever runs one can send any bytes. So some of these are made of the bytes that lie
on a SuperLink, which looks at their hashes and their heads, and at nothing in them.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import validate_object_content

LOST, SAME, REJECTED = "the node is lost", "nothing comes of it", "the rule rejects its clients"


@dataclass(frozen=True)
class Objects:
    """A message as the bytes of its objects.

    Attributes:
        top: Name of the message itself.
        contents: Name -> bytes: a head, which names the kind of the object and its parts, and a body.
    """

    top: str
    contents: dict[str, bytes]


class Sent(NamedTuple):
    """An answer that is to be spoiled.

    Attributes:
        message: The honest one.
        before: The node's answer before that.
        other: The other node's latest answer.
    """

    message: Message
    before: Message
    other: Message


Arrival = Message | list[Message] | Objects | None
"""What comes in place of an answer: ``None`` for nothing, a list for several."""


class Case(NamedTuple):
    """What is sent, what has to come of it, what is said of it, and from which of a node's answers on."""

    spoil: Callable[[Sent], Arrival]
    outcome: str
    words: str
    start: int = 2


def copied(record: RecordDict) -> RecordDict:
    return recorddict_from_proto(recorddict_to_proto(record))


def content(change: Callable[[RecordDict], RecordDict | None]) -> Callable[[Sent], Message]:
    """An answer whose content is changed, in place or for another one."""

    def spoil(sent: Sent) -> Message:
        record = copied(sent.message.content)
        found = change(record)
        sent.message.__dict__["_content"] = record if found is None else found
        return sent.message

    return spoil


def main(record: RecordDict) -> str:
    """Name of the array that every rule is sent: of single clients' parameters, or of the sum of all."""
    return "dense" if "dense" in record.array_records["update"] else "all"


def array(part: str, name: str | None, change: Callable[[np.ndarray], Any]) -> Callable[[Sent], Message]:
    """One array is changed: to another, to an :class:`Array`, or to ``None`` for nothing."""

    def spoil(record: RecordDict) -> None:
        key = name or main(record)
        arrays = dict(record.array_records[part])
        value = change(arrays[key].numpy().copy())
        if value is None:
            arrays.pop(key)
        else:
            arrays[key] = value if isinstance(value, Array) else Array(np.array(value, order="C"))
        record[part] = ArrayRecord(arrays)

    return content(spoil)


def more(part: str, name: str, value: np.ndarray) -> Callable[[Sent], Message]:
    """An array nobody asked for."""
    return content(
        lambda record: record.__setitem__(part, ArrayRecord({**record.array_records[part], name: Array(value)}))
    )


def about(**changes: Any) -> Callable[[Sent], Message]:
    """An answer that says it answers something else; ``None`` stands for a key that is left out."""

    def spoil(record: RecordDict) -> None:
        values = {**record.config_records["about"], **changes}
        record["about"] = ConfigRecord({key: value for key, value in values.items() if value is not None})

    return content(spoil)


def record(name: str, value: Any) -> Callable[[Sent], Message]:
    """A record more, or another one of that name."""
    return content(lambda found: found.__setitem__(name, value))


def first(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """A number in the first row, which is the first client's, or among the first numbers of a sum."""

    def change(values: np.ndarray) -> np.ndarray:
        values[0] = value
        return values

    return change


def every(value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: np.full_like(values, value)


def bytes_of(change: Callable[[bytes], bytes]) -> Callable[[np.ndarray], Array]:
    """An array of the right name whose bytes are others."""

    def spoil(values: np.ndarray) -> Array:
        honest = Array(values)
        return Array(honest.dtype, honest.shape, honest.stype, change(honest.data))

    return spoil


def header(text: str) -> bytes:
    """Bytes of an array in NumPy's format with that header and no data."""
    words = text.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(words).to_bytes(2, "little") + words


def form(shape: str, kind: str = "<f4") -> bytes:
    return header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}")


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archived:
        archived.writestr("all.npy", form("(0,)"))
    return file.getvalue()


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    return file.getvalue()


def of_kind(values: np.ndarray, kind: str) -> Array:
    """An array that names another way of reading it."""
    honest = Array(values)
    return Array(honest.dtype, honest.shape, kind, honest.data)


def objects(kind: str, change: Callable[[bytes], bytes]) -> Callable[[Sent], Objects]:
    """The bodies of all objects of a kind are changed; their heads are right, or a SuperLink would refuse them."""

    def spoil(sent: Sent) -> Objects:
        parts = {name: part.deflate() for name, part in get_all_nested_objects(sent.message).items()}
        for name, part in parts.items():
            head, _, body = part.partition(b"\0")
            found, children, _ = head.decode().split(" ")
            if found == kind:
                spoiled = change(body)
                parts[name] = f"{kind} {children} {len(spoiled)}".encode() + b"\0" + spoiled
                validate_object_content(parts[name])
        return Objects(sent.message.object_id, parts)

    return spoil


def promoted(kind: str) -> Callable[[Sent], Objects]:
    """A message whose content is none of the records Flower has for it, but a part of one."""

    def spoil(sent: Sent) -> Objects:
        found = get_all_nested_objects(sent.message)
        parts = {name: part.deflate() for name, part in found.items()}
        part = next(name for name, part in found.items() if type(part).__name__ == kind)
        _, _, body = parts[sent.message.object_id].partition(b"\0")
        parts[sent.message.object_id] = f"Message {part} {len(body)}".encode() + b"\0" + body
        validate_object_content(parts[sent.message.object_id])
        return Objects(sent.message.object_id, parts)

    return spoil


def without_content(sent: Sent) -> Objects:
    parts = {name: part.deflate() for name, part in get_all_nested_objects(sent.message).items()}
    _, _, body = parts[sent.message.object_id].partition(b"\0")
    return Objects(sent.message.object_id, {sent.message.object_id: f"Message  {len(body)}".encode() + b"\0" + body})


def error(reason: str, code: int = 8) -> Callable[[Sent], Message]:
    def spoil(sent: Sent) -> Message:
        asked = Message(RecordDict(), dst_node_id=sent.message.metadata.src_node_id, message_type="train")
        asked.metadata.__dict__["_message_id"] = sent.message.metadata.reply_to_message_id
        return Message(Error(code, reason), reply_to=asked)

    return spoil


def to_another_question(sent: Sent) -> Message:
    sent.message.metadata.__dict__["_reply_to_message_id"] = sent.other.metadata.reply_to_message_id
    return sent.message


def late(sent: Sent) -> list[Message]:
    """The answer to the question before comes again, ahead of the one that is due."""
    return [sent.before, sent.message]


def instead(which: str) -> Callable[[Sent], Message]:
    """The content of another answer."""

    def spoil(sent: Sent) -> Message:
        sent.message.__dict__["_content"] = copied(getattr(sent, which).content)
        return sent.message

    return spoil


def moved(values: np.ndarray) -> np.ndarray:
    """Users of the other node."""
    return values + 1


def doubled(values: np.ndarray) -> np.ndarray:
    values[1] = values[0]
    return values


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


FORGED = 'x\nrecbole_attack tells: {"record": {}, "values": {}}'
"""A text that would be a run's result, were it a line of the server's log."""

ANSWERS: dict[str, Case] = {
    # the update's form
    "a row more": Case(array("update", None, lambda v: np.concatenate([v, v[:1]])), LOST, "expected float32"),
    "a row less": Case(array("update", None, lambda v: v[1:]), LOST, "expected float32"),
    "a dimension more": Case(array("update", None, lambda v: v[..., None]), LOST, "expected float32"),
    "a single number": Case(array("update", None, lambda v: np.float32(0)), LOST, r"found float32 \[\]"),
    "float16": Case(array("update", None, lambda v: v.astype("f2")), LOST, "found float16"),
    "float64": Case(array("update", None, lambda v: v.astype("f8")), LOST, "found float64"),
    "integers": Case(array("update", None, lambda v: v.astype("i4")), LOST, "found int32"),
    "truth values": Case(array("update", None, lambda v: v.astype("?")), LOST, "found bool"),
    "complex numbers": Case(array("update", None, lambda v: v.astype("c8")), LOST, "found complex64"),
    "text": Case(array("update", None, lambda v: np.zeros(v.shape, "U1")), LOST, "found <U1"),
    "bytes in another order": Case(array("update", None, lambda v: v.astype(">f4")), LOST, "found >f4"),
    "no parameters": Case(array("update", None, lambda v: None), LOST, "expected the arrays"),
    "parameters by another name": Case(
        content(lambda r: r.__setitem__("update", ArrayRecord({"weights": Array(np.zeros(2, "f4"))}))),
        LOST,
        "expected the arrays .*found .'weights'",
    ),
    "parameters nobody has": Case(more("update", "more", np.zeros(2, "f4")), LOST, "expected the arrays"),
    "eight megabytes more": Case(more("update", "more", np.zeros(1 << 20)), LOST, "expected the arrays"),
    # who it is about
    "a user who was not asked for": Case(array("clients", "honest", moved), LOST, "about other users"),
    "a user twice": Case(array("clients", "honest", doubled), LOST, "about other users"),
    "a user left out": Case(array("clients", "honest", lambda v: v[1:]), LOST, "array honest: expected int64"),
    "users in another order": Case(array("clients", "honest", lambda v: v[::-1]), LOST, "about other users"),
    "users as float numbers": Case(array("clients", "honest", lambda v: v.astype("f8")), LOST, "found float64"),
    "another user is malicious": Case(
        array("clients", "malicious", lambda v: np.append(v, 1)), LOST, "array malicious: expected int64"
    ),
    "a loss less": Case(array("clients", "losses", lambda v: v[1:]), LOST, "array losses: expected float32"),
    "a norm more": Case(array("clients", "norms", lambda v: np.append(v, 1.0)), LOST, "array norms: expected float64"),
    "what its clients should weigh": Case(more("clients", "weights", np.ones(9, "f4")), LOST, "expected the arrays"),
    "more users than it has": Case(record("metrics", MetricRecord({"num-examples": 10**6})), LOST, "expected the rec"),
    "a huge number of users": Case(record("metrics", MetricRecord({"num-examples": 1e308})), LOST, "expected the rec"),
    "minus one user": Case(record("metrics", MetricRecord({"num-examples": -1})), LOST, "expected the records"),
    "NaN users": Case(record("metrics", MetricRecord({"num-examples": float("nan")})), LOST, "expected the records"),
    # which question it answers
    "of an earlier epoch": Case(about(epoch=-1), LOST, "answer to another question"),
    "of an earlier round": Case(about(index=0), LOST, "answer to another question"),
    "of another attack": Case(about(attack="none"), LOST, "answer to another question"),
    "of another kind": Case(content(lambda r: flipped(r)), LOST, "answer to another question"),
    "a round in words": Case(about(index="1"), LOST, "answer to another question"),
    "a round too large": Case(about(index=2**62), LOST, "answer to another question"),
    "no round": Case(about(index=None), LOST, "answer to another question"),
    "more than a round": Case(about(more=1), LOST, "answer to another question"),
    "the answer before": Case(instead("before"), LOST, "answer to another question"),
    "the answer of the other node": Case(instead("other"), LOST, "array honest|about other users|another question"),
    "an answer twice": Case(lambda sent: [sent.message, sent.message], SAME, ""),
    "a late answer before the one that is due": Case(late, SAME, ""),
    "an answer to somebody else's question": Case(to_another_question, LOST, "no answer within"),
    "nothing at all": Case(lambda sent: None, LOST, "no answer within"),
    # records
    "an empty record": Case(content(lambda r: RecordDict()), LOST, "expected a ConfigRecord named about"),
    "a record less": Case(content(lambda r: r.__delitem__("update")), LOST, "expected the records"),
    "a record more": Case(record("more", ConfigRecord({"text": "x" * 10**6})), LOST, "expected the records"),
    "numbers for words": Case(record("about", MetricRecord({"epoch": 0})), LOST, "expected a ConfigRecord named about"),
    "words for arrays": Case(record("update", ConfigRecord({})), LOST, "expected a ArrayRecord named update"),
    # bytes of arrays
    "no bytes": Case(array("update", None, bytes_of(lambda b: b"")), LOST, "cannot be read: EOFError"),
    "bytes that are no array": Case(array("update", None, bytes_of(lambda b: b"\0" * 99)), LOST, "cannot be read"),
    "half an array": Case(array("update", None, bytes_of(lambda b: b[: len(b) // 2])), LOST, "cannot be read: Value"),
    "a petabyte": Case(
        array("update", None, bytes_of(lambda b: form(f"({1 << 48},)"))),
        LOST,
        "cannot be read: MemoryError|cannot be read: ValueError",
    ),
    "less than no bytes": Case(array("update", None, bytes_of(lambda b: form("(-1,)"))), LOST, "cannot be read"),
    "a form without end": Case(array("update", None, bytes_of(lambda b: header("(" * 9000))), LOST, "cannot be read"),
    "a form that is code": Case(
        array("update", None, bytes_of(lambda b: header("__import__('os').abort()"))), LOST, "cannot be read"
    ),
    "an archive": Case(array("update", None, bytes_of(lambda b: archive())), LOST, "expected one array, found NpzFile"),
    "a pickle": Case(array("update", None, bytes_of(lambda b: pickled())), LOST, "cannot be read: ValueError"),
    "read as something else": Case(
        array("update", None, lambda v: of_kind(v, "torch\x1b[31m")), LOST, "cannot be read"
    ),
    # bytes of records
    "a message that is none": Case(objects("Message", lambda b: b"\xff" * 40), LOST, "cannot be read"),
    "records that are no JSON": Case(objects("RecordDict", lambda b: b"{'about'"), LOST, "cannot be read"),
    "records without end": Case(objects("RecordDict", lambda b: nested(10**5)), LOST, "cannot be read"),
    "records that are no names": Case(objects("RecordDict", lambda b: b"[1, 2]"), LOST, "cannot be read"),
    "records in other letters": Case(objects("RecordDict", lambda b: b"\xff\xfe"), LOST, "cannot be read"),
    "arrays that are no JSON": Case(objects("Array", lambda b: b"NaN"), LOST, "cannot be read"),
    "arrays of parts there are not": Case(
        objects("Array", lambda b: json.dumps({**json.loads(b), "arraychunk_ids": [7]}).encode()),
        LOST,
        "cannot be read",
    ),
    "words that are none": Case(objects("ConfigRecord", lambda b: b"\xff" * 9), LOST, "cannot be read"),
    "an array for a message": Case(promoted("Array"), LOST, "cannot be read: MessageInit"),
    "words for a message": Case(promoted("ConfigRecord"), LOST, "cannot be read: MessageInit"),
    "neither content nor error": Case(without_content, LOST, "cannot be read"),
    # errors
    "an error": Case(error("Traceback\n  File\nValueError: wrong"), LOST, "ValueError: wrong$"),
    "an error without words": Case(error("", 77), LOST, "error 77"),
    "an error that rings": Case(error("ValueError: \x1b[2J\x07\x00\u202e wrong"), LOST, r"ValueError: \[2J wrong"),
    "an error without end": Case(error("y" * 10**6), LOST, r"y{300}\.\.\.$"),
    "an error that tells a result": Case(error(FORGED.replace("x\n", "x\r")), LOST, "recbole_attack tells"),
    # what a client says of itself
    "losses that are NaN": Case(array("clients", "losses", every(np.nan)), SAME, ""),
    "losses beyond measure": Case(array("clients", "losses", every(3e38)), SAME, ""),
    "norms that are NaN": Case(array("clients", "norms", every(np.nan)), SAME, "", 1),
}
"""Whatever the rule: what a node sends in place of its answers, its first excepted."""

MEASURED = {"norms below zero": Case(array("clients", "norms", every(-1.0)), LOST, "norms of at least 0", 1)}
"""Where updates are summed: of single ones the server measures itself."""


def flipped(found: RecordDict) -> None:
    found["about"] = ConfigRecord(
        {**found.config_records["about"], "single": not found.config_records["about"]["single"]}
    )


def rows(**changes: Callable[[np.ndarray], np.ndarray]) -> Callable[[Sent], Message]:
    """Item rows of single clients are changed."""

    def spoil(found: RecordDict) -> None:
        arrays = dict(found.array_records["update"])
        for name, change in changes.items():
            arrays[name] = Array(np.array(change(arrays[name].numpy().copy()), order="C"))
        found["update"] = ArrayRecord(arrays)

    return content(spoil)


def last(value: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[-1] = value
        return values

    return change


def twice(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[:1], values])


def thousandfold(values: np.ndarray) -> np.ndarray:
    return np.repeat(values, 1000, axis=0)


SINGLE: dict[str, Case] = {
    "a client too many": Case(rows(client=last(1000)), LOST, "expected a client from 0"),
    "a client below zero": Case(rows(client=first(-1)), LOST, "expected a client from 0"),
    "an item there is not": Case(rows(item=last(10**6)), LOST, "item from 0"),
    "an item below zero": Case(rows(item=first(-1)), LOST, "item from 0"),
    "an item that overflows": Case(rows(item=last(2**63 - 1)), LOST, "item from 0"),
    "rows twice": Case(rows(client=twice, item=twice, rows=twice), LOST, "none twice"),
    "rows a thousand times": Case(rows(client=thousandfold, item=thousandfold, rows=thousandfold), LOST, "none twice"),
    "rows in another order": Case(
        rows(client=lambda v: v[::-1], item=lambda v: v[::-1], rows=lambda v: v[::-1]), LOST, "by client, then item"
    ),
    "an item less than rows": Case(rows(item=lambda v: v[1:]), LOST, "expected an item for each"),
    "a row less than items": Case(rows(rows=lambda v: v[1:]), LOST, "array rows: expected"),
    "rows too wide": Case(rows(rows=lambda v: np.repeat(v, 2, axis=1)), LOST, "array rows: expected"),
    "items as float numbers": Case(rows(item=lambda v: v.astype("f4")), LOST, "found float32"),
    "NaN": Case(array("update", None, first(np.nan)), REJECTED, "1 updates rejected: 1 not finite"),
    "inf": Case(array("update", None, first(np.inf)), REJECTED, "1 updates rejected: 1 not finite"),
    "minus inf": Case(array("update", None, first(-np.inf)), REJECTED, "1 updates rejected: 1 not finite"),
    "1e38": Case(array("update", None, first(1e38)), REJECTED, "1 updates rejected: 1 too large"),
    "1e30": Case(array("update", None, first(1e30)), REJECTED, "1 updates rejected: 1 too large"),
    "NaN in an item's row": Case(rows(rows=first(np.nan)), REJECTED, "1 updates rejected: 1 not finite"),
    "1e38 in an item's row": Case(rows(rows=first(1e38)), REJECTED, "1 updates rejected: 1 too large"),
}
"""Of rules that see every client's own update: its rows, and numbers in the first client's."""

SUMS: dict[str, Callable[[Sent], Message]] = {
    "NaN": array("update", None, first(np.nan)),
    "inf": array("update", None, first(np.inf)),
    "minus inf": array("update", None, first(-np.inf)),
    "3e38 everywhere": array("update", None, every(3e38)),
}
"""Of rules that see a node's sum: numbers that end the run, as they do in one process."""


class Description(NamedTuple):
    """What a node says of itself, what the server makes of it, and what it says."""

    spoil: Callable[[Message], Arrival]
    error: str | None
    words: str


def node(**changes: Any) -> Callable[[Message], Message]:
    """A node that says something else of itself; ``None`` stands for a key that is left out."""

    def spoil(message: Message) -> Message:
        said = {**message.content.config_records["node"], **changes}
        kept = {key: value for key, value in said.items() if value is not None}
        message.__dict__["_content"] = RecordDict({"node": ConfigRecord(kept)})
        return message

    return spoil


def data(change: Callable[[dict[str, str]], Any]) -> Callable[[Message], Message]:
    """A node with other files."""

    def spoil(message: Message) -> Message:
        files = json.loads(message.content.config_records["node"]["data"])
        return node(data=json.dumps(change(files)))(message)

    return spoil


def of_query(spoil: Callable[[Sent], Arrival]) -> Callable[[Message], Arrival]:
    return lambda message: spoil(Sent(message, message, message))


DESCRIPTIONS: dict[str, Description] = {
    "the other's shard": Description(node(partition=1), "ConfigError", "found two of shard 1"),
    "a shard below zero": Description(node(partition=-1), "ConfigError", "does not say what it is"),
    "a shard too far": Description(node(partition=2), "ConfigError", "does not say what it is"),
    "a shard in words": Description(node(partition="0"), "ConfigError", "does not say what it is"),
    "a shard that is NaN": Description(node(partition=float("nan")), "ConfigError", "does not say what it is"),
    "a shard that is true": Description(node(partition=False), "ConfigError", "does not say what it is"),
    "several shards": Description(node(partition=[0, 1]), "ConfigError", "does not say what it is"),
    "no shard": Description(node(partition=None), "ConfigError", "does not say what it is"),
    "of no shards": Description(node(partitions=0), "ConfigError", "does not say what it is"),
    "of fewer shards": Description(node(partitions=1), "ConfigError", "expected num-partitions=1 as of the others"),
    "of more shards": Description(node(partitions=3), "ConfigError", "expected num-partitions=3 as of the others"),
    "of a great many shards": Description(node(partitions=2**62), "ConfigError", "expected num-partitions=4611686"),
    "another version": Description(node(version="0.0.1"), "ConfigError", "expected recbole_attack .*, found 0.0.1$"),
    "a version that tells a result": Description(node(version=FORGED), "ConfigError", "found x recbole_attack te"),
    "a version that rings": Description(node(version="\x1b[2J\x07"), "ConfigError", r"found \[2J$"),
    "a version without end": Description(node(version="1" * 10**6), "ConfigError", r"found 1{300}\.\.\.$"),
    "a version in numbers": Description(node(version=1), "ConfigError", "does not say what it is"),
    "no version": Description(node(version=None), "ConfigError", "does not say what it is"),
    "other files": Description(
        data(lambda files: dict.fromkeys(files, "0" * 64)), "DataError", r"has other data: .*tiny\.inter"
    ),
    "a file less": Description(data(lambda files: {}), "DataError", r"has other data: .*tiny\.inter"),
    "a file more": Description(data(lambda files: {**files, "a\nb": "0"}), "DataError", r"found others: \['a\\nb'\]"),
    "files that are NaN": Description(
        data(lambda files: dict.fromkeys(files, float("nan"))), "DataError", r"has other data: .*tiny\.inter"
    ),
    "files in a list": Description(data(list), "ConfigError", "does not say what it is"),
    "files that are no JSON": Description(node(data="{"), "ConfigError", "does not say what it is"),
    "files without end": Description(node(data=nested(10**5).decode()), "ConfigError", "does not say what it is"),
    "files in bytes": Description(node(data=b"\xff"), "ConfigError", "does not say what it is"),
    "no files": Description(node(data=None), "ConfigError", "does not say what it is"),
    "another plug-in": Description(node(plugins='{"mine": "0"}'), "ConfigError", r"has other plug-ins: .*\['mine'\]"),
    "plug-ins in a list": Description(node(plugins="[]"), "ConfigError", "does not say what it is"),
    "plug-ins without end": Description(node(plugins=nested(10**5).decode()), "ConfigError", "does not say what it is"),
    "no plug-ins": Description(node(plugins=None), "ConfigError", "does not say what it is"),
    "how many users it has": Description(node(users=10**18), None, ""),
    "what its users weigh": Description(node(weight=float("nan")), None, ""),
    "an empty record": Description(of_query(content(lambda r: RecordDict())), "ConfigError", "does not say what it is"),
    "numbers for words": Description(
        of_query(content(lambda r: RecordDict({"node": MetricRecord({"partition": 0})}))),
        "ConfigError",
        "does not say what it is",
    ),
    "words that are none": Description(
        of_query(objects("ConfigRecord", lambda b: b"\xff" * 9)), "ConfigError", "cannot take part: .* cannot be read"
    ),
    "neither content nor error": Description(of_query(without_content), "ConfigError", "cannot take part: .*"),
    "an error that rings": Description(
        of_query(error("ValueError: \x1b[2J\x07 wrong")), "ConfigError", r"cannot take part: ValueError: \[2J wrong$"
    ),
    "an error that tells a result": Description(
        of_query(error(FORGED.replace("x\n", "x\r"))), "ConfigError", "cannot take part: recbole_attack tells"
    ),
    "what it says twice": Description(lambda message: [message, message], None, ""),
    "nothing": Description(lambda message: None, "ConfigError", r"expected nodes of 2 shards within .*shards \[1\]"),
}
"""What a node says of itself before a run: one that does not fit ends it there, before anything is trained."""
