"""Stores: what is kept of an arm, whatever happens on the way; and the records of runs, against those of runs."""

from __future__ import annotations

import io
import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from recbole_attack import run_recbole_attack
from recbole_attack.benchmark import Store, lines, records
from recbole_attack.benchmark import store as stores
from recbole_attack.benchmark.grid import Row
from recbole_attack.benchmark.plan import make_plan
from recbole_attack.benchmark.store import writing
from recbole_attack.defense import DETECTORS
from recbole_attack.evaluator import read_outcomes
from recbole_attack.quick_start import TrainedArm
from recbole_attack.utils import files
from recbole_attack.utils.errors import DataError


def made_up(arm):
    """What an arm could end with, all of it told by its key."""
    value = int(arm.key[:6], 16) / 7
    results = {"best_valid_result": {"hit@10": value}, "test_result": {"hit@10": -value, "er@10": float("nan")}}
    others = {"test_result_full": None, "standard_error": {"hit@10": value}, "standard_error_full": None}
    others |= {"tested_epoch": 1, "uploads": None}
    record = {"version": "0", "dataset": {"sha256": arm.data}, "budget": {"attack": arm.parameters["attack"]}}
    history = [{"epoch": e, "train_loss": value / (e + 1)} for e in range(2)]
    timing = {"seconds": value, "epochs": [1.5, 2.5], "environment": {"torch": "0"}}
    return TrainedArm({**record, **results, **others}, history, timing, {"outcomes": arm.key.encode()})


@pytest.fixture
def plan(planned):
    return planned(grid={"attack": ["ra", "eb", "none"], "seed": [2, 1]})


