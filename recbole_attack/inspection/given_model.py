"""The model in a file, built from what the file shows and answering for the platform's items."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.utils import init_seed

from recbole_attack.config import AttackConfig
from recbole_attack.data import RaggedSequentialDataset
from recbole_attack.inspection.architecture import UNSEEN, seen_sizes, told_parameters
from recbole_attack.inspection.catalogue import Catalogue
from recbole_attack.inspection.model_file import ModelFile
from recbole_attack.utils.checkpoints import fitting, load_weights
from recbole_attack.utils.errors import ConfigError, DataError, shown

LOG = logging.getLogger("recbole_attack.inspection")

_CENTRAL = {"scenario": "central", "attack": "none"}


def own_configuration(
    file: ModelFile, model: Any, dataset: str | None, files: list[str] | None, given: Mapping[str, Any]
) -> AttackConfig:
    """What a platform says of its models, of the kind a given file holds; nothing else of that file is in it.

    Args:
        file: What was read.
        model: The model's name or class; what the file says by default, or else SASRec.
        dataset: Dataset name.
        files: YAML files.
        given: Parameters; win over files.

    Raises:
        ConfigError: A parameter is not valid.
    """
    plain = {**_CENTRAL, "show_progress": False, **given}
    told = file.config.get("model")
    if model is None and "model" not in AttackConfig(None, dataset, files, plain).external_config_dict:
        if told is None:
            _assume(file, "model", "SASRec")
        model = told or "SASRec"
    config = AttackConfig(model, dataset, files, plain)
    if config["scenario"] != "central":
        raise ConfigError(f"models are trained in the scenario 'central' here: found scenario '{config['scenario']}'")
    return config


def with_file(file: ModelFile, config: AttackConfig) -> AttackConfig:
    """The configuration of the model in a file, and of those that are trained beside it.

    What the file shows or says wins over defaults. What it neither shows nor says is taken as given or by default, and
    a warning names it: scores depend on it, and nothing would tell if it were wrong.

    Args:
        file: What was read.
        config: As of :func:`own_configuration`.

    Raises:
        ConfigError: The file contradicts a parameter that was given.
    """
    own = _own(file, config)
    for key, value in own.items():
        if key in config.external_config_dict and config[key] != _number(value):
            raise ConfigError(f"{key} of {file.path} is {shown(value)}: found {shown(config[key])}")
    for key in _untold(own, config):
        _assume(file, key, config[key])
    return config.replace(**own)


def fitted_to(file: ModelFile, config: AttackConfig) -> AttackConfig:
    """The configuration of the platform's own model in a file, beside the given one.

    What the file shows or says wins over all else, since other files may differ in it. For what it does not,
    :func:`with_file` says what is taken.

    Args:
        file: What was read.
        config: As of :func:`own_configuration`: what the given model's file says is not said of this one.

    Raises:
        ConfigError: The file holds a model of another name.
    """
    own = _own(file, config)
    for key in _untold(own, config):
        _assume(file, key, config[key], "a checkpoint with its configuration says it")
    return config.replace(**own)


def _untold(own: Mapping[str, Any], config: AttackConfig) -> list[str]:
    """The parameters that no shape shows and neither a file nor anybody else says."""
    said = {*own, *config.external_config_dict}
    return [key for key in UNSEEN.get(config["model"], ()) if key not in said]


def _own(file: ModelFile, config: AttackConfig) -> dict[str, Any]:
    """The parameters a file shows or tells."""
    told = file.config.get("model")
    if told not in (None, config["model"]):
        raise ConfigError(f"{file.path} holds a model {shown(told)}: found model '{config['model']}'")
    return {**seen_sizes(config["model"], file.weights), **told_parameters(config["model"], file.config)}


def _number(value: Any) -> Any:
    """RecBole writes some numbers as texts."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _assume(file: ModelFile, name: str, value: Any, how: str | None = None) -> None:
    LOG.warning(
        f"{file.path} does not say its {name}: {shown(value)} is assumed; a wrong one changes scores and nothing "
        f"shows it ({how or f'--{name}=...'})"
    )


class _Renamed:
    """A dataset with as many items as a model has."""

    def __init__(self, dataset: RaggedSequentialDataset, n_items: int) -> None:
        self._dataset, self._n_items = dataset, n_items

    def num(self, field: str) -> int:
        return self._n_items if field == self._dataset.iid_field else int(self._dataset.num(field))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


