"""Records: what a report reads of them has to be there, and of its kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbole_attack.report.record import check_record
from recbole_attack.utils.errors import DataError

CORPUS = Path(__file__).resolve().parents[2] / "fuzz" / "corpus" / "records"
NEEDED = ["config", "config.seed", "config.scenario", "config.topk", "seed", "dataset.name", "dataset.users", "history"]
NEEDED += ["budget.target_items", "attacked.test_result"]
OF_SCENARIO = {
    "federated": ["config.aggregator", "config.clients_per_round", "budget.mode", "budget.malicious_share"],
    "pretrain": ["config.platform", "config.platform_users", "budget.target_group"],
}


@pytest.mark.parametrize("name", OF_SCENARIO)
def test_a_record_of_a_run_is_one_until_it_lacks_what_is_read(name):
    text = (CORPUS / name).read_text(encoding="utf-8")
    check_record(json.loads(text), "result.json")
    for lost in [*NEEDED, *OF_SCENARIO[name]]:
        record = json.loads(text)
        *path, last = lost.split(".")
        part = record
        for key in path:
            part = part[key]
        del part[last]
        with pytest.raises(DataError, match=rf"^result\.json is no record such as .*: expected '{lost}' as .* none$"):
            check_record(record, "result.json")


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("config", {"scenario": "federatd"}, "found 'federatd'; did you mean 'federated'"),
        ("attacked", {"test_result": {"er@10": "high"}}, "'attacked.test_result.er@10' as a number or nothing"),
        ("history", {"clean": [{"er@10": 0.1}]}, "'history.clean.0.epoch' as an integer"),
        ("seed", 10**400, "'seed' as an integer of 64 bits"),
    ],
)
def test_a_part_of_another_kind_is_named(part, value, words):
    record = json.loads((CORPUS / "federated").read_text(encoding="utf-8"))
    with pytest.raises(DataError, match=words):
        check_record({**record, part: value}, "result.json")