def content(folder):
    """All files of a store but its lock."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.suffix}


def test_the_order_in_which_arms_end_leaves_no_trace(plan, tmp_path):
    arms = list(plan.arms.values())[:3]
    found = []
    for number, order in enumerate(permutations(arms)):
        with writing(tmp_path / str(number)) as store:
            store.begin(plan)
            for arm in order:
                store.add(arm, made_up(arm))
        found.append(content(store.folder))
    assert all(other == found[0] for other in found)
    keys = [json.loads(line)["key"] for line in found[0]["cells.jsonl"].splitlines()]
    assert keys == sorted(arm.key for arm in arms)
    assert found[0][f"outcomes/{keys[0]}.npz"] == keys[0].encode()
    assert b"seconds" not in found[0]["cells.jsonl"] + found[0]["histories.jsonl"]


class Died(BaseException):
    """What no code recovers from."""


def dying_at(fatal):
    """A way to write files that works until the call with this number."""
    original, calls = files.write_atomically, iter(range(1, 99))

    def write(path, fill):
        if next(calls) == fatal:
            raise Died
        original(path, fill)

    return write


@pytest.mark.parametrize("fatal", range(1, 5))
def test_a_writer_that_dies_between_any_two_files_loses_nothing_that_was_kept(plan, tmp_path, monkeypatch, fatal):
    first, second = list(plan.arms.values())[:2]
    with writing(tmp_path / "whole") as store:
        store.add(first, made_up(first))
        before = content(store.folder)
        store.add(second, made_up(second))
        whole = content(store.folder)
    with writing(tmp_path / "killed") as store:
        store.add(first, made_up(first))
        with monkeypatch.context() as patch, pytest.raises(Died):
            patch.setattr(files, "write_atomically", dying_at(fatal))
            store.add(second, made_up(second))
        assert content(store.folder)["cells.jsonl"] == before["cells.jsonl"]
    with writing(tmp_path / "killed") as store:
        assert set(store.cells) == {first.key} and set(store.timings) == {first.key}
        store.add(second, made_up(second))
        assert content(store.folder) == whole


def test_what_only_fails_is_remembered_until_it_does_not(plan, tmp_path):
    arm = next(iter(plan.arms.values()))
    with writing(tmp_path) as store:
        store.begin(plan)
        store.fail(arm, "TrainingError: diverged")
    assert Store(tmp_path).failures[arm.key]["error"] == "TrainingError: diverged"
    users = [cell for cell in plan.cells if arm.key in cell.arms.values()]
    more = f" (and {len(users) - 1} more)" if len(users) > 1 else ""
    named = f"{users[0].row}, seed {users[0].seed}, {arm.name}{more}"
    assert Store(tmp_path).failed() == {named: "TrainingError: diverged"}
    assert Store(tmp_path).cells == {}
    with writing(tmp_path) as store:
        store.add(arm, made_up(arm))
    assert Store(tmp_path).failures == {} and set(Store(tmp_path).cells) == {arm.key}


def test_runs_are_told_of_once_all_their_arms_are_kept(plan, tmp_path):
    with writing(tmp_path) as store:
        store.begin(plan)
        for arm in list(plan.arms.values())[:3]:  # of ra: clean and attacked with seed 2, clean with seed 1
            store.add(arm, made_up(arm))
    records = Store(tmp_path).records()
    assert {row: [record["seed"] for record in found] for row, found in records.items()} == {
        "attack=ra": [2],
        "attack=none": [1, 2],
    }
    record = records["attack=ra"][0]
    clean, attacked = (record[arm]["test_result"]["hit@10"] for arm in ("clean", "attacked"))
    assert record["delta"] == {"hit@10": attacked - clean, "er@10": None}
    assert [epoch["seconds"] for epoch in record["history"]["clean"]] == [1.5, 2.5]
    assert {arm: Path(path).read_text() for arm, path in record["outcomes"].items()} == plan.cells[0].arms


def test_what_another_evaluator_measured_is_never_read(plan, tmp_path, monkeypatch):
    arm = next(iter(plan.arms.values()))
    with writing(tmp_path) as store:
        store.add(arm, made_up(arm))
    monkeypatch.setattr(stores, "EVALUATOR_VERSION", 2)
    message = "expected cells of evaluator version 2, found some of version 1"
    with pytest.raises(DataError, match=message):
        Store(tmp_path)
    with pytest.raises(DataError, match=message), writing(tmp_path):
        pass


def test_two_grids_never_write_to_one_store(tmp_path):
    with writing(tmp_path / "store"), pytest.raises(DataError, match="is in use: expected that no other grid"):  # noqa: SIM117
        with writing(tmp_path / "store"):
            pass


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("cells.jsonl", lambda text: text[:-9], "cells.jsonl, line 2 is not valid JSON"),
        ("cells.jsonl", lambda text: text.replace('"arm"', '"amr"'), "line 1: expected 'arm' as a text, found none"),
        ("cells.jsonl", lambda text: "[]\n" + text, "line 1: expected it as a mapping, found a list"),
        ("histories.jsonl", lambda text: text.splitlines()[0], "expected a line for each cell, found none for "),
        ("timings.jsonl", lambda text: "", "timings.jsonl: expected a line for each cell, found none for "),
        ("rows.jsonl", lambda text: text.replace('"arms"', '"arm"'), "expected 'arms' as a mapping, found none"),
    ],
)
def test_a_damaged_store_is_refused(plan, tmp_path, name, damage, message):
    with writing(tmp_path) as store:
        store.begin(plan)
        for arm in list(plan.arms.values())[:2]:
            store.add(arm, made_up(arm))
    file = tmp_path / name
    file.write_text(damage(file.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Store(tmp_path)


@pytest.mark.parametrize("killed", [1, 2])
def test_what_is_beside_lost_cells_is_never_removed(plan, tmp_path, killed):
    """Of the arms whose cells are lost; a writer that is killed leaves those of one."""
    arms = list(plan.arms.values())[:3]
    with writing(tmp_path) as store:
        for arm in arms:
            store.add(arm, made_up(arm))
    lost = tmp_path / "cells.jsonl"
    kept = lost.read_text(encoding="utf-8").splitlines(keepends=True)[killed:]
    lost.write_text("".join(kept), encoding="utf-8")
    before = content(tmp_path)
    if killed == 1:
        with writing(tmp_path) as store:
            assert len(store.cells) == 2
        assert before.keys() - content(tmp_path).keys() == {f"outcomes/{min(arm.key for arm in arms)}.npz"}
        return
    for missing in (False, True):
        if missing:
            lost.unlink()
        before = content(tmp_path)
        with pytest.raises(DataError, match=r"cells.jsonl: expected a line for each arm of .*, found none"):  # noqa: SIM117
            with writing(tmp_path):
                pass
        assert content(tmp_path) == before


def test_a_folder_that_is_no_store_s_alone_keeps_all_that_others_put_there(plan, tmp_path):
    """Files that are named like a store's, too, and those of a killed writer are gone."""
    arm = next(iter(plan.arms.values()))
    others = ["work/thesis.txt", "features/embeddings.npz", f"features/{arm.key}.npz", "outcomes/mine.npz", ".my.lock"]
    others += ["deep/.cells.jsonl.lock", ".mine.0123abcd.tmp", "outcomes/.mine.npz.lock"]
    killed = [f"work/{arm.key}-x/last.pth", f"outcomes/{arm.key}.npz", ".cells.jsonl.0123abcd.tmp", ".rows.jsonl.lock"]
    killed += [f"outcomes/.{arm.key}.npz.lock", f"exposure/.{arm.key}.npz.0123abcd.tmp"]
    for name in others + killed:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    with writing(tmp_path) as store:
        assert not any((tmp_path / name).exists() for name in killed)
        store.add(arm, made_up(arm))
    assert all((tmp_path / name).is_file() for name in others)


