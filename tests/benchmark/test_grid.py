"""Grids as they are written: what rows they hold, against literal readings, and what is refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack.benchmark.grid import MAX_RUNS, PARTS, default_store, read_grid
from recbole_attack.utils.errors import ConfigError, DataError

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
TABLES = sorted({path.parent for path in EXPERIMENTS.rglob("*-*.yaml")})


def write(folder, text, name="grid.yaml"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def runs(rows):
    """Every (parameters, seed), as text that can be counted."""
    return sorted(repr((sorted(row.parameters.items()), seed)) for row in rows for seed in row.seeds or (None,))


axis = st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True)


@given(a=axis, b=axis, seeds=axis, data=st.data())
def test_a_grid_is_every_combination_that_is_not_excluded(tmp_path_factory, a, b, seeds, data):
    axes = {"epochs": a, "eval_step": b, "seed": seeds}
    some = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in axes.items()})
    excluded = data.draw(st.lists(some.filter(bool), max_size=3))
    left = [
        dict(zip(axes, values, strict=True))
        for values in product(*axes.values())
        if not any(all(dict(zip(axes, values, strict=True))[k] == v for k, v in e.items()) for e in excluded)
    ]
    folder = tmp_path_factory.mktemp("grid")
    file = write(folder, yaml.safe_dump({"fixed": {"model": "SASRec"}, "grid": axes, "exclude": excluded}))
    if not left:
        with pytest.raises(ConfigError, match="expected at least one row, found none"):
            read_grid(file)
        return
    rows = read_grid(file)
    expected = [({"model": "SASRec", "epochs": c["epochs"], "eval_step": c["eval_step"]}, c["seed"]) for c in left]
    assert runs(rows) == sorted(repr((sorted(values.items()), seed)) for values, seed in expected)
    assert len({row.name for row in rows}) == len(rows)
    assert all(
        row.name == f"epochs={row.parameters['epochs']}, eval_step={row.parameters['eval_step']}" for row in rows
    )


def test_named_rows_come_after_the_combinations_and_win_over_what_is_fixed(tmp_path):
    file = write(
        tmp_path,
        """
        fixed: {dataset: tiny, epochs: 3}
        grid: {attack: [ra, eb], seed: [1, 2]}
        rows: {none: {attack: none}, long: {attack: ra, epochs: 9}}
        """,
    )
    rows = {row.name: row for row in read_grid(file)}
    assert list(rows) == ["attack=ra", "attack=eb", "none", "long"]
    assert rows["none"].parameters == {"dataset": "tiny", "epochs": 3, "attack": "none"}
    assert rows["long"].parameters == {"dataset": "tiny", "epochs": 9, "attack": "ra"}
    assert all(row.seeds == (1, 2) for row in rows.values())


def test_targets_one_at_a_time_are_one_more_list(tmp_path):
    each = write(tmp_path, "{targets_each: 'stratified:3', grid: {attack: [ra, eb]}}")
    targets = "[stratified:3:1, stratified:3:2, stratified:3:3]"
    lists = write(tmp_path, f"{{grid: {{attack: [ra, eb], target_items: {targets}}}}}", "lists.yaml")
    assert runs(read_grid(each)) == runs(read_grid(lists)) and len(runs(read_grid(each))) == 6
    tokens = read_grid(write(tmp_path, "{targets_each: [012, i7], fixed: {attack: ra}}"))
    assert [row.parameters["target_items"] for row in tokens] == [["012"], ["i7"]]
    assert [row.name for row in tokens] == ["target_items=[012]", "target_items=[i7]"]


def test_a_value_may_bring_parameters_that_go_with_it(tmp_path):
    file = write(
        tmp_path,
        """
        grid:
          attack: [ra, dvfsr, {attack: dvfsr, upload_search_gradient: True}]
          malicious_ratio: [0.1, 0.2]
        exclude:
          - {attack: dvfsr, malicious_ratio: 0.2}
        """,
    )
    assert [(row.name, row.parameters) for row in read_grid(file)] == [
        ("attack=ra, malicious_ratio=0.1", {"attack": "ra", "malicious_ratio": 0.1}),
        ("attack=ra, malicious_ratio=0.2", {"attack": "ra", "malicious_ratio": 0.2}),
        ("attack=dvfsr, malicious_ratio=0.1", {"attack": "dvfsr", "malicious_ratio": 0.1}),
        (
            "attack=dvfsr, upload_search_gradient=True, malicious_ratio=0.1",
            {"attack": "dvfsr", "upload_search_gradient": True, "malicious_ratio": 0.1},
        ),
    ]


def test_what_a_value_brings_may_be_a_list_or_a_mapping(tmp_path):
    file = write(
        tmp_path,
        """
        grid:
          attack: [ra, {attack: a_ra, client_detectors: {clone: 0.9}}, {attack: margin, tried_lengths: [1.0, 2]}]
          target_items: ['012', {target_items: 012, topk: [5, 10]}]
        """,
    )
    rows = [row.parameters for row in read_grid(file)]
    assert [row.get("client_detectors") for row in rows] == [None, None, {"clone": 0.9}, {"clone": 0.9}, None, None]
    assert [row.get("tried_lengths") for row in rows][4:] == [[1.0, 2], [1.0, 2]]
    assert [(row["target_items"], row.get("topk")) for row in rows[:2]] == [("012", None), ("012", [5, 10])]


def test_a_list_of_mappings_that_is_one_parameter_stays_one(tmp_path):
    values = [{"split": {"LS": "valid_and_test"}}, {"split": {"LS": "test_only"}}]
    file = write(tmp_path, yaml.safe_dump({"grid": {"eval_args": values}}))
    assert [row.parameters for row in read_grid(file)] == [{"eval_args": value} for value in values]


def test_a_folder_may_hold_its_rows_as_a_grid(tmp_path):
    file = write(tmp_path, "{fixed: {model: SASRec}, grid: {attack: [ra, eb]}}")
    write(tmp_path, "may_differ: [knowledge]", "table.yaml")
    assert read_grid(tmp_path) == read_grid(file)


def test_a_grid_of_seeds_alone_adds_no_row_to_the_named_ones(tmp_path):
    named = write(tmp_path, "{grid: {seed: [1, 2]}, rows: {a: {attack: ra}}}")
    assert [(row.name, row.seeds) for row in read_grid(named)] == [("a", (1, 2))]
    alone = write(tmp_path, "{fixed: {attack: ra}, grid: {seed: [1, 2]}}")
    assert [(row.name, row.parameters, row.seeds) for row in read_grid(alone)] == [("all", {"attack": "ra"}, (1, 2))]


def test_rows_that_are_files_share_their_seed(tmp_path):
    """They are rows of one table, whose seeds are one list."""
    for name, text in {"a": "{attack: ra}", "b": "{attack: eb}", "common": "{seed: 5}"}.items():
        write(tmp_path, text, f"{name}.yaml")
    assert [(row.parameters, row.seeds) for row in read_grid(tmp_path)] == [
        ({"attack": "ra"}, (5,)),
        ({"attack": "eb"}, (5,)),
    ]
    assert [row.seeds for row in read_grid(tmp_path, seeds=[7, 8, 7])] == [(7, 8)] * 2
    write(tmp_path, "{attack: eb, seed: 6}", "b.yaml")
    for seeds in (None, [7]):
        with pytest.raises(
            ConfigError, match=r"expected one seed for all rows, or --seeds .*: found 6 of 'b' and 5 of 'a'"
        ):
            read_grid(tmp_path, seeds)
    write(tmp_path, "{}", "common.yaml")
    with pytest.raises(ConfigError, match="found 6 of 'b' and None of 'a'"):
        read_grid(tmp_path)


@pytest.mark.parametrize("seed", ["[2020, 2021]", "1.5", "-1", "true", "{a: 1}"])
def test_a_seed_is_one_whole_number_wherever_it_stands(tmp_path, seed):
    for text in (f"{{fixed: {{attack: ra, seed: {seed}}}, rows: {{a: {{}}}}}}", f"{{grid: {{seed: [1, {seed}]}}}}"):
        with pytest.raises(ConfigError, match="seed must be an integer"):
            read_grid(write(tmp_path, text))
    folder = tmp_path / "rows"
    folder.mkdir()
    for name in "ab":
        write(folder, f"{{attack: ra, seed: {seed}}}", f"{name}.yaml")
    with pytest.raises(ConfigError, match="seed must be an integer"):
        read_grid(folder)


def test_seeds_come_from_the_caller_the_grid_what_is_fixed_or_the_defaults_in_this_order(tmp_path):
    both = write(tmp_path, "{grid: {attack: [ra], seed: [1, 2]}, rows: {a: {attack: eb}}}")
    assert {row.seeds for row in read_grid(both, seeds=[7, 8, 7])} == {(7, 8)}
    fixed = write(tmp_path, "{fixed: {seed: 5}, rows: {a: {attack: eb}}}", "fixed.yaml")
    assert [(row.seeds, row.parameters) for row in read_grid(fixed)] == [((5,), {"attack": "eb"})]
    none = write(tmp_path, "{rows: {a: {attack: eb}}}", "none.yaml")
    assert [row.seeds for row in read_grid(none)] == [None]


def test_changes_win_over_everything(tmp_path):
    file = write(tmp_path, "{fixed: {data_path: here}, rows: {a: {attack: eb}, b: {data_path: there}}}")
    assert {row.parameters["data_path"] for row in read_grid(file, changes={"data_path": "x"})} == {"x"}


def test_ids_are_the_text_they_are_written_as_in_every_part(tmp_path):
    file = write(
        tmp_path,
        """
        fixed: {dataset: 2020}
        grid: {target_items: [[012, 1e3], "popular:2"]}
        exclude: [{target_items: popular:2}]
        rows: {a: {target_items: [007], category_field: ~}}
        """,
    )
    one, named = read_grid(file)
    assert one.parameters == {"dataset": "2020", "target_items": ["012", "1e3"]}
    assert one.name == "target_items=[012, 1e3]"
    assert named.parameters == {"dataset": "2020", "target_items": ["007"], "category_field": None}


@pytest.mark.parametrize("table", TABLES, ids=lambda p: str(p.relative_to(EXPERIMENTS)))
def test_folders_of_rows_are_read_as_they_always_were(table):
    """Every row against a literal merge of all that stands above it."""
    above = [table.parent, table] if table.parent != EXPERIMENTS else [table]

    def read(file):
        return (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.is_file() else {}

    rows = {row.name: row.parameters for row in read_grid(table)}
    files = {file.stem: file for file in table.glob("*-*.yaml")}
    assert set(files) <= set(rows) <= {file.stem for file in table.glob("*.yaml")}
    for name, parameters in rows.items():
        own, expected = read(table / f"{name}.yaml"), {}
        for level in above:
            expected.update(read(level / "common.yaml"))
            expected.update(read(level / f"{own.get('model')}.yaml"))
        assert parameters == {**expected, **own}
    printed = [name for name in read(table / "paper.yaml") if name in rows]
    assert list(rows)[: len(printed)] == printed


def test_the_model_of_a_row_is_the_one_that_holds_wherever_it_stands(tmp_path):
    folder = tmp_path / "paper" / "table"
    folder.mkdir(parents=True)
    write(folder.parent, "{model: SASRec, epochs: 1, n_layers: 1}", "common.yaml")
    write(folder.parent, "{hidden_size: 8, n_layers: 2}", "SASRec.yaml")
    write(folder.parent, "{hidden_size: 16}", "BERT4Rec.yaml")
    write(folder, "{epochs: 2}", "common.yaml")
    write(folder, "{n_heads: 2, hidden_size: 4}", "GRU4Rec.yaml")
    own = {"a": {"attack": "ra"}, "b": {"model": "BERT4Rec"}, "c": {"model": "GRU4Rec", "epochs": 3}}
    expected = {
        "a": {"model": "SASRec", "epochs": 2, "n_layers": 2, "hidden_size": 8, "attack": "ra"},
        "b": {"model": "BERT4Rec", "epochs": 2, "n_layers": 1, "hidden_size": 16},
        "c": {"model": "GRU4Rec", "epochs": 3, "n_layers": 1, "n_heads": 2, "hidden_size": 4},
    }
    grid = write(folder, yaml.safe_dump({"rows": own}), "grid.yaml")
    assert {row.name: row.parameters for row in read_grid(folder)} == expected
    grid.unlink()
    for name, values in own.items():
        write(folder, yaml.safe_dump(values), f"{name}.yaml")
    assert {row.name: row.parameters for row in read_grid(folder)} == expected


def test_what_rows_of_a_grid_share_gives_way_to_what_the_grid_says(tmp_path):
    write(tmp_path, "{attack: none, epochs: 1, seed: 9}", "common.yaml")
    write(tmp_path, "{fixed: {epochs: 2}, grid: {attack: [ra, eb], seed: [1, 2]}}")
    rows = read_grid(tmp_path)
    assert [(row.name, row.parameters["attack"], row.parameters["epochs"], row.seeds) for row in rows] == [
        (f"attack={attack}", attack, 2, (1, 2)) for attack in ("ra", "eb")
    ]


@pytest.mark.parametrize(
    ("name", "beside", "message"),
    [
        ("Loud.yaml", "a.yaml", r"Loud.yaml would not be used: .* one of the rows' \(SASRec\)"),
        ("Loud.yaml", "grid.yaml", r"Loud.yaml would not be used: .* one of the rows' \(SASRec\)"),
        ("loud.yml", "a.yaml", "loud.yml would not be used: expected a name that ends in .yaml"),
        ("common.yml", "grid.yaml", "common.yml would not be used: expected a name that ends in .yaml"),
        ("loud.YAML", "a.yaml", "loud.YAML would not be used: expected a name that ends in .yaml"),
        ("loud.yaml", "grid.yaml", "expected grid.yaml or files of rows, found both, such as loud.yaml"),
    ],
)
def test_no_file_of_a_folder_is_passed_over(tmp_path, name, beside, message):
    write(tmp_path, "{rows: {a: {model: SASRec}}}" if beside == "grid.yaml" else "{model: SASRec}", beside)
    assert [row.name for row in read_grid(tmp_path)] == ["a"]
    write(tmp_path, "{model: SASRec, attack: a_ra}", name)
    with pytest.raises(ConfigError, match=message):
        read_grid(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{gird: {attack: [ra]}}", "unknown part of a grid 'gird': expected one of .*; did you mean 'grid'"),
        ("{grid: {attack: ra}}", r"grid: attack must be a list of values, such as \['ra'\]: found 'ra'"),
        ("{grid: {attack: []}}", "grid: attack must be a list of values"),
        ("{grid: {attack: [ra, ra]}}", "grid: attack must list every value once"),
        ("{grid: {norm_budget: [0.5, '0.5']}}", "grid: norm_budget must list every value once"),
        ("{grid: {malicious_ratio: [1, 1.0]}}", "grid: malicious_ratio must list every value once"),
        ("{grid: {topk: [10, [10]]}}", "grid: topk must list every value once"),
        ("{grid: {target_items: [i2, [i2]]}}", "grid: target_items must list every value once"),
        ("{fixed: {attack: ra}, grid: {attack: [ra]}}", "grid: attack is given twice"),
        ("{fixed: [a], grid: {attack: [ra]}}", "fixed must hold 'key: value' lines"),
        ("{rows: [a]}", "rows must hold 'key: value' lines"),
        ("{rows: {a: ra}}", "row 'a' must hold 'key: value' lines: found 'ra'"),
        ("{rows: {a: {seed: 3}}}", "row 'a': expected its seeds under grid, found seed 3"),
        ("{rows: {attack=ra: {}}, grid: {attack: [ra]}}", "rows: expected names of their own, found 'attack=ra'"),
        ("{rows: {' ': {attack: ra}}}", "rows: expected a name for every row, found ' '"),
        ("{targets_each: stratfied:3}", "targets_each: unknown target selector.*did you mean 'stratified'"),
        (
            "{targets_each: popular:2, grid: {target_items: [a]}}",
            "targets_each: expected no target_items beside it",
        ),
        (
            "{grid: {attack: [ra, {attack: ra, norm_budget: 0.5}], norm_budget: [0.4]}}",
            "grid: norm_budget is given twice: found it as a list and beside a value of attack",
        ),
        ("{grid: {attack: [ra]}, exclude: {attack: ra}}", "exclude must be a list of combinations"),
        ("{grid: {attack: [ra]}, exclude: [ra]}", "a combination of exclude must hold 'key: value' lines"),
        ("{grid: {attack: [ra]}, exclude: [{}]}", "expected combinations of at least one parameter"),
        (
            "{grid: {attack: [ra]}, exclude: [{atack: ra}]}",
            "unknown parameter in exclude 'atack'.*did you mean 'attack'",
        ),
        (
            "{grid: {attack: [ra, eb]}, exclude: [{attack: ebb}]}",
            r"must be one of \['ra', 'eb'\]: found 'ebb'; did you mean 'eb'",
        ),
    ],
)
def test_a_mistake_costs_one_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as raised:
        read_grid(write(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_what_is_not_there_or_empty_is_refused(tmp_path):
    write(tmp_path, "{}", "grid.yaml")
    with pytest.raises(DataError, match=r"gird.yaml not found: expected .*; did you mean 'grid.yaml'"):
        read_grid(tmp_path / "gird.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="expected at least one row, found none"):
        read_grid(tmp_path / "empty")
    with pytest.raises(DataError, match="not valid YAML"):
        read_grid(write(tmp_path, "{fixed: [", "broken.yaml"))


def test_stores_of_grids_with_the_same_name_lie_apart(tmp_path):
    places = {default_store(tmp_path / folder / "table1") for folder in ("a", "b")}
    assert places == {Path("saved/a-table1"), Path("saved/b-table1")}
    assert default_store(tmp_path / "a" / "demo.yaml") == Path("saved/a-demo")
    for version in ("v1.2", "v1.3"):
        (tmp_path / "a" / version).mkdir(parents=True)
        assert default_store(tmp_path / "a" / version) == Path(f"saved/a-{version}")


@given(seeds=axis, own=st.lists(st.integers(1, 9), max_size=3, unique=True), excluded=st.integers(1, 9))
def test_an_exclusion_holds_for_the_seeds_of_the_caller_and_may_be_of_another(tmp_path_factory, seeds, own, excluded):
    parts = {"grid": {"attack": ["ra", "eb"], **({"seed": own} if own else {})}}
    parts["exclude"] = [{"attack": "ra", "seed": excluded}]
    file = write(tmp_path_factory.mktemp("grid"), yaml.safe_dump(parts))
    left = [seed for seed in seeds if seed != excluded]
    expected = [("attack=ra", tuple(left))] if left else []
    assert [(r.name, r.seeds) for r in read_grid(file, seeds)] == [*expected, ("attack=eb", tuple(seeds))]


def test_the_parts_are_all_explained():
    assert all(PARTS.values())


def test_a_list_and_a_name_that_reads_alike_are_rows_of_their_own(tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text("{grid: {target_items: [i2+i3, [i2, i3]], norm_budget: ['0.5', null]}}")
    rows = {row.name: row.parameters for row in read_grid(file)}
    assert list(rows) == [
        "target_items=i2+i3, norm_budget=0.5",
        "target_items=i2+i3, norm_budget=None",
        "target_items=[i2, i3], norm_budget=0.5",
        "target_items=[i2, i3], norm_budget=None",
    ]
    assert rows["target_items=[i2, i3], norm_budget=0.5"] == {"target_items": ["i2", "i3"], "norm_budget": 0.5}


@pytest.mark.parametrize(("lists", "count"), [(3, 22**3), (12, 22**12)])
def test_more_combinations_than_anybody_runs_are_refused_before_they_are_made(tmp_path, lists, count):
    file = tmp_path / "many.yaml"
    file.write_text(yaml.safe_dump({"grid": {f"k{n}": list(range(22)) for n in range(lists)}}), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"^grid: expected at most {MAX_RUNS} combinations, found {count}$"):
        read_grid(file)


def test_as_many_combinations_as_may_be_are_read(tmp_path):
    file = tmp_path / "most.yaml"
    file.write_text(yaml.safe_dump({"grid": {f"k{n}": list(range(10)) for n in range(4)}}), encoding="utf-8")
    assert len(read_grid(file)) == MAX_RUNS == 10**4


def test_more_targets_than_anybody_studies_one_at_a_time_are_refused(tmp_path):
    file = tmp_path / "each.yaml"
    file.write_text("targets_each: popular:10001\ngrid: {attack: [ra]}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="targets_each: expected at most 10000 targets one at a time, found 10001"):
        read_grid(file)
