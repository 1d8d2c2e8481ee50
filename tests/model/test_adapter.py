"""Adapted models against RecBole's own: scores, and losses on the rows RecBole would train."""

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import nn

from recbole_attack.data import TrainBatch
from recbole_attack.model.adapter import adapt, obstacle
from recbole_attack.utils.errors import ConfigError

LENGTH, N_ITEMS = 12, 40  # MAX_ITEM_LIST_LENGTH and the items of the fixtures
ADAPTED = ["LightSANs", "NARM", "SINE", "STAMP"]
each = pytest.mark.parametrize("name", ADAPTED)


@each
def test_initial_weights_are_recboles(pair, name):
    ours, host, experiment = pair(name)
    twins = []
    for kind in (type(ours), type(host)):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            twins.append(kind(experiment.config, experiment.dataset).state_dict())
    assert list(twins[0]) == list(twins[1])
    drawn_by_torch = [key for key in twins[1] if name != "SINE" or key.startswith(("item_embedding", "ln", "C."))]
    assert all(torch.equal(twins[0][key], twins[1][key]) for key in drawn_by_torch)


@each
def test_scores_are_recboles_however_much_is_padded(pair, name):
    ours, host, experiment = pair(name)
    rows = experiment.test_data.dataset.inter_feat
    expected = host.full_sort_predict(rows)
    torch.testing.assert_close(ours.full_sort_predict(rows), expected, rtol=1e-4, atol=1e-5)
    short = rows[[i for i, n in enumerate(rows["item_length"].tolist()) if n < 6]]
    width = int(short["item_length"].max())
    expected = host.full_sort_predict(short)
    narrow = ours.score_items(short["item_id_list"][:, :width], short["item_length"])
    torch.testing.assert_close(narrow, expected, rtol=1e-4, atol=1e-5)


def rows_of(inputs, positives, negatives):
    """RecBole's augmentation of one user: a row for each position, padded to the maximum."""
    count = int((positives != 0).sum())
    rows = torch.zeros(count, LENGTH, dtype=torch.int64)
    for end in range(count):
        rows[end, : end + 1] = inputs[: end + 1]
    fields = {"item_id_list": rows, "item_length": 1 + torch.arange(count)}
    return Interaction({**fields, "item_id": positives[:count], "neg_item_id": negatives[:count]})


@each
@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_a_users_loss_is_recboles_on_the_rows_of_its_prefixes(pair, name, loss_type):
    ours, host, _ = pair(name, loss_type=loss_type)
    assert host.loss_type == loss_type
    batch = pair(name, loss_type=loss_type).batch(every=6)
    assert batch.lengths.min() < LENGTH == batch.lengths.max()
    expected = torch.stack([host.calculate_loss(rows_of(*user)) for user in zip(*batch[:3], strict=True)])
    losses = ours.client_losses(batch)
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-6)
    pooled = (expected * batch.lengths).sum() / batch.lengths.sum()
    torch.testing.assert_close(ours.calculate_loss(batch.to_interaction()), pooled, rtol=1e-4, atol=1e-6)
    embedded = ours.embed(ours.inputs(batch))
    torch.testing.assert_close(ours.client_losses(batch, embedded), losses, rtol=1e-4, atol=1e-6)
    assert not torch.isclose(ours.client_losses(batch, embedded.roll(1, -1)), losses).any()


@each
def test_a_user_without_positions_costs_nothing(pair, name):
    ours = pair(name).ours
    both = TrainBatch(*(torch.tensor([[1, 2], [0, 0]]) for _ in range(3)))
    losses = ours.client_losses(both)
    assert losses[1] == 0 < losses[0]
    alone = ours.client_losses(both.rows(torch.tensor([1])))
    (gradient,) = torch.autograd.grad(alone.sum(), ours.item_embedding.weight)
    assert alone.item() == 0 and (gradient == 0).all()


@each
def test_the_state_follows_from_the_embeddings_it_is_given(pair, name):
    """Moving an item's embedding where it is given moves the state as moving it in RecBole's table does."""
    ours, host, _ = pair(name)
    items, lengths = torch.tensor([[3, 7, 3, 9, 0]]), torch.tensor([4])
    given = ours.embed(items).detach()
    given[items == 9] *= torch.arange(8)
    moved = ours.state(items, lengths, given.requires_grad_())
    assert torch.autograd.grad(moved.square().sum(), given)[0][0, 3].any()
    with torch.no_grad():
        host.item_embedding.weight[9] *= torch.arange(8)
    padded = torch.cat([items, torch.zeros(1, LENGTH - 5, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(moved, host.forward(padded, lengths), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(moved, ours.forward(items, lengths))
    assert not ours.item_embedding._forward_hooks


class Mean(SequentialRecommender):
    """The smallest model that can be attacked: the mean of the embeddings. RecBole's loss is the last row's."""

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.item_embedding = nn.Embedding(self.n_items, 4)
        self.loss_fct, self.loss_type = nn.CrossEntropyLoss(), config["loss_type"]

    def forward(self, item_seq, item_seq_len):
        return self.item_embedding(item_seq).sum(dim=1) / item_seq_len[:, None]

    def full_sort_predict(self, interaction):
        state = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return state @ self.item_embedding.weight.T

    def calculate_loss(self, interaction):
        return self.loss_fct(self.full_sort_predict(interaction), interaction[self.ITEM_ID])


class Biased(Mean):
    def full_sort_predict(self, interaction):
        return super().full_sort_predict(interaction) + 1.0


class Penalised(Mean):
    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction) + self.item_embedding.weight.norm()


class Elsewhere(Mean):
    def forward(self, item_seq, item_seq_len):
        return self.item_embedding.weight[item_seq].sum(dim=1) / item_seq_len[:, None]


class Forgetful(Mean):
    def forward(self, item_seq, item_seq_len):
        return self.item_embedding(item_seq)[:, 0]


class Hungry(Mean):
    def calculate_loss(self, interaction):
        return super().calculate_loss(interaction) + interaction["rating"].sum()


class Leaving(Mean):
    def __init__(self, config, dataset):
        raise SystemExit(0)


class Featured(Mean):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.fields = config["selected_features"]


class OtherInputs(Mean):
    def forward(self, user, item_seq):
        return self.item_embedding(item_seq).mean(dim=1) + user


@pytest.fixture
def new(pair):
    experiment = pair("STAMP").experiment
    return lambda host: adapt(host)(experiment.config, experiment.dataset)


def test_any_model_that_qualifies_is_adapted(new):
    model = new(Mean)
    assert type(model).__name__ == "Mean" and model.training and model.n_items == N_ITEMS


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (Biased, "expected scores that are its state times item_embedding"),
        (Penalised, "expected the CE loss of its scores"),
        (Elsewhere, "expected a score that the last item's embedding changes"),
        (Forgetful, "expected a score that the last item's embedding changes"),
        (Hungry, "it does not work on item sequences alone: KeyError 'rating'"),
        (Leaving, "cannot be built from this configuration and dataset: SystemExit"),
    ],
)
def test_what_does_not_qualify_is_refused_by_name(new, host, words):
    with pytest.raises(ConfigError, match=f"model '{host.__name__}' cannot be attacked") as error:
        new(host)
    assert words in str(error.value)


def test_what_a_class_tells_is_enough_to_refuse_it():
    assert obstacle(Mean) is None
    assert "forward takes (user, item_seq), expected (item_seq, item_seq_len)" in obstacle(OtherInputs)
    assert "selected_features" in obstacle(Featured)
