"""A grid as a folder: one file a row, and what rows share beside and above them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole_attack.config.reading import config_loader
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.yaml_files import AliasLoader, YamlLoader, load_yaml

GRID_FILE = "grid.yaml"
"""The grid of a folder whose rows are no files of their own."""

ABOUT_A_TABLE = frozenset({"common", "paper", "table"})
"""Names of files in a folder of rows that are no rows."""


def rows_of_folder(folder: Path) -> dict[str, dict[str, Any]]:
    """Name of each row that is a file of its own -> its parameters, with those it shares.

    Raises:
        ConfigError: A file of the folder would not be used.
        DataError: A file is no YAML mapping.
    """
    folder = folder.resolve()
    files = _row_files(folder)
    order = [name for name in _read(folder / "paper.yaml", AliasLoader) if name in files]
    loader = config_loader()
    rows = {name: with_shared(folder, _read(files[name], loader)) for name in dict.fromkeys([*order, *files])}
    if rows:
        check_models(folder, rows.values())
    return rows


def with_shared(folder: Path, own: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a row, with those of ``common.yaml`` and of its model's file, which it wins over.

    Args:
        folder: Of the row; those above it that have a ``common.yaml`` count, too, the nearest last.
        own: What the row itself says.
    """
    loader, levels = config_loader(), list(reversed(_levels(folder.resolve())))
    common = [_read(level / "common.yaml", loader) for level in levels]
    model = {key: value for part in [*common, own] for key, value in part.items() if key == "model"}.get("model")
    values: dict[str, Any] = {}
    for level, part in zip(levels, common, strict=True):
        values |= part | _read(level / f"{model}.yaml", loader)
    return values | dict(own)


def check_alone(folder: Path) -> None:
    """See that a folder with a grid's file has no rows beside it.

    Raises:
        ConfigError: It has some.
    """
    beside = [file.name for name, file in _row_files(folder).items() if name != Path(GRID_FILE).stem]
    if beside:
        raise ConfigError(f"{folder}: expected {GRID_FILE} or files of rows, found both, such as {beside[0]}")


def check_models(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """See that every model's file of a folder is one of a row's model.

    Raises:
        ConfigError: One is not; it may have been meant as a row.
    """
    models = {str(row["model"]) for row in rows if "model" in row}
    for name in _yaml_files(folder):
        if name[0].isupper() and name not in models:
            raise ConfigError(
                f"{folder / name}.yaml would not be used: a name with a capital is that of a model, expected one of "
                f"the rows' ({', '.join(sorted(models)) or 'they say none'}); a row's name begins otherwise"
            )


def title_of(path: Path) -> str:
    """What a grid is called: its name, with those of the folders above it that it shares parameters with."""
    place = path.resolve()
    return "/".join(level.name for level in reversed(_levels(place))) if place.is_dir() else place.stem


def _row_files(folder: Path) -> dict[str, Path]:
    files = _yaml_files(folder)
    return {name: file for name, file in files.items() if name not in ABOUT_A_TABLE and not name[0].isupper()}


def _yaml_files(folder: Path) -> dict[str, Path]:
    """Name -> file, of all that is YAML."""
    for file in sorted(folder.iterdir()):
        if file.suffix != ".yaml" and file.suffix.lower() in (".yml", ".yaml"):
            raise ConfigError(f"{file} would not be used: expected a name that ends in .yaml")
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def _levels(folder: Path) -> list[Path]:
    """A folder of rows and those above it that its rows share something with, the nearest first."""
    levels = [folder]
    while (levels[-1].parent / "common.yaml").is_file():
        levels.append(levels[-1].parent)
    return levels


def _read(file: Path, loader: type[YamlLoader]) -> dict[str, Any]:
    return load_yaml(file, loader) if file.is_file() and file.stat().st_size else {}
