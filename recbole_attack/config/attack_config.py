"""RecBole's configuration with this package's models and defaults, checked and never evaluated as code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.evaluator import metric_types
from recbole.evaluator.register import metrics_dict
from recbole.utils import argument_list

from recbole_attack.config.columns import needed_columns
from recbole_attack.config.defaults import RECIPES, chosen_recipes, fitted, load_defaults, parsed, readers, recipe_files
from recbole_attack.config.host_options import OPTIONS_OF_RECBOLE
from recbole_attack.config.options import check_options
from recbole_attack.config.plugins import load_plugins
from recbole_attack.config.reading import config_loader, find_option, read_text, read_value, with_floats
from recbole_attack.config.recbole_training import complete_training
from recbole_attack.config.values import plain_values
from recbole_attack.config.victims import check_victim
from recbole_attack.data import parse_group
from recbole_attack.evaluator import register_metrics, result_keys
from recbole_attack.model import Victim, base_name, victim_class
from recbole_attack.utils.errors import ConfigError, did_you_mean, lookup, shown
from recbole_attack.utils.yaml_files import YamlLoader, load_yaml

DERIVED_KEYS = frozenset(
    {
        "MODEL_TYPE",
        "MODEL_INPUT_TYPE",
        "device",
        "eval_type",
        "local_rank",
        "single_spec",
        "test_neg_sample_args",
        "train_neg_sample_args",
        "valid_metric_bigger",
        "valid_neg_sample_args",
    }
)
"""Parameters RecBole computes from others."""

_PLAIN = (bool, int, float, str, dict, list)
_READ_BY_RECBOLE = frozenset(
    {"additional_feat_suffix", "benchmark_filename", "discretization", "encoding", "numerical_features"}
    | {"reg_weight", "tail_ratio", "tensorboard_dir", "kg_reverse_r"}
)
_NUMPY_ALIASES = {kind.__name__: kind for kind in (bool, int, float, complex, object, str)} | {"long": int}


class AttackConfig(Config):
    """RecBole's ``Config`` for this package; same arguments, same priorities among them.

    It differs where RecBole's would fail or surprise: works with NumPy 2; parses values as literals, never with
    ``eval``; loads YAML safely; refuses unknown parameters and wrong types; does not read ``sys.argv`` (the command
    line passes its parameters in ``config_dict``).

    Args:
        model: Model name, or a class with the interface of :class:`recbole_attack.model.SASRec`.
        dataset: Dataset name.
        config_file_list: YAML files; later ones win.
        config_dict: Parameters; win over files.

    Raises:
        ConfigError: See :func:`recbole_attack.config.options.check_options`; also for unknown models and parameters.
        DataError: A configuration file is missing or is no YAML mapping.
    """

    external_config_dict: dict[str, Any]
    internal_config_dict: dict[str, Any]
    final_config_dict: dict[str, Any]

    def __init__(
        self,
        model: Any = None,
        dataset: str | None = None,
        config_file_list: list[str] | None = None,
        config_dict: Mapping[str, Any] | None = None,
    ) -> None:
        register_metrics()
        chosen = {} if dataset is None else {"dataset": dataset}
        self._load_plugins(config_file_list, config_dict or {})
        super().__init__(model, None, config_file_list, {**(config_dict or {}), **chosen})

    def _load_plugins(self, config_file_list: list[str] | None, config_dict: Mapping[str, Any]) -> None:
        """Import what the parameter ``plugins`` names, before anything is read: it may say how."""
        self.yaml_loader = self._build_yaml_loader()
        given = config_dict if "plugins" in config_dict else self._load_config_files(config_file_list)
        load_plugins(read_value("plugins", given.get("plugins")))

    def compatibility_settings(self) -> None:
        for name, value in _NUMPY_ALIASES.items():
            if name not in vars(np):
                setattr(np, name, value)

    def _init_parameters_category(self) -> None:
        self.parameters = {
            "General": list(argument_list.general_arguments),
            "Training": list(argument_list.training_arguments),
            "Evaluation": list(argument_list.evaluation_arguments),
            "Dataset": list(argument_list.dataset_arguments),
            "Attack": [],
        }

    def _build_yaml_loader(self) -> type[YamlLoader]:
        return config_loader()

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        """Texts as the values they spell, which is how the command line and RecBole's tuning hand over values."""
        return {
            key: read_text(key, value) if isinstance(value, str) else value
            for key, value in plain_values(config_dict).items()
        }

    def _load_config_files(self, file_list: list[str] | None) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for file in file_list or []:
            merged.update(load_yaml(Path(file), self.yaml_loader))
        return merged

    def _merge_external_config_dict(self) -> None:
        super()._merge_external_config_dict()
        given = plain_values(self.external_config_dict)
        self.external_config_dict.update({key: read_value(key, value) for key, value in given.items()})
        if self.external_config_dict.get("plugins") is not None:  # what is saved names modules and no files
            self.external_config_dict["plugins"] = load_plugins(self.external_config_dict["plugins"])

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _get_model_and_dataset(self, model: Any, dataset: str | None) -> tuple[str, Any, str]:
        model = model or self.external_config_dict.get("model", "SASRec")
        dataset = self.external_config_dict.get("dataset", "ml-100k")
        OPTIONS_OF_RECBOLE["dataset"].check("dataset", dataset)
        model_class = victim_class(model, self.external_config_dict.get("scenario"))
        return model_class.__name__, model_class, dataset

    def _update_internal_config_dict(self, file: str) -> Any:
        values = parsed(Path(file).read_text(encoding="utf-8"), self.yaml_loader)
        self.internal_config_dict.update(values or {})
        return values

    def _load_internal_config_dict(self, model: str, model_class: Any, dataset: str) -> None:
        base = base_name(model_class)
        super()._load_internal_config_dict(base, model_class, dataset)
        chosen = chosen_recipes(self.external_config_dict)
        recipes = [file for key in RECIPES for file in recipe_files(key, chosen)]
        if issubclass(model_class, Victim):
            models = [f"model/{cls.__name__}" for cls in reversed(model_class.__mro__)]
        else:  # RecBole's own word for nothing is the text None
            models = []
            self.internal_config_dict = {k: None if v == "None" else v for k, v in self.internal_config_dict.items()}
        for file in dict.fromkeys(["overall", *models, *recipes, f"dataset/{dataset}"]):
            values = load_defaults(file)
            self.internal_config_dict.update(values)
            listed = {key for keys in self.parameters.values() for key in keys}
            self.parameters["Attack"] += [key for key in values if key not in listed]
        self.internal_config_dict.update(chosen)

    def _set_default_parameters(self) -> None:
        self._check_known()
        self._check_types()
        self._complete_evaluation()
        if self.final_config_dict["scenario"] == "recbole":
            known = (self.external_config_dict, self.internal_config_dict)
            self.final_config_dict = complete_training(self.final_config_dict, *known, self.model_class)
        check_options(self.final_config_dict)
        if issubclass(self.model_class, Victim):
            check_victim(self.model_class, self.final_config_dict)
        self.final_config_dict = with_floats(self.final_config_dict, self.internal_config_dict)
        given = "load_col" in self.external_config_dict
        self.final_config_dict["load_col"] = needed_columns(self.final_config_dict, given)
        self._check_metrics()
        try:
            super()._set_default_parameters()
        except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            raise ConfigError(str(error)) from error
        self._check_direction()

    def _check_known(self) -> None:
        arguments = [key for keys in self.parameters.values() for key in keys]
        known = {*self.internal_config_dict, *arguments, *_READ_BY_RECBOLE, "model", "dataset"}
        known -= {"config_file"}  # RecBole's table of parameters has it, and nothing reads it
        known -= DERIVED_KEYS - {"train_neg_sample_args", "valid_metric_bigger"}
        chosen = ", ".join(f"{key} {self.internal_config_dict[key]}" for key in RECIPES)
        if "local_rank" in self.external_config_dict:
            raise ConfigError("distributed training is not supported: exposure cannot be averaged over processes")
        for key in self.external_config_dict:
            if key not in known:
                others = ", ".join(readers(key))
                near = {*known, "config_files", *load_defaults("engine/flower")}
                hint = f"; read by {others}" if others else did_you_mean(key, near)
                raise ConfigError(f"unknown parameter {shown(key)} (model {self.model}, {chosen}){hint}")

    def _check_types(self) -> None:
        """Parameters keep the type of their default: all numbers, and the rest where no option says more."""
        for key, value in self.external_config_dict.items():
            default = self.internal_config_dict.get(key)
            checked = find_option(key)
            if not isinstance(default, _PLAIN) or (
                checked and (value is None or not isinstance(default, (bool, int, float)))
            ):
                continue
            if value is None:
                raise ConfigError(f"{key} must not be empty (default {default!r})")
            expected = (int, float) if type(default) is float else (type(default),)
            if not isinstance(value, expected) or isinstance(value, bool) != isinstance(default, bool):
                raise ConfigError(f"{key} must be {expected[-1].__name__} (default {default!r}): found {shown(value)}")

    def _complete_evaluation(self) -> None:
        """Fill what a partial ``eval_args`` leaves out, and make ``metrics`` and ``topk`` lists."""
        values = self.final_config_dict
        values["eval_args"] = {"group_by": "user", **self.internal_config_dict["eval_args"], **values["eval_args"]}
        for key in ("metrics", "topk"):
            values[key] = list(values[key]) if isinstance(values[key], (list, tuple)) else [values[key]]

    def _check_metrics(self) -> None:
        metrics, topk = self.final_config_dict["metrics"], self.final_config_dict["topk"]
        for metric in metrics:
            lookup(metric_types, str(metric).lower(), "name in metrics")
        wanted = str(self.final_config_dict["valid_metric"])
        known = {f"{metric}{key[len(metric) :]}" for metric in metrics for key in result_keys(metric, topk)}
        if wanted.lower() not in map(str.lower, known):
            raise ConfigError(
                f"valid_metric {shown(wanted)} is not measured: expected one of {metrics} at {topk}"
                f"{did_you_mean(str(wanted), known)}"
            )
        needs = metrics_dict[wanted.split("@")[0].lower()].metric_need
        if "rec.target_user" in needs and not parse_group(self.final_config_dict.get("target_group", "all")):
            raise ConfigError(
                f"valid_metric '{wanted}' compares users inside and outside a target group: expected another metric, "
                "or a target_group such as gender=M (scenario pretrain), found none"
            )

    def _check_direction(self) -> None:
        """What RecBole derives from ``valid_metric`` cannot be chosen."""
        derived = self.final_config_dict["valid_metric_bigger"]
        if self.external_config_dict.get("valid_metric_bigger", derived) is not derived:
            raise ConfigError(
                f"valid_metric_bigger follows from valid_metric: expected {derived} for "
                f"'{self.final_config_dict['valid_metric']}', found {not derived}"
            )

    def _init_device(self) -> None:
        super()._init_device()
        if not self.final_config_dict["use_gpu"]:
            self.final_config_dict["device"] = torch.device("cpu")
        device = self.final_config_dict["device"].type
        for name in ("external_config_dict", "internal_config_dict", "final_config_dict"):
            setattr(self, name, fitted(getattr(self, name), device))

    def changed(self) -> dict[str, Any]:
        """Parameters that were given another value than their default, by name."""
        recipes = load_defaults("overall") | load_defaults(f"scenario/{self.final_config_dict['scenario']}")
        defaults = {**self.internal_config_dict, **{key: recipes[key] for key in RECIPES}}
        given = sorted(self.external_config_dict.items())
        return {key: value for key, value in given if key not in defaults or value != defaults[key]}

    def to_dict(self) -> dict[str, Any]:
        """All parameters that were given or defaulted, none that RecBole derives from them.

        ``AttackConfig(config_dict=config.to_dict())`` is the same configuration again.
        """
        values = {k: v for k, v in self.final_config_dict.items() if k not in DERIVED_KEYS}
        values["data_path"] = self.external_config_dict.get("data_path", self.internal_config_dict["data_path"])
        if values["scenario"] == "recbole" and "train_neg_sample_args" in self.external_config_dict:
            values["train_neg_sample_args"] = self.external_config_dict["train_neg_sample_args"]
        return values

    def replace(self, **changes: Any) -> AttackConfig:
        """The same configuration with some parameters changed; another attack or aggregator drops this one's own.

        Args:
            changes: Parameters; ``model`` may be a class.
        """
        model = changes.pop("model", self.model_class)
        return type(self)(model=model, config_dict=self.replaced(**changes))

    def replaced(self, **changes: Any) -> dict[str, Any]:
        """The parameters of :meth:`replace`, which are not checked."""
        values = before = self.to_dict()
        for key in RECIPES:
            files = recipe_files(key, before)
            if recipe_files(key, {**before, **changes}) != files:
                own = {name for file in files for name in load_defaults(file)}
                values = {k: v for k, v in values.items() if k not in own}
        return {**values, **changes}
