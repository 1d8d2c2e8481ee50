"""A GPU that is not there: its tensors hold a tensor of the CPU, and keep the rules of CUDA.

Every operation is computed on the CPU. What CUDA refuses is refused, and what CUDA copies between host and device or
makes the host wait for is counted, with the function of the package that asked for it. PyTorch's type ``lazy`` stands
for the device: alone among the types that no build needs hardware for, it has autograd on the caller's thread.

What it does not tell: speed, memory, the order in which CUDA adds numbers up, and what CUDA's own kernels ask for.
An operation on values of both sides is refused if one of the CPU has a dimension; CUDA also refuses some without.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import recbole_attack

GPU, CPU = torch.device("lazy", 0), torch.device("cpu")
RANDOM = SimpleNamespace(
    get_rng_state=lambda device: torch.get_rng_state(),
    set_rng_state=lambda state, device: torch.set_rng_state(state),
)
"""The module with the device's generator, which is the CPU's; PyTorch looks for it once in a process."""
PACKAGE = Path(recbole_attack.__file__).resolve().parent

TO_DEVICE, TO_HOST, WAIT = "to the device", "to the host", "wait"

_aten = torch.ops.aten
_COPIES = {_aten._to_copy, _aten.copy_, _aten._copy_from, _aten._copy_from_and_resize}
_INDEXED = {_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_, _aten._unsafe_index}
_WAITING = {
    *(_aten._local_scalar_dense, _aten.nonzero, _aten.masked_select, _aten.bincount, _aten.equal),
    *(_aten._unique, _aten._unique2, _aten.unique_dim, _aten.unique_consecutive, _aten.unique_dim_consecutive),
}
"""The size of what they return, or a number for the host, depends on values."""

_SHAPES = {
    "aten::sym_size": lambda tensor: tensor.shape,
    "aten::sym_stride": lambda tensor: tensor.stride(),
    "aten::sym_numel": lambda tensor: tensor.numel(),
    "aten::sym_storage_offset": lambda tensor: tensor.storage_offset(),
    "aten::dim": lambda tensor: tensor.dim(),
    "aten::is_contiguous": lambda tensor: tensor.is_contiguous(),
}
"""What PyTorch asks of a tensor's shape, which operations such as ``transpose_`` change where it stands."""


class Event(NamedTuple):
    """One copy, or one time the host waited.

    Attributes:
        kind: :data:`TO_DEVICE`, :data:`TO_HOST` or :data:`WAIT`.
        place: The function of the package that asked for it, such as ``federated/rounds.py: loop``.
        line: Where in it.
        operation: PyTorch's name of what was done.
        callers: The functions of the package it was called from, as ``place``.
    """

    kind: str
    place: str
    line: int
    operation: str
    callers: tuple[str, ...]


class DeviceTensor(torch.Tensor):
    """A tensor of the device; ``inner`` has its values."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> DeviceTensor:
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
            cls, inner.shape, dtype=inner.dtype, device=GPU, dispatch_sizes_strides_policy="sizes"
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {}, [])  # type: ignore[arg-type]

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def __deepcopy__(self, memo: Any) -> torch.Tensor:
        copy = DeviceTensor(self.inner.clone())
        return torch.nn.Parameter(copy, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copy


class PretendGPU(TorchDispatchMode):
    """Within the block there is the device :data:`GPU`.

    Attributes:
        events: What was copied and waited for so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []

    def __enter__(self) -> Any:
        torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor(values, device=...) copies where it is seen
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch._C._set_only_lift_cpu_tensors(False)
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {}, self.events)


@contextmanager
def pretend_gpu() -> Iterator[PretendGPU]:
    """The device, with its generator, and without the ``autocast`` that RecBole calls and that is off."""
    with pytest.MonkeyPatch.context() as patched, PretendGPU() as device:
        patched.setattr(torch, GPU.type, RANDOM, raising=False)
        patched.setattr(torch, "autocast", lambda device_type, enabled: nullcontext())
        yield device


@pytest.fixture
def gpu() -> Iterator[PretendGPU]:
    """:func:`pretend_gpu` for a whole test."""
    with pretend_gpu() as device:
        yield device


