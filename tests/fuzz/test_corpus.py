"""Inputs that are kept: each ends as it did when it was kept, in bounded time; the page says what they are answered."""

from __future__ import annotations

import json
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from recbole_attack.utils.errors import DataError

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"
KEPT = sorted(str(file.relative_to(FUZZ / "corpus")) for file in (FUZZ / "corpus").glob("*/*"))
READ = {
    *("arrays/outcomes", "arrays/stored", "atomic_files/digits", "atomic_files/mark", "atomic_files/plain"),
    *("checkpoints/pickle", "checkpoints/sealed", "command_lines/grid", "command_lines/report", "command_lines/run"),
    *("command_lines/show", "config_dicts/mapping", "config_dicts/plain", "configurations/filters"),
    *("configurations/plain", "configurations/pretrain", "data_notes/same", "datasets/three", "grids/lists"),
    *("entries/attack", "entries/rule"),
    *("grids/targets", "options/every", "options/platform_users", "options/prompt_fields", "options/target_group"),
    *("model_files/half", "model_files/recbole", "model_files/safetensors", "model_files/state_dict"),
    *("options/target_items", "options/topk", "options/user_inter_num_interval", "options/val_interval"),
    *("records/attacked", "records/clean", "records/federated", "records/pretrain", "stores/trained"),
    *("tables/table", "yaml_files/odd", "yaml_files/plain"),
}
"""Inputs with nothing wrong in them; all others are refused."""


@contextmanager
def within(seconds):
    def late(*_):
        raise TimeoutError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_input_is_read_or_refused_in_bounded_time(harness, name):
    run = harness(f"parsers.{name.split('/')[0]}").run
    with within(60):
        answer = run((FUZZ / "corpus" / name).read_bytes())
    assert (answer == "read") == (name in READ)
    assert answer == "read" or answer.startswith(("ConfigError: ", "DataError: "))


def test_every_fault_has_an_input_that_shows_it():
    faults = yaml.safe_load((FUZZ / "faults.yaml").read_text(encoding="utf-8"))
    shown = {f"{parser}/{name}" for parser, of in faults.items() for fault in of for name in fault["inputs"]}
    assert shown <= set(KEPT) - READ


def test_every_reader_has_inputs_and_figures():
    parsers = {file.stem for file in (FUZZ / "parsers").glob("[a-z]*.py")}
    campaign = json.loads((FUZZ / "campaign.json").read_text(encoding="utf-8"))
    assert parsers == {name.split("/")[0] for name in KEPT} == set(campaign)
    assert all(of["executions"] and not of["broken"] for of in campaign.values())


def test_the_page_holds_what_the_command_writes(harness):
    page = harness("page")
    text = page.PAGE.read_text(encoding="utf-8")
    for name, part in page.parts().items():
        assert f"<!-- {name} -->\n{part}<!-- end of {name} -->" in text, "python fuzz/page.py"


def test_bad_inputs_are_many_and_refused_but_for_odd_ones(harness):
    bad_inputs = harness("bad_inputs")
    rows = bad_inputs.table().splitlines()[2:]
    assert len(rows) == sum(map(len, bad_inputs.everything().values())) > 100
    assert sum(row.endswith("| read |") for row in rows) == 3


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda: {}["x"], "KeyError"),
        (lambda: open("made", "w").close(), "it did more than read"),
        (lambda: (_ for _ in ()).throw(DataError("x" * 9000)), None),
        (lambda: __import__("os").system("true"), "it did more than read"),
    ],
    ids=["another error", "writes", "a long message", "starts"],
)
def test_the_contract_notices(harness, tmp_path, read, words):
    outcome = harness("contract").outcome
    if words is None:
        assert outcome(read).startswith("DataError: xxx")
        return
    with pytest.raises((AssertionError, KeyError)) as raised:
        outcome(read)
    assert words in repr(raised.value)
