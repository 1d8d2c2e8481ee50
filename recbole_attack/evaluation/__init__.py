"""The standard evaluation of aggregation rules and attacks: a fixed ensemble, the worst case, flags, and a board."""

from recbole_attack.evaluation.board import board_files, read_entries
from recbole_attack.evaluation.claims import claims_section
from recbole_attack.evaluation.ensemble import VERSIONS, read_ensemble
from recbole_attack.evaluation.entry import differences, read_entry
from recbole_attack.evaluation.standard import Evaluation, described, evaluate, prepare, run_prepared

__all__ = [
    "VERSIONS",
    "Evaluation",
    "board_files",
    "claims_section",
    "described",
    "differences",
    "evaluate",
    "prepare",
    "read_ensemble",
    "read_entries",
    "read_entry",
    "run_prepared",
]
