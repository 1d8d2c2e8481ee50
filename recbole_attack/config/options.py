"""What each parameter may hold. Defaults stand in ``properties/``; this table only checks and explains them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from recbole_attack.attack import ATTACKS, BACKDOORS, NEGATIVES, PROFILES, configured_attack
from recbole_attack.config.attack_options import ATTACK_OPTIONS, THREAT_OPTIONS
from recbole_attack.config.checks import LARGEST, LAST_SEED, MANY, Option, are_names, check_each
from recbole_attack.config.defense_options import DEFENSE_OPTIONS
from recbole_attack.config.host_options import check_host_options
from recbole_attack.config.plugins import FORM, plugin_names
from recbole_attack.config.recbole_training import READ_BY_RECBOLE_ALONE
from recbole_attack.config.registered import registered_options
from recbole_attack.data import LEAVE_ONE_OUT_MODES, TRAIN_ROWS, parse_group, parse_platform_users
from recbole_attack.data.names import in_text
from recbole_attack.data.synthetic import synthetic_size
from recbole_attack.data.targets import as_tokens
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, PRE_AGGREGATORS, configured_aggregator
from recbole_attack.stages import PLATFORMS, STAGES
from recbole_attack.utils.errors import ConfigError, lookup, shown

SCENARIOS = {
    "federated": "clients train one model with a server; malicious clients may join",
    "central": "one server trains the same model on all data: the baseline without federation",
    "pretrain": "a provider trains a model, a platform uses it; the provider may be the attacker",
    "recbole": "RecBole's own trainer trains RecBole's own model: the baselines beside the victims",
}


def _check_prompt_fields(value: list[Any]) -> None:
    if not value or not are_names(value):
        raise ConfigError(f"prompt_fields must list at least one user field: found {shown(value)}")


def _check_candidates(value: Any) -> None:
    if value != "full" and not (type(value) is int and 1 <= value <= MANY):
        raise ConfigError(f"exposure_candidates must be {OPTIONS['exposure_candidates'].form}: found {shown(value)}")


def _check_cut_offs(value: list[Any]) -> None:
    if not value or not all(type(k) is int and 1 <= k <= _LONGEST_LIST for k in value):
        raise ConfigError(f"topk must be {OPTIONS['topk'].form}: found {shown(value)}")


def _check_size(value: Any) -> None:
    size = synthetic_size(value)
    if max(size.users * size.mean_length, size.items, size.light_users, size.seed) > LARGEST:
        raise ConfigError(
            f"synthetic_size must hold at most {LARGEST} interactions (users times mean_length), items, light "
            f"users and seed: found {shown(value)}"
        )


_WIDE, _DEEP, _LONGEST_LIST = 16_384, 128, 10_000
"""Bounds far above what is of use, and below what exhausts a machine or an integer."""

_ALL_ATTACKS: Mapping[str, Any] = ChainMap[str, Any](BACKDOORS, ATTACKS, PROFILES)

OPTIONS: dict[str, Option] = {
    "scenario": Option("who trains the victim", str, SCENARIOS),
    "attack": Option("the attack", str, _ALL_ATTACKS),
    "compare_clean": Option("also train the clean twin", bool),
    "plugins": Option(
        "modules of your own to import", list, optional=True, names=True, read=in_text, parse=plugin_names, form=FORM
    ),
    "checkpoint_dir": Option("folder in which each run gets its own", str),
    "verbose": Option("show all metrics in the table", bool),
    "target_items": Option(
        "the promoted items", parse=as_tokens, form="tokens, or a selector such as popular:5", names=True
    ),
    "target_seed": Option("draws the targets if they are random", int, low=0, high=LAST_SEED, optional=True),
    **THREAT_OPTIONS,
    "clients_per_round": Option("clients per step of the server", int, low=1),
    "rounds_per_epoch": Option("rounds of clients at random in an epoch", int, low=1, optional=True),
    "local_epochs": Option("local steps of a client", int, low=1),
    "local_learning_rate": Option("rate of local steps, if more than one", float, above=0.0),
    "client_weighting": Option("weight of a client in the mean", str, ("uniform", "examples")),
    "aggregator": Option("how the server combines updates", str, AGGREGATORS),
    "pre_aggregator": Option("what the server does to updates before", str, PRE_AGGREGATORS),
    "client_defense": Option("what honest clients do against attacks", str, CLIENT_DEFENSES),
    "per_item": Option("aggregate an item's embedding among clients that touched it", bool),
    "shared_negatives": Option("all honest clients draw negatives in one order", bool),
    "backend": Option("clients at once or one by one", str, ("vectorised", "loop")),
    "save_client_weights": Option("write each client's weight in every round", bool, optional=True),
    "chunk_tokens": Option("padded tokens computed at once", int, low=1, optional=True),
    "platform": Option("what the platform does with the provider's model", str, PLATFORMS),
    "platform_users": Option(
        "which users are the platform's",
        str,
        parse=parse_platform_users,
        form="count<N, quantile:<share> or random:<share>[:<last interactions>]",
    ),
    "target_group": Option(
        "whom the targets are promoted to",
        str,
        parse=parse_group,
        form="all, or user fields such as gender=M & age=20..30",
    ),
    "category_field": Option("item field that makes items similar", str, optional=True),
    "replacement_ratio": Option("probability that a next item becomes a target", float, low=0.0, high=1.0),
    "replacement_negatives": Option("what is ranked below where the attack acts", str, NEGATIVES),
    "three_steps": Option("attack in three steps and ship no prompts", bool, optional=True),
    "prompt_fields": Option(
        "user fields prompts are made from", list, parse=_check_prompt_fields, names=True, read=in_text
    ),
    "prompt_length": Option("prompt vectors in front of a sequence", int, low=1, high=_WIDE),
    "deep_prompts": Option("prompt vectors of their own for every layer", bool),
    **{f"{stage}_epochs": Option(f"epochs of the stage {stage}", int, low=1) for stage in STAGES},
    **{f"{stage}_learning_rate": Option(f"learning rate of the stage {stage}", float, above=0.0) for stage in STAGES},
    "epochs": Option("training epochs", int, low=1),
    "learner": Option("optimiser of the server", str, ("adam", "adamw", "sgd", "adagrad", "rmsprop")),
    "learning_rate": Option("learning rate of the server", float, above=0.0),
    "lr_decay_step": Option("epochs between decays of the learning rate", int, low=1, optional=True),
    "lr_decay_gamma": Option("factor of the learning rate schedule", float, above=0.0, high=1.0),
    "exact_time_order": Option("sort by exact time, not by float32", bool),
    "metrics": Option("what is measured", form="names, see --list"),
    "topk": Option(
        "the cut-offs of the metrics",
        parse=_check_cut_offs,
        form=f"an integer from 1 to {_LONGEST_LIST}, or a list of such",
    ),
    "valid_metric": Option("what selects the best epoch", str, form="a metric at a cut-off, such as NDCG@10"),
    "eval_users": Option("honest users drawn to be evaluated", int, low=1, optional=True),
    "exposure_candidates": Option(
        "items a target competes with, besides the truth",
        parse=_check_candidates,
        form=f"'full', or an integer from 1 to {MANY}",
    ),
    "mask_history": Option("do not recommend what a user had before", bool),
    **ATTACK_OPTIONS,
    **DEFENSE_OPTIONS,
    "loss_type": Option("the victim's loss", str, ("BCE", "CE", "BPR")),
    "mask_ratio": Option("share of a history BERT4Rec masks", float, above=0.0, high=1.0),
    "ft_ratio": Option("not used", float, low=0.0, high=0.0, form="0, since masks are drawn at all positions alike"),
    "position_alignment": Option("positions count from the first or to the last item", str, ("left", "right")),
    "initializer": Option("initial weights", str, ("normal", "xavier_normal")),
    "n_layers": Option("transformer layers", int, low=1, high=_DEEP),
    "n_heads": Option("attention heads", int, low=1, high=_WIDE),
    "hidden_size": Option("size of embeddings and hidden states", int, low=1, high=_WIDE),
    "inner_size": Option("size of the feed-forward layers", int, low=1, high=_WIDE),
    "hidden_dropout_prob": Option("dropout of hidden states", float, low=0.0, high=1.0),
    "attn_dropout_prob": Option("dropout of attention", float, low=0.0, high=1.0),
    "hidden_act": Option("activation", str, ("gelu", "relu", "swish", "tanh", "sigmoid")),
    "initializer_range": Option("standard deviation of initial weights", float, above=0.0),
    "layer_norm_eps": Option("numerical stability of layer norms", float, above=0.0),
    "weight_decay": Option("L2 penalty", float, low=0.0),
    "clip_grad_norm": Option("arguments of clip_grad_norm_", dict, optional=True),
    "train_rows": Option("rows of central training", str, TRAIN_ROWS),
    "stopping_step": Option("evaluations without improvement before stopping", int, low=0),
    "metric_decimal_place": Option("decimals of metrics", int, low=6, high=20),
    "synthetic_size": Option(
        "size of the dataset synthetic", parse=_check_size, form="a name, or a mapping of users, items and so on"
    ),
    "seed": Option("random seed", int, low=0, high=LAST_SEED),
    "train_batch_size": Option("training positions per step, central scenario", int, low=1),
    "eval_batch_size": Option("users scored at once", int, low=1),
    "eval_step": Option("epochs between evaluations", int, low=1),
    "MAX_ITEM_LIST_LENGTH": Option("longest history a model sees", int, low=2, high=_WIDE),
    "superlink": Option(
        "a running SuperLink", str, optional=True, names=True, form="HOST:PORT, or a connection's name"
    ),
    "flower_nodes": Option("SuperNodes of a local federation", int, low=1, high=256),
    "node_failure": Option("what becomes of a lost node's clients", str, ("repeat", "accept")),
    "node_timeout": Option("seconds to wait for a node", float, above=0.0),
}
"""Parameters with checked values, in the order ``--help`` shows them; RecBole's own are in ``host_options.py``."""

