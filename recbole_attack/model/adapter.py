"""RecBole's own models as victims, unchanged."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from recbole.data.interaction import Interaction
from torch import nn

from recbole_attack.model.kernels import use_fast_kernels
from recbole_attack.model.victim import Victim
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.rng import without_dropout

_NEEDED = ["item_seq", "item_seq_len"]
_SIDE_INPUTS = {"selected_features", "get_preload_weight"}
"""What constructors read that take more than items: features of items, embeddings trained elsewhere."""

FOREIGN = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, SystemExit)
"""What a model's own code raises on parameters and data it was not made for; some of it leaves the process."""


class Adapted(Victim):
    """A RecBole model whose score is the inner product of ``forward(item_seq, item_seq_len)`` and ``item_embedding``.

    Training. RecBole trains such a model on one augmented row per position; here the rows of a user, cut from its last
    ``MAX_ITEM_LIST_LENGTH + 1`` items, go through the model together. A user's loss is the mean of RecBole's own loss
    (``loss_type``: CE or BPR) over them.

    Some models' scores depend on the padding, so sequences are padded to ``MAX_ITEM_LIST_LENGTH`` as RecBole has them.

    Raises:
        ConfigError: The model's constructor fails, its score is no such inner product, its loss is not that of its
            scores, or its state does not follow from the embeddings of the sequence.
    """

    host: ClassVar[type[Any]]
    loss_types = ("CE", "BPR")
    per_client = ()

    def __init__(self: Any, config: Any, dataset: Any) -> None:
        with _refusing(self.host, "it cannot be built from this configuration and dataset"):
            self.host.__init__(self, config, dataset)
        use_fast_kernels(self)
        _verify(self.to(config["device"]), config["device"])

    def state(self: Any, item_seq: torch.Tensor, item_seq_len: torch.Tensor, item_emb: torch.Tensor) -> torch.Tensor:
        """``[B, H]`` state after the last item, from embeddings ``[B, L, H]`` that need not be the items' own."""
        missing = item_seq.new_zeros(len(item_seq), self.max_seq_length - item_seq.shape[1])
        item_seq, item_emb = torch.cat([item_seq, missing], 1), torch.cat([item_emb, self.embed(missing)], 1)
        with _given(self.item_embedding, item_emb):
            return self.host.forward(self, item_seq, item_seq_len)

    def tokens(self: Any, lengths: torch.Tensor) -> torch.Tensor:
        """``[B]`` tokens the loss of users with ``lengths`` (``[B]``) training positions goes through."""
        return lengths * self.max_seq_length

    def losses(self: Any, *inputs: torch.Tensor, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` loss of each user, averaged over its prefixes; 0 without any."""
        item_seq, pos_items, neg_items = inputs
        user, last = (pos_items != 0).nonzero(as_tuple=True)
        if not len(user):
            # RecBole's models are not made for no rows at all; the loss still has to have a gradient.
            return self.item_embedding.weight.sum() * item_seq.new_zeros(len(item_seq), dtype=torch.float32)
        inside = torch.arange(item_seq.shape[1], device=item_seq.device) <= last[:, None]
        prefixes = torch.where(inside, item_seq[user], 0)
        prefix_emb = self.embed(prefixes)
        if item_emb is not None:
            prefix_emb = torch.where(inside[..., None], item_emb[user], prefix_emb)
        states = self.state(prefixes, last + 1, prefix_emb)
        terms = self._terms(states, pos_items[user, last], neg_items[user, last])
        total = terms.new_zeros(len(item_seq)).index_add(0, user, terms)
        return total / torch.bincount(user, minlength=len(item_seq)).clamp(min=1)

    def _terms(self: Any, states: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        """``[R]`` RecBole's loss of ``R`` rows, each by itself."""
        if self.loss_type == "CE":
            return torch.vmap(self.loss_fct)(self.item_scores(states), positive)
        scores = ((states * self.item_embedding(items)).sum(dim=1) for items in (positive, negative))
        return torch.vmap(self.loss_fct)(*scores)


def obstacle(host: type[Any]) -> str | None:
    """Why a RecBole model cannot be adapted, as far as its class tells; ``None`` if nothing speaks against it."""
    takes = list(inspect.signature(host.forward).parameters)[1:]
    if takes != _NEEDED:
        return f"its forward takes ({', '.join(takes)}), expected ({', '.join(_NEEDED)})"
    inputs = side_inputs(host)
    if inputs:
        return f"it reads side inputs ({', '.join(inputs)}), expected item sequences alone"
    return None


def side_inputs(host: type[Any]) -> list[str]:
    """What the constructor of a RecBole model reads besides interactions, by the names in its code."""
    code = host.__init__.__code__
    return sorted(_SIDE_INPUTS & {*code.co_names, *code.co_consts})


def adapt(host: type[Any]) -> type[Any]:
    """The victim made of a RecBole model, under the same name."""
    doc = f"RecBole's {host.__name__}, through the adapter."
    return type(host.__name__, (Adapted, host), {"host": host, "__doc__": doc, "__module__": __name__})


@contextmanager
def _given(layer: nn.Module, output: torch.Tensor) -> Iterator[None]:
    """Let ``layer`` answer with ``output`` whatever it is asked."""
    handle = layer.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _refusing(host: type[Any], reason: str) -> Iterator[None]:
    """Errors of a model's own code as a :class:`ConfigError`."""
    try:
        yield
    except ConfigError:
        raise
    except FOREIGN as error:
        raise ConfigError(
            f"model '{host.__name__}' cannot be attacked: {reason}: {type(error).__name__} {error}"
        ) from error


def _verify(model: Any, device: torch.device) -> None:
    """Compare a new model with RecBole's own answers on two users.

    Raises:
        ConfigError: They differ.
    """
    length = model.max_seq_length
    lengths = torch.tensor([length, length // 2], device=device)
    items = 1 + torch.arange(2 * length, device=device).view(2, length) % (model.n_items - 1)
    items = torch.where(torch.arange(length, device=device) < lengths[:, None], items, 0)
    pos_items, neg_items = torch.tensor([[1, 2], [2, 1]], device=device)
    interaction = Interaction(
        {model.ITEM_SEQ: items, model.ITEM_SEQ_LEN: lengths, model.ITEM_ID: pos_items, model.NEG_ITEM_ID: neg_items}
    )
    with without_dropout(model), _refusing(model.host, "it does not work on item sequences alone"):
        item_emb = model.embed(items)
        state = model.state(items, lengths, item_emb)
        _expect(
            model,
            "a state that follows from item_embedding(item_seq)",
            state,
            model.host.forward(model, items, lengths),
        )
        scores = model.item_scores(state)
        _expect(
            model,
            "scores that are its state times item_embedding",
            scores,
            model.host.full_sort_predict(model, interaction),
        )
        losses = model._terms(state, pos_items, neg_items)
        _expect(
            model,
            f"the {model.loss_type} loss of its scores",
            losses.mean(),
            model.host.calculate_loss(model, interaction),
        )
        (slope,) = torch.autograd.grad(scores[:, 1].sum(), item_emb, materialize_grads=True)
        moved = slope[[0, 1], lengths - 1].any(dim=1)
        _expect(model, "a score that the last item's embedding changes", moved, torch.ones_like(moved))


def _expect(model: Any, what: str, ours: torch.Tensor, recboles: torch.Tensor) -> None:
    if ours.shape != recboles.shape or not torch.allclose(ours, recboles, rtol=1e-4, atol=1e-6):
        raise ConfigError(f"model '{model.host.__name__}' cannot be attacked: expected {what}, found something else")
