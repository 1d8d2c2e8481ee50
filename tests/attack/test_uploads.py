"""Uploads that are searched for: splits by hand, the measure by finite differences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from recbole_attack import AttackConfig
from recbole_attack.attack import LEVELS, UPLOADS, Profile, configured_attack
from recbole_attack.attack.row_objectives import Margin
from recbole_attack.attack.uploads import Adaptive, slopes, split
from recbole_attack.config.options import OPTIONS
from recbole_attack.experiment import prepare_training
from recbole_attack.federated.client_updates import ClientUpdates
from recbole_attack.utils.errors import ConfigError

TARGETS = torch.tensor([2, 4])


def updates(tables: list[list[float]], dense: list[list[float]]) -> ClientUpdates:
    """Clients with 6 items of one dimension, and two more numbers."""
    stacked = {"item_embedding.weight": torch.tensor(tables).double()[:, :, None], "w": torch.tensor(dense).double()}
    return ClientUpdates.from_stacked(stacked)


OWN = updates([[0, 9, 3, 0, 4, 0], [0, 0, 0, 0, 2, 0], [0, 0, 0, 5, 0, 0]], [[12, 0], [0, 0], [0, 1]])
COVER = updates([[0, 1, 1, 1, 1, 1], [0, 3, 7, 0, 7, 0], [0, 0, 0, 0, 0, 1]], [[1, 1], [4, 0], [1, 1]])


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (1.0, [[0, 0, 0.6, 0, 0.8, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0], [0] * 8]),
        (0.36, [[0, 0.48, 0.36, 0, 0.48, 0, 0.64, 0], [0, 0.48, 0, 0, 0.6, 0, 0.64, 0]]),
        (0.0, [[0, 0.6, 0, 0, 0, 0, 0.8, 0], [0, 0.6, 0, 0, 0, 0, 0.8, 0], [0, 0, 0, 5 / 26**0.5, 0, 0, 0, 26**-0.5]]),
    ],
)
def test_splits_by_hand(share: float, expected: list[list[float]]) -> None:
    """The second client has nothing but a target's row and takes its cover; the third has none."""
    before = OWN.to_dense().clone()
    found = split(OWN, COVER, TARGETS, share).to_dense()
    assert torch.allclose(found[: len(expected)], torch.tensor(expected).double())
    assert torch.equal(OWN.to_dense(), before)


def test_candidates_are_all_lengths_of_all_splits_and_what_was_computed() -> None:
    search = Adaptive(lengths=(0.5, 2.0), shares=(0.25, 1.0), clients=9, length=3)
    tried = search.candidates(OWN, COVER, TARGETS, unit=3.0)
    assert torch.equal(tried[0].to_dense(), OWN.to_dense())
    norms = [one.norms()[:2].tolist() for one in tried[1:]]
    assert norms == [pytest.approx([length] * 2) for _ in range(3) for length in (1.5, 6.0)]
    shares = [(one.only_items(TARGETS).norms() / one.norms())[0] ** 2 for one in tried[1:]]
    assert torch.allclose(torch.stack(shares), torch.tensor([0.1, 0.1, 0.25, 0.25, 1.0, 1.0]).double())


@pytest.mark.parametrize("name", ["SASRec", "BERT4Rec", "GRU4Rec"])
def test_slopes_are_those_of_finite_differences(small: Callable[..., dict[str, Any]], name: str) -> None:
    own = {key: value for key, value in small().items() if key not in ("hidden_size", "inner_size")}
    sizes = {"hidden_size": 6, "embedding_size": 8} if name == "GRU4Rec" else {"hidden_size": 8, "inner_size": 16}
    config = AttackConfig(name, config_dict={**own, **sizes})
    model = prepare_training(config).model(config).double().train()
    users = Profile(torch.tensor([[5, 2, 9], [1, 7, 3]]), torch.tensor([3, 3]))

    def above(victim: Any) -> float:
        total = 0.0
        for history in users.item_seq.tolist():
            with torch.no_grad():
                scores = victim.score_items(torch.tensor([history]), torch.tensor([3]))[0, 1:].tolist()
            total += sum(scores[target - 1] for target in TARGETS) / 2 - sum(scores) / len(scores)
        return total / 2

    found = slopes(model, users, TARGETS)
    assert model.training and list(found) == [name for name, _ in model.named_parameters()]
    generator = torch.Generator().manual_seed(1)
    for key, value in found.items():
        way, moved = torch.randn(value.shape, generator=generator).double(), copy.deepcopy(model).eval()
        with torch.no_grad():
            dict(moved.named_parameters())[key].add_(1e-6 * way)
        change = (above(moved) - above(copy.deepcopy(model).eval())) / 1e-6
        assert change == pytest.approx(float((value * way).sum()), rel=1e-3, abs=1e-7), key


def test_an_attack_that_adapts_knows_the_rule(config: Callable[..., Any]) -> None:
    plain = configured_attack(config(attack="popular").final_config_dict)
    wise = configured_attack(config(attack="popular", upload="adaptive", simulated_clients=5).final_config_dict)
    assert plain is not None and wise is not None and plain.upload is None
    assert (plain.level, wise.level) == ("K1", "K3")
    assert wise.knowledge == (LEVELS["K1"], LEVELS["K3"])
    assert isinstance(wise.upload, Adaptive) and wise.upload.clients == 5
    assert configured_attack(config(attack="none", upload="adaptive").final_config_dict) is None
    assert (wise.objective, wise.transform) == (plain.objective, plain.transform)
    assert not isinstance(wise.objective, Margin) and set(UPLOADS) == set(OPTIONS["upload"].choices)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"upload": "adaptive", "tried_lengths": []}, "tried_lengths must be a list of numbers above 0: found []"),
        ({"upload": "adaptive", "tried_lengths": [1, 0.0]}, "tried_lengths must be a list of numbers above 0"),
        ({"upload": "adaptive", "tried_lengths": ["a"]}, "tried_lengths must be a list of numbers above 0"),
        ({"upload": "adaptive", "tried_shares": [0.5, 1.5]}, "tried_shares must be a list of numbers from 0 to 1"),
        ({"tried_shares": [0.5]}, "; read by upload adaptive"),
        ({"upload": "adaptve"}, "adaptive"),
    ],
)
def test_what_cannot_be_tried_is_refused(config: Callable[..., Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(**changes)
    assert message in str(raised.value)
    config(upload="adaptive", tried_shares=[], tried_lengths=[1])
