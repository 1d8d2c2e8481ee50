"""A dataset in which there are more users than in its files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_attack.data.dataset import RaggedSequentialDataset
from recbole_attack.data.sequences import UserSequences


def with_more_users(
    dataset: RaggedSequentialDataset, tokens: Sequence[str], more: UserSequences
) -> RaggedSequentialDataset:
    """A copy of a built dataset to which users were added; what was there keeps its ids, and no row of it changes.

    Their interactions stand behind all others. Of the fields of a ``.user`` file they have what the padding user has.

    Args:
        dataset: The dataset, whose split stays that of its own users.
        tokens: ``[M]`` the new users' tokens, none of which is one of the dataset's.
        more: Sequences of ``M`` users; user 1 becomes the first after the dataset's.
    """
    field, before = dataset.uid_field, dataset.user_num
    owners = (more.owner_ids - 1 + before).astype(np.int32)
    added = Interaction({field: torch.from_numpy(owners), dataset.iid_field: torch.from_numpy(more.items)})
    grown = dataset.copy(_joined(dataset.inter_feat, added))
    grown.field2id_token = {
        **dataset.field2id_token,
        field: np.concatenate([dataset.field2id_token[field], np.array(tokens, dtype=object)]),
    }
    ids = {token: before + number for number, token in enumerate(tokens)}
    grown.field2token_id = {**dataset.field2token_id, field: {**dataset.field2token_id[field], **ids}}
    if dataset.user_feat is not None:
        grown.user_feat = _with_empty_rows(dataset.user_feat, field, len(tokens))
    return grown


def new_tokens(word: str, count: int, known: Sequence[Any]) -> list[str]:
    """``count`` tokens that start with ``word``, which is made longer if one of ``known`` starts like that."""
    while any(str(token).startswith(word) for token in known):
        word += "_"
    return [f"{word}{number}" for number in range(1, count + 1)]


def _with_empty_rows(features: Interaction, key: str, count: int) -> Interaction:
    empty = features[[0] * count]
    empty.interaction[key] = torch.arange(len(features), len(features) + count).to(features[key])
    return _joined(features, empty)


def _joined(rows: Interaction, more: Interaction) -> Interaction:
    return Interaction({column: torch.cat([rows[column], more[column]]) for column in rows.columns})