@pytest.mark.parametrize("name", ["outcomes", "timings.jsonl"])
def test_any_file_beside_lost_cells_is_reason_to_refuse(plan, tmp_path, name):
    with writing(tmp_path) as store:
        for arm in list(plan.arms.values())[:2]:
            store.add(arm, made_up(arm))
    for other in {"cells.jsonl", "histories.jsonl", "timings.jsonl"} - {name}:
        (tmp_path / other).unlink()
    with pytest.raises(DataError, match=f"expected a line for each arm of {name}, found none for 2 of 2"):  # noqa: SIM117
        with writing(tmp_path):
            pass


@pytest.mark.parametrize("name", ["cells.jsonl", "histories.jsonl", "timings.jsonl", "rows.jsonl"])
def test_whatever_a_line_lacks_is_said_in_one_line(plan, tmp_path, name):
    """Every key of the first line in turn, and those of its parameters that are read."""
    with writing(tmp_path) as store:
        store.begin(plan)
        for arm in plan.arms.values():
            store.add(arm, made_up(arm))
    file = tmp_path / name
    first, *others = file.read_text(encoding="utf-8").splitlines(keepends=True)
    line = json.loads(first)
    inner = {"cells.jsonl": ("parameters", "seed"), "rows.jsonl": ("config", "scenario")}.get(name)
    for part, key in [*((None, key) for key in line), *([inner] if inner else [])]:
        damaged = {**line, part: {k: v for k, v in line[part].items() if k != key}} if part else dict(line)
        if part is None:
            del damaged[key]
        file.write_text("".join([json.dumps(damaged) + "\n", *others]), encoding="utf-8")
        with pytest.raises(DataError, match=f"{name}, line 1: expected .*{key}.*, or use another store") as raised:
            Store(tmp_path).records()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["histories.jsonl", "timings.jsonl"])
def test_epochs_without_their_times_are_never_read(plan, tmp_path, name):
    arm = next(iter(plan.arms.values()))
    with writing(tmp_path) as store:
        store.add(arm, made_up(arm))
    line = json.loads((tmp_path / name).read_text(encoding="utf-8"))
    (tmp_path / name).write_text(json.dumps({**line, "epochs": line["epochs"][:1]}), encoding="utf-8")
    with pytest.raises(DataError, match=f"expected the same epochs in .* found [12] and [12] for {arm.key}"):
        Store(tmp_path)


