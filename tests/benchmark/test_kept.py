"""Which runs of a grid a store holds, whatever it was trained for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recbole_attack.benchmark import Store, kept_runs, make_plan, plan, read_grid, runs_of
from recbole_attack.benchmark.grid import Row
from recbole_attack.benchmark.store import writing
from recbole_attack.utils.errors import ConfigError, DataError


def test_runs_are_those_of_the_plan_that_was_run_with_the_seeds_a_row_names_or_else_with_every_seed(
    planned, written, run
):
    grid = {"attack": ["ra", "none"], "seed": [2, 1]}
    plan = planned(grid=grid)
    store = Store(run(plan))
    for seeds, kept in {(2,): [2], (7, 1): [1], (7,): []}.items():
        rows = read_grid(written(grid=grid), seeds=seeds)
        assert [(cell.row, cell.seed) for cell in kept_runs(rows, store.cells)] == [
            (row, seed) for row in ("attack=ra", "attack=none") for seed in kept
        ]
        assert [cell.seed for cell in runs_of(rows, store.cells)] == 2 * sorted(seeds), "what is asked for besides"
    found = kept_runs(read_grid(written(grid={"attack": ["ra", "none"]})), store.cells)
    assert found == sorted(plan.cells, key=lambda cell: (cell.row != "attack=ra", cell.seed))
    assert store.records(found).keys() == {"attack=ra", "attack=none"}
    assert store.records(found) == store.records()


def test_the_data_need_not_be_there_any_more(written, run, tmp_path):
    rows = read_grid(written(grid={"attack": ["ra"]}))
    gone = [Row(row.name, {**row.parameters, "data_path": str(tmp_path / "gone")}, None) for row in rows]
    store = Store(run(make_plan(rows)))
    assert [cell.arms for cell in kept_runs(gone, store.cells)] == [cell.arms for cell in make_plan(rows).cells]


def test_another_name_is_the_same_run_and_other_parameters_are_none(written, planned, run):
    store = Store(run(planned(rows={"a": {"attack": "ra"}})))
    rows = read_grid(
        written(rows={"b": {"attack": "ra"}, "c": {"attack": "ra", "hidden_size": 4}, "d": {"attack": "eb"}})
    )
    assert [(cell.row, cell.seed) for cell in kept_runs(rows, store.cells)] == [("b", store.rows[0].seed)]


def test_a_run_counts_only_with_all_its_arms(planned, run):
    plan = planned(rows={"a": {"attack": "ra"}})
    store = Store(run(plan))
    rows = [Row("a", plan.cells[0].config, None)]
    assert len(kept_runs(rows, store.cells)) == 1
    for key in list(store.cells):
        assert kept_runs(rows, {k: cell for k, cell in store.cells.items() if k != key}) == []


def test_two_versions_of_the_data_are_never_one_row(planned, written, run, tmp_path):
    plan = planned(rows={"a": {"attack": "none"}})
    folder = run(plan)
    (arm,) = plan.arms.values()
    other = replace(arm, key="0" * 32)
    with writing(folder) as store:
        line = store.cells[arm.key]
        store.cells[other.key] = {**line, "key": other.key}
        cells = dict(store.cells)
    with pytest.raises(DataError, match=r"row 'a': seed \d+ was run on 2 versions of its dataset: expected one"):
        kept_runs(read_grid(written(rows={"a": {"attack": "none"}})), cells)


def test_a_row_that_is_not_valid_is_named(written):
    with pytest.raises(ConfigError, match=r"row 'a': .*did you mean 'dvfsr'"):
        kept_runs(read_grid(written(rows={"a": {"attack": "dvfrs"}})), {})


def test_runs_of_before_a_parameter_are_kept_where_it_has_its_neutral_value(planned, written, run, monkeypatch):
    rows = {"a": {"attack": "ra", "gradient_scale": 1.0}, "b": {"attack": "ra", "gradient_scale": 2.0}}
    store = Store(run(planned(rows=rows)))
    for cell in store.cells.values():
        assert cell["parameters"].pop("gradient_scale", 1.0) in (1.0, 2.0)
    only = {key: cell for key, cell in store.cells.items() if key in store.rows[0].arms.values()}
    assert kept_runs(read_grid(written(rows=rows)), only) == []
    monkeypatch.setitem(plan.NEUTRAL, "gradient_scale", 1.0)
    assert [cell.row for cell in kept_runs(read_grid(written(rows=rows)), only)] == ["a"]


@pytest.mark.parametrize("stale", ["clean", "attacked"])
def test_arms_of_different_data_are_never_one_run(planned, written, run, stale):
    """The clean arm as if it had been trained on other files than the attacked one, and the other way round."""
    rows = {"a": {"attack": "ra"}}
    plan = planned(rows=rows)
    cells = Store(run(plan)).cells
    key = plan.cells[0].arms[stale]
    elsewhere = {**cells, key: {**cells[key], "dataset": {**cells[key]["dataset"], "sha256": {"tiny.inter": "0"}}}}
    assert [run.arms for run in kept_runs(read_grid(written(rows=rows)), cells)] == [plan.cells[0].arms]
    with pytest.raises(DataError, match=r"row 'a': seed \d+ was run on 2 versions of its dataset: expected one") as e:
        kept_runs(read_grid(written(rows=rows)), elsewhere)
    assert all(key in str(e.value) for key in plan.cells[0].arms.values())
