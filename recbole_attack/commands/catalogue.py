"""What there is to choose from, for ``--list`` and ``--help``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recbole_attack.attack import ATTACKS, BACKDOORS
from recbole_attack.config.options import OPTIONS, SCENARIOS
from recbole_attack.data import SELECTORS
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, DETECTORS
from recbole_attack.evaluator import EXPOSURE_METRICS
from recbole_attack.model import MODELS
from recbole_attack.stages import PLATFORMS

_USAGE = """\
usage: python run_recbole_attack.py [--model=SASRec] [--dataset=ml-100k] [--attack=dvfsr] [--key=value ...]

Train a victim, clean and attacked, and show what the attack did.

  -m, --model         the victim: {models}
  -d, --dataset       RecBole dataset name, looked up below --data_path
  -c, --config_files  YAML files, separated by spaces
  --attack            {attacks}
  --resume            run folder of an interrupted run
  --list              everything there is to choose from
  --help              this text

Any parameter of RecBole or of this package can follow as --key=value. The main ones:
"""


def usage() -> str:
    """The text of ``--help``."""
    head = _USAGE.format(models=", ".join(MODELS), attacks=", ".join({**ATTACKS, **BACKDOORS}))
    lines = [f"  --{name:<27}{option.help} ({_values(option)})" for name, option in OPTIONS.items()]
    return head + "\n".join(lines)


def listing() -> str:
    """The text of ``--list``."""
    sections: dict[str, Iterable[tuple[str, str]]] = {
        "scenarios": SCENARIOS.items(),
        "models": _first_lines(MODELS),
        "attacks": _first_lines(ATTACKS),
        "attacks by the provider of a pre-trained model": _first_lines(BACKDOORS),
        "platforms": PLATFORMS.items(),
        "aggregators": _first_lines(AGGREGATORS),
        "client defenses": _first_lines(CLIENT_DEFENSES),
        "detectors": _first_lines(DETECTORS),
        "target selectors (name:count)": _first_lines(SELECTORS),
        "metrics, besides RecBole's": _first_lines(EXPOSURE_METRICS),
    }
    return "\n\n".join(
        f"{title}\n" + "\n".join(f"  {name:<22}{text}" for name, text in rows) for title, rows in sections.items()
    )


def _values(option: Any) -> str:
    return " | ".join(option.choices) if option.choices else option.expected


def _first_lines(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, (part.__doc__ or "").strip().splitlines()[0]) for name, part in table.items()]
