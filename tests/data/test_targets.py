"""Target items by token and by selector, against a sorted list."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack.data import SELECTORS, each_target, resolve_targets, targets
from recbole_attack.utils.errors import ConfigError, DataError

TOKENS = np.array(["[PAD]", "i2", "i10", "i1", "7", "12"], dtype=object)
POPULARITY = np.array([0, 3, 1, 1, 0, 3])
ODD_TOKENS = np.array(
    [*TOKENS, "012", "10", "1e5", "100000.0", "Half-Life, Episode 2", "Half-Life", "Episode 2"], object
)
ODD_TOKENS = np.array([*ODD_TOKENS, "popular:5", "null", "None"], dtype=object)
random_stratified = SELECTORS["random_stratified"]
CATALOGUES = st.dictionaries(st.text("abc123", min_size=1, max_size=3), st.integers(0, 3), min_size=1, max_size=9)


def resolve(value, tokens=TOKENS, popularity=POPULARITY, seed=0):
    return resolve_targets(value, tokens, popularity, np.random.default_rng(seed))


def named(ids, tokens=TOKENS):
    return {str(tokens[i]) for i in ids}


def from_least_popular(catalogue):
    return sorted(catalogue, key=lambda token: (catalogue[token], token))


def expected_tokens(name, catalogue, count):
    """The oracle of the selectors that draw nothing."""
    ranking = from_least_popular(catalogue)
    if name == "least_popular":
        return set(ranking[:count])
    if name == "popular":
        return set(ranking[len(ranking) - count :])
    return {ranking[(2 * step + 1) * len(ranking) // (2 * count)] for step in range(count)}


def catalogue_arrays(catalogue, order):
    tokens = np.array(["[PAD]", *order], dtype=object)
    return tokens, np.array([0, *(catalogue[token] for token in order)])


@settings(derandomize=True, deadline=None)
@given(CATALOGUES, st.sampled_from(["least_popular", "popular", "stratified"]), st.data())
def test_selectors_follow_the_popularity_ranking(catalogue, name, data):
    count = data.draw(st.integers(1, len(catalogue)))
    tokens, popularity = catalogue_arrays(catalogue, data.draw(st.permutations(list(catalogue))))
    ids = resolve(f"{name}:{count}", tokens, popularity)
    assert len(set(ids.tolist())) == count
    assert named(ids, tokens) == expected_tokens(name, catalogue, count)
    assert ids.tolist() == sorted(ids.tolist())


@settings(derandomize=True, deadline=None)
@given(CATALOGUES, st.sampled_from(sorted(SELECTORS)), st.data())
def test_the_order_of_the_file_does_not_matter(catalogue, name, data):
    count = data.draw(st.integers(1, len(catalogue)))
    chosen = []
    for _ in range(2):
        tokens, popularity = catalogue_arrays(catalogue, data.draw(st.permutations(list(catalogue))))
        chosen.append(named(resolve(f"{name}:{count}", tokens, popularity, seed=5), tokens))
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == count


def test_ties_are_broken_by_token():
    assert named(resolve("least_popular:2")) == {"7", "i1"}
    assert named(resolve("popular:1")) == {"i2"}


def test_random_targets_follow_the_seed_and_reach_every_item():
    draws = [frozenset(resolve("random:2", seed=seed).tolist()) for seed in range(60)]
    assert draws == [frozenset(resolve("random:2", seed=seed).tolist()) for seed in range(60)]
    assert all(len(draw) == 2 for draw in draws)
    assert frozenset.union(*draws) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, {"7"}),
        ("7", {"7"}),
        ("i10", {"i10"}),
        ("i10,i1", {"i10", "i1"}),
        (" i10 , 7 ", {"i10", "7"}),
        ([12, "i2"], {"12", "i2"}),
        (("i1", 7, "i1"), {"i1", "7"}),
        ("7,7", {"7"}),
        ("[i10, 'i1']", {"i10", "i1"}),
        ("012", {"012"}),
        ("[012, 1e5]", {"012", "1e5"}),
        ("'012'", {"012"}),
        ("['Half-Life, Episode 2']", {"Half-Life, Episode 2"}),
        ('["Half-Life, Episode 2", 7]', {"Half-Life, Episode 2", "7"}),
        (["Half-Life, Episode 2", "Episode 2"], {"Half-Life, Episode 2", "Episode 2"}),
        ("Half-Life, Episode 2", {"Half-Life", "Episode 2"}),
        (["popular:5"], {"popular:5"}),
        ("'popular:5'", {"popular:5"}),
        ("null", {"null"}),
    ],
)
def test_tokens_in_every_form(value, expected):
    ids = resolve(value, ODD_TOKENS, np.zeros(len(ODD_TOKENS)))
    assert named(ids, ODD_TOKENS) == expected
    assert len(ids) == len(expected)
    assert ids.tolist() == sorted(ids.tolist())
    assert ids.dtype == np.int64


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("least_populr:1", "did you mean 'least_popular'"),
        ("stratifed:2", "did you mean 'stratified'"),
        ("popular:0", "popular:0"),
        ("stratifed:2:1", "did you mean 'stratified'"),
        ("stratified:2:0", "expected 1 to 2"),
        ("stratified:2:3", "'stratified:2:3' ends in the number of an item: expected 1 to 2"),
        ("popular:1:" + "9" * 5000, "expected 1 to 1"),
        ("", "empty"),
        ("i1,,i2", "empty"),
        ([], "empty"),
        (1e5, "in quotes: found 100000.0"),
        (["i1", 1e5], "in quotes: found"),
        (True, "target_items must be item tokens"),
        (None, "target_items must be item tokens"),
        ([["i1"]], "target_items must be item tokens"),
        (b"12", "target_items must be item tokens"),
        ("['i1]", "wholly in quotes"),
        ("'i1' i2", "wholly in quotes"),
        ("popular:" + "9" * 5000, "unknown target selector"),
    ],
)
def test_what_is_no_target_is_a_config_error(value, message):
    with pytest.raises(ConfigError, match=message):
        resolve(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("random:6", "asks for 6 items: the dataset has 5"),
        ("popular:99999", "99999"),
        (["i2", "i100"], "'i100' is not in the dataset; did you mean 'i10'"),
        (13, "'13' is not in the dataset"),
        (["[PAD]"], r"'\[PAD\]' is not in the dataset"),
    ],
)
def test_what_the_dataset_lacks_is_a_data_error(value, message):
    with pytest.raises(DataError, match=message):
        resolve(value)


def test_all_items_can_be_targets():
    for name in SELECTORS:
        assert resolve(f"{name}:5").tolist() == [1, 2, 3, 4, 5]


# Targets one at a time


@given(CATALOGUES, st.sampled_from(sorted(SELECTORS)), st.data())
def test_one_at_a_time_they_are_all_that_are_selected_together(catalogue, name, data):
    count = data.draw(st.integers(1, len(catalogue)))
    tokens, popularity = catalogue_arrays(catalogue, list(catalogue))
    each = [resolve(value, tokens, popularity, seed=7) for value in each_target(f"{name}:{count}")]
    assert [len(ids) for ids in each] == [1] * count
    assert (
        sorted(int(i) for ids in each for i in ids) == resolve(f"{name}:{count}", tokens, popularity, seed=7).tolist()
    )


def test_one_of_several_is_counted_from_where_its_selector_starts():
    """By popularity: 7, i1, i10, then 12 and i2."""
    assert [named(resolve(value)) for value in each_target("stratified:5")] == [{"7"}, {"i1"}, {"i10"}, {"12"}, {"i2"}]
    assert named(resolve("least_popular:3:2")) == {"i1"}
    assert named(resolve("popular:3:1")) == {"i2"}


def test_each_token_is_a_target_and_one_of_several_stays_what_it_is():
    assert each_target("[012, 'a, b', 012]") == [["012"], ["a, b"]]
    assert each_target(7) == [["7"]]
    assert each_target(["popular:5"]) == [["popular:5"]]
    assert each_target("stratified:5:2") == ["stratified:5:2"]
    with pytest.raises(ConfigError, match="did you mean 'popular'"):
        each_target("populer:3")


@pytest.mark.parametrize(("items", "count"), [(1, 1), (5, 2), (7, 3), (9, 1), (9, 4), (9, 9)])
def test_strata_are_equal_parts_of_the_popularity_ranking(items, count):
    """Three hundred draws leave out one of nine items once in 10^14 times."""
    rng, ranking = np.random.default_rng(1), np.arange(items) + 20
    drawn = [
        set(stratum) for stratum in zip(*(random_stratified(ranking, count, rng) for _ in range(300)), strict=True)
    ]
    assert [item for stratum in drawn for item in sorted(stratum)] == ranking.tolist()
    sizes = [len(stratum) for stratum in drawn]
    assert max(sizes) - min(sizes) <= 1


def test_examples():
    failed, tried = doctest.testmod(targets)
    assert failed == 0 < tried