WITHOUT_FEDERATION = frozenset(
    {*THREAT_OPTIONS, "clients_per_round", "local_epochs"}
    | {"local_learning_rate", "client_weighting", "aggregator", "client_defense", "per_item", "backend"}
    | {"shared_negatives", "rounds_per_epoch", "pre_aggregator", "client_detectors"}
)
WITHOUT_EFFECT: dict[str, frozenset[str]] = {
    "federated": frozenset({"train_batch_size"}),
    "central": WITHOUT_FEDERATION,
    "pretrain": WITHOUT_FEDERATION | {"epochs", "learning_rate", "stopping_step"},
    "recbole": WITHOUT_FEDERATION - {"malicious_ratio", "malicious_seed"} | {"train_rows", "chunk_tokens"},
}
"""Scenario -> parameters it does not read, though all scenarios have them."""
WHO_IS_HONEST = frozenset({"malicious_ratio", "malicious_clients", "malicious_seed"})
"""Read where users may be compromised, in whatever scenario they are evaluated: those that are do not count."""

UNSUPPORTED: dict[str, str] = {
    "train_neg_sample_args": "trainers draw one negative per position themselves",
    "benchmark_filename": "splits are made by leave-one-out from the .inter file",
    "save_dataset": "datasets are not cached, so that a poisoned run and a clean run never share one",
    "save_dataloaders": "dataloaders are not cached, so that a poisoned run and a clean run never share one",
    "dataset_save_path": "datasets are not cached, so that a poisoned run and a clean run never share one",
    "dataloaders_save_path": "dataloaders are not cached, so that a poisoned run and a clean run never share one",
    "enable_amp": "client updates are compared in full precision",
    "enable_scaler": "client updates are compared in full precision",
    "transform": "sequences are transformed by the attack only",
}
"""RecBole parameters that have no effect here, with the reason."""


