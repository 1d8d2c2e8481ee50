"""Run an experiment from Python: configuration in, tables and files out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from recbole_attack import __version__
from recbole_attack.config import AttackConfig
from recbole_attack.config.idle import without_effect
from recbole_attack.config.plugins import check_saved_plugins, plugin_hashes
from recbole_attack.config.reading import config_loader
from recbole_attack.evaluator.version import EVALUATOR_VERSION
from recbole_attack.experiment import ArmResult, Experiment, prepare
from recbole_attack.experiment.suspects import FLAGGED
from recbole_attack.quick_start.arm import comparison, environment
from recbole_attack.quick_start.result import Result
from recbole_attack.quick_start.run_folder import (
    LOG,
    RESULTS,
    check_same_data,
    continuable,
    run_folder,
    run_logging,
    saved_config,
)
from recbole_attack.report.pictures import plot_panels
from recbole_attack.report.run_table import result_table
from recbole_attack.report.words import history_panels
from recbole_attack.utils.checkpoints import load_checkpoint, load_weights
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError
from recbole_attack.utils.files import write_csv, write_json
from recbole_attack.utils.words import printable
from recbole_attack.utils.yaml_files import load_yaml

RESULT_SCHEMA = 1


def run_recbole_attack(
    model: Any = None,
    dataset: str | None = None,
    config_file_list: list[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
    resume: str | None = None,
    prepared: Callable[[AttackConfig], Experiment] | None = None,
) -> Result:
    """Train a victim, clean and attacked, and report what the attack did.

    Args:
        model: As RecBole's ``run_recbole``; default SASRec.
        dataset: Dataset name; default ml-100k.
        config_file_list: YAML files.
        config_dict: Parameters; win over files.
        saved: Write the run folder. Without it nothing is left behind, and the model of the last epoch is tested, as by
            RecBole, not that of the best one.
        resume: A run folder left by an interrupted run; no argument that configures may be given with it.
        prepared: What makes the experiment of the configuration, where it is not to be computed in this process.

    Returns:
        RecBole's ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and ``test_result`` of the
        attacked model (of the clean one if ``attack`` is ``none``), and ``clean``, ``attacked``, ``delta`` (attacked
        minus clean test metrics) and ``result_file``; those that do not apply are ``None``. The dict is a
        :class:`~recbole_attack.quick_start.result.Result`, with ``table()`` and ``history()`` as data frames.

    Raises:
        ConfigError: A parameter is not valid; nothing was written.
        DataError: A file, field or token is missing, no run folder was made; or the run to resume was trained on other
            data, is damaged, or runs in another process.
        TrainingError: An arm diverged; ``result.json`` holds the arms before it, and which one failed and why.
    """
    given = (model, dataset, config_file_list, config_dict)
    if resume is not None and any(given):
        raise ConfigError("resume continues a run as it was configured: expected no other argument")
    config = AttackConfig(*given) if resume is None else resumed_config(resume)
    experiment = (prepared or prepare)(config)
    data = experiment.describe_data()
    with (
        _wandb_run(config),
        run_folder(config, saved, resume) as folder,
        run_logging(config, folder / LOG if saved else None) as logger,
        continuable(folder, saved, bool(config["plugins"])),
    ):
        _announce(logger, experiment, folder if saved else None, resume is not None)
        result = _run(experiment, data, folder, saved)
        _tell_folder(logger, folder if saved else None)
    return result


def _run(experiment: Experiment, data: Mapping[str, Any], folder: Path, saved: bool) -> Result:
    """Train the arms and report on them."""
    if saved:
        code = plugin_hashes(experiment.config["plugins"] or ())
        check_same_data(folder / "dataset.json", {**data, **({"plugins": code} if code else {})})
    arms, failed = _train(experiment, folder, saved)
    found = experiment.findings(arms)
    for name, table in found.suspects.items() if saved else ():
        write_csv(folder / name / FLAGGED, *table)
    record = {**_record(experiment, data, arms, found.record), "failed": failed}
    file = _write_record(folder, record) if saved else None
    if failed:
        where = f"; {file} holds what came before it" if file else ""
        raise TrainingError(f"arm '{failed['arm']}': {failed['reason']}{where}")
    log_table(result_table(record))
    values = {**_recbole_result(experiment.config, arms), **_comparison(arms), "result_file": file}
    return Result(values, record)


def resumed_config(folder: str) -> AttackConfig:
    """The configuration of the run in ``folder``.

    Raises:
        ConfigError: It needs a plug-in that is not installed or imported.
        DataError: The folder is not that of a run.
    """
    file = saved_config(Path(folder))
    check_saved_plugins(load_yaml(file, config_loader()).get("plugins"), folder)
    return AttackConfig(config_file_list=[str(file)])


def objective_function(
    config_dict: Mapping[str, Any] | None = None, config_file_list: list[str] | None = None, saved: bool = True
) -> dict[str, Any]:
    """One trial for RecBole's ``HyperTuning``: trains the configured arm only and logs nothing.

    Args:
        config_dict: Parameters of the trial.
        config_file_list: YAML files.
        saved: Write checkpoints below ``checkpoint_dir``. Without them the model of the last epoch is tested, not that
            of the best one.

    Returns:
        RecBole's four result keys and ``model``.
    """
    config = AttackConfig(config_dict=config_dict, config_file_list=config_file_list)
    with _wandb_run(config), run_folder(config, saved, None) as folder:
        name, run = list(prepare(config.replace(show_progress=False)).arms().items())[-1]
        outcome = run(folder / "trial", saved, verbose=False)
    return {"model": config["model"], **_recbole_result(config, {name: outcome})}


def load_data_and_model(model_file: str) -> tuple[Any, ...]:
    """Load a checkpoint of this package with its data, as RecBole's function of this name does.

    Args:
        model_file: ``<run folder>/<arm>/<model>.pth``; ``<run folder>/<arm>/<stage>/<model>.pth`` in the scenario
            ``pretrain``, whose ``train_data`` is the platform's, as the other two are.

    Returns:
        config, model, dataset, train_data, valid_data, test_data.

    Raises:
        ConfigError: A parameter is not valid here; it was made with a plug-in that is not installed or imported, which
            is never imported from a path the checkpoint names (see :mod:`recbole_attack.config.plugins`).
        DataError: The file is missing or damaged, was not written by this package, or could carry code.
    """
    checkpoint = load_checkpoint(Path(model_file))
    if not isinstance(checkpoint.get("config"), dict):
        raise DataError(f"{model_file} holds no configuration: expected a checkpoint written by recbole_attack")
    check_saved_plugins(checkpoint["config"].get("plugins"), model_file)
    config = AttackConfig(config_dict=checkpoint["config"])
    experiment = prepare(config)
    model = experiment.model(config)
    load_weights(model, checkpoint, model_file)
    data = (experiment.training_data(config), experiment.valid_data, experiment.test_data)
    return config, model, experiment.dataset, *data


def _train(experiment: Experiment, folder: Path, saved: bool) -> tuple[dict[str, ArmResult], dict[str, str] | None]:
    """The arms up to the first that diverges, and that one's name and the reason, if there is one.

    What is logged meanwhile goes above their progress bars.
    """
    arms: dict[str, ArmResult] = {}
    with logging_redirect_tqdm(tqdm_class=tqdm):
        for name, run in experiment.arms().items():
            try:
                arms[name] = run(folder / name, saved)
            except TrainingError as error:
                return arms, {"arm": name, "reason": str(error)}
    return arms, None


def _recbole_result(config: AttackConfig, arms: Mapping[str, ArmResult]) -> dict[str, Any]:
    """What RecBole's ``run_recbole`` returns, for the last arm: the attacked one if there is one."""
    main = arms[list(arms)[-1]]
    return {
        "best_valid_score": main.best_valid_score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": main.best_valid_result,
        "test_result": main.test_result,
    }


