"""Red-teams RecBole's sequential recommenders: attacks, defences, and numbers to trust."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "AttackConfig",
    "Option",
    "evaluate",
    "inspect_model",
    "load_data_and_model",
    "load_runs",
    "objective_function",
    "register_aggregator",
    "register_attack",
    "register_backdoor",
    "register_client_defense",
    "register_detector",
    "register_metric",
    "register_model",
    "run_recbole_attack",
]

if TYPE_CHECKING:
    from recbole_attack.benchmark.frame import load_runs
    from recbole_attack.config import AttackConfig, Option
    from recbole_attack.evaluation import evaluate
    from recbole_attack.evaluator import register_metric
    from recbole_attack.inspection import inspect_model
    from recbole_attack.quick_start import load_data_and_model, objective_function, run_recbole_attack
    from recbole_attack.register import (
        register_aggregator,
        register_attack,
        register_backdoor,
        register_client_defense,
        register_detector,
        register_model,
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # Imported on first use, so that a mistyped option is reported before torch is loaded.
    homes = {"AttackConfig": "config", "Option": "config", "register_metric": "evaluator"}
    homes |= {"load_runs": "benchmark.frame", "inspect_model": "inspection", "evaluate": "evaluation"}
    if name in __all__:
        from importlib import import_module

        home = homes.get(name, "register" if name.startswith("register_") else "quick_start")
        return getattr(import_module(f"recbole_attack.{home}"), name)
    raise AttributeError(f"module 'recbole_attack' has no attribute '{name}'")
