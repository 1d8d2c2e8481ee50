"""What tells rows apart, and what all of them share: parameters of records, put into words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Record: TypeAlias = Mapping[str, Any]
"""The content of one ``result.json``."""

SHARE = "malicious_ratio"
"""What ``malicious clients, %`` of a table is: the configured ratio, of which whole clients are made; only a dose is of
the share that a run had."""
PLACE = ("scenario", "dataset", "model", "target_items")
"""What was attacked: each has its own matrix."""
RULE = ("aggregator", "pre_aggregator", "client_defense")
MAIN = (*PLACE, *RULE, "attack", SHARE)
"""Parameters that tell rows apart before any other does."""

_OWNERS = ("scenario", "model", "attack", "aggregator", "upload")
"""What decides which other parameters a run has."""

_ATTACKER = {SHARE, "malicious_clients", "gradient_scale", "norm_budget", "claimed_interactions", "upload"}
"""What does nothing without malicious clients, and without an attack unless their users are not evaluated."""

_LATER = {"pre_aggregator", "client_detectors", "repair", "eval_users", "rounds_per_epoch", "per_item"}
"""Parameters of every run today that records of before lack; no attack has them."""

_WHO = {SHARE, "malicious_clients", "malicious_seed"}
"""What decides who is malicious."""

_NOTHING = (
    *(("client_defense", "none"), ("pre_aggregator", "none"), ("gradient_scale", 1), ("upload", "computed")),
    ("repair", "none"),
)
"""Values with which a parameter does nothing."""

_DECIDED = {"three_steps"}
"""What a run decides by itself where it is None: False is another value there, and not the same as nothing."""

_ASIDE = {
    *("seed", "data_path", "checkpoint_dir", "gpu_id", "use_gpu", "device", "worker", "state", "show_progress"),
    *("save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path", "log_wandb", "wandb_project"),
    *("compare_clean", "save_client_weights", "chunk_tokens", "metrics", "topk"),
}
"""Parameters that do not change what is trained, but for its random draws, or what is measured of it."""

_NAMES = {SHARE: "malicious clients, %"}


def is_clean(record: Record) -> bool:
    """Whether a record is of a run without an attack."""
    return record["config"].get("attack", "none") == "none"


def malicious_share(record: Record) -> float | None:
    """The configured share of malicious clients, in [0, 1]; None where none attack."""
    attacked = not is_clean(record) and "malicious_share" in record["budget"]
    return record["config"].get(SHARE) if attacked else None


def effective(record: Record) -> dict[str, str]:
    """Parameters that decide a run's results besides its seed, as JSON, and the hash of the data it read.

    What is off or empty is left out, so that a record from before a parameter existed equals one that leaves it off.
    """
    config = record["config"]
    without = is_clean(record) and config.get("malicious_clients") != "compromise"
    idle = _ATTACKER if without or "malicious_share" not in record["budget"] else set()
    values = {
        key: json.dumps(value, sort_keys=True)
        for key, value in config.items()
        if key not in _ASIDE | idle and not _is_off(key, value)
    }
    return {**values, "": json.dumps(record["dataset"].get("sha256"), sort_keys=True)}


def is_clean_twin(clean: Record, attacked: Record) -> bool:
    """Whether two records are of the same run but for the attack, and the first is of the one without.

    What only the attacked run has must be the attack's own, and not what the clean one has switched off, or what its
    version did not know of. With compromised users both leave out the same ones.
    """
    if not is_clean(clean):
        return False
    theirs, mine = effective(clean), effective(attacked)
    compromised = attacked["config"].get("malicious_clients") == "compromise"
    aside = {"attack", *_ATTACKER, "malicious_seed"} - (_WHO if compromised else set())
    of_all = clean["config"].keys() | _LATER
    alike = all(mine.get(name) == value for name, value in theirs.items() if name not in aside)
    return alike and not (mine.keys() - theirs.keys() - aside) & of_all


def named(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records of one configuration together, by a name made of what tells it from the others."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(json.dumps(effective(record), sort_keys=True), []).append(record)
    settings = distinguishing({group: seeds[0] for group, seeds in groups.items()})
    found: dict[str, list[Record]] = {}
    unsaid = usual(settings.values())
    for group, seeds in groups.items():
        name = label(settings[group], unsaid=unsaid) or seeds[0]["config"].get("attack", "run")
        found[name if name not in found else f"{name} ({len(found) + 1})"] = seeds
    return found


def distinguishing(rows: Mapping[str, Record]) -> dict[str, dict[str, Any]]:
    """The fewest parameters that tell rows apart, with each row's values; None for what a row does not have.

    The usual ones come first; another is taken where rows are alike in all before it. A model's dropout is not among
    them if the model's name says as much.

    Args:
        rows: Row name -> one of its records.
    """
    values = {name: _shown_values(record) for name, record in rows.items()}
    configs = [record["config"] for record in rows.values()]
    named = dict.fromkeys([*MAIN, *(key for row in values.values() for key in row)])
    keys = [key for key in named if not _recorded_later(key, configs)]
    chosen: list[str] = []
    for key in keys:
        before, after = ({_key(row, [*chosen, *more]) for row in values.values()} for more in ([], [key]))
        varies = len({_key(row, [key]) for row in values.values()}) > 1
        if varies and (key in MAIN or len(after) > len(before)):
            chosen.append(key)
    return {name: {key: row.get(key) for key in chosen} for name, row in values.items()}


def _recorded_later(key: str, configs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some records only do not know a parameter yet: no two differ in it, and no other explains its absence."""
    known = {_key(config, [key]) for config in configs if key in config}
    switched = any(config.get(key) is True for config in configs)
    absent = any(key not in config for config in configs)
    return absent and len(known) == 1 and not switched and not _belongs(key, _OWNERS, configs)


