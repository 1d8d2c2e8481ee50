"""Parts of one's own, by name: attacks, backdoors, rules, client defences, detectors and models.

What is registered lives as long as the process. A module that registers parts is a plug-in: named by the parameter
``plugins`` (see :mod:`recbole_attack.config.plugins`), it is imported wherever the run is continued, loaded or trained;
what is registered elsewhere asks for the same call before that. Registering a name again replaces what was registered
under it.

Parameters of a part come with default values, which also fix their types, and checks for those that want one:
``options={"loudness": Option("how loud it is", float, above=0.0)}``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recbole_attack.attack import ATTACKS, BACKDOORS, Attack
from recbole_attack.config.checks import Option
from recbole_attack.config.host_options import OPTIONS_OF_RECBOLE
from recbole_attack.config.options import OPTIONS
from recbole_attack.config.own_code import code_hash
from recbole_attack.config.registered import REGISTERED, REGISTERED_CODE, REGISTERED_OPTIONS
from recbole_attack.data.batches import Poison
from recbole_attack.defense import (
    AGGREGATORS,
    CLIENT_DEFENSES,
    DETECTORS,
    Aggregator,
    ClientDefense,
    Detection,
    Remembering,
)
from recbole_attack.model import MODELS, find_model
from recbole_attack.stages import POISONED, PROVIDERS, STAGES, Stage
from recbole_attack.utils.errors import ConfigError, lookup, shown

Defaults = Mapping[str, Any] | None
Options = Mapping[str, Option] | None


def register_attack(
    name: str,
    recipe: Callable[[Mapping[str, Any]], Attack],
    defaults: Defaults = None,
    options: Options = None,
) -> None:
    """Make an attack of clients known by name.

    Args:
        name: What ``attack`` will say.
        recipe: Reads parameters from the configuration and returns the attack; the first line of its docstring is
            what ``list`` shows, and ``show`` the rest.
        defaults: Parameters of its own with their default values, whose types are checked.
        options: What these parameters may hold.

    Raises:
        ConfigError: The name belongs to an attack of this package; an option has no default value, refuses it, or
            checks a parameter that has another check already.
    """
    _register([ATTACKS, BACKDOORS], "attack", "attack", name, recipe, defaults, options)


def register_backdoor(
    name: str,
    recipe: Callable[..., Poison | None],
    defaults: Defaults = None,
    options: Options = None,
    stages: Sequence[Stage] = POISONED,
) -> None:
    """Make an attack by the provider of a pre-trained model known by name; see :func:`register_attack`.

    Args:
        name: What ``attack`` will say, in the scenario ``pretrain``.
        recipe: ``(config, similar, target_users)`` to what is done to a training batch; see
            :data:`~recbole_attack.attack.BACKDOORS`.
        defaults: Parameters of its own with their default values.
        options: What these parameters may hold.
        stages: What the provider trains in turn, ``poisoned`` where the recipe acts.

    Raises:
        ConfigError: As :func:`register_attack`; or the stages are not a provider's, or none is poisoned.
    """
    plan = tuple(stages)
    for stage in plan:
        lookup(dict.fromkeys(STAGES), stage.name, "stage")
    if not any(stage.poisoned for stage in plan) or any(stage.party != "provider" for stage in plan):
        raise ConfigError(f"stages of '{name}': expected stages of the provider, one of them poisoned, found {plan}")
    _register([BACKDOORS, ATTACKS], "attack", "attack", name, recipe, defaults, options)
    PROVIDERS[name] = lambda three_steps: plan


def register_aggregator(
    name: str,
    recipe: Callable[[Mapping[str, Any]], Aggregator],
    defaults: Defaults = None,
    options: Options = None,
) -> None:
    """Make an aggregation rule known by name; see :func:`register_attack`."""
    _register([AGGREGATORS, CLIENT_DEFENSES], "aggregator", "defense", name, recipe, defaults, options)


def register_client_defense(
    name: str,
    recipe: Callable[[Mapping[str, Any]], ClientDefense | Remembering],
    defaults: Defaults = None,
    options: Options = None,
) -> None:
    """Make a defence on the clients' side known by name; see :func:`register_attack`.

    One that moves rows of items its client neither holds nor draws says so:
    :class:`~recbole_attack.defense.client_defenses.Spreading`.
    """
    _register([CLIENT_DEFENSES, AGGREGATORS], "client_defense", "defense", name, recipe, defaults, options)


def register_detector(
    name: str, detector: Callable[..., Detection], defaults: Defaults = None, options: Options = None
) -> None:
    """Make a detector known by name; see :func:`register_attack`.

    Args:
        name: What the table of detections will say. All detectors look at every model of the scenario ``pretrain``.
        detector: ``(evidence, seed, **parameters) -> Detection``; its parameters come by the names in ``defaults``. It
            returns ``None`` where the evidence lacks what it reads, and is left out there.
        defaults: Parameters of the scenario ``pretrain`` that are its own, with their default values.
        options: What these parameters may hold.
    """
    _register([DETECTORS], "detector", "detector", name, detector, defaults, options)


def register_model(model: type[Any], defaults: Defaults = None, options: Options = None) -> None:
    """Make a model known by the name of its class; see :func:`register_attack`.

    Args:
        model: A class derived from :class:`~recbole_attack.model.Victim` or one of this package's models, or a
            sequential model of RecBole's kind, which the adapter has to take.
        defaults: Parameters of its own with their default values.
        options: What these parameters may hold.

    Raises:
        ConfigError: As :func:`register_attack`; or the model cannot be attacked.
    """
    _register([MODELS], "model", "model", model.__name__, find_model(model), defaults, options)
    _note_code(f"model/{model.__name__}", model)  # what was registered may be an adapter


def _register(
    tables: list[dict[str, Any]],
    kind: str,
    folder: str,
    name: str,
    part: Any,
    defaults: Defaults,
    options: Options,
) -> None:
    """Put a part into the first of the tables that share a folder of defaults, if its name is free in all of them."""
    if not name.strip() or {"/", "\\"} & set(name):
        raise ConfigError(f"{kind} {shown(name)}: expected a name without slashes, which is part of file names")
    if not isinstance(defaults or {}, Mapping):
        raise ConfigError(f"{kind} '{name}': expected a mapping of parameters to defaults, found {shown(defaults)}")
    key, given = f"{folder}/{name}", dict(defaults or {})
    if any(name in table for table in tables) and not (key in REGISTERED and name in tables[0]):
        raise ConfigError(f"{kind} '{name}' exists already: choose another name")
    for parameter, option in (options or {}).items():
        _check_option(key, parameter, option, given)
    tables[0][name] = part
    REGISTERED[key] = given
    REGISTERED_OPTIONS[key] = dict(options or {})
    _note_code(key, part)


def _note_code(key: str, part: Any) -> None:
    REGISTERED_CODE[key] = (str(getattr(part, "__module__", "")), code_hash(part))


def _check_option(key: str, parameter: str, option: Option, defaults: Mapping[str, Any]) -> None:
    if parameter not in defaults:
        raise ConfigError(f"option '{parameter}' of {key}: expected its default value among the defaults, found none")
    others = [options for other, options in REGISTERED_OPTIONS.items() if other != key and parameter in options]
    if parameter in {**OPTIONS, **OPTIONS_OF_RECBOLE} or any(options[parameter] != option for options in others):
        raise ConfigError(f"option '{parameter}' of {key}: expected a name of its own, found one with another check")
    option.check(parameter, defaults[parameter])
