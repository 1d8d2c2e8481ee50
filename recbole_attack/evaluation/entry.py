"""An evaluation's result as it is kept, submitted and checked: what was evaluated, its figures, and its flags.

The same mapping stands in ``evaluation.json``, with every case beside it, and in ``entry.yaml``, with what its author
has to say. ``store`` is a hash of the arms it was made from, as the store has them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from math import isclose
from pathlib import Path
from typing import Any

from recbole_attack import __version__
from recbole_attack.benchmark import Plan, Store, make_plan
from recbole_attack.benchmark.plan import Cell
from recbole_attack.config.own_code import own_code
from recbole_attack.config.registered import REGISTERED_CODE
from recbole_attack.evaluation.cases import Subject, cases_of, read_subject, rows_of
from recbole_attack.evaluation.ensemble import Ensemble
from recbole_attack.evaluation.flags import FLAGS, blocking, flags
from recbole_attack.evaluation.score import figures, measured
from recbole_attack.evaluator.version import EVALUATOR_VERSION
from recbole_attack.utils.errors import ConfigError, DataError, lookup, shown
from recbole_attack.utils.files import plain
from recbole_attack.utils.shapes import misfit
from recbole_attack.utils.yaml_files import YamlLoader, load_yaml

ENTRY, EVALUATION = "entry.yaml", "evaluation.json"

PLACE = ("data_path", "gpu_id")
"""Of the setting, what says where runs were made and not what they are."""

_WORST = {"er@10": float, "low": (float, None), "high": (float, None), "cases": int, "won": {str: int}}
_FIGURES = {
    "boards": {str: {"worst": _WORST, "budgets": {str: {"worst": _WORST, "attacks": {str: float}}}}},
    **{key: {str: (float, None)} for key in ("mean", "clean", "cost")},
    "seconds a round": float,
}
SHAPE = {
    **{"kind": frozenset({"rule", "attack"}), "name": str, "?authors": str, "?link": str, "?remarks": str},
    **{"evaluation": {"name": str, "version": int, "sha256": str}, "evaluator": int, "package": str},
    **{"rule": {"aggregator": str}, "attack": dict, "setting": {"model": str, "dataset": str}, "plugins": {str: str}},
    **{"data": {str: str}, "figures": _FIGURES, "flags": {str: str}, "store": str},
}
"""The shape of an entry, see :mod:`recbole_attack.utils.shapes`."""


def result_of(ensemble: Ensemble, subject: Subject, store: Store, plan: Plan, plugins: Any = None) -> dict[str, Any]:
    """The result of an evaluation all of whose arms are kept, with its cases.

    Args:
        ensemble: What was tried.
        subject: On what.
        store: With all arms.
        plan: Of the evaluation's rows.
        plugins: Modules of parts from outside.
    """
    records, cases = store.records(plan.cells), cases_of(ensemble, subject)
    found = plain(figures(cases, records))
    config = plan.cells[0].config
    setting = {key: value for key, value in subject.setting.items() if key not in PLACE}
    result = {
        **{"kind": subject.kind, "name": subject.name, "evaluation": ensemble.about()},
        **{"evaluator": EVALUATOR_VERSION, "package": __version__},
        **{"rule": subject.rule, "attack": subject.attack},
        "setting": {"model": config["model"], "dataset": config["dataset"], **setting},
        "plugins": _parts_from_outside(plan),
        "data": next(iter(store.cells[key]["dataset"]["sha256"] for key in plan.arms)),
        "figures": found,
        "flags": flags(ensemble, subject, found, plugins),
        "store": store_hash(store, plan.cells),
        "cases": [
            {**each.case._asdict(), **each._asdict(), "case": each.case.row} for each in measured(cases, records)
        ],
    }
    return dict(plain(result))


def store_hash(store: Store, runs: Iterable[Cell]) -> str:
    """Of all that the arms of some runs ended with; times are no part of it."""
    keys = sorted({key for run in runs for key in run.arms.values()})
    text = "".join(json.dumps(plain(store.cells[key]), sort_keys=True) + "\n" for key in keys)
    return hashlib.sha256(text.encode()).hexdigest()


def read_entry(file: Path) -> dict[str, Any]:
    """An entry of a board.

    Raises:
        DataError: The file is missing, or no entry.
    """
    found = load_yaml(file, YamlLoader)
    wrong = misfit(found, SHAPE)
    if wrong:
        raise DataError(f"{file} is no entry of a board: expected {wrong}")
    places = [key for key in PLACE if key in found["setting"]]
    if places:
        known = "a setting that is the same on any machine"
        raise DataError(f"{file} is no entry of a board: expected {known}, found {shown(places[0])} in it")
    for name in found["flags"]:
        lookup(FLAGS, name, f"flag in {file}")
    for board, of in found["figures"]["boards"].items():
        cases = {"worst": of, **of["budgets"]}
        if not of["budgets"] or not all(each["worst"]["won"] for each in cases.values()):
            raise DataError(f"{file} is no entry of a board: expected budgets of board {shown(board)}, and who won")
        if not all(0 <= each["worst"]["er@10"] <= 1 for each in cases.values()):
            raise DataError(f"{file} is no entry of a board: expected er@10 of board {shown(board)} from 0 to 1")
        if not all(_is_share(ratio) for ratio in of["budgets"]):
            budgets = shown(list(of["budgets"]))
            raise DataError(
                f"{file} is no entry of a board: expected budgets that are shares of clients, found {budgets}"
            )
    return found


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def is_ranked(entry: Mapping[str, Any]) -> bool:
    """Whether no flag blocks its place."""
    return not blocking(entry["flags"])


def differences(
    entry: Mapping[str, Any], ensemble: Ensemble, folder: Path, plugins: Any = None, data_path: str | None = None
) -> list[str]:
    """What an entry says otherwise than its store and the code that is installed, a few words each.

    Args:
        entry: See :func:`read_entry`.
        ensemble: What it says was tried.
        folder: Its store.
        plugins: Modules of its parts from outside, imported.
        data_path: The folder of the datasets' folders.

    Raises:
        ConfigError: It asks for a part there is not.
        DataError: The store lacks runs, or the data is not there.
    """
    _check_there(entry["plugins"], plugins or ())
    place = {} if data_path is None else {"data_path": data_path}
    subject = read_subject({**entry["rule"], **entry["attack"], **entry["setting"], **place})
    plan = make_plan(rows_of(ensemble, subject, plugins))
    ours = {
        **{"evaluation": ensemble.about(), "evaluator": EVALUATOR_VERSION},
        "plugins": _parts_from_outside(plan),
        "data": next(iter(plan.arms.values())).data,
    }
    before = list(_unlike({key: entry[key] for key in ours}, ours))
    if before:  # the runs are of something else, and there is nothing to hold the figures against
        return before
    store = Store(folder)
    missing = plan.arms.keys() - store.cells.keys()
    if missing:
        raise DataError(
            f"{folder}: expected the {len(plan.arms)} arms of the entry, found {len(missing)} missing; the store they "
            "are in is named by --store=<folder>, and a default that changed since stands in the entry's rule"
        )
    result = result_of(ensemble, subject, store, plan, plugins)
    compared = ("kind", "name", "rule", "attack", "figures", "flags", "store")
    return list(_unlike({key: entry[key] for key in compared}, {key: result[key] for key in compared}))


def _check_there(named: Iterable[str], plugins: Iterable[str]) -> None:
    """That all parts from outside are there: of plug-ins, and those that none registers, named ``<folder>/<name>``."""
    modules = [name for name in named if "/" not in name]
    lacking = [name for name in modules if name not in plugins]
    if lacking:
        raise ConfigError(
            f"the entry has parts from outside: expected --plugins=<{', '.join(modules)}, as modules or .py files>, "
            f"found no {', '.join(lacking)}"
        )
    unknown = [name for name in named if "/" in name and name not in REGISTERED_CODE]
    if unknown:
        raise ConfigError(
            "the entry has parts of a script or notebook: expected them registered in this process, or an entry "
            f"that was made with --plugins=<file.py>, found no {', '.join(unknown)}"
        )


def _parts_from_outside(plan: Plan) -> dict[str, str]:
    """What :func:`~recbole_attack.config.own_code.own_code` says of all runs."""
    return {name: code for cell in plan.cells for name, code in own_code(cell.config).items()}


def _unlike(said: Any, found: Any, where: str = "") -> Iterable[str]:
    """Every value of two mappings that is not the same, with the way to it."""
    if isinstance(said, Mapping) and isinstance(found, Mapping):
        for key in dict.fromkeys([*said, *found]):
            way = f"{where} > {key}" if where else str(key)
            yield from _unlike(said.get(key), found.get(key), way)
    elif not _same(said, found):
        yield f"{where}: expected {_or_nothing(found)}, found {_or_nothing(said)}"


def _or_nothing(value: Any) -> Any:
    return "nothing" if value is None else value


def _same(said: Any, found: Any) -> bool:
    """Numbers up to what another version of NumPy may round otherwise; all else to the letter."""
    if isinstance(said, float) and isinstance(found, (int, float)):
        return isclose(said, found, rel_tol=1e-6, abs_tol=1e-9)
    return bool(said == found)
