"""Pickles of later protocols as the one PyTorch's safe reader knows; nothing is unpickled.

RecBole saves with protocol 4, ``torch.load(weights_only=True)`` reads protocol 2. The two differ in how texts, memory
and names are written; what they build is the same.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import struct
from typing import Any, NamedTuple

from recbole_attack.utils.errors import DataError, shown

_TEXTS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_OTHER = {"PROTO": pickle.PROTO + b"\x02", **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), pickle.NONE)}
_PUTS = {"BINPUT", "LONG_BINPUT", "MEMOIZE"}
_GETS = {"BINGET", "LONG_BINGET"}
_LONGEST, _LONGEST_NAME = 16 * 2**20, 200
"""Bytes of the longest pickle, tensors not counted, and characters of the longest name."""

_ENCODE = "_codecs encode"
"""How protocol 2 makes bytes. PyTorch's reader would encode as often as it is told: 40 times ``hex`` is a terabyte. So
it is asked for ``recbole._codecs.encode`` in its place, which is nothing."""

_GROWTH = 8
"""How many times as long a translation may be: a step of 1 byte becomes one of 5."""


class _Step(NamedTuple):
    """A step of the pickle that is written: its bytes, and the text it puts on the stack or remembers, if it does."""

    code: bytes
    text: str | None = None
    remembers: int | None = None


class _Translation:
    """What was written so far, and the texts remembered by number."""

    def __init__(self) -> None:
        self.steps: list[_Step] = []
        self.texts: dict[int, str | None] = {}
        self.unwritten: dict[int, _Step] = {}

    def add(self, name: str, value: Any, code: bytes) -> None:
        """Write one step of the pickle that is read."""
        if name in _PUTS:
            self.remember(len(self.texts) if value is None else value)
        elif name in _GETS:
            self.recall(value)
        elif name == "STACK_GLOBAL":
            attribute, module = self.take_text(), self.take_text()
            self.steps.append(_named(module, attribute))
        elif name == "GLOBAL" and value == _ENCODE:
            self.steps.append(_named(*value.split()))
        else:
            self.steps.append(_text(value) if name in _TEXTS else _Step(_OTHER.get(name, code)))

    def remember(self, number: int) -> None:
        text = self.steps[-1].text if self.steps else None
        self.texts[number] = text
        self.unwritten.pop(number, None)
        self.steps.append(_Step(pickle.LONG_BINPUT + struct.pack("<I", number), text, number))

    def recall(self, number: int) -> None:
        get = _Step(pickle.LONG_BINGET + struct.pack("<I", number), self.texts.get(number))
        self.steps.append(self.unwritten.get(number, get))

    def take_text(self) -> str:
        """The text on top of the stack, which is not written after all."""
        numbers: list[int] = []
        while self.steps and (number := self.steps[-1].remembers) is not None:
            numbers.append(number)
            self.steps.pop()
        text = self.steps.pop().text if self.steps else None
        if text is None or not re.fullmatch(r"[\w.]+", text, re.ASCII) or len(text) > _LONGEST_NAME:
            raise DataError(f"the pickle asks for something by no name: found {shown(text)}")
        self.unwritten.update(dict.fromkeys(numbers, _text(text)))
        return text


def _named(module: str, attribute: str) -> _Step:
    inert = "recbole." if f"{module} {attribute}" == _ENCODE else ""
    return _Step(f"c{inert}{module}\n{attribute}\n".encode())


def _text(text: str) -> _Step:
    content = text.encode("utf-8", "surrogatepass")
    return _Step(pickle.BINUNICODE + struct.pack("<I", len(content)) + content, text)


def as_protocol_2(pickled: bytes) -> bytes:
    """A pickle that builds the same in protocol 2, but for bytes, in whose place stands ``None``.

    Where it makes bytes of a text, it asks for ``recbole._codecs.encode`` and no longer for ``_codecs.encode``.

    What neither protocol 2 nor this function knows stays as it is, for the reader to refuse.

    Raises:
        DataError: Something is asked for by anything but a name that is written out, or it would be far longer.
    """
    if len(pickled) > _LONGEST:
        raise DataError(f"the pickle is too long: expected at most {_LONGEST} bytes, found {len(pickled)}")
    done = _Translation()
    operations = list(pickletools.genops(pickled))
    ends = [position for _, _, position in operations[1:]] + [None]
    for (operation, value, start), end in zip(operations, ends, strict=True):
        if operation.name != "FRAME":
            done.add(operation.name, value, pickled[start:end])
    if sum(len(step.code) for step in done.steps) > _GROWTH * len(pickled) + _LONGEST_NAME:
        raise DataError(
            f"the pickle repeats a name too often: {len(pickled)} bytes would be more than {_GROWTH} times that"
        )
    return b"".join(step.code for step in done.steps)
