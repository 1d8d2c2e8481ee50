"""Synthetic data: its sizes, its pattern, its files."""

import hashlib
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.commands import main as command_line
from recbole_attack.data import split_users
from recbole_attack.data.synthetic import (
    PRESETS,
    Synthetic,
    ensure_synthetic,
    generate,
    synthetic_size,
    write_synthetic,
)
from recbole_attack.data.synthetic.generate import CHAIN, TASTE
from recbole_attack.experiment import create_dataset, prepare_training
from recbole_attack.utils.errors import ConfigError, DataError


def main(arguments):
    return command_line.main(["synthetic", *arguments])


SIZES = st.integers(1, 12).flatmap(
    lambda items: st.builds(
        Synthetic,
        users=st.integers(1, 20),
        items=st.just(items + 1),
        categories=st.integers(1, items + 1),
        mean_length=st.floats(10, 25),
        light_users=st.integers(0, 10),
        attribute_share=st.floats(0, 1),
        seed=st.integers(0, 3),
    )
)
check = settings(derandomize=True, deadline=None)
SMALL = Synthetic(users=40, items=30, categories=6, mean_length=12, light_users=10, seed=2)
LARGE = Synthetic(users=2000, items=500, categories=25, mean_length=40, light_users=500)


@check
@given(SIZES)
def test_sizes_are_those_asked_for(size):
    data = generate(size)
    sequences = data.sequences
    lengths = sequences.lengths[1:]
    assert (sequences.n_users, sequences.n_items) == (size.users + size.light_users + 1, size.items + 1)
    assert sequences.lengths[0] == 0
    assert sequences.offsets[-1] == len(sequences.items)
    assert set(np.unique(sequences.items)) <= set(range(1, size.items + 1))
    assert (lengths < 10).sum() == size.light_users
    assert lengths.min() >= 2
    assert lengths[lengths >= 10].sum() == round(size.users * size.mean_length)
    assert set(data.categories[1:].tolist()) == set(range(size.categories))
    assert data.attributes.shape == (sequences.n_users, 3)


@check
@given(SIZES)
def test_the_seed_decides(size):
    first, again, other = (generate(s) for s in (size, size, replace(size, seed=size.seed + 9)))
    assert np.array_equal(first.sequences.items, again.sequences.items)
    assert np.array_equal(first.sequences.offsets, again.sequences.offsets)
    assert np.array_equal(first.attributes, again.attributes)
    assert np.array_equal(first.categories, again.categories)
    assert not np.array_equal(first.attributes, other.attributes) or size.users < 9


@pytest.fixture(scope="module")
def large():
    return generate(LARGE)


def transitions(data):
    """(item, next item) of all users."""
    users = np.repeat(np.arange(data.sequences.n_users), data.sequences.lengths)
    same = users[1:] == users[:-1]
    return data.sequences.items[:-1][same], data.sequences.items[1:][same]


def test_the_next_item_follows_from_the_last_far_better_than_from_popularity(large):
    before, after = transitions(large)
    half = len(before) // 2
    pairs = Counter(zip(before[:half].tolist(), after[:half].tolist(), strict=True))
    follower = {}
    for (item, following), _ in pairs.most_common():
        follower.setdefault(item, following)
    hits = np.mean([follower.get(b) == a for b, a in zip(before[half:].tolist(), after[half:].tolist(), strict=True)])
    top = Counter(after[:half].tolist()).most_common(10)
    popular = np.isin(after[half:], [item for item, _ in top]).mean()
    assert CHAIN - 0.02 < hits < CHAIN + 0.1
    assert popular < hits / 2


def test_rings_stay_in_their_category_and_reach_all_of_it(large):
    before, after = transitions(large)
    follower = {}
    for (item, following), count in Counter(zip(before.tolist(), after.tolist(), strict=True)).most_common():
        if count > 1:
            follower.setdefault(item, following)
    assert len(follower) > 0.95 * LARGE.items
    categories = large.categories
    assert np.mean([categories[a] == categories[b] for a, b in follower.items()]) > 0.97
    assert len(set(follower.values())) > 0.9 * len(follower)


