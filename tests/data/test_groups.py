"""Target groups against one user at a time."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recbole_attack import AttackConfig
from recbole_attack.data import parse_group, user_group
from recbole_attack.data.groups import Between, OneOf
from recbole_attack.experiment import create_dataset
from recbole_attack.utils.errors import ConfigError, DataError

check = settings(derandomize=True, deadline=None)
FIELDS = {
    "gender": np.array([None, "M", "F", None, "M", "F"], dtype=object),
    "age": np.array([None, "19", "20", "25", "30", "31"], dtype=object),
    "occupation": np.array([None, "writer", "K-12 student", "writer", None, "artist"], dtype=object),
    "income": np.array([math.nan, 10.0, math.nan, 20.0, 30.5, -4.0]),
}
USERS = st.lists(
    st.fixed_dictionaries(
        {
            "gender": st.sampled_from(["M", "F", None]),
            "age": st.none() | st.integers(15, 35).map(str) | st.just("unknown"),
            "income": st.none() | st.integers(-3, 9).map(float),
        }
    ),
    min_size=1,
    max_size=12,
)


def members(expression, fields=FIELDS, n_users=6):
    mask = user_group(expression, fields, n_users)
    assert (mask.shape, mask.dtype) == ((n_users,), bool)
    return np.flatnonzero(mask).tolist()


def columns(users):
    """The fields of some users, the padding user first."""
    texts = {name: np.array([None, *(u[name] for u in users)], dtype=object) for name in ("gender", "age")}
    numbers = [math.nan if u["income"] is None else u["income"] for u in users]
    return {**texts, "income": np.array([math.nan, *numbers])}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("all", [1, 2, 3, 4, 5]),
        ("gender=M", [1, 4]),
        (" gender = 'F' ", [2, 5]),
        ("age=20..30", [2, 3, 4]),
        ("age = 19 .. 19.5", [1]),
        ("age=25", [3]),
        ("occupation in [writer, artist]", [1, 3, 5]),
        ("occupation in ['K-12 student']", [2]),
        ("occupation=K-12 student", [2]),
        ("income=-4..10", [1, 5]),
        ("income=20", [3]),
        ("income in [30.5, -4]", [4, 5]),
        ("gender=M & age=20..30", [4]),
        ("all & gender=F & all", [2, 5]),
        ("occupation = \"writer\" & gender='M'", [1]),
        ("gender in [M,F] & occupation in [writer,artist] & income=0..99", [1]),
    ],
)
def test_expressions(expression, expected):
    assert members(expression) == expected


@check
@given(USERS, st.data())
def test_conditions_hold_for_each_member_and_for_nobody_else(users, data):
    low, high = sorted(data.draw(st.tuples(st.integers(10, 40), st.integers(10, 40))))
    genders = data.draw(st.sets(st.sampled_from(["M", "F"]), min_size=1))
    cap = data.draw(st.integers(-3, 9))
    present = {u["gender"] for u in users}
    assume(genders <= present and any((u["age"] or "x").isdigit() for u in users))
    assume(any(u["income"] is not None for u in users))

    def belongs(user):
        age = user["age"] or "unknown"
        return (
            user["gender"] in genders
            and (age != "unknown" and low <= int(age) <= high)
            and (user["income"] is not None and user["income"] <= cap)
        )

    expected = [i for i, user in enumerate(users, start=1) if belongs(user)]
    expression = f"gender in [{', '.join(sorted(genders))}] & age={low}..{high} & income=-99..{cap}"
    if expected:
        assert members(expression, columns(users), len(users) + 1) == expected
    else:
        with pytest.raises(DataError, match="holds no user"):
            members(expression, columns(users), len(users) + 1)


def test_values_in_quotes_hold_whatever_would_end_them():
    fields = {
        "job": np.array([None, "sales, R&D", "sales", "R&D", "a=b", "1..2", "[x]", "O'Neil", "012", "12"], dtype=object)
    }
    for expression, expected in {
        "job='sales, R&D'": [1],
        "job in ['sales, R&D', sales]": [1, 2],
        'job="R&D"': [3],
        "job in ['R&D', \"a=b\" , '1..2']": [3, 4, 5],
        "job='[x]'": [6],
        "job=O'Neil": [7],
        'job in [O\'Neil, "O\'Neil"] & job="O\'Neil"': [7],
        "job=012": [8],
        "job in [12]": [9],
    }.items():
        assert members(expression, fields, 10) == expected


def test_parsing():
    assert parse_group("all") == ()
    assert parse_group("a in [1,2] & b=3..4.5&c = x y ") == (
        OneOf("a", ("1", "2")),
        Between("b", 3.0, 4.5),
        OneOf("c", ("x y",)),
    )


@pytest.mark.parametrize(
    "expression",
    [
        *("", " ", None, 3, ["gender=M"], "gender", "gender=", "=M", "gender==M", "gender=M &", "& gender=M"),
        *("age=30..20", "age=20..", "age=..30", "age=20...30", "age=a..b", "occupation in []", "occupation in [a,,b]"),
        *("occupation in a", "occupation in [a", "gender=[M]", "gender=M,F", "gender=M | gender=F", "not gender=M="),
        *("gender='M", "gender='M' F", "gender in ['M]", "gender in ['M' F]", "gender in [[M]]", "gender in [M & F]"),
        "__import__('os').system('true')",
    ],
)
def test_what_is_no_expression_is_a_config_error(expression):
    with pytest.raises(ConfigError, match="target group"):
        parse_group(expression)


@check
@given(st.text("ag=.&[], in20M'", max_size=20))
def test_any_text_is_parsed_or_refused(text):
    try:
        group = parse_group(text)
    except ConfigError:
        return
    for condition in group:
        assert isinstance(condition, Between) or all(condition.values)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("gendr=M", r"no user field 'gendr' is loaded; found gender, .*did you mean 'gender'"),
        ("occupation=writr", r"no user has occupation 'writr'; found .*did you mean 'writer'"),
        ("gender in [M, X]", "no user has gender 'X'; found F, M"),
        ("income=7", "no user has income '7'"),
        ("income=lots", "no user has income 'lots'"),
        ("gender=1..2", "'gender' holds no numbers; found F, M"),
        ("age=70..80", "'age=70..80' holds no user"),
        ("gender=None", "no user has gender 'None'"),
    ],
)
def test_what_the_dataset_lacks_is_a_data_error(expression, message):
    with pytest.raises(DataError, match=message):
        members(expression)


def test_without_user_fields_only_all_is_a_group():
    assert members("all", {}, 3) == [1, 2]
    with pytest.raises(DataError, match="found none"):
        members("gender=M", {}, 3)


LOAD = {"inter": ["user_id", "item_id", "timestamp"]}


def dataset_members(config, expression):
    dataset = create_dataset(config)
    dataset.build()
    users = np.flatnonzero(user_group(expression, dataset.user_fields, dataset.user_num))
    return set(dataset.tokens("user_id", users))


@pytest.mark.parametrize("expression", ["gender=M", "age=20..30", "gender=F & age=18..40"])
def test_groups_of_the_tiny_dataset_are_those_of_its_user_file(config, expression):
    path = Path(config()["data_path"]) / "tiny.user"
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    test = {
        "gender=M": lambda age, gender: gender == "M",
        "age=20..30": lambda age, gender: 20 <= age <= 30,
        "gender=F & age=18..40": lambda age, gender: gender == "F" and 18 <= age <= 40,
    }[expression]
    expected = {user for user, age, gender in rows if test(int(age), gender)}
    found = dataset_members(config(load_col={**LOAD, "user": ["user_id", "age", "gender"]}), expression)
    assert found == expected


def test_buckets_of_ml_100k(small):
    columns = {**LOAD, "user": ["user_id", "age", "gender", "occupation"]}
    parameters = {key: value for key, value in small().items() if key != "data_path"}
    found = dataset_members(
        AttackConfig(config_dict={**parameters, "dataset": "ml-100k", "load_col": columns}),
        "occupation in [artist, writer] & age=20..30",
    )
    assert 10 < len(found) < 40


@pytest.fixture
def gaps(tmp_path, small):
    """A dataset whose users 2 and 3 miss values, and whose user 4 has no row in the user file."""
    folder = tmp_path / "gaps"
    folder.mkdir()
    inter = [f"{user}\t{item}\t{item}" for user in range(1, 5) for item in range(1, 6)]
    (folder / "gaps.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *inter]) + "\n")
    user = ["user_id:token\tgender:token\tincome:float", "1\tM\t40", "2\t\t20", "3\tM\t"]
    (folder / "gaps.user").write_text("\n".join(user) + "\n")
    columns = {**LOAD, "user": ["user_id", "gender", "income"]}
    return AttackConfig(
        config_dict=small(
            data_path=str(tmp_path),
            dataset="gaps",
            load_col=columns,
            normalize_all=True,
            filter_inter_by_user_or_item=False,
        )
    )


def test_missing_values_are_in_no_group_although_recbole_fills_them(gaps):
    assert dataset_members(gaps, "all") == {"1", "2", "3", "4"}
    assert dataset_members(gaps, "gender=M") == {"1", "3"}
    assert dataset_members(gaps, "income=0..99") == {"1", "2"}
    assert dataset_members(gaps, "income=40") == {"1"}
    with pytest.raises(DataError, match="no user has income '30'"):
        dataset_members(gaps, "income=30")
