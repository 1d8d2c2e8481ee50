"""Training and evaluation on a pretended GPU: the same numbers, nothing mixed, only the listed copies and waits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from pretend_gpu import CPU, GPU, RANDOM, Event, pretend_gpu

from recbole_attack import AttackConfig
from recbole_attack.experiment import prepare_training
from recbole_attack.trainer import base, central
from recbole_attack.utils.rng import torch_stream

PAGE = Path(__file__).resolve().parent.parent / "docs" / "gpu.md"
SECTIONS = {
    "In a round": "trainer/federated.py: _round",
    "In central training": "trainer/central.py: _train_epoch",
    "In the evaluation": "trainer/base.py: evaluate",
}
"""Title of the page -> the function whose calls it is about."""

NO_DROPOUT = {"hidden_dropout_prob": 0, "attn_dropout_prob": 0}
DVFSR = {"attack": "dvfsr", "attack_repeats": 2, "target_items": "random:2"}
FEW = {"clients_per_round": 12, "rounds_per_epoch": 1, "malicious_ratio": 0.2}
GRU = {"model": "GRU4Rec", "dropout_prob": 0}
BERT = {"model": "BERT4Rec", **NO_DROPOUT}
SASREC = {"model": "SASRec", **NO_DROPOUT}
ASKED = {"quota_histories": 4}
RUNS: dict[str, dict[str, Any]] = {
    "mean, clean": {**SASREC, "attack": "none"},
    "mean, attacked": {**SASREC, **DVFSR, "exposure_candidates": 20},
    "weighted mean, attacked": {**SASREC, "attack": "bandwagon", "client_weighting": "examples"},
    "mixed_rfa, clean": {**SASREC, "attack": "none", "aggregator": "mixed_rfa"},
    "mixed_rfa, attacked": {**SASREC, **DVFSR, "aggregator": "mixed_rfa"},
    "a coordinate rule, clean": {**SASREC, "attack": "none", "aggregator": "median"},
    "a coordinate rule, attacked": {**SASREC, **DVFSR, "aggregator": "median"},
    "per item, clean": {**SASREC, "attack": "none", "aggregator": "mixed_rfa", "per_item": True},
    "per item, attacked": {**SASREC, **DVFSR, "aggregator": "mixed_rfa", "per_item": True, "norm_budget": 0.5},
    "mixed before": {**SASREC, **FEW, "attack": "ra", "pre_aggregator": "bucketing", "aggregator": "krum"},
    "watched": {**SASREC, **DVFSR, "client_detectors": {"top_row": 0.5, "clone": 0.9, "spectral": 0.2, "norm": 2.0}},
    "rejected": {**SASREC, "attack": "ra", "gradient_scale": 1e30, "aggregator": "krum"},
    "rejected, per item": {**SASREC, "attack": "ra", "gradient_scale": 1e30, "aggregator": "median", "per_item": True},
    "local epochs": {**SASREC, **FEW, "attack": "a_ra", "attack_repeats": 2, "local_epochs": 2},
    "a client defence": {**SASREC, **FEW, "attack": "none", "client_defense": "adversarial_training"},
    "a client defence that remembers": {
        **{**SASREC, **FEW, "attack": "none", "epochs": 2},
        "client_defense": "popularity_regularization",
    },
    "one by one": {**SASREC, **FEW, "attack": "eb", "backend": "loop", "aggregator": "norm_clipping"},
    "items one by one": {**SASREC, **FEW, "attack": "none", "backend": "loop", "aggregator": "krum", "per_item": True},
    "a softmax": {**SASREC, "attack": "none", "loss_type": "CE", "aggregator": "trimmed_mean"},
    "BERT4Rec, clean": {**BERT, "attack": "none"},
    "BERT4Rec, attacked": {**BERT, **DVFSR, "aggregator": "trimmed_mean"},
    "BERT4Rec, fake profiles": {**BERT, "attack": "ra"},
    "GRU4Rec, clean": {**GRU, "attack": "none"},
    "GRU4Rec, attacked": {**GRU, **DVFSR, **FEW, "aggregator": "krum"},
    "rows of targets": {**SASREC, **FEW, "attack": "quiet", "sampled_length": 4, "target_items": "random:2"},
    "hard users": {**BERT, **FEW, "attack": "a_hum", "attack_repeats": 2, "aggregator": "krum"},
    "a direction": {**SASREC, **FEW, "attack": "poison_frs", "aggregator": "median"},
    "competition": {**SASREC, **FEW, "attack": "psmu", "target_items": "random:2"},
    "popular users": {**SASREC, **FEW, "attack": "pieck_uea", "epochs": 2},
    "popular rows": {**SASREC, **FEW, "attack": "pieck_ipe", "epochs": 2},
    "a known rule": {
        **{**SASREC, **FEW, "attack": "margin", "upload": "adaptive", "simulated_clients": 6, "tried_shares": [0.5]},
        **{"tried_lengths": [0.1, 1.0], "aggregator": "krum", "target_items": "random:2"},
        **{"client_weighting": "examples", "claimed_interactions": "round"},
    },
    "known popularity": {**SASREC, **FEW, "attack": "pip_attack", "estimator_steps": 5, "target_items": "random:2"},
    "known users": {**SASREC, **FEW, "attack": "fed_rec_attack", "known_share": 0.2, "target_items": "random:2"},
    "known updates": {**SASREC, **FEW, "attack": "min_max", "aggregator": "median", "per_item": True},
    "known updates and rule": {**BERT, **FEW, "attack": "opt_alie", "search_evaluations": 4, "aggregator": "krum"},
    "a root of the server's": {**BERT, **FEW, "attack": "ra", "aggregator": "fl_trust", "root_histories": 4},
    "uniformity": {**SASREC, **FEW, "attack": "ra", "aggregator": "union"},
    "a quota": {**SASREC, **FEW, "attack": "margin", "aggregator": "exposure_quota", **ASKED},
    "a bank": {**SASREC, **FEW, "attack": "none", "aggregator": "hics"},
    "central": {**SASREC, "scenario": "central", "train_batch_size": 200},
}
NOT_BIT_BY_BIT = {"GRU4Rec, clean", "GRU4Rec, attacked"}
"""PyTorch's recurrent layers on a CPU are of another kind than those of other devices."""


