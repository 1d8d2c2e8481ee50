"""Parameters of a run that takes about a second."""

from __future__ import annotations

from pathlib import Path

DATASETS = Path(__file__).resolve().parent.parent / "dataset"
SMALL = {
    "data_path": str(DATASETS),
    "dataset": "tiny",
    "hidden_size": 8,
    "inner_size": 16,
    "MAX_ITEM_LIST_LENGTH": 12,
    "epochs": 2,
    "clients_per_round": 16,
    "malicious_ratio": 0.05,
    "show_progress": False,
}
