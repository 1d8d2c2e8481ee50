"""What RecBole's own parameters may hold. RecBole checks few of them, and takes what it cannot read for no filter."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from recbole_attack.checks import (
    INTERVAL_FORM,
    Option,
    are_names,
    check_interval,
    is_interval,
    names_form,
    of_fields,
)
from recbole_attack.data.names import as_name, as_names, in_text
from recbole_attack.errors import ConfigError, lookup, shown

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


def _check_gpus(value: str) -> None:
    if not re.fullmatch(r"[\w-]*( *, *[\w-]+)*", value, re.ASCII):
        raise ConfigError(f"gpu_id must be {OPTIONS_OF_RECBOLE['gpu_id'].form}: found {shown(value)}")


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _check_folder(value: str) -> None:
    if value in ("", ".", "..") or re.search(r"[/\\\r\n]", value) or len(value.encode()) > 200:
        raise ConfigError(f"dataset must be the name of a folder below data_path: found {shown(value)}")


def _check_encoding(value: str) -> None:
    try:
        codecs.lookup(value)
    except (LookupError, UnicodeError, ValueError) as error:
        raise ConfigError(
            f"encoding must be the name of a text encoding, such as utf-8: found {shown(value)}"
        ) from error


def _check_duplicates(value: str) -> None:
    if value not in ("first", "last"):
        raise ConfigError(f"rm_dup_inter must be {OPTIONS_OF_RECBOLE['rm_dup_inter'].form}: found {shown(value)}")


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


def _number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)


def _fields(help_text: str) -> Option:
    return Option(help_text, list, optional=True, names=True, read=in_text, form=names_form("fields"))


def _field(help_text: str) -> Option:
    return Option(help_text, str, form="a name of at least one character")


def _of_fields(name: str, help_text: str, form: str, valid: Any, **settings: Any) -> Option:
    check = of_fields(name, form, valid)
    return Option(help_text, dict, optional=True, parse=check, form=f"a mapping of field names to {form}", **settings)


def _interval(name: str, help_text: str) -> Option:
    return Option(help_text, str, optional=True, parse=check_interval(name), form=INTERVAL_FORM)


def _files(help_text: str) -> Option:
    form = "a mapping of file suffixes to fields, such as {'inter': ['user_id', 'item_id']} or {'user': '*'}"
    return Option(help_text, dict, optional=True, names=True, read=_columns, form=form)


_FIELDS = ["USER_ID", "ITEM_ID", "RATING", "TIME", "LABEL", "ITEM_LIST_LENGTH", "POSITION"]
_FIELDS += ["HEAD_ENTITY_ID", "TAIL_ENTITY_ID", "RELATION_ID", "ENTITY_ID"]

OPTIONS_OF_RECBOLE: dict[str, Option] = {
    "dataset": Option("the dataset", str, read=as_name, parse=_check_folder),
    "data_path": Option("folder of the datasets", str),
    "gpu_id": Option("GPUs", str, read=_gpus, parse=_check_gpus, form="numbers of GPUs, such as '0' or '0,1'"),
    "worker": Option("processes that load evaluation data", int, low=0, high=64),
    "state": Option("logging level", str, ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), read=_upper),
    "encoding": Option("encoding of atomic files", str, optional=True, parse=_check_encoding),
    "wandb_project": Option("project at W&B", str),
    "loss_decimal_place": Option("decimals of losses", int, low=0, high=20),
    "reg_weight": Option("weight of a model's own regularisation", float, low=0.0, optional=True),
    "tail_ratio": Option("share of items TailPercentage calls tail", float, above=0.0, optional=True),
    **{
        key: Option("separator in atomic files", str, read=_separator, form=r"at least one character, such as \t")
        for key in ("field_separator", "seq_separator")
    },
    **{f"{name}_FIELD": _field(f"name of the field {name}") for name in _FIELDS},
    "NEG_PREFIX": _field("prefix of fields of negatives"),
    "LIST_SUFFIX": _field("suffix of fields of sequences"),
    **{
        f"alias_of_{name}": _fields("fields that hold the same ids")
        for name in ("user_id", "item_id", "entity_id", "relation_id")
    },
    "numerical_features": _fields("float fields to be embedded"),
    "normalize_field": _fields("float fields to be normalised"),
    "normalize_all": Option("normalise all float fields", bool, optional=True),
    "additional_feat_suffix": Option(
        "more atomic files", list, optional=True, names=True, read=in_text, form=names_form("file suffixes")
    ),
    "load_col": _files("fields to load by file"),
    "unload_col": _files("fields not to load by file"),
    "unused_col": _files("fields not to use by file"),
    "rm_dup_inter": Option(
        "which interaction of a repeated pair is kept; empty keeps all",
        str,
        optional=True,
        parse=_check_duplicates,
        form="'first' or 'last', the interaction of a repeated pair that is kept, or null to keep all",
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
    for name, option in OPTIONS_OF_RECBOLE.items():
        if name in values:
            option.check(name, values[name])
    for name, option in OPTIONS_OF_RECBOLE.items():
        value = values.get(name)
        if option.kind is str and value == "":
            raise ConfigError(f"{name} must be {option.expected}: found ''")
        if option.kind is list and value is not None and not are_names(value):
            raise ConfigError(f"{name} must be {option.expected}: found {shown(value)}")
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
