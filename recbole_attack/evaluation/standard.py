"""The standard evaluation from its rows to its files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recbole_attack.benchmark import (
    Plan,
    Store,
    default_jobs,
    describe_plan,
    idle_in_all,
    idle_lines,
    make_plan,
    run_grid,
)
from recbole_attack.config.plugins import load_plugins
from recbole_attack.data import LEAVE_ONE_OUT_MODES
from recbole_attack.evaluation.cases import MEAN, Subject, read_subject, rows_of
from recbole_attack.evaluation.ensemble import Ensemble, read_ensemble
from recbole_attack.evaluation.entry import ENTRY, EVALUATION, result_of
from recbole_attack.evaluation.flags import nature_of
from recbole_attack.evaluation.texts import page, terminal
from recbole_attack.quick_start import train_arm
from recbole_attack.utils.errors import ConfigError, TrainingError
from recbole_attack.utils.files import digest_of, write_json, write_text, write_yaml
from recbole_attack.utils.yaml_files import load_yaml

TEMPLATE = {"authors": "", "link": "", "remarks": ""}
"""What the author of an entry says: who made it, where it is described, and what else there is to say."""


class Evaluation(NamedTuple):
    """What an evaluation came to.

    Attributes:
        record: The content of ``evaluation.json``: ``figures``, ``flags`` and ``cases`` among it.
        folder: The store, with ``evaluation.json``, ``evaluation.md`` and ``entry.yaml`` in it.
    """

    record: dict[str, Any]
    folder: Path

    def __str__(self) -> str:
        """The tables the command prints."""
        return terminal(self.record)


class Prepared(NamedTuple):
    """An evaluation before it is run.

    Attributes:
        ensemble: What is tried.
        subject: On what.
        plan: The arms it takes.
        folder: Its store.
        jobs: Arms that are trained at once.
        plugins: Modules of parts from outside.
    """

    ensemble: Ensemble
    subject: Subject
    plan: Plan
    folder: Path
    jobs: int
    plugins: Any

    @property
    def idle(self) -> dict[str, str]:
        """What was given and does nothing -> why."""
        given = {**self.subject.rule, **self.subject.attack}
        found = idle_in_all(row for name, row in self.plan.changed.items() if name != MEAN)
        return {key: reason for key, reason in found.items() if key in given}


def evaluate(
    version: str = "cheap",
    *,
    store: Path | str | None = None,
    jobs: int | None = None,
    plugins: Any = None,
    tell: Callable[[str], object] = lambda line: print(line, file=sys.stderr, flush=True),
    **parameters: Any,
) -> Evaluation:
    """Evaluate an aggregation rule by a fixed ensemble of attacks, or an attack under a rule.

    What was trained before is taken from the store; killed and called again, it goes on from there. Rules that are
    registered in this process, and not in a module that ``plugins`` names, ask for ``jobs=1``.

    Args:
        version: ``cheap``, ``standard`` or ``plus``, or a YAML file with parts of one's own.
        store: Its folder; ``saved/evaluate-<rule>-<version>`` by default.
        jobs: Arms that are trained at once, one a core by default.
        plugins: Modules or ``.py`` files of one's own, as the parameter of that name.
        tell: Is called with a line after every arm.
        **parameters: The rule: ``aggregator``, ``pre_aggregator``, ``client_defense``, ``per_item``, and what they
            read; how the server weighs and steps (``client_weighting``, ``learner``, ``learning_rate``,
            ``lr_decay_step``, ``lr_decay_gamma``); ``attack`` and what it reads, which is then tried in place of the
            ensemble; ``model``, ``dataset``, ``data_path``, ``use_gpu`` and ``gpu_id``.

    Returns:
        Figures and flags; its ``str`` is what the command prints.

    Raises:
        ConfigError: A parameter is not valid, or not one of these.
        DataError: A file is missing or damaged, or somebody else writes to the store.
        TrainingError: An arm failed; all others are kept.
    """
    return run_prepared(prepare(version, store, jobs, plugins, parameters), tell)


def prepare(version: str, store: Path | str | None, jobs: int | None, plugins: Any, parameters: Any) -> Prepared:
    """Find out what an evaluation takes; see :func:`evaluate`."""
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs must be an integer at least 1: found {jobs}")
    modules = load_plugins(plugins)
    ensemble, subject = read_ensemble(version), read_subject(parameters)
    plan = make_plan(rows_of(ensemble, subject, modules))
    _check_measured(plan.cells[0].config)
    nature_of(ensemble, subject, modules)  # what fails on updates made up should not fail after hours
    folder = Path(store) if store else Path("saved") / f"evaluate-{subject.slug}-{ensemble.name}"
    return Prepared(ensemble, subject, plan, folder, jobs or default_jobs(), modules)


def _check_measured(config: Mapping[str, Any]) -> None:
    """That a victim of one's own is measured as a score asks for, which would fail after everything is trained."""
    wanted, metrics = ("Hit", "NDCG", "ER"), {metric.lower() for metric in config["metrics"]}
    if not {metric.lower() for metric in wanted} <= metrics or 10 not in config["topk"]:
        found = f"{', '.join(config['metrics'])} at {', '.join(map(str, config['topk']))}"
        raise ConfigError(f"victim of an evaluation: expected metrics {', '.join(wanted)} at 10, found {found}")
    split = config["eval_args"]["split"]["LS"]
    if not all(LEAVE_ONE_OUT_MODES[split]):
        raise ConfigError(f"victim of an evaluation: expected a split with validation and test data, found {split}")


def described(of: Prepared) -> str:
    """What it would train, and about how long that takes."""
    return describe_plan(of.plan, Store(of.folder), of.jobs)


def run_prepared(of: Prepared, tell: Callable[[str], object]) -> Evaluation:
    """Train what is left, and write what comes of it; see :func:`evaluate`."""
    for line in idle_lines(of.idle):
        tell(f"warning: {line}")
    failed = run_grid(of.plan, of.folder, train_arm, of.jobs, tell=tell)
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(of.plan.arms)} arms failed, and a score of the others would flatter: {failed[0]}; "
            "the same call tries them again"
        )
    record = result_of(of.ensemble, of.subject, Store(of.folder), of.plan, of.plugins)
    write_json(of.folder / EVALUATION, record)
    write_text(of.folder / "evaluation.md", page(record))
    entry = {key: value for key, value in record.items() if key != "cases"}
    write_yaml(of.folder / ENTRY, {**_said(of.folder, entry), **entry})
    return Evaluation(record, of.folder)


def _said(folder: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What its author has said, if an entry of the same is there already; that of another one is put aside."""
    file, aside = folder / ENTRY, folder / _aside(entry)
    before = load_yaml(file) if file.is_file() else {}
    if before and _aside(before) != aside.name:
        file.replace(folder / _aside(before))
        before = load_yaml(aside) if aside.is_file() else {}
    return {key: before.get(key, empty) for key, empty in TEMPLATE.items()}


def _aside(entry: Mapping[str, Any]) -> str:
    """Where an entry lies while the store's is of something else."""
    return f"{Path(ENTRY).stem}-{digest_of([entry.get('kind'), entry.get('name')])[:8]}.yaml"
