"""SASRec with prompts made from what is known about a user.

Wu et al., "Attacking Pre-trained Recommendation", SIGIR 2023, section 3.2, eq. 2; the prompts are those of Wu et al.,
"Personalized Prompt for Sequential Recommendation" (arXiv:2205.09666).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from recbole_attack.data.batches import TrainBatch
from recbole_attack.model.parts import next_item_losses
from recbole_attack.model.sasrec import SASRec
from recbole_attack.model.victim import PerClient
from recbole_attack.utils.errors import DataError, did_you_mean

_BLOCKED = -10000.0


class PromptGenerator(nn.Module):
    """User attributes -> prompts: embeddings side by side, then Linear, ReLU, Linear, as in the released code.

    Args:
        sizes: Number of values of each attribute; value 0 stands for a missing one and has an embedding of its own.
        hidden_size: H, of prompts and of each attribute's embedding.
        prompt_length: Prompt vectors n in front of a sequence.
        layers: Encoder layers that get vectors of their own.
    """

    def __init__(self, sizes: Sequence[int], hidden_size: int, prompt_length: int, layers: int) -> None:
        super().__init__()
        self.shape = (layers, prompt_length, hidden_size)
        self.attributes = nn.ModuleList(nn.Embedding(size, hidden_size) for size in sizes)
        self.dense_1 = nn.Linear(len(sizes) * hidden_size, hidden_size)
        self.dense_2 = nn.Linear(hidden_size, layers * prompt_length * hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.01)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """``[B, m]`` attribute values -> ``[B, layers, n, H]`` prompts."""
        embedded = [embedding(values[:, column]) for column, embedding in enumerate(self.attributes)]
        return self.dense_2(torch.relu(self.dense_1(torch.cat(embedded, dim=-1)))).view(len(values), *self.shape)


class PromptSASRec(SASRec):
    """:class:`SASRec` with ``prompt_length`` vectors in front of every sequence.

    Prompts see each other, items see all prompts and the items before them. Prompts have no position, so items keep
    theirs. With ``deep_prompts`` every layer gets vectors of its own, as in the released code; otherwise the first
    layer gets them and later layers see what became of them, as the paper reads.

    The backbone's parameters carry SASRec's names, so its weights load into this model and back. Without the users of a
    batch the backbone answers alone, as if there were no prompts.
    """

    needs_users = True
    per_client: tuple[PerClient, ...] = ()

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        values, sizes = user_attributes(dataset, config["prompt_fields"])
        self.register_buffer("attribute_values", torch.from_numpy(values), persistent=False)
        layers = self.n_layers if config["deep_prompts"] else 1
        self.generator = PromptGenerator(sizes, self.hidden_size, config["prompt_length"], layers)
        self.USER_ID = config["USER_ID_FIELD"]

    def prompts(self, users: torch.Tensor) -> torch.Tensor:
        """``[B]`` user ids -> ``[B, layers, n, H]`` prompts."""
        return self.generator(self.attribute_values[users])

    def encode(
        self, item_seq: torch.Tensor, item_emb: torch.Tensor, prompts: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Hidden state at every position of the sequence.

        Args:
            item_seq: See :meth:`SASRec.encode`.
            item_emb: See :meth:`SASRec.encode`.
            prompts: ``[B, layers, n, H]``; without them this is SASRec.

        Returns:
            ``[B, L, H]``; undefined at padded positions.
        """
        if prompts is None:
            return super().encode(item_seq, item_emb)
        n = prompts.shape[2]
        mask = nn.functional.pad(self.get_attention_mask(item_seq), (n, 0, n, 0))
        mask[:, :, :n, n:] = _BLOCKED
        items, front = self.embedded(item_seq, item_emb), prompts[:, 0]
        for index, layer in enumerate(self.trm_encoder.layer):
            if 0 < index < prompts.shape[1]:
                front = prompts[:, index]
            hidden = layer(torch.cat([front, items], dim=1), mask)
            front, items = hidden[:, :n], hidden[:, n:]
        return items

    def loss_inputs(self, batch: TrainBatch) -> tuple[torch.Tensor, ...]:
        """Inputs, positives and negatives, ``[B, L]`` each, and the ``[B]`` users."""
        assert batch.users is not None, "prompts are made for users"
        return (*super().loss_inputs(batch), batch.users)

    def losses(self, *inputs: torch.Tensor, item_emb: torch.Tensor | None = None) -> torch.Tensor:
        """``[B]`` losses as SASRec's, prompts in front."""
        item_seq, pos_items, neg_items, users = inputs
        hidden = self.encode(item_seq, self.embed(item_seq) if item_emb is None else item_emb, self.prompts(users))
        return next_item_losses(hidden, self.item_embedding, pos_items, neg_items, self.loss_type)

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        """RecBole's evaluation entry: ``[B, n_items]`` scores with the prompts of the batch's users."""
        return self.item_scores(self.user_states(interaction))

    def user_states(self, interaction: Any) -> torch.Tensor:
        """``[B, H]`` states with the prompts of the batch's users."""
        lengths = interaction[self.ITEM_SEQ_LEN]
        item_seq = interaction[self.ITEM_SEQ][:, : int(lengths.max())]
        hidden = self.encode(item_seq, self.embed(item_seq), self.prompts(interaction[self.USER_ID].long()))
        states: torch.Tensor = self.gather_indexes(hidden, lengths - 1)
        return states


def user_attributes(dataset: Any, fields: Sequence[str]) -> tuple[np.ndarray, list[int]]:
    """Attribute values of all users as small integers, 0 where missing.

    Args:
        dataset: A built dataset.
        fields: User fields of one token or number; every different number is a value.

    Returns:
        ``[n_users, m]`` values and the number of values of each field, the missing one included.

    Raises:
        DataError: A field was not loaded from the ``.user`` file.
    """
    columns = []
    for field in fields:
        if field not in dataset.user_fields:
            found = ", ".join(dataset.user_fields) or "none"
            raise DataError(
                f"prompt_fields: users have no field '{field}'; found {found} in load_col's user fields"
                f"{did_you_mean(field, dataset.user_fields)}"
            )
        values = dataset.user_fields[field]
        known = np.array([value is not None and value == value for value in values])
        column = np.zeros(len(values), dtype=np.int64)
        column[known] = np.unique(values[known], return_inverse=True)[1] + 1
        columns.append(column)
    return np.stack(columns, axis=1), [int(column.max()) + 1 for column in columns]
