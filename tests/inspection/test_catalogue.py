"""Which row is which item: by a file, or by the dataset where it can be."""

from __future__ import annotations

import numpy as np
import pytest

from recbole_attack.experiment import create_dataset
from recbole_attack.inspection.catalogue import catalogue
from recbole_attack.utils.errors import DataError


@pytest.fixture
def dataset(config):
    return create_dataset(config())


def lines(tmp_path, tokens, end="\n"):
    (tmp_path / "tokens.txt").write_text("\n".join(tokens) + end)
    return tmp_path / "tokens.txt"


@pytest.mark.parametrize("end", ["\n", ""])
def test_rows_follow_the_file(dataset, tmp_path, end):
    own = dataset.tokens("item_id", np.arange(1, 40))
    tokens = [*reversed(own[3:]), "elsewhere", "ä ö"]
    found = catalogue(dataset, len(tokens) + 1, lines(tmp_path, tokens, end))
    assert found.rows.tolist() == [0] + [tokens.index(token) + 1 if token in tokens else 0 for token in own]
    assert (found.foreign, found.assumed, found.size) == (("elsewhere", "ä ö"), False, 39)


def test_without_a_file_rows_are_the_datasets_ids_where_counts_agree(dataset):
    found = catalogue(dataset, 40, None)
    assert found.rows.tolist() == list(range(40)) and found.assumed
    with pytest.raises(DataError, match="the model has 41 items and dataset 'tiny' 39: expected --items="):
        catalogue(dataset, 42, None)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["i1", "i2"], "expected 3 lines, found 2"),
        (["i1", "", "i2"], "tokens.txt:2: expected a token, found an empty line"),
        (["i1", "i2", "i1"], "tokens.txt:3: expected every token once, found 'i1' in line 1, too"),
        (["a", "b", "c"], "found none of its items"),
        (["[PAD]", "i1", "i2"], r"tokens.txt:1: expected the token of row 1 and up, found '\[PAD\]', which is row 0"),
        (["[PAD]", "i1", "i2", "i3"], r"tokens.txt:1: expected the token of row 1 and up"),
        ([], "expected 3 lines, found 0"),
    ],
)
def test_a_file_that_does_not_say_it_is_refused(dataset, tmp_path, tokens, words):
    with pytest.raises(DataError, match=words):
        catalogue(dataset, 4, lines(tmp_path, tokens))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_neither_line_ends_nor_a_byte_order_mark_are_part_of_a_token(dataset, tmp_path, mark, end):
    own = dataset.tokens("item_id", np.arange(1, 40))
    (tmp_path / "tokens.txt").write_bytes((mark + "".join(token + end for token in own)).encode())
    found = catalogue(dataset, 40, tmp_path / "tokens.txt")
    assert found.rows.tolist() == list(range(40)) and not found.foreign


def test_a_folder_is_no_file(dataset, tmp_path):
    with pytest.raises(DataError, match=r"is no file$"):
        catalogue(dataset, 4, tmp_path)


def test_a_missing_file_is_named(dataset, tmp_path):
    lines(tmp_path, ["i1"])
    with pytest.raises(DataError, match=r"tokenz\.txt not found; did you mean '.*tokens\.txt'"):
        catalogue(dataset, 4, tmp_path / "tokenz.txt")
