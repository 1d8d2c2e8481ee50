"""What rounds.csv says of client detectors, by hand, and in runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack import AttackConfig
from recbole_attack.experiment import prepare
from recbole_attack.trainer.sums import detection_columns, detection_summary, scored_clients

THRESHOLDS = {"top_row": 0.4, "clone": 2.0, "spectral": 0.2, "norm": 3.0}


def test_one_round_by_hand() -> None:
    malicious = torch.tensor([False, False, False, True, True])
    scores = {"top_row": torch.tensor([0.1, 0.2, 0.6, 0.5, torch.inf]).double()}
    assert detection_columns(scores, malicious, {"top_row": 0.5}) == {
        "top_row_flagged": 3,
        "top_row_caught": 2,
        "top_row_auroc": pytest.approx(5 / 6),
    }
    honest = detection_columns(scores, torch.zeros(5, dtype=torch.bool), {"top_row": 9.0})
    assert honest["top_row_auroc"] is None and honest["top_row_flagged"] == 1
    nobody = detection_columns({}, malicious[:0], {"norm": 1.0})
    assert nobody == {"norm_flagged": 0, "norm_caught": 0, "norm_auroc": None}
    assert scored_clients(scores, malicious, ["top_row"]).tolist() == [
        [0, 0, 0, 1, 1],
        pytest.approx([0.1, 0.2, 0.6, 0.5, float("inf")]),
    ]
    assert scored_clients({}, malicious[:0], ["norm", "clone"]).shape == (3, 0)


def test_all_rounds_by_hand() -> None:
    scored = torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0, 1.0], [1.0, 4.0, 5.0, 2.0, 2.0, 7.0]])
    assert detection_summary(scored, {"norm": 4.0}) == {
        "norm": {
            "precision": pytest.approx(2 / 3),
            "recall": pytest.approx(2 / 3),
            "false_alarms": pytest.approx(1 / 3),
            "auroc": pytest.approx(7.5 / 9),
            "threshold_at_1": pytest.approx(4.0),
        }
    }
    assert set(detection_summary(scored[:, :0], {"norm": 1.0})["norm"].values()) == {None}
    honest = detection_summary(scored[:, scored[0] == 0], {"norm": 9.0})["norm"]
    assert honest["precision"] is honest["recall"] is honest["auroc"] is None and honest["false_alarms"] == 0


@pytest.mark.parametrize("infinite", [1, 2])
def test_a_threshold_that_would_flag_too_many_is_none(infinite: int) -> None:
    scores = torch.cat([torch.linspace(0, 1, 150 - infinite), torch.full((infinite,), torch.inf)])
    found = detection_summary(torch.stack([torch.zeros(150), scores]), {"norm": 0.5})["norm"]["threshold_at_1"]
    assert (found is None) == (infinite > 150 / 100)


def test_a_round_and_all_rounds_agree_on_who_is_flagged() -> None:
    """In the type scores are kept in, whatever a detector computes in."""
    malicious = torch.tensor([False, True, True, True])
    scores = {"top_row": torch.tensor([0.5, 1 - 2**-53, 1 + 2**-52, 1.0], dtype=torch.float64)}
    (row,) = (detection_columns(scores, malicious, {"top_row": 1.0}),)
    found = detection_summary(scored_clients(scores, malicious, ["top_row"]), {"top_row": 1.0})["top_row"]
    assert (row["top_row_flagged"], row["top_row_caught"], row["top_row_auroc"]) == (3, 3, 1.0)
    assert (found["precision"], found["recall"], found["auroc"]) == (1.0, 1.0, 1.0)


@given(scores=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=450))
def test_the_threshold_flags_one_honest_client_in_a_hundred_at_most_and_no_smaller_one_does(
    scores: list[float],
) -> None:
    honest = torch.tensor(scores)
    found = detection_summary(torch.stack([torch.zeros_like(honest), honest]), {"norm": 0.5})["norm"]
    threshold = found["threshold_at_1"]
    assert threshold is not None
    assert int((honest >= threshold).sum()) <= len(scores) / 100
    below = torch.tensor(threshold).nextafter(torch.tensor(-torch.inf))
    assert int((honest >= below).sum()) > len(scores) / 100


@pytest.fixture
def ran(small: Callable[..., dict[str, Any]], tmp_path: Any) -> Callable[..., dict[str, Any]]:
    """Arm -> its rounds and its detection; ``ran(**changes)``."""

    def run(**changes: Any) -> dict[str, Any]:
        common = {"attack": "margin", "malicious_ratio": 0.1, "epochs": 1, "clients_per_round": 30}
        settings = AttackConfig(config_dict=small(**{**common, "client_detectors": THRESHOLDS, **changes}))
        experiment, found = prepare(settings), {}
        for name in experiment.arms():
            trainer = experiment.trainer(settings.replace(attack="none" if name == "clean" else settings["attack"]))
            trainer.fit(experiment.train_data, verbose=False, saved=False)
            found[name] = (trainer.rounds, trainer.detection())
        return found

    return run


@pytest.mark.parametrize("changes", [{}, {"aggregator": "krum"}, {"norm_budget": 0.47}, {"local_epochs": 2}], ids=str)
def test_both_backends_see_the_same_clients(ran: Any, changes: dict[str, Any]) -> None:
    """A budget of 0.5 is one client's very length where their number is odd: rounding says who is longer."""
    no_dropout = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
    fast, slow = ran(**no_dropout, **changes), ran(**no_dropout, **changes, backend="loop")
    for arm, (rounds, detection) in fast.items():
        for one, other in zip(rounds, slow[arm][0], strict=True):
            keys = [key for key in one if key.startswith(tuple(THRESHOLDS))]
            assert len(keys) == 3 * len(THRESHOLDS)
            assert [one[key] or 0.0 for key in keys] == pytest.approx([other[key] or 0.0 for key in keys], rel=1e-3)
        assert (detection["top_row"]["auroc"] is None) == (arm == "clean")


def test_an_attack_on_one_row_is_seen_and_an_honest_round_is_not(ran: Any) -> None:
    found = ran()
    assert found["attacked"][1]["top_row"]["recall"] == 1.0
    assert found["attacked"][1]["top_row"]["auroc"] == 1.0
    assert found["clean"][1]["top_row"] | {"threshold_at_1": 0} == {
        **{"precision": None, "recall": None, "false_alarms": 0.0, "auroc": None, "threshold_at_1": 0}
    }


def test_looking_changes_nothing_but_what_is_seen(ran: Any) -> None:
    seen, unseen = ran(aggregator="median"), ran(aggregator="median", client_detectors={})
    for arm, (rounds, _) in seen.items():
        for one, other in zip(rounds, unseen[arm][0], strict=True):
            assert {key: one[key] for key in other if key != "seconds"} == {
                k: other[k] for k in other if k != "seconds"
            }
        assert unseen[arm][1] == {}