@pytest.mark.parametrize("name", ["cells.jsonl", "histories.jsonl", "timings.jsonl", "failures.jsonl"])
def test_two_lines_of_one_arm_are_alike_or_refused(plan, tmp_path, name):
    """As a merge of two branches may leave them."""
    arm, other = list(plan.arms.values())[:2]
    with writing(tmp_path) as store:
        store.add(arm, made_up(arm))
        store.fail(other, "it diverged")
    before = Store(tmp_path)
    file = tmp_path / name
    line = json.loads(file.read_text(encoding="utf-8"))
    lines.write_lines(file, [line, line])
    assert (Store(tmp_path).cells, Store(tmp_path).failures) == (before.cells, before.failures)
    changed = {"cells.jsonl": "tested_epoch", "histories.jsonl": "epochs", "timings.jsonl": "seconds"}
    key = changed.get(name, "error")
    values = {"tested_epoch": 0, "epochs": [{"epoch": 7}, {"epoch": 8}], "seconds": 0.5, "error": "another"}
    lines.write_lines(file, [line, {**line, key: values[key]}])
    with pytest.raises(DataError, match=f"{name}: expected one line for {line['key']}, found two that differ"):
        Store(tmp_path)


def test_bytes_that_are_no_text_are_said_with_their_line(plan, tmp_path):
    with writing(tmp_path) as store:
        for arm in list(plan.arms.values())[:2]:
            store.add(arm, made_up(arm))
    file = tmp_path / "timings.jsonl"
    file.write_bytes(file.read_bytes().replace(b"torch", b"t\xffrch"))
    with pytest.raises(DataError, match=r"timings.jsonl, line 1 is not valid JSON: .*; remove that line"):
        Store(tmp_path)


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"", lambda data: b"no archive"])
@pytest.mark.parametrize("kind", ["outcomes", "exposure"])
def test_arrays_that_are_damaged_are_never_read(tmp_path, kind, damage):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, counts=np.arange(99))
    (tmp_path / kind).mkdir()
    file = tmp_path / kind / "a.npz"
    file.write_bytes(damage(buffer.getvalue()))
    with pytest.raises(DataError, match=f"{file} holds no {kind}"):
        if kind == "outcomes":
            read_outcomes(file)
        else:
            records._arrays(file)


def test_lines_read_back_as_they_were_written(tmp_path):
    values = [{"key": "a", "text": "ä\u2028\x85 b\n"}, {"key": "b", "numbers": [1, 0.1, 1e-300]}]
    lines.write_lines(tmp_path / "x.jsonl", values)
    assert lines.read_lines(tmp_path / "x.jsonl", {"key": str}) == values
    assert lines.read_lines(tmp_path / "none.jsonl", {"key": str}) == []


OF_A_RUN = ("schema", "version", "config", "seed", "dataset", "budget", "clean", "attacked", "delta")


@pytest.mark.parametrize(
    "changes",
    [
        {"attack": "eb", "exposure_candidates": 20},
        {"attack": "none"},
        {"scenario": "pretrain", "attack": "pea", "three_steps": True, "platform": "fine_tune"},
    ],
    ids=["federated", "clean", "pretrain"],
)
def test_records_are_those_of_runs(small, pretrain, run, changes):
    parameters = (pretrain if "scenario" in changes else small)(epochs=1, **changes)
    (record,) = Store(run(make_plan([Row("a", parameters, None)]))).records()["a"]
    result = run_recbole_attack(config_dict=parameters)
    expected = json.loads(Path(result["result_file"]).read_text(encoding="utf-8"))
    expected["config"]["data_path"] = "dataset/"
    expected["config"]["show_progress"] = record["config"]["show_progress"]
    for key in (*OF_A_RUN, *(key for key in ("local", "detection") if key in expected)):
        assert json.loads(json.dumps(record[key])) == expected[key], key
    assert set(expected) - set(record) <= {"failed", "artefacts"}
    assert record["history"].keys() == expected["history"].keys() == record["timing"].keys()
    for arm, epochs in expected["history"].items():
        assert [{**epoch, "seconds": 0} for epoch in record["history"][arm]] == [{**e, "seconds": 0} for e in epochs]
    if "detection" in expected:
        assert expected["detection"] and np.isfinite(expected["detection"]["attacked"]["kmeans"]["f1"])


def test_arms_that_were_measured_differently_make_no_record(plan, tmp_path):
    with writing(tmp_path) as store:
        store.begin(plan)
        for arm in plan.arms.values():
            store.add(arm, made_up(arm))
    file = tmp_path / "cells.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('"er@10": null', '"er@5": null', 1), encoding="utf-8")
    with pytest.raises(DataError, match=r"cells\.jsonl: expected the same metrics of all arms .* in 'er@(5|10)'"):
        Store(tmp_path).records()


