"""A file that grows is, whenever it is read, the rows that were added: whatever a crash left behind them."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.utils.errors import DataError
from recbole_attack.utils.growing_csv import GrowingCSV

COLUMNS = ("epoch", "loss", "weight")
NUMBERS = st.none() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, NUMBERS)), max_size=4)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("growing") / "rounds.csv"


@given(st.lists(ROWS, min_size=1, max_size=4), st.binary(max_size=40), st.integers(0, 3))
def test_a_file_is_taken_back_to_any_mark_whatever_came_after(
    path: Path, parts: list[list[dict[str, int | float | None]]], tail: bytes, goes_on: int
) -> None:
    path.unlink(missing_ok=True)
    file, marks = GrowingCSV(path), []
    for rows in parts:
        file.append(rows)
        marks.append(file.mark)
    whole = path.read_bytes()
    kept = min(goes_on, len(parts) - 1)
    path.write_bytes(whole + tail)

    again = GrowingCSV(path)
    assert again.back_to(marks[kept]) == list(chain(*parts[: kept + 1]))
    assert again.mark == marks[kept]
    for rows in parts[kept + 1 :]:
        again.append(rows)
    again.append([])
    assert path.read_bytes() == whole
    assert again.mark == marks[-1]


def test_others_read_what_was_added(path: Path) -> None:
    path.unlink(missing_ok=True)
    file = GrowingCSV(path)
    file.append([{"epoch": 0, "loss": 0.1 + 0.2, "weight": None}])
    file.append([{"epoch": 1, "loss": 1e-300}])
    frame = pd.read_csv(path, float_precision="round_trip")
    assert frame["epoch"].tolist() == [0, 1]
    assert frame["loss"].tolist() == [0.1 + 0.2, 1e-300]
    assert frame["weight"].isna().all()


def test_rows_of_other_columns_are_refused(path: Path) -> None:
    file = GrowingCSV(path)
    file.append([{"epoch": 0}])
    with pytest.raises(ValueError, match="nodes"):
        file.append([{"epoch": 1, "nodes": 2}])


@pytest.mark.parametrize("damage", ["gone", "shorter", "changed"])
def test_what_the_mark_does_not_vouch_for_is_refused_and_left(path: Path, damage: str) -> None:
    path.unlink(missing_ok=True)
    file = GrowingCSV(path)
    file.append([{"epoch": 0, "loss": 0.5}, {"epoch": 1, "loss": 0.25}])
    whole = path.read_bytes()
    left = {"gone": b"", "shorter": whole[:-1], "changed": whole.replace(b"0.5", b"0.6") + b"more"}[damage]
    path.write_bytes(left)
    if damage == "gone":
        path.unlink()
    with pytest.raises(DataError, match="is damaged"):
        GrowingCSV(path).back_to(file.mark)
    assert not path.exists() if damage == "gone" else path.read_bytes() == left


def test_what_a_run_left_that_was_never_told_of_is_replaced(path: Path) -> None:
    path.write_text("epoch\n7\n")
    GrowingCSV(path).append([{"epoch": 0}])
    assert path.read_text() == "epoch\n0\n"


def test_what_came_after_a_mark_is_gone_at_once(path: Path) -> None:
    file = GrowingCSV(path)
    file.append([{"epoch": 0}])
    whole = path.read_bytes()
    path.write_bytes(whole + b"junk")
    assert GrowingCSV(path).back_to(file.mark) == [{"epoch": 0}]
    assert path.read_bytes() == whole
