"""Made-up records for tests of reports."""

from __future__ import annotations

from typing import Any

import pytest


def _arm(hit: float, er: float | None, full: tuple[float, float] | None) -> dict[str, Any]:
    def metrics(hit: float, er: float | None) -> dict[str, float | None]:
        at = {"er@5": None, "er@10": er, "er@20": None} if er is None else {"er@5": er / 2, "er@10": er, "er@20": er}
        return {"hit@10": hit, "ndcg@10": hit / 2, **at}

    return {"test_result": metrics(hit, er), "test_result_full": metrics(*full) if full else None}


def make_record(
    attack: str = "dvfsr",
    er: float | None = 0.25,
    hit: float = 0.4,
    *,
    seed: int = 2020,
    clean: tuple[float, float] | None = None,
    full: tuple[float, float] | None = None,
    course: tuple[float, ...] = (),
    uploads: dict[str, float] | None = None,
    data: str = "tiny",
    targets: tuple[str, ...] = ("i22",),
    **config: Any,
) -> dict[str, Any]:
    """A ``result.json`` of one federated run.

    Args:
        attack: Its name; with ``none`` the only arm is the clean one.
        er: Exposure of the last arm, half of it within the top 5.
        hit: Accuracy of the last arm.
        clean: Accuracy and exposure of the clean arm beside the attacked one.
        full: The last arm's accuracy and exposure under full ranking.
        course: Exposure of the attacked arm at each epoch.
        **config: Parameters.
    """
    values = {
        **{"scenario": "federated", "model": "SASRec", "dataset": data, "attack": attack, "malicious_ratio": 0.05},
        **{"aggregator": "mean", "client_defense": "none", "malicious_clients": "clone", "target_items": "popular:1"},
        **{"exposure_candidates": "full", "mask_history": True, "epochs": 3, "learner": "adam", "learning_rate": 0.1},
        **{"clients_per_round": 16, "topk": [5, 10, 20], "seed": seed, "hidden_size": 8, **config},
    }
    count = 0 if attack == "none" else 3
    last = {**_arm(hit, er, full), "tested_epoch": 2, "uploads": uploads}
    arms = {"clean": last} if attack == "none" else {"clean": clean and _arm(*clean, None), "attacked": last}
    epochs = [{"epoch": epoch, "er@10": value, "hit@10": 0.1} for epoch, value in enumerate(course)]
    return {
        **{"schema": 1, "version": "0.1.0", "seed": seed, "config": values},
        "dataset": {"name": data, "users": 60, "items": 39, "interactions": 900, "sha256": {"x": data}},
        "budget": {
            **{"attack": attack, "knowledge": ["the model", "its clients"], "target_items": list(targets)},
            **{"mode": "clone", "malicious_clients": count, "malicious_share": count / 60},
            **{"malicious_interactions": 45, "gradient_scale": 1.0, "norm_budget": None},
        },
        **{"attacked": None, **arms},
        "history": {"attacked": epochs} if attack != "none" else {},
        "timing": {},
    }


@pytest.fixture(scope="session")
def made():
    """The maker of records, see :func:`make_record`."""
    return make_record
