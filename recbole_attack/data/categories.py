"""Which target items are similar to an item: those of the same category.

"Attacking Pre-trained Recommendation" (Wu et al., 2023, section 3.1): "we regard the items under the same category as
similar items". With a field of several categories (``token_seq``), items are similar that share at least one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recbole_attack.data.sequences import Int
from recbole_attack.utils.errors import DataError, did_you_mean


@dataclass(frozen=True)
class SimilarTargets:
    """For each item, the target items that share a category with it; a target is similar to itself.

    Attributes:
        targets: The similar targets' ids, kind after kind, ascending within a kind.
        offsets: ``[n_kinds + 1]``; items of kind ``k`` have ``targets[offsets[k]:offsets[k + 1]]``.
        kinds: ``[n_items]`` kind of every item: items of the same categories are of one kind.
    """

    targets: Int
    offsets: Int
    kinds: Int

    def __getitem__(self, item: int) -> Int:
        return self.targets[self.offsets[self.kinds[item]] : self.offsets[self.kinds[item] + 1]]

    @cached_property
    def counts(self) -> Int:
        """``[n_items]`` number of similar targets of every item."""
        return np.diff(self.offsets)[self.kinds]

    def pick(self, items: Int, draws: NDArray[np.floating]) -> Int:
        """A similar target for each item, 0 where there is none.

        Args:
            items: ``[...]`` items.
            draws: ``[...]`` numbers in [0, 1) that choose among the similar targets; uniform ones choose uniformly.
        """
        counts = self.counts[items]
        chosen = self.offsets[self.kinds[items]] + np.floor(draws * counts).astype(np.int64)
        picked = np.zeros(chosen.shape, dtype=np.int64)
        picked[counts > 0] = self.targets[chosen[counts > 0]]
        return picked


def similar_targets(categories: Int, targets: Int) -> SimilarTargets:
    """Find the similar targets of every item.

    Args:
        categories: ``[n_items]`` category of every item, or ``[n_items, W]`` all its categories; 0 stands for none.
            The padding item 0 has none, whatever stands there.
        targets: ``[T]`` ids of the target items, all different.
    """
    table = categories.reshape(len(categories), -1).copy()
    table[0] = 0
    table, kinds = np.unique(table, axis=0, return_inverse=True)
    rows, columns = np.nonzero(table)
    shape = (len(table), int(table.max(initial=0)) + 1)
    belongs = csr_matrix((np.ones(len(rows)), (rows, table[rows, columns])), shape=shape)
    targets, kinds = np.sort(targets), kinds.ravel()
    shared = (belongs @ belongs[kinds[targets]].T).tocsr()
    shared.sort_indices()
    return SimilarTargets(targets[shared.indices], shared.indptr.astype(np.int64), kinds)


def item_categories(dataset: Any, field: str) -> Int:
    """``[n_items]`` or ``[n_items, W]`` ids of every item's categories, from a built dataset's item field.

    Raises:
        DataError: No such field of tokens is loaded from the ``.item`` file.
    """
    loaded = {} if dataset.item_feat is None else dataset.item_feat.interaction
    fields = [name for name in loaded if name != dataset.iid_field and not loaded[name].is_floating_point()]
    if field not in fields:
        raise DataError(
            f"items have no category field '{field}': found {', '.join(fields) or 'no token field'} in "
            f"load_col's item fields{did_you_mean(field, fields)}"
        )
    return loaded[field].numpy()
