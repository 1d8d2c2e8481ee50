"""Red-teams RecBole's sequential recommenders: attacks, defences, and numbers to trust."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "AttackConfig",
    "load_data_and_model",
    "load_runs",
    "objective_function",
    "register_aggregator",
    "register_attack",
    "register_metric",
    "register_model",
    "run_recbole_attack",
]

if TYPE_CHECKING:
    from recbole_attack.benchmark.frame import load_runs
    from recbole_attack.config import AttackConfig
    from recbole_attack.evaluator import register_metric
    from recbole_attack.quick_start import load_data_and_model, objective_function, run_recbole_attack
    from recbole_attack.register import register_aggregator, register_attack, register_model


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # Imported on first use, so that a mistyped option is reported before torch is loaded.
    homes = {"AttackConfig": "config", "load_runs": "benchmark.frame", "register_metric": "evaluator"}
    homes |= dict.fromkeys(["register_aggregator", "register_attack", "register_model"], "register")
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(f"recbole_attack.{homes.get(name, 'quick_start')}"), name)
    raise AttributeError(f"module 'recbole_attack' has no attribute '{name}'")
