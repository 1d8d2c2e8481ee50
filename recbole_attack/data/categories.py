"""Which target items are similar to an item: those of the same category.

"Attacking Pre-trained Recommendation" (Wu et al., 2023, section 3.1): "we regard the items under the same category as
similar items". With a field of several categories (``token_seq``), items are similar that share at least one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from recbole_attack.data.sequences import Int
from recbole_attack.errors import DataError, did_you_mean


@dataclass(frozen=True)
class SimilarTargets:
    """For each item, the target items that share a category with it; a target is similar to itself.

    Attributes:
        targets: The similar targets' ids, item after item, ascending within an item.
        offsets: ``[n_items + 1]``; item ``i`` has ``targets[offsets[i]:offsets[i + 1]]``.
    """

    targets: Int
    offsets: Int

    def __getitem__(self, item: int) -> Int:
        return self.targets[self.offsets[item] : self.offsets[item + 1]]

    @cached_property
    def counts(self) -> Int:
        """``[n_items]`` number of similar targets of every item."""
        return np.diff(self.offsets)

    def sample(self, rng: np.random.Generator, items: Int) -> Int:
        """A similar target for each entry of ``items`` (any shape), uniformly drawn; 0 where there is none."""
        items = np.asarray(items)
        counts = self.counts[items]
        drawn = self.offsets[items] + rng.integers(0, np.maximum(counts, 1))
        targets = np.append(self.targets, 0)  # an item at the end may have no target to look up
        return np.where(counts > 0, targets[drawn], 0)


def similar_targets(categories: Int, targets: Int) -> SimilarTargets:
    """Find the similar targets of every item.

    Args:
        categories: ``[n_items]`` category of every item, or ``[n_items, W]`` all its categories; 0 stands for none,
            and two items without a category are not similar.
        targets: ``[T]`` ids of the target items, all different.
    """
    n_items = len(categories)
    items, columns = np.nonzero(categories.reshape(n_items, -1))
    values = categories.reshape(n_items, -1)[items, columns]
    belongs = csr_matrix((np.ones(len(items)), (items, values)), shape=(n_items, int(categories.max(initial=0)) + 1))
    targets = np.sort(targets)
    shared = (belongs @ belongs[targets].T).tocsr()
    shared.sort_indices()
    return SimilarTargets(targets[shared.indices], shared.indptr.astype(np.int64))


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
