"""The configuration of a given model, as ``inspect_model`` makes it."""

from __future__ import annotations

from typing import Any

from recbole_attack import AttackConfig
from recbole_attack.inspection.given_model import own_configuration, with_file
from recbole_attack.inspection.model_file import ModelFile


def configured(file: ModelFile, *said: Any) -> AttackConfig:
    """Of what a platform says, and then of what the file shows."""
    return with_file(file, own_configuration(file, *said))