class Ran(NamedTuple):
    """An epoch and an evaluation: weights, what was recorded of rounds, metrics."""

    weights: dict[str, torch.Tensor]
    rounds: list[dict[str, Any]]
    metrics: dict[str, float] | None


def trained(device: torch.device, base: dict[str, Any], parameters: dict[str, Any]) -> Ran:
    own = {key: value for key, value in base.items() if key != "inner_size" or parameters["model"] != "GRU4Rec"}
    chunks = {"chunk_tokens": 150, "clients_per_round": 40, "learner": "sgd", "learning_rate": 0.5}
    config = AttackConfig(config_dict={**own, **chunks, "epochs": 1, **parameters})
    config.final_config_dict["device"] = device
    experiment = prepare_training(config)
    with pytest.MonkeyPatch.context() as patched:  # gradients of single rows are no tensors that can be pretended
        patched.setattr(central, "gather_lookups", lambda embedding: None)
        trainer = experiment.trainer(config)
    trainer.fit(experiment.train_data, saved=False, verbose=False)
    with trainer.eval_collector.recording() as recorder, trainer.eval_collector.counting([5]):
        metrics = trainer.evaluate(experiment.test_data, load_best_model=False)
    assert recorder.outcomes() is not None
    rounds = [{k: v for k, v in row.items() if k != "seconds"} for row in getattr(trainer, "rounds", [])]
    return Ran({name: value.detach().cpu() for name, value in trainer.model.state_dict().items()}, rounds, metrics)


@pytest.fixture
def run(small) -> Callable[..., Ran]:
    """``run(device, parameters)``: a small run."""
    return lambda device, parameters: trained(device, small(), parameters)


_ON_GPU: dict[str, tuple[Ran, tuple[Event, ...]]] = {}


@pytest.fixture
def on_gpu(run) -> Callable[[str], tuple[Ran, tuple[Event, ...]]]:
    """``on_gpu(name)``: one of the runs on the pretended GPU, and what it copied and waited for; made once."""

    def on_gpu(name: str) -> tuple[Ran, tuple[Event, ...]]:
        if name not in _ON_GPU:
            with pretend_gpu() as device:
                _ON_GPU[name] = run(GPU, RUNS[name]), tuple(device.events)
        return _ON_GPU[name]

    return on_gpu


def listed() -> Iterator[tuple[str, str, str]]:
    """Section, function and kind of every line of the page's tables."""
    section = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        section = line[3:] if line.startswith("## ") else section
        row = re.fullmatch(r"\| `([\w/]+\.py: \w+)` \| ([\w ]+) \| .+ \| .+ \|", line)
        if row:
            yield section, row[1], row[2]


def seen(events: tuple[Event, ...]) -> set[tuple[str, str, str]]:
    within = [(e, [s for s, function in SECTIONS.items() if function in e.callers]) for e in events if e.callers]
    return {(sections[0] if sections else "Before training", e.place, e.kind) for e, sections in within}


