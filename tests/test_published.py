"""The setting of DV-FSR's released code, on the paper's datasets; minutes long, so marked slow."""

import os
from pathlib import Path

import pytest

from recbole_attack import run_recbole_attack

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments" / "dv-fsr" / "published"
DATA_PATH = os.environ.get("RECBOLE_ATTACK_DATA_PATH")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA_PATH, reason="set RECBOLE_ATTACK_DATA_PATH to a folder with ml-1m and steam-200k"),
]


@pytest.mark.parametrize(
    ("dataset", "hit", "exposure"), [("ml-1m", (0.095, 0.115), "er@5"), ("steam-200k", (0.29, 0.34), "er@20")]
)
def test_sampled_candidates_give_the_published_numbers_and_full_ranking_does_not(dataset, hit, exposure):
    result = run_recbole_attack(
        config_file_list=[str(EXPERIMENTS / f"sasrec-{dataset}.yaml")],
        config_dict={"data_path": DATA_PATH, "show_progress": False},
    )
    for arm in ("clean", "attacked"):
        assert hit[0] <= result[arm]["test_result"]["hit@10"] <= hit[1]
        assert result[arm]["test_result_full"]["hit@10"] < result[arm]["test_result"]["hit@10"] / 2
    assert result["clean"]["test_result"][exposure] < 0.01
    assert result["attacked"]["test_result"][exposure] >= 0.9
