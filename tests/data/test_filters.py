"""Columns and filters against the tiny files, read with the csv module."""

import csv
import shutil
from collections import Counter
from pathlib import Path

import pytest

from recbole_attack import AttackConfig
from recbole_attack.data.atomic_file import AtomicFile
from recbole_attack.data.filters import columns_to_load
from recbole_attack.experiment import create_dataset
from recbole_attack.utils.errors import DataError


@pytest.fixture
def rows(small):
    """The rows of one of the tiny files."""

    def read(suffix):
        with (Path(small()["data_path"]) / "tiny" / f"tiny.{suffix}").open() as file:
            header, *lines = csv.reader(file, delimiter="\t")
        return [dict(zip([column.split(":")[0] for column in header], line, strict=True)) for line in lines]

    return read


def interactions(small, **changes):
    """(user, item) tokens of what is left, counted."""
    dataset = create_dataset(AttackConfig(config_dict=small(**changes)))
    feat = dataset.inter_feat
    users = dataset.tokens("user_id", feat["user_id"].to_numpy())
    return Counter(zip(users, dataset.tokens("item_id", feat["item_id"].to_numpy()), strict=True))


def test_without_filters_everything_is_there(small, rows):
    assert interactions(small) == Counter((row["user_id"], row["item_id"]) for row in rows("inter"))


@pytest.mark.parametrize(
    "given", [{}, {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}, {"load_col": "{'inter':'*'}"}]
)
def test_a_filter_on_a_number_loads_its_field_and_keeps_its_interval(small, rows, given):
    expected = Counter((row["user_id"], row["item_id"]) for row in rows("inter") if 3 <= float(row["rating"]) < 5)
    assert interactions(small, val_interval="{'rating': '[3,5)'}", **given) == expected


def test_a_filter_on_a_users_token_loads_the_file_and_keeps_its_users(small, rows):
    women = {row["user_id"] for row in rows("user") if row["gender"] == "F"}
    expected = Counter((row["user_id"], row["item_id"]) for row in rows("inter") if row["user_id"] in women)
    assert 0 < len(expected) < len(rows("inter"))
    assert interactions(small, val_interval={"gender": ["F"]}) == expected


@pytest.mark.parametrize("field", ["user_id", "item_id"])
def test_a_filter_on_an_id_loads_no_other_file(small, rows, field, tmp_path):
    """So that users and items of which that file says nothing stay, and others do not come."""
    shutil.copytree(Path(small()["data_path"]) / "tiny", tmp_path / "tiny")
    suffix = field.removesuffix("_id")
    ids = sorted({row[field] for row in rows("inter")})
    kept, described = ids[: len(ids) // 2], [*ids[1:], "of nobody"]
    (tmp_path / "tiny" / f"tiny.{suffix}").write_text(
        "\n".join([f"{field}:token\tx:float", *(f"{i}\t1" for i in described)])
    )
    expected = Counter((row["user_id"], row["item_id"]) for row in rows("inter") if row[field] in kept)
    given = {"val_interval": {field: [*kept, "of nobody"]}, "data_path": str(tmp_path)}
    assert interactions(small, **given) == expected
    tokens = set(create_dataset(AttackConfig(config_dict=small(**given))).field2id_token[field])
    assert "of nobody" not in tokens


def test_all_columns_are_loaded_for_recboles_star(small, rows):
    dataset = create_dataset(AttackConfig(config_dict=small(load_col="{'inter':'*'}")))
    assert {"user_id", "item_id", "rating", "timestamp"} == set(dataset.inter_feat.columns) == set(rows("inter")[0])


def test_a_tab_as_two_characters_separates(small):
    assert interactions(small, field_separator=r"\t") == interactions(small)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"load_col": {"inter": ["user_id", "item_id", "timestamp", "ratng"]}},
            "no field 'ratng'.*did you mean 'rating'",
        ),
        ({"load_col": {"inter": "*", "user": ["user_id", "gendr"]}}, "no field 'gendr'.*did you mean 'gender'"),
        ({"val_interval": {"ratng": "[3,5]"}, "load_col": {"inter": "*"}}, "no field 'ratng'.*did you mean 'rating'"),
        ({"val_interval": {"ratng": "[3,5]"}}, "no field 'ratng'.*did you mean 'rating'"),
        ({"val_interval": {"gendr": ["M"]}}, "no field 'gendr'.*did you mean 'gender'"),
        (
            {"val_interval": {"rating": "[3,5]"}, "load_col": None, "unload_col": {"inter": ["rating"]}},
            "expected 'rating' to be loaded: found it left out by load_col or unload_col",
        ),
        ({"val_interval": {"rating": ["3"]}}, "'rating' of type float needs an interval such as"),
        ({"val_interval": {"gender": "[3,5]"}}, "'gender' of type token needs a list of tokens"),
        ({"val_interval": {"class": ["c0"]}}, "'class' must be a field of type float or token: found token_seq"),
    ],
    ids=str,
)
def test_what_the_files_lack_or_have_of_another_type_is_refused(small, changes, words):
    with pytest.raises(DataError, match=words) as error:
        create_dataset(AttackConfig(config_dict=small(**changes)))
    assert "\n" not in str(error.value)


def test_a_file_is_loaded_for_what_is_in_it_only(tmp_path):
    (tmp_path / "a.user").write_text("user_id:token\tage:float\tgender:token\n")
    file = AtomicFile(tmp_path / "a.user", "\t", " ", "utf-8")
    assert columns_to_load(set(), set(), ["rating"], {"user_id"}, file) == set()
    assert columns_to_load(set(), set(), ["rating", "age"], {"user_id"}, file) == {"user_id", "age"}
    assert columns_to_load({"sex"}, {"sex"}, [], {"user_id"}, file) == {"sex"}
    with pytest.raises(
        DataError, match=r"a\.user has no field 'gendr': found user_id, age, gender; did you mean 'gender'"
    ):
        columns_to_load({"gendr"}, set(), [], {"user_id"}, file)
