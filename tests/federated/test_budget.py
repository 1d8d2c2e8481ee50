"""How loud malicious clients may be: by hand, by invariants, and in rounds of either backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rules import ROUTES

from recbole_attack.config.options import OPTIONS
from recbole_attack.experiment import prepare_training
from recbole_attack.federated.budget import CLAIMS, claimed, upload_factors
from recbole_attack.trainer.client_side import ClientSide
from recbole_attack.utils.errors import ConfigError

NORMS = st.lists(st.tuples(st.floats(0.0, 1e6), st.booleans()), min_size=1, max_size=12)
LARGE = {"malicious_ratio": 0.2, "malicious_clients": "compromise", "epochs": 1, "learner": "sgd", "learning_rate": 0.1}


@given(clients=NORMS, scale=st.floats(0.01, 100.0), quantile=st.floats(0.0, 1.0))
def test_honest_updates_stay_and_malicious_ones_keep_to_the_budget(
    clients: list[tuple[float, bool]], scale: float, quantile: float
) -> None:
    norms = torch.tensor([norm for norm, _ in clients], dtype=torch.float64)
    malicious = torch.tensor([bad for _, bad in clients])
    factors = upload_factors(norms, malicious, scale, quantile)
    assert (factors[~malicious] == 1).all()
    assert (factors[malicious] <= scale).all()
    honest = norms[~malicious].numpy()
    limit = np.quantile(honest, quantile) if len(honest) else np.inf
    uploaded = (factors * norms)[malicious].numpy()
    assert (uploaded <= limit * (1 + 1e-9) + np.finfo(float).tiny).all()
    short = malicious & (scale * norms <= limit)
    assert torch.allclose(factors[short], torch.full((int(short.sum()),), scale, dtype=torch.float64))


def test_without_a_budget_only_the_scale_counts() -> None:
    factors = upload_factors(torch.tensor([1.0, 9.0, 1e9]), torch.tensor([False, True, True]), 3.0, None)
    assert factors.tolist() == [1.0, 3.0, 3.0]


def test_what_is_not_finite_sets_no_limit_and_has_none() -> None:
    norms = torch.tensor([2.0, torch.inf, torch.nan, 8.0, torch.inf, 0.0])
    malicious = torch.tensor([False, False, False, True, True, True])
    assert upload_factors(norms, malicious, 1.0, 1.0).tolist() == [1.0, 1.0, 1.0, 0.25, 1.0, 1.0]


def test_alone_among_themselves_malicious_clients_have_no_limit() -> None:
    assert upload_factors(torch.tensor([2.0, 3.0]), torch.tensor([True, True]), 2.0, 0.0).tolist() == [2.0, 2.0]


def weights_after(config: Any) -> torch.Tensor:
    experiment = prepare_training(config)
    trainer = experiment.trainer(config)
    trainer.fit(experiment.train_data, saved=False, verbose=False)
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


@pytest.mark.parametrize("aggregator", ROUTES)
@pytest.mark.parametrize(
    "budget", [{"gradient_scale": 3.0}, {"norm_budget": 0.25}, {"gradient_scale": 50.0, "norm_budget": 0.5}]
)
def test_backends_agree_on_what_is_uploaded(
    config: Callable[..., Any], aggregator: str, budget: dict[str, float]
) -> None:
    common = {**LARGE, "hidden_dropout_prob": 0, "attn_dropout_prob": 0, "aggregator": aggregator, **budget}
    fast, slow = (weights_after(config(**common, backend=backend)) for backend in ("vectorised", "loop"))
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)


def test_a_budget_takes_the_effect_of_loudness_away(config: Callable[..., Any]) -> None:
    common = {**LARGE, "hidden_dropout_prob": 0, "attn_dropout_prob": 0}
    plain = weights_after(config(**common))
    loud = weights_after(config(**common, gradient_scale=50.0))
    held, louder = (weights_after(config(**common, gradient_scale=scale, norm_budget=0.5)) for scale in (50.0, 500.0))
    assert not torch.allclose(loud, plain, atol=1e-4)
    torch.testing.assert_close(held, louder)
    assert (held - plain).norm() < (loud - plain).norm() / 5


def test_the_budget_of_a_run_is_recorded(config: Callable[..., Any]) -> None:
    told = prepare_training(config(attack="bandwagon", gradient_scale=2.0, norm_budget=0.9)).describe_threat()
    assert (told["gradient_scale"], told["norm_budget"]) == (2.0, 0.9)
    assert "popularity of the items" in told["knowledge"]
    assert "popularity of the items" not in prepare_training(config(attack="eb")).describe_threat()["knowledge"]


def test_claims_by_hand() -> None:
    honest, malicious = np.array([3, 9, 4]), np.array([2, 11, 9])
    assert claimed(None, malicious, honest, 20).tolist() == [2, 11, 9]
    assert claimed("round", malicious, honest, 20).tolist() == [9, 11, 9]
    assert claimed("round", malicious, honest[:0], 20).tolist() == [2, 11, 9], "nobody to be compared with"
    assert claimed("data", malicious, honest, 20).tolist() == [20, 20, 20]
    assert set(CLAIMS) == set(OPTIONS["claimed_interactions"].choices)


@pytest.mark.parametrize("claim", [None, *CLAIMS])
def test_malicious_clients_weigh_what_they_claim_and_honest_ones_what_they_have(
    config: Callable[..., Any], claim: str | None
) -> None:
    settings = config(client_weighting="examples", claimed_interactions=claim, malicious_ratio=0.2)
    experiment = prepare_training(settings)
    data, malicious = experiment.train_data, experiment.threat.malicious_users
    side = ClientSide(settings, experiment.model(settings), experiment.threat)
    honest = data.trainable_users[:9]
    count = {user: min(len(data.sequences[user]) - 1, 12) for user in data.trainable_users.tolist()}
    most = {None: 0, "round": max(count[user] for user in honest), "data": max(count.values())}[claim]
    expected = [count[user] for user in honest] + [max(count[user], most) for user in malicious]
    assert side.weights(data, honest, malicious).tolist() == expected
    groups = side.grouping(data, 0)(honest, malicious)
    assert torch.cat([group.weights for group in groups]).tolist() == expected
    assert claim is None or sum(expected) > sum(count[user] for user in [*honest, *malicious])


@pytest.mark.parametrize("aggregator", ["mean", "mixed_rfa", "trimmed_mean"])
def test_backends_agree_on_what_liars_count(config: Callable[..., Any], aggregator: str) -> None:
    quiet = {"hidden_dropout_prob": 0, "attn_dropout_prob": 0, "client_weighting": "examples"}
    common = {**LARGE, **quiet, "aggregator": aggregator, "claimed_interactions": "round"}
    fast, slow = (weights_after(config(**common, backend=backend)) for backend in ("vectorised", "loop"))
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-5)
    truth = weights_after(config(**{**common, "claimed_interactions": None}))
    assert torch.allclose(fast, truth, atol=1e-6) == (aggregator == "trimmed_mean"), "that rule weights nobody"


def test_claims_that_nobody_asks_for_are_refused(config: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="expected client_weighting 'examples', found 'uniform'"):
        config(claimed_interactions="data")
    told = prepare_training(config(claimed_interactions="data", client_weighting="examples")).describe_threat()
    assert told["claimed_interactions"] == "data"
