"""What RecBole's own parameters may hold. RecBole checks few of them, and takes what it cannot read for no filter."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from recbole_attack.config.checks import (
    INTERVAL_FORM,
    Option,
    are_names,
    check_each,
    check_that,
    is_interval,
    names_form,
    of_fields,
)
from recbole_attack.data.names import as_name, as_names, in_text, is_folder_name
from recbole_attack.utils.errors import ConfigError, lookup, shown

ATOMIC_FILES = ("inter", "user", "item", "kg", "link")
"""Suffixes of RecBole's atomic files, besides ``additional_feat_suffix``."""

DISCRETIZATION = {"LD": {"method"}, "ED": {"method", "bucket"}}
"""RecBole's method of discretization -> the keys of its settings."""


def _separator(value: Any) -> Any:
    r"""A tab for the two characters ``\t``, in quotes or not, which is how a shell hands it over."""
    return "\t" if isinstance(value, str) and value.strip("'\"") == r"\t" else value


def _gpus(value: Any) -> Any:
    """The text RecBole makes of GPU numbers."""
    return ",".join(map(str, value)) if isinstance(value, list) else as_name(value)


def _are_gpus(value: str) -> bool:
    return re.fullmatch(r"[\w-]*( *, *[\w-]+)*", value, re.ASCII) is not None


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _is_encoding(value: str) -> bool:
    try:
        return codecs.lookup(value) is not None
    except (LookupError, ValueError):
        return False


def _columns(value: Any) -> Any:
    """Names of fields by file suffix; ``*``, RecBole's word for all of a file's, stays."""
    if not isinstance(value, Mapping):
        return value
    return {suffix: "*" if fields in ("*", ["*"]) else in_text(fields) for suffix, fields in value.items()}


def _filters(value: Any) -> Any:
    """What is kept of each field: an interval is text, tokens are a list."""
    if not isinstance(value, Mapping):
        return value
    return {field: kept if isinstance(kept, str) else as_names(kept) for field, kept in value.items()}


def _is_discretization(value: Any) -> bool:
    if not isinstance(value, Mapping) or value.get("method") not in [*DISCRETIZATION]:
        return False
    bucket = value.get("bucket", 1)
    return set(value) == DISCRETIZATION[value["method"]] and type(bucket) is int and 1 <= bucket <= 10**6


_WEIGHTS_FORM = "a number at least 0, or a list of such where a model has several"


def _are_weights(value: Any) -> bool:
    weights = value if isinstance(value, list) else [value]
    return bool(weights) and all(_number(weight) and weight >= 0 for weight in weights)


_NEGATIVES_FORM = "a mapping such as {'distribution': 'uniform', 'sample_num': 1}"
_NEGATIVES: dict[str, Option] = {
    "distribution": Option("how negatives are distributed", str, ("uniform", "popularity")),
    "sample_num": Option("negatives of each row", int, low=1, high=10**4),
    "alpha": Option("power of popularity", float, low=0.0),
    "dynamic": Option("take the candidate with the highest score", bool),
    "candidate_num": Option("candidates of each negative", int, low=0, high=10**4),
}
"""The parts of ``train_neg_sample_args``."""


def _check_negatives(value: Mapping[str, Any]) -> None:
    for key, part in value.items():
        option = lookup(_NEGATIVES, key, "part of train_neg_sample_args")
        option.check(f"train_neg_sample_args {key}", part)
    if value.get("dynamic") and not value.get("candidate_num"):
        raise ConfigError("train_neg_sample_args: dynamic needs candidate_num of at least 1, found none")


def _number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def _names(name: str, help_text: str, of: str = "fields") -> Option:
    form = names_form(of)
    return Option(
        help_text, list, optional=True, names=True, read=in_text, parse=check_that(name, form, are_names), form=form
    )


def _text(name: str, help_text: str, form: str, valid: Callable[[str], object], **settings: Any) -> Option:
    return Option(help_text, str, parse=check_that(name, form, valid), form=form, **settings)


def _filled(name: str, help_text: str, form: str = "a name of at least one character", **settings: Any) -> Option:
    return _text(name, help_text, form, bool, **settings)


def _of_fields(name: str, help_text: str, form: str, valid: Any, **settings: Any) -> Option:
    check = of_fields(name, form, valid)
    return Option(help_text, dict, optional=True, parse=check, form=f"a mapping of field names to {form}", **settings)


def _interval(name: str, help_text: str) -> Option:
    return _text(name, help_text, INTERVAL_FORM, is_interval, optional=True)


def _files(help_text: str) -> Option:
    form = "a mapping of file suffixes to fields, such as {'inter': ['user_id', 'item_id']} or {'user': '*'}"
    return Option(help_text, dict, optional=True, names=True, read=_columns, form=form)


_FIELDS = ["USER_ID", "ITEM_ID", "RATING", "TIME", "LABEL", "ITEM_LIST_LENGTH", "POSITION"]
_FIELDS += ["HEAD_ENTITY_ID", "TAIL_ENTITY_ID", "RELATION_ID", "ENTITY_ID"]

