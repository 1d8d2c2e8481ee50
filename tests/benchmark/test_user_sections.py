"""Intervals and comparisons over users on a page, against the functions they come from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from recbole_attack.benchmark import Store
from recbole_attack.benchmark.comparisons import holm
from recbole_attack.benchmark.sections import sections
from recbole_attack.benchmark.user_sections import interval_table, user_comparison_table
from recbole_attack.evaluator import Outcomes, read_outcomes, write_outcomes
from recbole_attack.report.experiment import About
from recbole_attack.utils.errors import ConfigError, DataError


@pytest.fixture
def records(planned, run):
    fixed = {"compare_clean": False, "malicious_ratio": 0.2, "epochs": 2}
    plan = planned(fixed=fixed, grid={"attack": ["ra", "eb"], "seed": [1, 2]})
    return Store(run(plan)).records()


def lines(table):
    return [dict(zip(table.head, line, strict=True)) for line in table.body]


def test_every_run_has_its_intervals(records):
    table = lines(interval_table(records, k=5))
    assert [(line["row"], line["seed"]) for line in table] == [
        *(("attack=ra", "1"), ("attack=ra", "2"), ("attack=eb", "1"), ("attack=eb", "2"))
    ]
    record = records["attack=ra"][0]
    hits = read_outcomes(record["outcomes"]["attacked"]).hits(5)
    low, high = proportion_confint(hits.sum(), len(hits), method="wilson")
    assert table[0]["hit@5, %"] == f"{100 * hits.mean():.2f} ({100 * low:.2f} to {100 * high:.2f})"
    assert table[0]["hit@5, %"].startswith(f"{100 * record['attacked']['test_result']['hit@5']:.2f} (")


def test_rows_are_compared_user_by_user(records):
    asked = [{"first": "attack=ra", "second": "attack=eb", "metrics": ["ndcg@5", "hit@10"], "over": "users"}]
    gain, hit = lines(user_comparison_table(records, asked))
    differences = [_difference(records, "gains", 5), _difference(records, "hits", 10)]
    adjusted = holm([stats.ttest_1samp(difference, 0).pvalue for difference in differences])
    for line, difference, p_value in zip((gain, hit), differences, adjusted, strict=True):
        assert (line["difference"], line["users"]) == (f"{difference.mean():+.4f}", str(len(difference)))
        assert line["seeds"] == "2"
        assert line["p (t, Holm)"] == (f"{p_value:.4f}" if np.isfinite(p_value) else "-")
    assert hit["metric"] == "hit@10"
    assert [table.title for table in sections(records, About(comparisons=asked, intervals={"k": 5}))] == [
        "Paired tests over users, first minus second; p adjusted for all of them",
        "95 % intervals over users: Wilson's for shares, bootstrap over users and targets for the rest",
    ]


def test_rows_are_compared_over_the_seeds_both_were_run_with(records):
    """A row of two seeds differs from itself with one of them by what seeds differ in, and that is no difference."""
    row = records["attack=ra"]
    asked = [{"first": "attack=ra", "second": "again", "metrics": ["ndcg@5"], "over": "users"}]
    (line,) = lines(user_comparison_table({"attack=ra": row, "again": row[:1]}, asked))
    assert (line["difference"], line["seeds"]) == ("+0.0000", "1")
    first, other = records["attack=ra"], records["attack=eb"][1:]
    asked = [{"first": "attack=ra", "second": "attack=eb", "metrics": ["ndcg@5"], "over": "users"}]
    (line,) = lines(user_comparison_table({"attack=ra": first, "attack=eb": other}, asked))
    expected = _difference({"attack=ra": first[1:], "attack=eb": other}, "gains", 5).mean()
    assert (line["difference"], line["seeds"]) == (f"{expected:+.4f}", "1")
    assert user_comparison_table({"attack=ra": first[:1], "attack=eb": other}, asked).body == []


def test_users_are_compared_over_the_seeds_that_tested_them_in_both_rows(tmp_path):
    """Rows that serve everybody alike, of which one did not test all of the users with one seed."""
    users = np.arange(1, 21)

    def of(row, seed, tested, rank):
        file = tmp_path / f"{row}-{seed}.npz"
        ranks = np.full(len(tested), rank)
        write_outcomes(file, Outcomes(tested, ranks, ranks[:, None], np.ones((len(tested), 1), dtype=bool)))
        return {"seed": seed, "attacked": {"test_result": {}}, "outcomes": {"attacked": str(file)}, "config": {}}

    records = {
        row: [of(row, 1, users[skipped:], rank=1), of(row, 2, users, rank=50)] for row, skipped in (("a", 0), ("b", 5))
    }
    asked = [{"first": "a", "second": "b", "metrics": ["hit@10"], "over": "users"}]
    (line,) = lines(user_comparison_table({**records, "b": records["b"][::-1]}, asked))
    assert (line["difference"], line["users"], line["p (t, Holm)"]) == ("+0.0000", "20", "-")


def _difference(records, what, k):
    """First row minus second, user by user, means over seeds."""
    first, second = (
        np.mean([getattr(read_outcomes(r["outcomes"]["attacked"]), what)(k) for r in seeds], axis=0)
        for seeds in records.values()
    )
    return first - second


def test_what_has_no_outcomes_is_left_out_or_refused(records):
    bare = {row: [{**record, "outcomes": {}} for record in seeds] for row, seeds in records.items()}
    assert interval_table(bare).body == []
    asked = {"first": "attack=ra", "second": "attack=eb", "over": "users"}
    with pytest.raises(DataError, match="row 'attack=ra' has no outcomes of users"):
        user_comparison_table(bare, [{**asked, "metrics": ["hit@10"]}])
    with pytest.raises(ConfigError, match="a comparison over users is of hit@k, ndcg@k or er@k: found 'invisibility'"):
        user_comparison_table(records, [{**asked, "metrics": ["invisibility"]}])
    with pytest.raises(ConfigError, match=r"unknown unit of a comparison 'user': .*did you mean 'users'"):
        sections(records, About(comparisons=[{**asked, "over": "user", "metrics": ["hit@10"]}]))
    assert user_comparison_table({}, [{**asked, "metrics": ["hit@10"]}]).body == []