def test_popularity_has_a_long_tail(large):
    counts = np.sort(large.sequences.popularity()[1:])[::-1]
    assert counts[: LARGE.items // 10].sum() > 0.25 * counts.sum()
    assert counts[0] > 10 * np.median(counts)
    lengths = np.sort(large.sequences.lengths[1:])
    assert lengths[-1] > 4 * np.median(lengths[lengths >= 10])


def test_favourite_categories_follow_from_attributes(large):
    """Users of one gender share half of the categories; the other half they reach only by chance."""
    sequences = large.sequences
    users = np.repeat(np.arange(sequences.n_users), sequences.lengths)
    categories = large.categories[sequences.items]
    table = np.zeros((2, LARGE.categories))
    np.add.at(table, (large.attributes[users, 0], categories), 1)
    table /= table.sum(axis=1, keepdims=True)
    shuffled = np.zeros_like(table)
    np.add.at(shuffled, (np.random.default_rng(0).permutation(large.attributes[:, 0])[users], categories), 1)
    shuffled /= shuffled.sum(axis=1, keepdims=True)
    distance, by_chance = (np.abs(t[0] - t[1]).sum() / 2 for t in (table, shuffled))
    assert distance > 0.5 * TASTE / 3
    assert distance > 2 * by_chance


def strength_of_attributes(data):
    """How well each attribute tells the categories a user chose.

    Cramer's V of gender, ten years of age, and occupation against the category of an interaction.
    """
    users = np.repeat(np.arange(data.sequences.n_users), data.sequences.lengths)
    categories = data.categories[data.sequences.items]
    strengths = []
    for column in (data.attributes // [1, 10, 1]).T:
        table = np.zeros((column.max() + 1, categories.max() + 1))
        np.add.at(table, (column[users], categories), 1)
        expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
        chi = ((table - expected) ** 2 / expected).sum()
        strengths.append(np.sqrt(chi / table.sum() / (min(table.shape) - 1)))
    return np.array(strengths)


def test_the_less_the_attribute_share_the_less_attributes_say_about_categories():
    none, half, full = (strength_of_attributes(generate(replace(LARGE, attribute_share=s))) for s in (0.0, 0.5, 1.0))
    shuffled = generate(replace(LARGE, attribute_share=1.0))
    shuffled.attributes[:] = np.random.default_rng(0).permutation(shuffled.attributes)
    assert (none < 1.5 * strength_of_attributes(shuffled)).all(), "no more than by chance"
    assert (none < half).all() and (half < full).all()


@settings(derandomize=True, deadline=None, max_examples=20)
@given(SIZES)
def test_the_attribute_share_leaves_everything_but_tastes_as_it_is(size):
    first, other = generate(size), generate(replace(size, attribute_share=0.0))
    assert np.array_equal(first.attributes, other.attributes) and np.array_equal(first.categories, other.categories)
    assert np.array_equal(first.sequences.offsets, other.sequences.offsets)


def test_users_bound_to_their_attributes_are_those_of_before():
    """Hashes of the data before attributes could be made to matter less."""
    data = generate(SMALL)
    found = [
        hashlib.sha256(np.ascontiguousarray(a, dtype="<i8").tobytes()).hexdigest()[:16]
        for a in (data.sequences.items, data.attributes)
    ]
    assert found == ["14b7cb146e035ad8", "cc4165f1f881d0d3"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": 0}, "users must be at least 1: found 0"),
        ({"items": 1}, "items must be at least 2"),
        ({"mean_length": 9.5}, "mean_length must be at least 10: found 9.5"),
        ({"mean_length": float("nan")}, "mean_length must be at least 10: found nan"),
        ({"mean_length": float("inf")}, "mean_length must be at least 10: found inf"),
        ({"light_users": -1}, "light_users must be at least 0"),
        ({"attribute_share": -0.1}, "attribute_share must be from 0 to 1: found -0.1"),
        ({"attribute_share": 1.1}, "attribute_share must be from 0 to 1: found 1.1"),
        ({"attribute_share": float("nan")}, "attribute_share must be from 0 to 1: found nan"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"items": 5, "categories": 6}, r"categories must be at most items \(5\): found 6"),
    ],
)
def test_impossible_sizes_are_config_errors(changes, message):
    with pytest.raises(ConfigError, match=message):
        Synthetic(**changes)


def test_the_presets_have_the_papers_counts():
    size = PRESETS["aliec"]
    assert (size.users, size.light_users, size.items) == (98_000, 6000, 109_000)
    assert round(size.users * size.mean_length) == 8_900_000


def test_recbole_reads_the_same_sequences_attributes_and_categories(tmp_path, config):
    counts = write_synthetic(SMALL, tmp_path, "made")
    data = generate(SMALL)
    assert counts == {"users": 50, "items": 30, "interactions": len(data.sequences.items)}
    columns = {"inter": ["user_id", "item_id", "timestamp"], "user": ["user_id", "age", "gender", "occupation"]}
    columns["item"] = ["item_id", "category"]
    dataset = create_dataset(config(data_path=str(tmp_path), dataset="made", load_col=columns))
    experiment = prepare_training(config(data_path=str(tmp_path), dataset="made"), dataset)
    full = experiment.dataset.split.full
    users, items = (dataset.field2id_token[field] for field in ("user_id", "item_id"))
    for user in range(1, full.n_users):
        number = int(users[user][1:])
        assert [int(items[i][1:]) for i in full[user]] == data.sequences[number].tolist()
        gender, age, _ = data.attributes[number]
        assert dataset.user_fields["gender"][user] == "FM"[gender]
        assert dataset.user_fields["age"][user] == str(18 + age)
    names, categories = dataset.field2id_token["category"], dataset.item_feat["category"]
    for item in range(1, full.n_items):
        assert names[categories[item]] == f"c{data.categories[int(items[item][1:])]}"
    split = split_users("count<10", full, np.random.default_rng(0))
    assert (split.sizes()["provider_users"], split.sizes()["platform_users"]) == (40, 10)


