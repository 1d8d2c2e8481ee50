"""An evaluation that takes seconds: the tiny dataset, one epoch, one seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

DATASETS = Path(__file__).resolve().parents[2] / "dataset"
VICTIM = {
    **{"scenario": "federated", "model": "SASRec", "dataset": "tiny", "data_path": str(DATASETS)},
    **{"hidden_size": 8, "inner_size": 16, "MAX_ITEM_LIST_LENGTH": 12, "epochs": 1, "eval_step": 1},
    **{"clients_per_round": 16, "malicious_clients": "clone", "show_progress": False},
}
PARTS = {
    "victim": VICTIM,
    "clean_targets": "stratified:3",
    "seeds": [7],
    "chosen": ["bandwagon", "margin"],
    "boards": {
        "norm": {"norm_budget": 0.5, "malicious_ratio": [0.1], "targets": ["stratified:3:2"]},
        "free": {"norm_budget": None, "malicious_ratio": [0.1], "targets": ["stratified:3:2"]},
    },
    "references": {"SASRec on tiny": 0.95},
}


@pytest.fixture(scope="session")
def parts():
    """What its file holds."""
    return PARTS


@pytest.fixture
def written(tmp_path):
    """``written(**parts)``: the file of such an evaluation, with other parts."""

    def write(**others):
        file = tmp_path / "own.yaml"
        file.write_text(yaml.safe_dump({**PARTS, **others}), encoding="utf-8")
        return str(file)

    return write
