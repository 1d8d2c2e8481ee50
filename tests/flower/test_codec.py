"""What is sent reads back as itself, and what is no answer is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.federated.client_updates import ITEM_TABLE, ClientUpdates
from recbole_attack.utils.errors import DataError

pytest.importorskip("flwr", reason="needs Flower: pip install 'recbole_attack[flower]'")

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto

from recbole_attack.flower.codec import (
    Answer,
    Question,
    read_answer,
    read_question,
    write_answer,
    write_question,
)

SHAPES = {"layer.weight": (3, 2), ITEM_TABLE: (9, 2), "layer.bias": (2,)}
ODD = [0.0, -0.0, 1.5, 1e-42, 3e38, float("nan"), float("inf")]


def carried(record: RecordDict) -> RecordDict:
    """Over the wire and back."""
    return recorddict_from_proto(recorddict_to_proto(record))


def values(draw: Any, *shape: int) -> torch.Tensor:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return torch.from_numpy(rng.choice(np.array(ODD, "f4"), shape))


@st.composite
def questions(draw: Any, single: bool | None = None) -> Question:
    users = draw(st.lists(st.integers(1, 10**6), min_size=1, max_size=8, unique=True))
    honest = draw(st.integers(0, len(users)))
    measured = tuple(sorted(draw(st.sets(st.integers(0, len(users) - 1)))))
    about = (draw(st.sampled_from(["none", "dvfsr"])), draw(st.integers(0, 99)), draw(st.integers(0, 99)))
    parameters = {name: values(draw, *shape) for name, shape in SHAPES.items()}
    ids = np.array(users, dtype=np.int64)
    kind = draw(st.booleans()) if single is None else single
    before = values(draw, *SHAPES[ITEM_TABLE]) if draw(st.booleans()) else None
    return Question(*about, kind, ids[:honest], ids[honest:], values(draw, len(users)), measured, parameters, before)


@st.composite
def exchanges(draw: Any, single: bool | None = None) -> tuple[Question, Answer]:
    question = draw(questions(single))
    n, (items, width) = len(question), SHAPES[ITEM_TABLE]
    update: Any = {name: values(draw, *shape) for name, shape in SHAPES.items()}
    if question.single:
        cells = np.array(sorted(draw(st.sets(st.integers(0, n * items - 1), max_size=20))), dtype=np.int64)
        place = (torch.from_numpy(cells // items), torch.from_numpy(cells % items))
        shapes = {name: torch.Size(shape) for name, shape in SHAPES.items()}
        update = ClientUpdates(shapes, values(draw, n, 8), *place, values(draw, len(cells), width))
    return question, Answer(values(draw, n), values(draw, len(question.measured)).double(), update)


def bits(value: Any) -> Any:
    return value.numpy().tobytes() if isinstance(value, torch.Tensor) else value.tobytes()


@given(questions())
def test_a_question_reads_back_as_itself(question: Question) -> None:
    found = read_question(carried(write_question(question)), question.parameters)
    assert found.about() == question.about()
    assert [q.before is not None and bits(q.before) for q in (found, question)] == 2 * [
        question.before is not None and bits(question.before)
    ]
    assert [bits(getattr(found, k)) for k in ("honest", "malicious", "factors")] == [
        bits(getattr(question, k)) for k in ("honest", "malicious", "factors")
    ]
    assert {k: bits(v) for k, v in found.parameters.items()} == {k: bits(v) for k, v in question.parameters.items()}


@given(exchanges())
def test_an_answer_reads_back_as_itself(exchange: tuple[Question, Answer]) -> None:
    question, answer = exchange
    found = read_answer(carried(write_answer(answer, question)), question)
    assert (bits(found.losses), bits(found.norms)) == (bits(answer.losses), bits(answer.norms))
    if question.single:
        for name in ("dense", "client", "item", "rows"):
            assert bits(getattr(found.update, name)) == bits(getattr(answer.update, name))
    else:
        assert {k: bits(v) for k, v in found.update.items()} == {k: bits(v) for k, v in answer.update.items()}


@given(exchanges(), st.sampled_from(["attack", "epoch", "index", "measured"]))
def test_the_answer_to_another_question_is_refused(exchange: tuple[Question, Answer], what: str) -> None:
    question, answer = exchange
    old = {"attack": "other", "epoch": question.epoch + 1, "index": question.index + 1, "measured": (9, 9)}
    late = write_answer(answer, replace(question, **{what: old[what]}))
    with pytest.raises(DataError, match="another question"):
        read_answer(carried(late), question)


@given(exchanges(), st.data())
def test_an_answer_about_other_users_is_refused(exchange: tuple[Question, Answer], data: Any) -> None:
    question, answer = exchange
    kind = "honest" if len(question.honest) else "malicious"
    users = getattr(question, kind).copy()
    users[data.draw(st.integers(0, len(users) - 1))] += 10**7
    with pytest.raises(DataError, match="other users"):
        read_answer(write_answer(answer, replace(question, **{kind: users})), question)


def spoiled(record: RecordDict, part: str, name: str, value: np.ndarray | None) -> RecordDict:
    arrays = dict(record.array_records[part])
    arrays.pop(name)
    if value is not None:
        arrays[name] = Array(value)
    order = {key: arrays[key] for key in record.array_records[part] if key in arrays}
    return RecordDict({**dict(record.items()), part: ArrayRecord(order)})


@given(exchanges(), st.data())
def test_an_array_of_another_shape_or_type_or_none_is_refused(exchange: tuple[Question, Answer], data: Any) -> None:
    question, answer = exchange
    record = write_answer(answer, question)
    part = data.draw(st.sampled_from(["clients", "update"]))
    name = data.draw(st.sampled_from(sorted(record.array_records[part])))
    whole = record.array_records[part][name].numpy()
    wrong = {
        "longer": np.concatenate([whole, np.ones((1, *whole.shape[1:]), whole.dtype)]),
        "deeper": whole[..., None],
        "of another type": np.zeros(whole.shape, "f2"),
        "text": np.zeros(whole.shape, "U4"),
        "missing": None,
    }
    with pytest.raises(DataError):
        read_answer(spoiled(record, part, name, wrong[data.draw(st.sampled_from(sorted(wrong)))]), question)


ROWS = {
    "client too large": {"client": [0, 2], "item": [1, 1]},
    "client negative": {"client": [-1, 0], "item": [1, 1]},
    "item too large": {"client": [0, 1], "item": [1, 9]},
    "item negative": {"client": [0, 1], "item": [-1, 1]},
    "twice": {"client": [1, 1], "item": [3, 3]},
    "out of order": {"client": [1, 0], "item": [1, 1]},
    "items out of order": {"client": [1, 1], "item": [4, 1]},
    "an overflowing item": {"client": [0, 1], "item": [1, 2**62]},
}


@pytest.mark.parametrize("what", ROWS)
def test_rows_that_are_none_are_refused(what: str) -> None:
    ids = (np.array([3]), np.array([8]))
    parameters = {name: torch.ones(shape) for name, shape in SHAPES.items()}
    question = Question("dvfsr", 0, 0, True, *ids, torch.ones(2), (), parameters)
    shapes = {name: torch.Size(shape) for name, shape in SHAPES.items()}
    place = [torch.tensor(ROWS[what][name]) for name in ("client", "item")]
    update = ClientUpdates(shapes, torch.ones(2, 8), *place, torch.ones(2, 2))
    with pytest.raises(DataError, match="expected"):
        read_answer(write_answer(Answer(torch.ones(2), torch.ones(0).double(), update), question), question)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epoch": "1"}, "epoch must be of type int"),
        ({"single": 1}, "single must be of type bool"),
        ({"measured": [2]}, "measured"),
        ({"measured": [-1, 0]}, "measured"),
        ({"measured": [1, 0]}, "measured"),
        ({"measured": [1, 1]}, "measured"),
        ({"measured": [1.0]}, "measured"),
    ],
)
def test_a_question_that_is_none_is_refused(changes: dict[str, Any], words: str) -> None:
    parameters = {name: torch.ones(shape) for name, shape in SHAPES.items()}
    question = Question("none", 0, 0, True, np.array([3]), np.array([8]), torch.ones(2), (0, 1), parameters)
    record = write_question(question)
    record["about"] = ConfigRecord({**record.config_records["about"], **changes})
    with pytest.raises(DataError, match=words):
        read_question(record, parameters)
    twice = write_question(replace(question, honest=np.array([3, 3]), factors=torch.ones(3)))
    with pytest.raises(DataError, match="twice"):
        read_question(twice, parameters)
    nobody = write_question(replace(question, honest=np.array([], int), malicious=np.array([], int)))
    with pytest.raises(DataError):
        read_question(nobody, parameters)
    for rows in (torch.ones(3, 2), torch.ones(9, 2).double()):
        with pytest.raises(DataError, match="array rows: expected float32"):
            read_question(write_question(replace(question, before=rows)), parameters)
    with pytest.raises(DataError, match="expected a ConfigRecord named about"):
        read_question(RecordDict(), parameters)