def _shown_values(record: Record) -> dict[str, Any]:
    known = effective(record)
    return {key: value for key, value in record["config"].items() if key in known}


def _key(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    return json.dumps([row.get(key) for key in keys], sort_keys=True)


def shared(rows: Iterable[Record]) -> dict[str, Any]:
    """Parameters that are the same in all rows, with their value."""
    first, *others = (record["config"] for record in rows)
    return {
        key: value
        for key, value in first.items()
        if key not in _ASIDE - {"metrics", "topk"} and all(key in o and o[key] == value for o in others)
    }


def heading(key: str) -> str:
    """A parameter as the head of a column."""
    return _NAMES.get(key, key)


def value(key: str, setting: Any) -> str:
    """A parameter's value in a column; empty where a row does not have it."""
    if setting is None:
        return ""
    if key == SHARE:
        return f"{100 * setting:.6g}"
    if isinstance(setting, bool):
        return "yes" if setting else "no"
    return setting if isinstance(setting, str) else json.dumps(setting, ensure_ascii=False)


def usual(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What goes without saying: the commonest value of each parameter that all rows have, but for the main ones.

    Args:
        rows: Each row's settings.
    """
    found = {}
    settings = list(rows)
    for key in (key for key in (settings[0] if settings else ()) if key not in MAIN):
        values = [row.get(key) for row in settings]
        if not any(_is_off(key, setting) for setting in values):
            found[key] = max(values, key=values.count)
    return found


def label(settings: Mapping[str, Any], keys: Iterable[str] | None = None, unsaid: Mapping[str, Any] = {}) -> str:
    """Values in words: ``dvfsr, upload_search_gradient, 1 %``.

    Args:
        settings: Parameters that tell rows apart.
        keys: Which of them; all if absent.
        unsaid: Values that are left out, see :func:`usual`; what is off or empty is, too.
    """
    said = [key for key in (settings if keys is None else keys) if not _is_off(key, settings.get(key))]
    return ", ".join(_word(key, settings[key]) for key in said if key not in unsaid or settings[key] != unsaid[key])


def _is_off(key: str, setting: Any) -> bool:
    off = setting is False and key not in _DECIDED
    return setting is None or setting in ({}, []) or off or (key, setting) in _NOTHING


def _word(key: str, setting: Any) -> str:
    if setting is True:
        return key
    text = value(key, setting)
    if key == SHARE:
        return f"{text} %"
    if key == "attack" and setting == "none":
        return "no attack"
    return text if key in MAIN else f"{key} {text}"


def parts(rows: Sequence[tuple[Mapping[str, Any], Record]]) -> dict[str, list[str]]:
    """Which parameters stand for what was attacked (``place``), the defence (``rule``) and the attack (``attack``).

    A parameter that every row with certain rules has, and no other, is theirs; what is left over is the attack's.

    Args:
        rows: Each row's settings and one of its records.
    """
    keys = [key for key in (rows[0][0] if rows else ()) if key != SHARE]
    place = [key for key in keys if key in PLACE]
    configs = [record["config"] for _, record in rows]
    rule = [k for k in keys if k in RULE or (_belongs(k, RULE, configs) and not _belongs(k, ("attack",), configs))]
    return {"place": place, "rule": rule, "attack": [key for key in keys if key not in (*place, *rule)]}


def _belongs(key: str, owners: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a parameter is there with certain values of its owners and not with others."""
    having = {_key(config, owners) for config in configs if key in config}
    lacking = {_key(config, owners) for config in configs if key not in config}
    return bool(lacking) and not having & lacking