def _compute(func: Any, args: Any, kwargs: dict[str, Any], events: list[Event]) -> Any:
    """What ``func`` gives, on the device or not, as CUDA would have it."""
    of_shape = _SHAPES.get(func._schema.name)
    if of_shape is not None and isinstance(args[0], DeviceTensor):
        return of_shape(args[0].inner)
    tensors = list(_tensors((*args, *kwargs.values())))
    given, here = kwargs.get("device"), any(isinstance(tensor, DeviceTensor) for tensor in tensors)
    on_device = here if given is None else given.type == GPU.type
    if here or on_device:
        for kind in _events(func, args, kwargs, tensors, on_device):
            events.append(_event(kind, str(func)))
    if given is not None:
        kwargs = {**kwargs, "device": CPU}
    result = func(*_inner(args), **{key: _inner(value) for key, value in kwargs.items()})
    if any(value.alias_info is not None and value.alias_info.is_write for value in func._schema.returns):
        changed = [_argument(a, i, args, kwargs) for i, a in enumerate(func._schema.arguments) if _is_written(a)]
        return changed[0] if len(changed) == 1 else tuple(changed)
    return _outer(result) if on_device else result


def _events(func: Any, args: Any, kwargs: Any, tensors: list[torch.Tensor], on_device: bool) -> list[str]:
    """What is copied and waited for.

    Raises:
        RuntimeError: CUDA would refuse it.
    """
    name, hosts = func.overloadpacket, [tensor for tensor in tensors if not isinstance(tensor, DeviceTensor)]
    if name in _COPIES:
        return _copied(hosts, len(tensors), isinstance(args[0], DeviceTensor), on_device)
    if name in _INDEXED and isinstance(args[0], DeviceTensor):
        if any(value.dim() and not isinstance(value, DeviceTensor) for value in args[2:3]):
            raise _mixed(func, tensors)
        return _indexed(name, [place for place in args[1] if place is not None], args[2:3])
    first = bool(args) and isinstance(args[0], torch.Tensor) and not isinstance(args[0], DeviceTensor)
    written = first and _is_written(func._schema.arguments[0])
    if len(hosts) < len(tensors) and (written or any(tensor.dim() for tensor in hosts)):
        raise _mixed(func, tensors)
    varying = name is _aten.repeat_interleave and kwargs.get("output_size") is None
    return [WAIT] if name in _WAITING or varying else []


def _copied(hosts: list[torch.Tensor], count: int, first_here: bool, on_device: bool) -> list[str]:
    """Of a copy to a new tensor (one is given) or into the first of two."""
    if count == 1:
        return [] if first_here == on_device else [TO_DEVICE if on_device else TO_HOST]
    return [] if len(hosts) != 1 else [TO_DEVICE if first_here else TO_HOST]


def _indexed(name: Any, index: list[torch.Tensor], values: Any) -> list[str]:
    """Of a tensor of the device: indices may be the host's, and a mask is searched for its places."""
    masks = [place for place in index if place.dtype in (torch.bool, torch.uint8)]
    filled = name is not _aten.index and len(index) == len(masks) == 1 and not values[0].dim()  # as masked_fill does
    copied = [tensor for tensor in [*index, *values] if not isinstance(tensor, DeviceTensor)]
    waited = [] if filled else [mask for mask in masks if isinstance(mask, DeviceTensor)]
    return [TO_DEVICE] * len(copied) + [WAIT] * len(waited)


def _mixed(func: Any, tensors: list[torch.Tensor]) -> RuntimeError:
    found = ", ".join(f"{list(tensor.shape)} on {tensor.device}" for tensor in tensors)
    return RuntimeError(f"expected all tensors to be on the same device: {func} found {found}")


def _event(kind: str, operation: str) -> Event:
    """With the functions of the package that are being run, the innermost first."""
    places: list[tuple[str, int]] = []
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        file = Path(code.co_filename)
        if PACKAGE in file.parents and not code.co_name.startswith("<"):
            places.append((f"{file.relative_to(PACKAGE)}: {code.co_name}", frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    place, line = places[0] if places else ("outside the package", 0)
    return Event(kind, place, line, operation, tuple(name for name, _ in places))


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _inner(value: Any) -> Any:
    if isinstance(value, DeviceTensor):
        return value.inner
    return type(value)(map(_inner, value)) if type(value) in (list, tuple) else value


def _outer(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return DeviceTensor(value)
    return tuple(map(_outer, value)) if isinstance(value, (list, tuple)) else value


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _argument(argument: Any, place: int, args: Any, kwargs: Any) -> Any:
    return kwargs[argument.name] if argument.name in kwargs else args[place]