def test_a_row_without_arms_is_not_finished(plan, tmp_path):
    with writing(tmp_path) as store:
        store.begin(plan)
    file = tmp_path / "rows.jsonl"
    row = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    file.write_text(json.dumps({**row, "arms": {}}) + "\n", encoding="utf-8")
    store = Store(tmp_path)
    assert store.records() == {}
    assert store.unfinished() == {f"{row['row']}, seed {row['seed']}": "no arms"}


EVIDENCE = {"counts": np.arange(8).reshape(4, 2), "popularity": np.arange(4), "users": 5, "targets": np.array([1])}


@pytest.mark.parametrize(
    "change",
    [
        {"counts": np.arange(6).reshape(3, 2)},
        {"counts": np.arange(8) / 2},
        {"popularity": np.arange(8).reshape(4, 2)},
        {"users": 0},
        {"targets": np.array([4])},
        {"targets": np.array([0])},
        {"users": None},
        {"rows": np.zeros((4, 2))},
        {"rows": np.zeros((3, 2), dtype=np.float16)},
        {"rows": np.zeros((4, 0), dtype=np.float16)},
        {"rows": np.full((4, 2), np.inf, dtype=np.float16)},
        {"rows": np.zeros((4, 16385), dtype=np.float16)},
        {"pushes": np.zeros(5, dtype=np.float32)},
        {"pushes": np.zeros(4, dtype=np.float64)},
        {"pushes": np.full(4, -np.inf, dtype=np.float32)},
        {"lists": np.zeros((4, 2), dtype=np.int32)},
        {"lists": np.full((5, 2), 4, dtype=np.int32)},
        {"lists": np.full((5, 2), -1, dtype=np.int32)},
        {"lists": np.zeros((5, 1001), dtype=np.int32)},
        {"groups": np.zeros((5, 2))},
        {"groups": np.full((5, 2), -1, dtype=np.int32)},
        {"groups": np.zeros(5, dtype=np.int32)},
        {"groups": np.zeros((4, 1), dtype=np.int32)},
        {"groups": np.zeros((5, 1001), dtype=np.int32)},
    ],
    ids=lambda change: ", ".join(f"{name} {np.shape(values)}" for name, values in change.items()),
)
def test_exposure_of_another_catalogue_is_never_read(tmp_path, change):
    np.savez(tmp_path / "a.npz", **EVIDENCE)
    assert records._arrays(tmp_path / "a.npz").keys() == EVIDENCE.keys()
    np.savez(tmp_path / "a.npz", **{k: v for k, v in {**EVIDENCE, **change}.items() if v is not None})
    with pytest.raises(DataError, match=r"a\.npz holds no exposure: expected counts, .* of one catalogue, found"):
        records._arrays(tmp_path / "a.npz")


BESIDE = {
    "rows": np.ones((4, 3), dtype=np.float16),
    "pushes": np.array([np.nan, 1, 2, 3], dtype=np.float32),
    "lists": np.ones((5, 2), dtype=np.int32),
    "groups": np.ones((5, 2), dtype=np.int32),
}


def test_what_came_later_is_read_where_it_is(tmp_path):
    for names in ([], ["rows"], ["pushes", "lists"], [*BESIDE]):
        np.savez(tmp_path / "a.npz", **EVIDENCE, **{name: BESIDE[name] for name in names})
        assert records._arrays(tmp_path / "a.npz").keys() == {*EVIDENCE, *names}


@pytest.mark.parametrize(
    ("lacking", "arm", "left"),
    [
        ([*BESIDE], "attacked", []),
        ([*BESIDE], "local", []),
        (["pushes"], "local", ["spectral", "groups"]),
        (["rows", "lists"], "attacked", ["margin"]),
        (["groups"], "local", ["spectral", "margin"]),
        (["groups"], "attacked", ["spectral", "margin", "groups"]),
    ],
    ids=str,
)
def test_of_arms_that_were_stored_before_what_they_hold_is_judged(pretrain, run, lacking, arm, left):
    """And what is said of it is what was said."""
    store = Store(run(make_plan([Row("a", pretrain(epochs=1, attack="bra", compare_clean=False), None)])))
    (whole,) = store.records()["a"]
    assert set(whole["detection"]["attacked"]) == {*DETECTORS}
    (cell,) = store.rows
    file = store.folder / "exposure" / f"{cell.arms[arm]}.npz"
    with np.load(file) as arrays:
        kept = {name: arrays[name] for name in arrays if name not in lacking}
    np.savez_compressed(file, **kept)
    (record,) = Store(store.folder).records()["a"]
    assert set(record["detection"]["attacked"]) == {"kmeans", "excess_tail", *left}
    for name, quality in record["detection"]["attacked"].items():
        assert quality == whole["detection"]["attacked"][name]


