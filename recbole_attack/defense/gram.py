"""Inner products of updates, and the distances that follow from them."""

from __future__ import annotations

import torch


def gram_matrix(updates: torch.Tensor, columns: int = 4096) -> torch.Tensor:
    """``[N, N]`` inner products of ``updates [N, P]`` in float64, without a float64 copy of all updates.

    Float32 updates are multiplied in float32, parts of the columns at a time, and summed in float64; where that
    overflows, underflows or leaves too little of the distances, all is done again in float64. Entries of updates that
    are not finite are not finite, those of others are as without them.
    """
    if updates.dtype == torch.float32:
        gram = _products(updates, torch.float32, columns)
        if _resolved(gram):
            return gram
    return _products(updates, torch.float64, columns)


def _products(updates: torch.Tensor, dtype: torch.dtype, columns: int) -> torch.Tensor:
    n = len(updates)
    total = updates.new_zeros(n, n, dtype=torch.float64)
    step = 16 if n < 128 else 32
    for part in updates.split(columns, dim=1):
        factor = part.to(dtype)
        for row in range(0, n, step):  # the lower triangle, by blocks: the rest is its mirror image
            total[row : row + step, : row + step] += factor[row : row + step] @ factor[: row + step].T
    return total.tril() + total.tril(-1).T


def _resolved(gram: torch.Tensor) -> bool:
    """Whether float32 products tell most updates apart: squared distances of 1e-3 of squared norms keep 3 digits."""
    squares = gram.diagonal()
    if not len(squares):
        return False
    norm, distance = squares.median(), squared_distances(gram).median(dim=1).values.median()
    return bool(squares.isfinite().all() & (norm > 1e-24) & (distance > 1e-3 * norm))


def squared_distances(gram: torch.Tensor) -> torch.Tensor:
    """``[..., N, N]``: ``|u_i - u_j|^2 = G_ii - 2 G_ij + G_jj``, and 0 where that is no more than rounding.

    Of float64 products, updates count as equal that differ by less than 1e-7 of their length. Float32 products
    (:func:`gram_matrix`) are not that exact: there, copies may come out some 5e-4 of their length apart. The result is
    symmetric to the last bit, which products need not be: two that are each other's nearest have the same score.
    """
    squares = gram.diagonal(dim1=-2, dim2=-1)
    sums = squares[..., :, None] + squares[..., None, :]
    distances = sums - (gram + gram.mT)
    return torch.where(distances > 1e-14 * sums, distances, 0.0)


def distances_to(gram: torch.Tensor, point: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """``[..., N]`` from a point to all clients; ``image`` is ``gram`` times the point's weights."""
    squared_length = (point * image).sum(dim=-1, keepdim=True)
    return (gram.diagonal(dim1=-2, dim2=-1) - 2 * image + squared_length).clamp(min=0).sqrt()


def times(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """``[..., N]`` a matrix ``[..., N, N]`` times a vector ``[..., N]``."""
    return (matrix @ vector[..., None]).squeeze(-1)