def item_rows(config: AttackConfig, dataset: RaggedSequentialDataset, file: ModelFile) -> int:
    """Rows of the file's item table, the padding row 0 included and a model's own tokens not.

    Raises:
        DataError: There is no such table, or no item in it.
    """
    table = file.weights.get("item_embedding.weight")
    if table is None or table.dim() != 2:
        some = shown([*file.weights][:3])
        raise DataError(f"{file.path} holds no item table: expected a matrix 'item_embedding.weight', found {some}")
    with fitting(file.path):
        own = build(config, dataset, dataset.item_num)
    size = len(table) - (own.item_embedding.num_embeddings - dataset.item_num)
    if size < 2:
        raise DataError(f"{file.path} holds no items: found {len(table)} rows in 'item_embedding.weight'")
    return size


def build(config: AttackConfig, dataset: RaggedSequentialDataset, n_items: int) -> Any:
    """A new model of a catalogue of ``n_items``, the padding item 0 included."""
    init_seed(config["seed"], config["reproducibility"])
    return config.model_class(config, _Renamed(dataset, n_items)).to(config["device"])


def restored(config: AttackConfig, dataset: RaggedSequentialDataset, file: ModelFile, items: Catalogue) -> GivenModel:
    """The model in a file.

    Raises:
        DataError: Its weights are not those of such a model, or it brings anything else that changes its scores.
    """
    if file.other:
        raise DataError(f"{file.path}: expected weights alone, found 'other_parameter' {shown(file.other)}")
    with fitting(file.path):
        model = build(config, dataset, items.size)
        load_weights(model, {"state_dict": file.weights}, file.path)
    return GivenModel(model.eval(), items)


class GivenModel:
    """A model that is asked about the platform's items, whatever rows they have in its table.

    Args:
        model: One of RecBole's kind.
        items: Its items and the platform's.
    """

    def __init__(self, model: Any, items: Catalogue) -> None:
        self.model = model
        device = model.item_embedding.weight.device
        self.rows = torch.as_tensor(items.rows, device=device)
        self.known = self.rows > 0

    def lengths(self, item_seq: torch.Tensor) -> torch.Tensor:
        """``[B, L]`` the platform's items -> ``[B]`` how many of them the model has."""
        return (self.rows[item_seq.to(self.rows.device)] > 0).sum(dim=1)

    @torch.no_grad()
    def scores(self, interaction: Any) -> torch.Tensor:
        """``[B, n_items]`` scores of the platform's items, minus infinity of those the model lacks.

        Args:
            interaction: Histories, of which the model sees the items it has; each with one at least.
        """
        found = self.model.full_sort_predict(self._asked(interaction)).view(len(interaction), -1)
        return torch.where(self.known, found[:, self.rows], -torch.inf)

    @torch.no_grad()
    def states(self, interaction: Any) -> torch.Tensor:
        """``[B, H]`` states of which :meth:`scores` are made."""
        found: torch.Tensor = self.model.user_states(self._asked(interaction))
        return found

    @torch.no_grad()
    def item_rows(self) -> torch.Tensor:
        """``[n_items, H]`` embeddings of the platform's items, NaN of those the model lacks."""
        return torch.where(self.known[:, None], self.model.item_embedding.weight[self.rows], torch.nan)

    def _asked(self, interaction: Any) -> Interaction:
        """The same histories with the items the model has, by its rows."""
        interaction = interaction.to(self.rows.device)
        rows = self.rows[interaction[self.model.ITEM_SEQ]]
        rows, lengths = _last(rows, self.model.max_seq_length)
        return Interaction(interaction.interaction | {self.model.ITEM_SEQ: rows, self.model.ITEM_SEQ_LEN: lengths})


def _last(rows: torch.Tensor, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``[B, L]`` rows, 0 where there is none -> the last ``most`` that are there, in order, and how many, ``[B]``."""
    rows = rows.gather(1, (rows == 0).byte().argsort(dim=1, stable=True))
    lengths = (rows > 0).sum(dim=1)
    first = (lengths - most).clamp(min=0)
    width = min(rows.shape[1], most)
    return rows.gather(1, first[:, None] + torch.arange(width, device=rows.device)), lengths.clamp(max=most)
