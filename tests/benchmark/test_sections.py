"""Statistics on an experiment's page, against the functions and formulas they come from."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from recbole_attack.benchmark.sections import comparison_table, dose_table, sections, variance_table
from recbole_attack.report.experiment import About
from recbole_attack.utils.errors import ConfigError


def record(seed=1, attacked=None, share=None, **config):
    """With as many malicious clients as were asked for, if nothing else is said."""
    shared = {"scenario": "federated", "attack": "ra", "exposure_candidates": "full"}
    metrics = {"hit@10": 0.5, **(attacked or {})}
    return {
        "seed": seed,
        "config": {**shared, **config, "seed": seed},
        "budget": {"malicious_share": config.get("malicious_ratio", 0.05) if share is None else share},
        "history": {},
        "attacked": {"test_result": metrics},
    }


def lines(table):
    return [dict(zip(table.head, line, strict=True)) for line in table.body]


def test_rows_are_compared_seed_by_seed_and_adjusted_for_all_of_them():
    def seeds(values):
        return [record(seed, {"er@10": value}) for seed, value in values.items()]

    records = {
        "strong": seeds({2020: 0.9, 2021: 0.7, 2022: 0.8}),
        "weak": seeds({2022: 0.5, 2020: 0.5, 2021: 0.5, 2023: 0.0}),
        "weaker": seeds({2020: 0.4, 2021: 0.1, 2022: 0.4}),
    }
    asked = [
        {"first": "strong", "second": "weak", "metrics": ["er@10", "hit@10"]},
        {"first": "strong", "second": "weaker", "metrics": ["er@10"]},
        {"first": "strong", "second": "not run yet", "metrics": ["er@10"]},
    ]
    exposure, accuracy, other = lines(comparison_table(records, asked))
    difference = np.array([0.4, 0.2, 0.3])
    error = difference.std(ddof=1) / np.sqrt(3)
    t_975 = 4.302652729911275  # of two degrees of freedom
    adjusted = multipletests([0.035098, float(other["p"])], method="holm")[1]
    assert exposure == {
        **{"first": "strong", "second": "weak", "metric": "er@10", "difference": "+0.3000"},
        "95 % interval": f"{0.3 - t_975 * error:+.4f} to {0.3 + t_975 * error:+.4f}",
        "t": f"{0.3 / error:.4f}",
        "p": "0.0351",
        "p (Holm)": f"{adjusted[0]:.4f}",
        "d_z": f"{0.3 / difference.std(ddof=1):.4f}",
        "seeds": "3",
    }
    assert (accuracy["difference"], accuracy["t"], accuracy["p"], accuracy["p (Holm)"]) == ("+0.0000", "-", "-", "-")
    assert comparison_table(records, asked[-1:]).body == []
    with pytest.raises(ConfigError, match=r"unknown metric 'er@1O'.*did you mean 'er@10'"):
        comparison_table(records, [{"first": "strong", "second": "weak", "metrics": ["er@1O"]}])


def test_the_dose_is_that_of_each_group():
    rows = {}
    for attack, share, seed in product(("ra", "eb"), (0.001, 0.01), (1, 2)):
        value = 0.1 if share == 0.001 else {"ra": 0.9, "eb": 0.2}[attack]
        rows.setdefault(f"{attack}-{share}", []).append(
            record(seed, {"er@10": value}, attack=attack, malicious_ratio=share)
        )
    table = dose_table(rows, "er@10", ["attack", "scenario"])
    assert lines(table) == [
        {"attack": "ra", "malicious share": "0.32 % (0.1 to 1 %)", "seeds a share": "2"},
        {"attack": "eb", "malicious share": "above 1 % (at least 1 %)", "seeds a share": "2"},
    ]
    with pytest.raises(ConfigError, match=r"unknown parameter of a table 'atack': .*did you mean 'attack'"):
        dose_table(rows, "er@10", ["atack"])
    with pytest.raises(ConfigError, match="unknown metric of a table 'er@11'"):
        dose_table(rows, "er@11", ["attack"])


def test_a_dose_is_of_the_clients_that_were_malicious():
    """1 and 9 of 943 where 0.1 and 1 % were asked for: half way on the logarithm is at 3 of them."""
    rows = {
        str(ratio): [record(seed, {"er@10": value}, share=clients / 943, malicious_ratio=ratio) for seed in (1, 2)]
        for ratio, clients, value in ((0.001, 1, 0.1), (0.01, 9, 0.9))
    }
    assert lines(dose_table(rows, "er@10", ["attack"])) == [
        {"malicious share": "0.32 % (0.11 to 0.95 %)", "seeds a share": "2"}
    ]
    rows["0.0015"] = [record(1, {"er@10": 0.1}, share=1 / 943, malicious_ratio=0.0015)]
    with pytest.raises(ConfigError, match="dose: expected one row for each share of a group, found"):
        dose_table(rows, "er@10", ["attack"])


def test_rows_of_one_share_are_no_seeds_of_a_dose():
    rows = {
        rule: [record(1, {"er@10": value}, aggregator=rule, malicious_ratio=share)]
        for rule, value, share in (("mean", 0.9, 0.01), ("krum", 0.1, 0.01), ("sum", 0.0, 0.001))
    }
    with pytest.raises(ConfigError, match="dose: expected one row for each share of a group, found 'mean' and 'krum'"):
        dose_table(rows, "er@10", ["attack"])
    assert len(dose_table(rows, "er@10", ["aggregator"]).body) == 3


def test_a_dose_of_what_was_run_so_far_is_of_all_rows_or_none():
    def rows(*shares):
        return {str(share): [record(1, {"er@10": 0.5}, malicious_ratio=share)] for share in shares}

    assert lines(dose_table(rows(0.001, 0.01), "er@10", ["attack"])) == [
        {"malicious share": "0.1 %", "seeds a share": "1"}
    ]
    assert dose_table(rows(0.01), "er@10", ["attack"]).body == []


def test_variance_that_comes_from_one_source_is_said_to():
    rows = {}
    for attack, target, seed in product(("ra", "eb"), ("a", "b", "c"), (1, 2, 3)):
        value = {"a": 0.1, "b": 0.2, "c": 0.6}[target] if attack == "ra" else seed / 10
        rows.setdefault(f"{attack}-{target}", []).append(
            record(seed, {"er@10": value}, attack=attack, target_items=target)
        )
    by_target, by_seed = lines(variance_table(rows, "er@10", ["target_items", "seed"], ["attack"]))
    assert by_target["er@10, % (lowest to highest)"] == "30.00 (10.00 to 60.00)"
    for seeds in rows.values():
        for each in seeds:
            each["attacked"]["test_result"]["ndcg@10"] = each["attacked"]["test_result"]["er@10"]
    other = lines(variance_table(rows, "ndcg@10", ["target_items", "seed"], ["attack"]))[0]
    assert other["ndcg@10 (lowest to highest)"] == "0.3000 (0.1000 to 0.6000)", "no share"
    assert [by_target[name] for name in ("attack", "target_items", "seed", "residual", "runs")] == [
        *("ra", "100.0", "0.0", "0.0", "9")
    ]
    assert [by_seed[name] for name in ("attack", "target_items", "seed", "residual")] == ["eb", "0.0", "100.0", "0.0"]


def test_a_group_with_a_run_missing_is_left_out():
    rows = {
        target: [record(seed, {"er@10": seed / 10}, target_items=target) for seed in seeds]
        for target, seeds in (("a", (1, 2)), ("b", (1,)))
    }
    assert variance_table(rows, "er@10", ["target_items", "seed"]).body == []
    rows["b"].append(record(2, {"er@10": 0.5}, target_items="b"))
    assert len(variance_table(rows, "er@10", ["target_items", "seed"]).body) == 1
    assert variance_table(rows, "er@10", ["attack", "seed"]).body == [], "no row has another attack so far"
    with pytest.raises(ConfigError, match=r"unknown parameter of a table 'atack': .*did you mean 'attack'"):
        variance_table(rows, "er@10", ["atack", "seed"])


def test_a_variance_is_of_the_groups_that_were_run_far_enough():
    def group(share, target, *seeds):
        values = {"er@10": 0.1 + 0.2 * (target == "b")}
        return {f"{share}-{target}": [record(s, values, target_items=target, malicious_ratio=share) for s in seeds]}

    def found(*groups):
        rows = {row: seeds for part in groups for row, seeds in part.items()}
        table = variance_table(rows, "er@10", ["target_items", "seed"], ["malicious_ratio"])
        return [line.get("malicious_ratio", "all") for line in lines(table)]

    whole = [group(0.01, "a", 1, 2), group(0.01, "b", 1, 2)]
    assert found(*whole) == ["all"]
    assert found(group(0.01, "a", 1), group(0.01, "b", 1)) == [], "one seed so far"
    assert found(group(0.01, "a", 1, 2)) == [], "one target so far"
    assert found(*whole, group(0.05, "a", 1), group(0.05, "b", 1)) == ["0.01"]
    assert found(*whole, group(0.05, "a", 1, 2)) == ["0.01"]
    twice = {"again": group(0.05, "a", 1)["0.05-a"]}
    assert found(*whole, group(0.05, "a", 1, 2), group(0.05, "b", 1, 2), twice) == ["0.01"], "one run counted twice"


def test_only_what_is_asked_for_and_can_be_said_is_on_the_page():
    rows = {"a": [record(1, {"er@10": 0.1}), record(2, {"er@10": 0.3})]}
    assert sections(rows, About()) == []
    assert sections({}, About(dose={"metric": "er@10", "by": ["attack"]})) == []
    asked = About(comparisons=[{"first": "a", "second": "b", "metrics": ["er@10"]}])
    assert sections(rows, asked) == []