def as_kept_without_arrays(store, arms, **beside):
    """The store as it is when arrays of some arms are left out, and what was found out stands in the attacked line."""
    (cell,) = store.rows
    (record,) = store.records()["a"]
    for arm in arms:
        (store.folder / "exposure" / f"{cell.arms[arm]}.npz").unlink()
    found = [json.loads(line) for line in (store.folder / "cells.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = {cell.arms["attacked"]: {"detection": record["detection"]["attacked"], **beside}}
    lines.write_lines(store.folder / "cells.jsonl", ({**line, **kept.get(line["key"], {})} for line in found))
    return record["detection"]


def test_a_verdict_without_arrays_is_told_of_the_parameters_it_was_made_with_alone(pretrain, run):
    """The key of an arm leaves out those of detectors, whose verdicts are computed again where there are arrays."""
    parameters = pretrain(epochs=1, attack="bra", compare_clean=False)
    other = {"spectral_promoted": 0.3, "margin_index": 0.01, "group_least": 1}
    store = Store(run(make_plan([Row("a", parameters, None)])))
    changed = make_plan([Row("a", {**parameters, **other}, None)]).cells
    assert [cell.arms for cell in changed] == [cell.arms for cell in store.rows]
    recomputed = store.records(changed)["a"][0]["detection"]
    said = as_kept_without_arrays(store, ["local", "attacked"])
    assert recomputed != said
    kept = Store(store.folder)
    assert kept.records()["a"][0]["detection"] == said
    assert set(kept.records(changed)["a"][0]["detection"]["attacked"]) == {"kmeans", "excess_tail"}
    file = store.folder / "cells.jsonl"
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    lines.write_lines(file, ({**line, **({"detectors": other} if "detection" in line else {})} for line in found))
    assert Store(store.folder).records(changed)["a"][0]["detection"] == said, "made with these"
    assert set(Store(store.folder).records()["a"][0]["detection"]["attacked"]) == {"kmeans", "excess_tail"}


@pytest.mark.parametrize("gone", [["local"], ["attacked"]], ids=" ".join)
def test_a_verdict_counts_where_the_arrays_of_one_arm_are_missing(pretrain, run, gone):
    store = Store(run(make_plan([Row("a", pretrain(epochs=1, attack="bra", compare_clean=False), None)])))
    said = as_kept_without_arrays(store, gone)
    assert Store(store.folder).records()["a"][0]["detection"] == said


def test_what_arrays_say_wins_over_what_a_line_says(pretrain, run):
    store = Store(run(make_plan([Row("a", pretrain(epochs=1, attack="bra", compare_clean=False), None)])))
    said = as_kept_without_arrays(store, [])
    file = store.folder / "cells.jsonl"
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for line in found:
        for quality in line.get("detection", {}).values():
            quality["auroc"] = -1.0
    lines.write_lines(file, found)
    assert Store(store.folder).records()["a"][0]["detection"] == said


def test_lists_of_other_users_are_never_compared(pretrain, run):
    store = Store(run(make_plan([Row("a", pretrain(epochs=1, attack="bra", compare_clean=False), None)])))
    (cell,) = store.rows
    file = store.folder / "exposure" / f"{cell.arms['local']}.npz"
    with np.load(file) as arrays:
        kept = dict(arrays)
    fewer = {name: kept[name][1:] for name in ("lists", "groups")}
    np.savez_compressed(file, **{**kept, **fewer, "users": kept["users"] - 1})
    with pytest.raises(DataError, match=r"expected arms of one catalogue and the same users .* found lists of"):
        Store(store.folder).records()
