"""The standard evaluation as it is written: attacks, boards, targets, seeds and the victim, fixed and versioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_attack.config.defaults import properties
from recbole_attack.utils.errors import ConfigError, DataError, did_you_mean, shown
from recbole_attack.utils.files import digest_of
from recbole_attack.utils.shapes import misfit
from recbole_attack.utils.yaml_files import YamlLoader, load_yaml

Parameters = dict[str, Any]

VERSIONS = ("cheap", "standard", "plus")
"""The ensembles of this package, by the name ``--version`` takes."""

_BOARD = {"norm_budget": (float, None), "malicious_ratio": [float], "targets": [str]}
_THRESHOLDS = {"weak_below": float, "starved_below": float, "masked_above": float, "minority_above": float}
_SHAPE = {
    **{"version": int, "victim": {"model": str, "dataset": str, "epochs": int}, "clean_targets": str},
    **{"seeds": [int], "one_seed_a_target": bool, "chosen": [str], "attacks": {str: {"attack": str}}},
    **{"data_only": [str], "boards": {str: _BOARD}, "thresholds": _THRESHOLDS, "references": {str: float}},
}


@dataclass(frozen=True)
class Board:
    """What attackers may do on one board.

    Attributes:
        norm_budget: Longest malicious update, as a quantile of the round's honest ones; ``None`` for any length.
        malicious_ratio: Malicious clients as shares of all.
        targets: Selectors of one target each.
    """

    norm_budget: float | None
    malicious_ratio: tuple[float, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Ensemble:
    """One version of the standard evaluation.

    Attributes:
        name: ``cheap``, ``standard``, ``plus``, or of a file of somebody's own.
        version: Number of its figures; those of different ones do not compare.
        sha256: Of all it says, comments aside.
        victim: Parameters of all runs.
        clean_targets: Whose exposure without an attack is measured.
        seeds: Of the runs.
        one_seed_a_target: Whether a board's targets take the seeds in turn; otherwise each is run with all of them.
        attacks: Name -> parameters, in the order they are shown.
        data_only: Those of them that change data and nothing else.
        boards: Name -> board.
        thresholds: From where on flags are raised.
        references: ``<model> on <dataset>`` -> clean hit@10 of central training.
    """

    name: str
    version: int
    sha256: str
    victim: Parameters
    clean_targets: str
    seeds: tuple[int, ...]
    one_seed_a_target: bool
    attacks: dict[str, Parameters]
    data_only: frozenset[str]
    boards: dict[str, Board]
    thresholds: dict[str, float]
    references: dict[str, float]

    def seeds_of(self, board: str, target: str) -> tuple[int, ...]:
        """With which seeds a target of a board is attacked."""
        place = self.boards[board].targets.index(target) % len(self.seeds)
        return (self.seeds[place],) if self.one_seed_a_target else self.seeds

    def about(self) -> dict[str, Any]:
        """What a result says of it."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256}


def read_ensemble(version: str) -> Ensemble:
    """An ensemble by its name, or from a file of one's own with the same parts.

    What a file does not say is that of ``properties/evaluation/common.yaml``.

    Raises:
        ConfigError: There is no such ensemble, or a part is not what it should be.
        DataError: The file is missing or no YAML mapping.
    """
    own = version.endswith((".yaml", ".yml"))
    if version not in VERSIONS and not own:
        near = did_you_mean(version, VERSIONS)
        raise ConfigError(
            f"version must be one of {', '.join(VERSIONS)}, or a YAML file of your own: found {shown(version)}{near}"
        )
    folder = properties() / "evaluation"
    file = Path(version) if own else folder / f"{version}.yaml"
    parts = {**load_yaml(folder / "common.yaml", YamlLoader), **load_yaml(file, YamlLoader)}
    _check(parts, file)
    attacks = {name: parts["attacks"][name] for name in parts["chosen"]}
    content = {**{key: parts[key] for key in _SHAPE if key != "chosen"}, "attacks": attacks}
    boards = {name: _board(board) for name, board in parts["boards"].items()}
    return Ensemble(
        **{"name": file.stem, "version": parts["version"], "sha256": digest_of(content), "victim": parts["victim"]},
        **{key: parts[key] for key in ("clean_targets", "one_seed_a_target", "thresholds", "references")},
        seeds=tuple(parts["seeds"]),
        attacks=attacks,
        data_only=frozenset(parts["data_only"]) & attacks.keys(),
        boards=boards,
    )


def written(value: float | str) -> str:
    """A budget or a target as rows and figures name it; two budgets that are written alike would be one."""
    return value if isinstance(value, str) else f"{value:g}"


def _board(parts: Mapping[str, Any]) -> Board:
    return Board(parts["norm_budget"], tuple(parts["malicious_ratio"]), tuple(parts["targets"]))


def _check(parts: Mapping[str, Any], file: Path) -> None:
    wrong = misfit(parts, _SHAPE)
    if wrong:
        raise DataError(f"{file} is no evaluation: expected {wrong}")
    unknown = [key for key in parts if key not in _SHAPE]
    if unknown:
        known = f"expected {', '.join(_SHAPE)}, found {shown(unknown[0])}{did_you_mean(unknown[0], _SHAPE)}"
        raise DataError(f"{file} is no evaluation: {known}")
    for key in ("chosen", "data_only"):
        missing = [name for name in parts[key] if name not in parts["attacks"]]
        if missing:
            known = ", ".join(parts["attacks"])
            near = did_you_mean(missing[0], parts["attacks"])
            raise DataError(f"{file} is no evaluation: {key} must be among {known}; found {shown(missing[0])}{near}")
    lists = {"seeds": parts["seeds"], "chosen": parts["chosen"], "boards": parts["boards"]}
    lists |= {
        f"{name}.{key}": [written(value) for value in of[key]]
        for name, of in parts["boards"].items()
        for key in ("malicious_ratio", "targets")
    }
    for name, values in lists.items():
        if not values or len(set(values)) < len(values):
            raise DataError(
                f"{file} is no evaluation: expected {name} to hold something, nothing twice: found {values}"
            )
