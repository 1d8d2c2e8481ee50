"""The pretend device against the CPU it computes on, and against what CUDA is known to do."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pretend_gpu import GPU, TO_DEVICE, TO_HOST, WAIT, DeviceTensor, PretendGPU, gpu  # noqa: F401
from torch import nn
from torch.nn import functional as F


def kinds(device: PretendGPU, action: Callable[[], object]) -> list[str]:
    """What ``action`` copies and waits for."""
    before = len(device.events)
    action()
    return [event.kind for event in device.events[before:]]


def values(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def views_and_writes(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Writes through views of views, from rows, masks and slices."""
    y = (x * w).clone()
    y[1:, 0] += 2.0
    y.T[2].mul_(w[:, 0])
    y[0].view(-1)[1:].copy_(x[1, 1:])
    y[torch.tensor([0, 2], device=x.device)] = x[:2] * 3
    y[y > 1] = 0.5
    y.transpose_(0, 1).unsqueeze_(0)
    y.index_add_(1, torch.zeros(2, dtype=torch.int64, device=x.device), w.T[None, :2])
    return (y * torch.arange(y.numel(), device=x.device).view_as(y)).logsumexp(-1).sum()


def attention(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    hidden = F.layer_norm(x @ w.T, (len(w),))
    weights = (hidden @ hidden.T).masked_fill(torch.eye(len(x), dtype=torch.bool, device=x.device), -1e4).softmax(-1)
    return F.cross_entropy(weights @ x, torch.arange(len(x), device=x.device) % x.shape[1])


def lookups(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    rows = F.embedding(torch.tensor([[0, 1], [1, 1]], device=x.device), w, padding_idx=0)
    found, place = torch.unique(torch.tensor([5, 3, 5], device=x.device), return_inverse=True)
    return rows.cumsum(1).pow(2).sum() + x[place].sort(dim=0).values[0].sum() * found.sum()


@pytest.mark.parametrize("function", [views_and_writes, attention, lookups])
def test_values_and_gradients_are_the_cpus(gpu, function):  # noqa: F811
    here = [values((3, 4), seed).requires_grad_() for seed in (1, 2)]
    there = [tensor.detach().to(GPU).requires_grad_() for tensor in here]
    results = [function(*pair) for pair in (here, there)]
    assert isinstance(results[1], DeviceTensor)
    for result in results:
        result.backward()
    assert torch.equal(results[0].detach(), results[1].detach().cpu())
    for ours, theirs in zip(here, there, strict=True):
        assert isinstance(theirs.grad, DeviceTensor)
        assert torch.equal(ours.grad, theirs.grad.cpu())


def test_layers_their_copies_and_an_optimiser_are_the_cpus(gpu):  # noqa: F811
    torch.manual_seed(3)
    here = nn.ModuleDict({"gru": nn.GRU(4, 5, batch_first=True), "last": nn.Linear(5, 2), "norm": nn.LayerNorm(5)})
    there = copy.deepcopy(here).to(GPU)
    twin = copy.deepcopy(there)
    assert [isinstance(p, nn.Parameter) for p in twin.parameters()] == [True] * len(list(here.parameters()))
    for model, device in ((here, "cpu"), (there, GPU)):
        optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
        for seed in range(2):
            hidden, _ = model["gru"](values((2, 3, 4), seed).to(device))
            model["last"](model["norm"](hidden)).pow(2).mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimiser.step()
            optimiser.zero_grad()
    for ours, theirs, untrained in zip(here.parameters(), there.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours, theirs.cpu(), atol=1e-6)
        assert not torch.equal(theirs.cpu(), untrained.cpu())


def test_vmap_of_gradients_is_the_cpus(gpu):  # noqa: F811
    def loss(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return F.softplus(x @ w).sum()

    step = torch.func.vmap(torch.func.grad_and_value(loss))
    pair = values((5, 3), 1), values((5, 2, 3), 2)
    for ours, theirs in zip(step(*pair), step(*(tensor.to(GPU) for tensor in pair)), strict=True):
        assert isinstance(theirs, DeviceTensor)
        assert torch.equal(ours, theirs.cpu())


MIXED = {
    "operands": lambda there, here: there + here,
    "operands, the other way": lambda there, here: here * there,
    "a number of the device": lambda there, here: here * there.sum(),
    "a product": lambda there, here: there @ here.T,
    "parts": lambda there, here: torch.cat([there, here]),
    "a choice": lambda there, here: torch.where(there > 0, there, here),
    "rows of the host by indices of the device": lambda there, here: here[there.argmax(dim=1)],
    "values put among others": lambda there, here: there.__setitem__(torch.tensor([0]), here[:1]),
    "a sum into the host's": lambda there, here: here.sum().add_(there.sum()),
    "lookups": lambda there, here: F.embedding(torch.tensor([0]), there),
    "indices of a gather": lambda there, here: there.gather(1, here.argmax(dim=1)[:, None]),
}


@pytest.mark.parametrize("mixed", MIXED.values(), ids=MIXED.keys())
def test_what_cuda_refuses_is_refused(gpu, mixed):  # noqa: F811
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        mixed(values((3, 4)).to(GPU), values((3, 4)))


def test_numpy_does_not_reach_the_device(gpu):  # noqa: F811
    with pytest.raises((RuntimeError, TypeError), match="numpy"):
        torch.zeros(3, device=GPU).numpy()


MASK = torch.tensor([True, False, True])
ALLOWED = {
    "a number of the host": (lambda x: x * torch.tensor(2.0), []),
    "a value": (lambda x: x.clamp(0, 1).masked_fill(x > 0, 2.0), []),
    "made there": (lambda x: torch.zeros(2, device=GPU) + x.new_ones(2) + torch.full_like(x[:2], 3), []),
    "made here": (lambda x: torch.tensor([1, 2], device=GPU), [TO_DEVICE]),
    "there": (lambda x: torch.ones(3).to(GPU), [TO_DEVICE]),
    "there already": (lambda x: x.to(GPU).to(x.device).double(), []),
    "back": (lambda x: x.cpu(), [TO_HOST]),
    "back, as a list": (lambda x: x.tolist(), [TO_HOST]),
    "a copy into": (lambda x: x.copy_(torch.ones(3)), [TO_DEVICE]),
    "a copy out of": (lambda x: torch.zeros(3).copy_(x), [TO_HOST]),
    "a slice set": (lambda x: x[:2].copy_(torch.ones(2)), [TO_DEVICE]),
    "indices of the host": (lambda x: x[torch.tensor([0, 1])], [TO_DEVICE]),
    "a mask of the host": (lambda x: x[MASK], [TO_DEVICE]),
    "set by indices of the host": (lambda x: x.index_put_((torch.tensor([0]),), x[:1] + 1), [TO_DEVICE]),
    "indices of the device": (lambda x: x[x.argsort()], []),
    "a mask": (lambda x: x[x > 0], [WAIT]),
    "set by a mask": (lambda x: x.__setitem__(x > 0, 0.0), []),
    "values set by a mask": (lambda x: x.__setitem__(x < 9, x + 1), [WAIT]),
    "item": (lambda x: x.sum().item(), [WAIT]),
    "float": (lambda x: float(x[0]), [WAIT]),
    "a condition": (lambda x: bool((x > 0).any()), [WAIT]),
    "nonzero": (lambda x: x.nonzero(), [WAIT]),
    "unique": (lambda x: torch.unique(x, return_inverse=True), [WAIT]),
    "consecutive": (lambda x: torch.unique_consecutive(x, return_counts=True), [WAIT]),
    "repeated as often as it says": (lambda x: torch.ones(3, device=GPU).repeat_interleave(x.long()), [WAIT]),
    "repeated": (lambda x: x.repeat_interleave(2), []),
    "scattered by a mask": (lambda x: x.masked_scatter(x > 0, x), []),
    "a quantile": (lambda x: x.quantile(0.5), []),
}


@pytest.mark.parametrize(("action", "expected"), ALLOWED.values(), ids=ALLOWED.keys())
def test_copies_and_waits_are_counted(gpu, action, expected):  # noqa: F811
    there = torch.tensor([1.0, 2.0, 3.0]).to(GPU)
    assert kinds(gpu, lambda: action(there)) == expected


def test_the_host_alone_is_left_alone(gpu):  # noqa: F811
    assert kinds(gpu, lambda: torch.ones(3)[MASK].nonzero().tolist()) == []


@settings(max_examples=25)
@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 3)), seed=st.integers(0, 99), dim=st.integers(0, 1))
def test_any_shape_keeps_its_strides(shape, seed, dim):
    here = values(shape, seed)
    with PretendGPU():
        there = here.to(GPU)
        pairs = [(x.T, x.T[:, :1], x.expand(2, *shape), x.sum(dim), x.transpose(0, 1).flatten()) for x in (here, there)]
        for ours, theirs in zip(*pairs, strict=True):
            assert (ours.shape, ours.stride()) == (theirs.shape, theirs.stride())
            assert ours.is_contiguous() == theirs.is_contiguous()
            assert torch.equal(ours, theirs.cpu())


def test_an_event_names_the_function_of_the_package_and_its_callers(gpu):  # noqa: F811
    from recbole_attack.defense import gram_matrix

    gram_matrix(values((3, 4)).to(GPU))
    copied, waited = gpu.events
    assert (copied.kind, copied.place, copied.callers) == (TO_DEVICE, "outside the package", ())
    assert (waited.kind, waited.place) == (WAIT, "defense/gram.py: _resolved")
    assert waited.callers == ("defense/gram.py: _resolved", "defense/gram.py: gram_matrix")
    lines = Path(inspect.getfile(sys.modules["recbole_attack.defense.gram"])).read_text().splitlines()
    assert "return bool(" in lines[waited.line - 1]
