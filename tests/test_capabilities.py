"""The table of what runs with what: it is what the command prints, and a sample of it is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recbole_attack import capabilities
from recbole_attack.attack import ATTACKS, BACKDOORS, PROFILES
from recbole_attack.capabilities import (
    Combination,
    Shipment,
    baseline_failure,
    combinations,
    document,
    failure,
    refusals,
    shipment_failure,
    shipments,
    workplace,
)
from recbole_attack.config import AttackConfig
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, PRE_AGGREGATORS
from recbole_attack.federated.rounds import BACKENDS
from recbole_attack.model import HOSTS, MODELS, RECBOLE_MODELS
from recbole_attack.stages import PLATFORMS
from recbole_attack.utils.errors import ConfigError

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "capabilities.md"
RUNNING = ["SASRec", "BERT4Rec", "GRU4Rec", "LightSANs", "NARM", "SINE", "STAMP"]
SAMPLE = [
    *(Combination(model, "vectorised", "ra", "mean") for model in RUNNING),
    *(Combination(model, "vectorised", "dvfsr", "geometric_median") for model in RUNNING),
    *(Combination("BERT4Rec", "vectorised", attack, "mixed_rfa") for attack in ATTACKS),
    *(Combination("NARM", "vectorised", "eb", aggregator) for aggregator in AGGREGATORS),
    *(Combination(model, "loop", "c_fsr", "median") for model in ("BERT4Rec", "STAMP")),
]


@pytest.fixture(autouse=True)
def _workplace() -> Iterator[None]:
    with workplace():
        yield


@pytest.mark.parametrize("combination", SAMPLE, ids=":".join)
def test_a_sample_of_the_combinations_runs(combination: Combination) -> None:
    assert failure(**combination._asdict()) is None


@pytest.mark.parametrize("model", RUNNING)
def test_every_model_trains_centrally_and_with_every_client_defense(model: str) -> None:
    assert failure(model=model, scenario="central", attack="none") is None
    for mixing in PRE_AGGREGATORS:
        assert failure(model=model, pre_aggregator=mixing, attack="none") is None
    for defense in CLIENT_DEFENSES:
        assert failure(model=model, client_defense=defense, attack="none") is None


def test_the_document_is_what_the_command_prints_where_everything_runs() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == document(refusals(), {}) + "\n", "python -m recbole_attack.capabilities > docs/capabilities.md"


@pytest.mark.slow
def test_the_whole_document_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    capabilities.main()
    assert capsys.readouterr().out == DOCUMENT.read_text(encoding="utf-8")


PRETRAINED = [
    *(Shipment("SASRec", attack, platform) for attack in BACKDOORS for platform in PLATFORMS),
    *(Shipment(model, "bra", "fine_tune") for model in ("GRU4Rec", "LightSANs", "NARM", "SINE", "STAMP")),
    Shipment("BERT4Rec", "none", "fine_tune"),
]


@pytest.mark.parametrize("shipment", PRETRAINED, ids=":".join)
def test_a_sample_of_pre_trained_models_runs(shipment: Shipment) -> None:
    assert shipment_failure(shipment) is None


def test_pre_trained_models_are_refused_as_a_run_refuses_them_and_failures_are_said() -> None:
    broken = Shipment("NARM", "bra", "direct")
    text = document({}, {broken: "ValueError: no"})
    head, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.partition("## Attacks on pre-trained models")[2].partition("## ")[0].splitlines()
        if line.startswith("|") and "---" not in line
    ]
    cells = {
        Shipment(model, *row[0].split(", ")): cell
        for row in rows
        for model, cell in zip(head[1:], row[1:], strict=True)
    }
    assert set(cells) == set(shipments(list(MODELS)))
    for shipment in (Shipment("NARM", "pea", "direct"), Shipment("BERT4Rec", "pea", "direct")):
        assert cells[shipment] == "refused"
        with pytest.raises(ConfigError, match=r"expected .*model"):
            AttackConfig(config_dict={"scenario": "pretrain", "loss_type": "CE", **shipment._asdict()})
    assert cells[broken] == "ValueError: no"
    assert cells[Shipment("SASRec", "pea", "prompt_tune")] == cells[Shipment("NARM", "bra", "fine_tune")] == "runs"


@pytest.mark.parametrize("model", RECBOLE_MODELS)
def test_every_model_of_recboles_that_is_offered_trains(model: str) -> None:
    assert baseline_failure(model) is None


@pytest.mark.parametrize("attack", PROFILES)
def test_every_profile_of_fake_users_poisons_a_general_and_a_sequential_model(attack: str) -> None:
    assert [baseline_failure(model, attack) for model in ("ItemKNN", "NARM")] == [None, None]


def test_models_of_recboles_that_fail_are_not_said_to_run() -> None:
    text = document({}, {("BPR", "recbole"): "RuntimeError: broken"})
    running, table = text.partition("## RecBole's own models as baselines")[2].split("| --- | --- |")
    assert "| BPR | RuntimeError: broken |" in table and " BPR," not in running and " NeuMF," in running
    assert "| SASRecF | it needs side inputs (selected_features) |" in table


def test_every_combination_is_tried_once() -> None:
    found = combinations(["SASRec", "NARM"])
    assert len(set(found)) == len(found) == 2 * len(BACKENDS) * len(ATTACKS) * len(AGGREGATORS)


def test_refused_models_are_recboles_and_all_others_run() -> None:
    refused = refusals()
    assert set(refused) <= set(HOSTS)
    assert list(MODELS) == RUNNING, "what is offered runs"
    assert set(HOSTS) == set(refused) | set(RUNNING)


def test_what_fails_is_said_where_it_fails() -> None:
    reasons = {
        Combination("NARM", "vectorised", "eb", "krum"): "RuntimeError: broken",
        ("STAMP", "central"): "ValueError: no",
    }
    rows = [
        line for line in document(refusals(), reasons).splitlines() if "RuntimeError" in line or "ValueError" in line
    ]
    assert [row.split(" | ")[0] for row in rows] == ["| krum", "| eb", "| central"]
    assert "loop; RuntimeError: broken" in rows[0]


def test_a_failure_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failure(model="SASRec", attack="none", epochs=0).startswith("ConfigError: epochs must be")
    monkeypatch.setitem(capabilities._SETTING, "dataset", "missing")
    assert "\n" not in failure(model="SASRec", attack="none")


def test_a_workplace_is_left_as_it_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with workplace():
        assert Path.cwd() != tmp_path and Path("round/round.inter").is_file()
    assert Path.cwd() == tmp_path and not list(tmp_path.iterdir())
