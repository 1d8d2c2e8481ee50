"""Items by how far they moved, against sorting one item after the other."""

from __future__ import annotations

import math

import pytest
import torch

from recbole_attack.data.movement import moved_most


@pytest.mark.parametrize("last", [[], [3], [1, 7, 9]], ids=len)
def test_what_moved_farthest_comes_first_and_some_come_last(last: list[int]) -> None:
    generator = torch.Generator().manual_seed(1)
    before = torch.randn(12, 4, generator=generator)
    now = before + torch.randn(12, 4, generator=generator)
    now[5:8] = before[5:8]  # three that did not move, one of which may have to be last
    now[0] += 100.0
    distance = {item: math.dist(now[item].tolist(), before[item].tolist()) for item in range(1, 12)}
    expected = sorted(distance, key=lambda item: (item in last, -distance[item] * (item not in last), item))
    assert moved_most(now, before, torch.tensor(last, dtype=torch.int64)).tolist() == expected
    if not last:
        assert moved_most(now, before).tolist() == expected