def test_times_rise_and_the_rows_written_at_once_do_not_matter_to_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_attack.data.synthetic.files._ROWS_AT_ONCE", 7)
    write_synthetic(SMALL, tmp_path, "made")
    rows = [line.split("\t") for line in (tmp_path / "made" / "made.inter").read_text().splitlines()[1:]]
    data = generate(SMALL)
    assert [int(item[1:]) for _, item, _ in rows] == data.sequences.items.tolist()
    for before, after in pairwise(rows):
        assert before[0] != after[0] or int(before[2]) < int(after[2])


def test_each_size_has_its_files_and_they_are_written_once(tmp_path):
    first = ensure_synthetic(SMALL, tmp_path)
    file = tmp_path / first / f"{first}.inter"
    written = file.stat().st_mtime_ns
    assert ensure_synthetic(replace(SMALL), tmp_path) == first
    assert file.stat().st_mtime_ns == written
    other = ensure_synthetic(replace(SMALL, seed=3), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([first, other])
    assert (tmp_path / other / f"{other}.inter").read_bytes() != file.read_bytes()


def test_a_whole_number_and_the_same_fraction_are_one_size(tmp_path):
    sizes = [{"users": 40, "items": 30, "categories": 6, "mean_length": length} for length in (12, 12.0)]
    assert len({ensure_synthetic(synthetic_size(size), tmp_path) for size in sizes}) == 1


def test_another_process_may_have_written_it_meanwhile(tmp_path, monkeypatch):
    def overtaken(size, out, name):
        write_synthetic(size, out, name)
        return write_synthetic(size, out, name)

    monkeypatch.setattr("recbole_attack.data.synthetic.files.write_synthetic", overtaken)
    assert (tmp_path / ensure_synthetic(SMALL, tmp_path)).is_dir()


def test_what_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((DataError, OSError)):
        ensure_synthetic(SMALL, tmp_path / "file")


def test_the_command(tmp_path, capsys):
    options = [
        "--users",
        "12",
        "--items=20",
        "--categories",
        "4",
        "--mean-length",
        "11.5",
        "--seed",
        "1",
        "--attribute-share",
        "0.5",
    ]
    assert main([str(tmp_path), *options]) == 0
    assert capsys.readouterr().out.endswith("synthetic-small: 12 users, 20 items, 138 interactions\n")
    names = {path.name for path in (tmp_path / "synthetic-small").iterdir()}
    assert names == {"synthetic-small.inter", "synthetic-small.user", "synthetic-small.item"}
    assert main([str(tmp_path), *options]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([str(tmp_path), "--preset=aliex"]) == 2
    assert "did you mean 'aliec'" in capsys.readouterr().err
    assert main([str(tmp_path), "--users=0"]) == 2
    assert "users must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["synthetic", "ml-100k"])
def test_a_dataset_that_would_not_be_read_is_not_written(tmp_path, capsys, name):
    assert main([str(tmp_path), f"--name={name}"]) == 2
    assert f"dataset name '{name}': expected another one, as" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_files_of_the_name_that_is_made_are_not_passed_over(tmp_path, config):
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "synthetic" / "synthetic.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\na\tb\t1\n")
    with pytest.raises(DataError, match=r"is made as synthetic_size says, and .*synthetic would not be read"):
        create_dataset(config(dataset="synthetic", data_path=str(tmp_path)))


def test_a_configuration_names_a_size_and_the_dataset_is_made_once(tmp_path, config):
    sizes = {"users": 30, "items": 20, "categories": 3, "mean_length": 12, "light_users": 10, "attribute_share": 0}
    sizes["seed"] = 5
    asked = config(dataset="synthetic", data_path=str(tmp_path), synthetic_size=sizes)
    dataset = create_dataset(asked)
    (folder,) = tmp_path.iterdir()
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    sequences = dataset.sequences()
    expected = generate(Synthetic(**sizes)).sequences
    assert sequences.n_users == expected.n_users == 41
    assert np.array_equal(np.sort(sequences.lengths), np.sort(expected.lengths))
    described = prepare_training(asked).describe_data()
    assert described["name"] == folder.name
    assert set(described["sha256"]) == set(before)
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before
    assert type(asked)(config_dict=asked.to_dict())["synthetic_size"] == sizes


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("smal", "unknown synthetic_size 'smal'.*did you mean 'small'"),
        (7, "unknown synthetic_size '7'"),
        ({"user": 3}, "unknown field of synthetic_size 'user'.*did you mean 'users'"),
        ({"users": "many"}, "synthetic_size users must be a number like 1000: found 'many'"),
        ({"users": True}, "synthetic_size users must be a number"),
        ({"attribute_share": "half"}, "synthetic_size attribute_share must be a number like 1.0: found 'half'"),
        ({"items": 1}, "synthetic items must be at least 2: found 1"),
    ],
)
def test_sizes_that_mean_nothing_are_refused(config, tmp_path, size, message):
    with pytest.raises(ConfigError, match=message):
        config(dataset="synthetic", data_path=str(tmp_path), synthetic_size=size)
    assert not list(tmp_path.iterdir())
