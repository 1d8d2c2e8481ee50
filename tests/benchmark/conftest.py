"""Grids that take seconds."""

from __future__ import annotations

import pytest
import yaml

from recbole_attack.benchmark import make_plan, read_grid, run_grid
from recbole_attack.quick_start import train_arm


@pytest.fixture
def written(tmp_path, small):
    """``written(grid=..., rows=..., fixed=...)``: a grid's file on the tiny dataset."""

    def write(name="grid.yaml", fixed=None, **parts):
        file = tmp_path / name
        varied = parts.get("grid", {})
        shared = {key: value for key, value in small(**{"epochs": 1, **(fixed or {})}).items() if key not in varied}
        values = {"fixed": shared, **parts}
        file.write_text(yaml.safe_dump(values), encoding="utf-8")
        return file

    return write


@pytest.fixture
def planned(written):
    """``planned(...)``: the plan of such a grid."""
    return lambda **parts: make_plan(read_grid(written(**parts)))


@pytest.fixture
def run(tmp_path):
    """``run(plan, name)``: the folder of a store in which a plan was run, in this process."""

    def run(plan, name="store", train=train_arm, expected=0, **settings):
        failed = run_grid(plan, tmp_path / name, train, **{"jobs": 1, "tell": lambda line: None, **settings})
        assert len(failed) == expected, failed
        return tmp_path / name

    return run