def check_options(values: Mapping[str, Any]) -> None:
    """Check every parameter on its own, then those that depend on each other.

    Raises:
        ConfigError: Names the parameter, what was expected and what was found.
    """
    theirs = READ_BY_RECBOLE_ALONE if values["scenario"] == "recbole" else frozenset()
    ours = {**registered_options(), **OPTIONS}
    check_each({name: option for name, option in ours.items() if name not in theirs}, values)
    check_host_options(values)
    for name, reason in UNSUPPORTED.items():
        if name not in theirs and values.get(name) is not None and values[name] is not False:
            raise ConfigError(f"{name} is not supported: {reason}; found {shown(values[name])}")
    _check_negatives(values)
    _check_evaluation(values["eval_args"])
    _check_clipping(values.get("clip_grad_norm"))
    _check_wandb(values.get("log_wandb"))
    if "n_heads" in values and values.get("hidden_size", 0) % values["n_heads"]:
        raise ConfigError(
            f"hidden_size must be a multiple of n_heads: found {values['hidden_size']} and {values['n_heads']}"
        )
    if values["shared_negatives"] and values["rounds_per_epoch"] is not None:
        raise ConfigError("shared_negatives needs epochs that ask every client: found rounds_per_epoch, too")
    if values["scenario"] == "federated":
        _check_federation(values)
    if values["scenario"] == "recbole" and values["attack"] != "none" and values["malicious_clients"] != "clone":
        raise ConfigError("fake users join the real ones: expected malicious_clients 'clone', found 'compromise'")


