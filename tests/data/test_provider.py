"""Provider and platform users against rules written out per user."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recbole_attack.data import ProviderSplit, UserSequences, parse_platform_users, split_users
from recbole_attack.utils.errors import ConfigError, DataError

N_ITEMS = 30
HISTORIES = st.lists(st.lists(st.integers(1, N_ITEMS - 1), max_size=14), min_size=2, max_size=12).map(
    lambda h: [[], *h]
)
check = settings(derandomize=True, deadline=None)


def ragged(histories):
    items = np.array([i for history in histories for i in history], dtype=np.int32)
    return UserSequences(items, np.cumsum([0, *map(len, histories)]), N_ITEMS)


def divide(rule, histories, seed=0):
    return split_users(rule, ragged(histories), np.random.default_rng(seed))


def as_lists(sequences):
    return [sequences[user].tolist() for user in range(sequences.n_users)]


def both_have_users(histories, platform):
    active = sum(bool(h) for h in histories)
    return 0 < platform < active


@check
@given(HISTORIES, st.integers(1, 14))
def test_by_count(histories, limit):
    expected = [0 < len(h) < limit for h in histories]
    assume(both_have_users(histories, sum(expected)))
    split = divide(f"count<{limit}", histories)
    assert split.platform.tolist() == expected
    assert split.provider.tolist() == [len(h) >= limit for h in histories]
    assert as_lists(split.sequences) == histories


@check
@given(HISTORIES, st.integers(1, 99))
def test_by_quantile(histories, percent):
    active = [h for h in histories if h]
    count = round(percent / 100 * len(active))
    assume(both_have_users(histories, count))
    split = divide(f"quantile:{percent / 100}", histories)
    chosen = sorted(len(histories[u]) for u in np.flatnonzero(split.platform))
    others = sorted(len(histories[u]) for u in np.flatnonzero(split.provider))
    assert chosen == sorted(map(len, active))[:count]
    assert chosen[-1] <= others[0]
    assert as_lists(split.sequences) == histories


@check
@given(HISTORIES, st.integers(1, 99), st.none() | st.integers(1, 15))
def test_at_random(histories, percent, last):
    count = round(percent / 100 * sum(bool(h) for h in histories))
    assume(both_have_users(histories, count))
    split = divide(f"random:{percent / 100}" + (f":{last}" if last else ""), histories)
    assert split.platform.sum() == count
    expected = [h[-last:] if last and p else h for h, p in zip(histories, split.platform, strict=True)]
    assert as_lists(split.sequences) == expected


RULES = st.sampled_from(["count<6", "quantile:0.4", "random:0.3", "random:0.5:3"])


@check
@given(HISTORIES, RULES)
def test_parties_are_disjoint_and_complete(histories, rule):
    try:
        split = divide(rule, histories)
    except DataError as error:
        assert "need users: found" in str(error)
        return
    active = np.array([bool(h) for h in histories])
    assert not (split.provider & split.platform).any()
    assert ((split.provider | split.platform) == active).all()
    parts = [as_lists(split.sequences.only(users)) for users in (split.provider, split.platform)]
    whole = as_lists(split.sequences)
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    assert split.sizes() == {
        f"{party}_{what}": number
        for party, part in zip(("provider", "platform"), parts, strict=True)
        for what, number in (
            ("users", sum(map(bool, part))),
            ("interactions", sum(map(len, part))),
            ("items", len({item for history in part for item in history})),
        )
    }


def test_random_users_and_ties_follow_the_generator_and_reach_everyone():
    histories = [[], *([1, 2, 3] for _ in range(8))]
    for rule in ("random:0.25", "quantile:0.25"):
        draws = [tuple(np.flatnonzero(divide(rule, histories, seed).platform)) for seed in range(60)]
        assert draws == [tuple(np.flatnonzero(divide(rule, histories, seed).platform)) for seed in range(60)]
        assert {user for draw in draws for user in draw} == set(range(1, 9))
        assert {len(draw) for draw in draws} == {2}


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            None,
            10,
            "count",
            "count<",
            "count<-1",
            "count<1.5",
            "count>10",
            "counts<10",
            "quantile:0",
            "quantile:1",
        ),
        *("quantile:1.2", "quantile:0.0", "quantile:0.2:9", "random", "random:0.2:0", "random:0.2:-1", "random:2:9"),
        "random:0.2:9:1",
    ],
)
def test_what_is_no_rule_is_a_config_error(value):
    with pytest.raises(ConfigError, match="platform_users must be"):
        parse_platform_users(value)


def test_a_mistyped_rule_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'quantile'"):
        parse_platform_users("quantil:0.2")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("count<2", "3 of the provider and 0 of the platform"),
        ("count<9", "0 of the provider and 3"),
        ("random:0.1", "3 of the provider and 0"),
    ],
)
def test_a_party_without_users_is_a_data_error(rule, message):
    with pytest.raises(DataError, match=message):
        divide(rule, [[], [1, 2], [1, 2, 3], [4, 5, 6, 7]])


def test_shared_users_are_a_data_error():
    mask = np.array([False, True, True])
    with pytest.raises(DataError, match=r"must not share users: found 1 in both, e\.g\. 2"):
        ProviderSplit(mask, np.array([False, False, True]), ragged([[], [1], [2]]))
