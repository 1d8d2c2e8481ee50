"""RecBole's augmentation: every prefix once, each with the loss after its last item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_attack import AttackConfig
from recbole_attack.data import CentralEpoch, NonInteracted, TrainBatch, TrainData
from recbole_attack.data.prefixes import PrefixEpoch
from recbole_attack.data.sequences import from_pairs
from recbole_attack.experiment import prepare_training
from recbole_attack.utils.errors import ConfigError

Config = Callable[..., Any]
N_ITEMS = 30


def data_of(lengths: list[int], max_length: int, seed: int = 0) -> TrainData:
    items = np.random.default_rng(seed).integers(1, N_ITEMS, sum(lengths))
    users = np.repeat(np.arange(len(lengths)), lengths)
    sequences = from_pairs(users, items, len(lengths), N_ITEMS)
    return TrainData(None, sequences, NonInteracted(sequences), max_length, seed=3)  # type: ignore[arg-type]


def batches_of(epoch: CentralEpoch) -> list[TrainBatch]:
    return [TrainBatch(**{f: x[f] for f in TrainBatch._fields if f in x}) for x in epoch]


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    max_length=st.integers(1, 12),
    batch_size=st.integers(1, 20),
    shuffle=st.booleans(),
)
def test_every_prefix_stands_in_one_row(lengths: list[int], max_length: int, batch_size: int, shuffle: bool) -> None:
    data = data_of(lengths, max_length)
    negatives = data.negatives(4)
    found: Counter[Any] = Counter()
    sizes = []
    if max(lengths) > 1:
        epoch = PrefixEpoch(data, 4, batch_size, shuffle, needs_users=True)
        for batch in batches_of(epoch):
            sizes.append(len(batch.item_seq))
            for row, positive, negative, user in zip(*batch[:3], batch.users, strict=True):
                prefix = [item for item in row.tolist() if item]
                assert positive.count_nonzero() == negative.count_nonzero() == 1
                place = len(prefix) - 1
                found[int(user), tuple(prefix), int(positive[place]), int(negative[place])] += 1
        assert len(epoch) == len(sizes)
    expected: Counter[Any] = Counter()
    for user in range(len(lengths)):
        sequence, start = data.sequences[user].tolist(), int(data.sequences.offsets[user])
        for t in range(1, len(sequence)):
            prefix = tuple(sequence[max(0, t - max_length) : t])
            expected[user, prefix, sequence[t], int(negatives[start + t])] += 1
    assert found == expected
    assert all(size == batch_size for size in sizes[:-1])


def test_rows_come_in_another_order_in_every_epoch_and_the_same_when_asked_again() -> None:
    data = data_of([9, 7, 8], 12)
    first, again, other = (batches_of(PrefixEpoch(data, epoch, 5))[0].item_seq for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


@pytest.mark.parametrize("loss_type", ["BCE", "BPR", "CE"])
@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec"])
def test_a_causal_model_sums_the_same_losses_either_way(
    small: Callable[..., dict[str, Any]], model: str, loss_type: str
) -> None:
    values = small(scenario="central", attack="none", loss_type=loss_type, MAX_ITEM_LIST_LENGTH=60)
    if model == "SASRec":
        values |= {"hidden_dropout_prob": 0, "attn_dropout_prob": 0}
    else:
        values = {key: value for key, value in values.items() if key != "inner_size"} | {"dropout_prob": 0}
    settings = AttackConfig(model=model, config_dict=values)
    experiment = prepare_training(settings)
    victim, data = experiment.model(settings).double(), experiment.train_data
    totals = []
    for kind in (CentralEpoch, PrefixEpoch):
        batches = batches_of(kind(data, 0, 64))
        totals.append(sum(float((victim.client_losses(b) * b.lengths).sum()) for b in batches))
    assert totals[0] == pytest.approx(totals[1], rel=1e-9)


def test_poison_reaches_the_one_positive_of_each_row_with_its_own_draw() -> None:
    data, seen = data_of([6, 9, 2], 4), []

    def poison(batch: TrainBatch, users: Any, draws: torch.Tensor) -> TrainBatch:
        assert draws.shape == batch.pos_items.shape
        chosen = batch.pos_items != 0
        seen.extend(zip(users.tolist(), draws[chosen].tolist(), strict=True))
        return batch

    list(PrefixEpoch(data, 2, 4, poison=poison))
    fate = data.draws("poison", 2)
    owners = np.repeat(np.arange(3), [6, 9, 2])
    first = set(data.sequences.offsets[:-1].tolist())
    assert sorted(seen) == sorted((int(owners[i]), float(fate[i])) for i in range(17) if i not in first)


@pytest.mark.parametrize("changes", [{"attack": "dvfsr"}, {"attack": "none"}])
def test_clients_train_on_whole_histories(config: Config, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="train_rows of clients: expected 'users', found 'prefixes'"):
        config(train_rows="prefixes", **changes)


def test_masked_training_needs_whole_histories(config: Config) -> None:
    with pytest.raises(ConfigError, match="train_rows of model 'BERT4Rec': expected 'users', found 'prefixes'"):
        config(train_rows="prefixes", scenario="central", attack="none", model="BERT4Rec")


def test_central_training_on_prefixes_learns(config: Config) -> None:
    settings = config(scenario="central", attack="none", train_rows="prefixes", epochs=3)
    experiment = prepare_training(settings)
    trainer = experiment.trainer(settings)
    trainer.fit(experiment.train_data, saved=False, verbose=False)
    losses = [record["train_loss"] for record in trainer.history]
    assert losses[-1] < losses[0]