OPTIONS_OF_RECBOLE: dict[str, Option] = {
    "dataset": _text("dataset", "the dataset", "the name of a folder below data_path", is_folder_name, read=as_name),
    "data_path": Option("folder of the datasets", str),
    "gpu_id": _text("gpu_id", "GPUs", "numbers of GPUs, such as '0' or '0,1'", _are_gpus, read=_gpus),
    "worker": Option("processes that load evaluation data", int, low=0, high=64),
    "state": Option("logging level", str, ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), read=_upper),
    "encoding": _text(
        "encoding",
        "encoding of atomic files",
        "the name of a text encoding, such as utf-8",
        _is_encoding,
        optional=True,
    ),
    "wandb_project": Option("project at W&B", str),
    "loss_decimal_place": Option("decimals of losses", int, low=0, high=20),
    "reg_weight": Option(
        "weight of a model's own regularisation",
        parse=check_that("reg_weight", _WEIGHTS_FORM, _are_weights),
        form=_WEIGHTS_FORM,
        optional=True,
    ),
    "tail_ratio": Option("share of items TailPercentage calls tail", float, above=0.0, optional=True),
    **{
        key: _filled(key, "separator in atomic files", r"at least one character, such as \t", read=_separator)
        for key in ("field_separator", "seq_separator")
    },
    **{f"{name}_FIELD": _filled(f"{name}_FIELD", f"name of the field {name}") for name in _FIELDS},
    "NEG_PREFIX": _filled("NEG_PREFIX", "prefix of fields of negatives"),
    "LIST_SUFFIX": _filled("LIST_SUFFIX", "suffix of fields of sequences"),
    **{
        f"alias_of_{name}": _names(f"alias_of_{name}", "fields that hold the same ids")
        for name in ("user_id", "item_id", "entity_id", "relation_id")
    },
    "numerical_features": _names("numerical_features", "float fields to be embedded"),
    "normalize_field": _names("normalize_field", "float fields to be normalised"),
    "normalize_all": Option("normalise all float fields", bool, optional=True),
    "additional_feat_suffix": _names("additional_feat_suffix", "more atomic files", "file suffixes"),
    "load_col": _files("fields to load by file"),
    "unload_col": _files("fields not to load by file"),
    "unused_col": _files("fields not to use by file"),
    "rm_dup_inter": _text(
        "rm_dup_inter",
        "which interaction of a repeated pair is kept",
        "'first' or 'last', the interaction of a repeated pair that is kept, or null to keep all",
        lambda kept: kept in ("first", "last"),
        optional=True,
    ),
    "val_interval": _of_fields(
        "val_interval",
        "rows that are kept, by their values",
        "an interval such as '[3,inf)' or a list of tokens such as ['M', 'F']",
        lambda kept: is_interval(kept) or (are_names(kept) and kept),
        names=True,
        read=_filters,
    ),
    "user_inter_num_interval": _interval("user_inter_num_interval", "interactions of users that are kept"),
    "item_inter_num_interval": _interval("item_inter_num_interval", "interactions of items that are kept"),
    "entity_kg_num_interval": _interval("entity_kg_num_interval", "triples of entities that are kept"),
    "relation_kg_num_interval": _interval("relation_kg_num_interval", "triples of relations that are kept"),
    "filter_inter_by_user_or_item": Option("drop interactions of users and items without a row of their own", bool),
    "seq_len": _of_fields(
        "seq_len", "longest sequences", "an integer at least 1", lambda size: type(size) is int and size > 0
    ),
    "threshold": _of_fields("threshold", "values from which a label is 1", "a number", _number),
    "preload_weight": _of_fields(
        "preload_weight", "fields of weights by id field", "the name of a field", lambda name: isinstance(name, str)
    ),
    "train_neg_sample_args": Option(
        "negatives of RecBole's own training", dict, optional=True, parse=_check_negatives, form=_NEGATIVES_FORM
    ),
    "discretization": _of_fields(
        "discretization",
        "buckets of float fields",
        "{'method': 'LD'} or {'method': 'ED', 'bucket': <n>}",
        _is_discretization,
    ),
}
"""RecBole's parameters with checked values. Those that are missing have a type, which is checked, and no more."""


def check_host_options(values: Mapping[str, Any]) -> None:
    """Check RecBole's own parameters, each and then those that depend on each other.

    Raises:
        ConfigError: Names the parameter, what was expected and what was found.
    """
    check_each(OPTIONS_OF_RECBOLE, values)
    for name in ("load_col", "unload_col", "unused_col"):
        _check_columns(name, values.get(name) or {}, values.get("additional_feat_suffix") or [])
    if values.get("unload_col") and values.get("load_col") is not None:
        raise ConfigError(
            f"unload_col needs load_col=null, which loads all other fields: found {shown(values['load_col'])}"
        )
    if values.get("normalize_field") is not None and values.get("normalize_all"):
        raise ConfigError("normalize_field and normalize_all exclude each other: expected one of them, found both")
    fields = ["USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "ITEM_LIST_LENGTH_FIELD"]
    named = [values[key] for key in fields] + [values["ITEM_ID_FIELD"] + values["LIST_SUFFIX"]]
    if len(set(named)) < len(named):
        raise ConfigError(f"{', '.join(fields)} and the item field with LIST_SUFFIX must differ: found {shown(named)}")


def _check_columns(name: str, columns: Mapping[str, Any], additional: list[str]) -> None:
    """Suffixes are those of atomic files, and each has the names of fields."""
    for suffix, fields in columns.items():
        lookup(dict.fromkeys([*ATOMIC_FILES, *additional]), suffix, f"file suffix in {name}")
        if not (are_names(fields) or (fields == "*" and name == "load_col")):
            raise ConfigError(f"{name} must list the fields of .{suffix}: found {shown(fields)}")