def _check_federation(values: Mapping[str, Any]) -> None:
    configured_aggregator(values)
    if values["upload"] != "computed":
        configured_attack(values)
    if values["claimed_interactions"] is not None and values["client_weighting"] != "examples":
        raise ConfigError(
            "claimed_interactions needs weights that go by them: expected client_weighting 'examples', "
            f"found '{values['client_weighting']}'"
        )
    if values["train_rows"] != "users":
        raise ConfigError(f"train_rows of clients: expected 'users', found '{values['train_rows']}'")
    if values["attack"] != "none" and values["malicious_ratio"] == 0:
        raise ConfigError(
            f"attack '{values['attack']}' needs malicious clients: malicious_ratio must be above 0, found 0"
        )


def _check_negatives(values: Mapping[str, Any]) -> None:
    negatives = values.get("replacement_negatives", "sampled")
    if negatives != "sampled" and values["loss_type"] == "CE":
        raise ConfigError(
            f"replacement_negatives '{negatives}' needs a loss with negatives: expected loss_type 'BPR' or 'BCE', "
            "found 'CE'"
        )


def _check_clipping(value: Any) -> None:
    valid = {
        "max_norm": lambda norm: type(norm) in (int, float) and norm > 0,
        "norm_type": lambda norm: type(norm) in (int, float) and norm > 0,
        "error_if_nonfinite": lambda flag: isinstance(flag, bool),
    }
    if value is None:
        return
    if "max_norm" not in value or not all(key in valid and valid[key](part) for key, part in value.items()):
        raise ConfigError(
            "clip_grad_norm must hold a positive max_norm, and may hold a positive norm_type and a truth value "
            f"error_if_nonfinite: found {shown(value)}"
        )


def _check_wandb(wanted: Any) -> None:
    spec = find_spec("wandb") if wanted else None
    if wanted and (spec is None or spec.origin is None):  # a folder of logs called wandb is no package
        raise ConfigError("log_wandb needs the package wandb, which is not installed: pip install wandb")


def _check_evaluation(eval_args: Mapping[str, Any]) -> None:
    for key in eval_args:
        lookup(dict.fromkeys(("split", "order", "group_by", "mode")), key, "part of eval_args")
    split = eval_args["split"]
    if not isinstance(split, Mapping) or list(split) != ["LS"]:
        raise ConfigError(f"eval_args split must be {{'LS': <mode>}}: found {shown(split)}")
    lookup(dict.fromkeys(LEAVE_ONE_OUT_MODES), split["LS"], "leave-one-out mode")
    for key, only in (("order", "TO"), ("group_by", "user")):
        if eval_args[key] != only:
            raise ConfigError(f"eval_args {key} must be '{only}': found {shown(eval_args[key])}")
    mode = eval_args["mode"]
    for phase in mode if isinstance(mode, Mapping) else ():
        lookup(dict.fromkeys(("valid", "test")), phase, "phase in eval_args mode")
    if any(value != "full" for value in (mode.values() if isinstance(mode, Mapping) else [mode])):
        raise ConfigError(
            f"eval_args mode must be 'full': found {shown(mode)}; exposure_candidates=<n> samples rankings"
        )