@pytest.mark.parametrize("name", RUNS)
def test_an_epoch_and_an_evaluation_give_the_cpus_numbers(run, on_gpu, name):
    here, (there, _) = run(CPU, RUNS[name]), on_gpu(name)
    if name in NOT_BIT_BY_BIT:
        assert all(torch.allclose(value, there.weights[key], atol=1e-6) for key, value in here.weights.items())
        assert [row["loss"] for row in there.rounds] == pytest.approx([row["loss"] for row in here.rounds], rel=1e-5)
        return
    assert all(torch.equal(value, there.weights[key]) for key, value in here.weights.items())
    assert there[1:] == here[1:]


@pytest.fixture
def checkpoints(monkeypatch) -> None:
    """Checkpoints in memory, for values of a pretended device cannot be written: saved as the host's, read to one."""
    files: dict[Path, Any] = {}

    def moved(value: Any, device: torch.device) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach().to(device, copy=True)
        if isinstance(value, dict):
            return {key: moved(each, device) for key, each in value.items()}
        return [moved(each, device) for each in value] if isinstance(value, list) else value

    monkeypatch.setattr(base, "save_checkpoint", lambda path, state: files.update({path: moved(dict(state), CPU)}))
    monkeypatch.setattr(base, "load_checkpoint", lambda path, device=CPU: moved(files[path], device))


@pytest.mark.parametrize("name", ["watched", "a bank", "a client defence that remembers"])
def test_an_interrupted_run_goes_on_with_the_same_numbers(small, checkpoints, monkeypatch, tmp_path, name):
    config = AttackConfig(config_dict={**small(), **RUNS[name], "clients_per_round": 40, "epochs": 2})
    config.final_config_dict |= {"device": GPU, "checkpoint_dir": str(tmp_path)}
    with pretend_gpu():
        experiment = prepare_training(config)
        whole, resumed = experiment.trainer(config), experiment.trainer(config)
        whole.fit(experiment.train_data, saved=False, verbose=False)
        with monkeypatch.context() as interrupted, pytest.raises(KeyboardInterrupt):
            first = experiment.trainer(config)
            once = first._train_epoch
            interrupted.setattr(first, "_train_epoch", lambda data, i, **_: _interrupt() if i else once(data, 0))
            first.fit(experiment.train_data, verbose=False)
        resumed.scored = resumed.scored.to(GPU)  # so that what is read is of the type it is compared with
        resumed.resume_checkpoint(resumed.resume_file)
        assert resumed.start_epoch == 1
        resumed.fit(experiment.train_data, verbose=False)
        weights = [{key: value.cpu() for key, value in t.model.state_dict().items()} for t in (whole, resumed)]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert whole.detection() == resumed.detection() and bool(whole.detection()) == (name == "watched")


def _interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", RUNS)
def test_what_is_copied_and_waited_for_is_listed(on_gpu, name):
    assert seen(on_gpu(name)[1]) - set(listed()) == set(), f"neither avoided nor in {PAGE.name}"


def test_what_is_listed_is_copied_or_waited_for(on_gpu):
    everywhere = set().union(*(seen(on_gpu(name)[1]) for name in RUNS))
    assert set(listed()) - everywhere == set()
    assert len(list(listed())) == len(set(listed()))


def test_the_runs_reach_what_they_are_meant_to(on_gpu):
    rounds = {name: on_gpu(name)[0].rounds for name in RUNS}
    assert {name for name in RUNS if any(row["rejected"] for row in rounds[name])} == {"rejected", "rejected, per item"}
    attacked = {name for name, parameters in RUNS.items() if parameters.get("attack", "none") != "none"}
    assert {name for name in RUNS if any(row["malicious"] for row in rounds[name])} == attacked
    assert all(len(found) > 1 or RUNS[name].get("rounds_per_epoch") for name, found in rounds.items() if found)


def test_dropout_is_pytorchs_own_and_the_same_in_every_run(run):
    parameters = {"model": "SASRec", "attack": "none"}
    with pretend_gpu():
        first, again = run(GPU, parameters), run(GPU, parameters)
    assert all(torch.equal(value, again.weights[key]) for key, value in first.weights.items())
    assert any(not torch.equal(value, first.weights[key]) for key, value in run(CPU, parameters).weights.items())


def test_a_stream_gives_the_state_of_the_devices_generator_back(monkeypatch):
    given_back = []
    with pretend_gpu():
        monkeypatch.setattr(RANDOM, "get_rng_state", lambda device: ("state", device))
        monkeypatch.setattr(RANDOM, "set_rng_state", lambda state, device: given_back.append((state, device)))
        with torch_stream(GPU, 1, "dropout", 2):
            assert given_back == []
    assert given_back == [(("state", GPU), GPU)]