def _comparison(arms: Mapping[str, ArmResult]) -> dict[str, Any]:
    return comparison({name: arm.report() for name, arm in arms.items()})


def _record(
    experiment: Experiment, data: Mapping[str, Any], arms: Mapping[str, ArmResult], findings: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of ``result.json``."""
    config = experiment.config
    return {
        "schema": RESULT_SCHEMA,
        "version": __version__,
        "evaluator": EVALUATOR_VERSION,
        "config": config.to_dict(),
        "seed": config["seed"],
        "dataset": data,
        "budget": experiment.describe_threat(),
        **_comparison(arms),
        **findings,
        "history": {name: arm.history for name, arm in arms.items()},
        "timing": {name: arm.seconds for name, arm in arms.items()},
        "environment": environment(config),
    }


def _write_record(folder: Path, record: Mapping[str, Any]) -> str:
    """Draw the history, and write ``result.json`` with a list of the run's files, relative to its folder."""
    panels = history_panels(record)
    if panels:
        plot_panels(panels, "epoch", folder / "history.png")
    kinds = ("*.png", "*.yaml", "*.pth", "*.csv", "*.npz", "*.inter", "dataset.json", LOG, "tensorboard")
    artefacts = sorted(str(file.relative_to(folder)) for kind in kinds for file in folder.rglob(kind))
    write_json(folder / "result.json", {**record, "artefacts": artefacts})
    return str(folder / "result.json")


def _announce(logger: logging.Logger, experiment: Experiment, folder: Path | None, resumed: bool) -> None:
    config = experiment.config
    changed = {key: value for key, value in config.changed().items() if key not in ("model", "dataset")}
    others = ", ".join(f"{key}: {value}" for key, value in changed.items()) or "none"
    every = f" (all parameters: {folder / 'config.yaml'})" if folder else ""
    logger.info(f"{config['model']} on {config['dataset']}; other than the defaults: {others}{every}")
    logger.info(experiment.dataset)
    for key, reason in without_effect(config).items():
        logger.warning(f"{key} has no effect: {reason}; found {config[key]!r}")
    asked = config.external_config_dict.get("use_gpu") and not resumed  # a run's parameters do not say who gave them
    if asked and config["device"].type == "cpu":
        logger.warning(f"use_gpu found no GPU (gpu_id '{config['gpu_id']}'): all of it is computed on the CPU")
    logger.info(printable(f"target items: {', '.join(experiment.describe_threat()['target_items'])}"))
    _tell_folder(logger, folder)


def _tell_folder(logger: logging.Logger, folder: Path | None) -> None:
    if folder:
        logger.info(f"run folder: {folder}")


def log_table(table: str) -> None:
    """Log the table of a run, as :data:`~recbole_attack.quick_start.run_folder.RESULTS` says."""
    RESULTS.info("\n" + table, extra={"table": table})


@contextmanager
def _wandb_run(config: AttackConfig) -> Iterator[None]:
    """A W&B run until the end of the block; the caller's own if one is active, none unless ``log_wandb``."""
    if not config["log_wandb"]:
        yield
        return
    import wandb

    with nullcontext() if wandb.run else wandb.init(project=config["wandb_project"], config=config.to_dict()):
        yield
