"""Faster equivalents of layers RecBole's models are made of."""

from __future__ import annotations

import torch
from recbole.model.layers import FeedForward
from torch import nn
from torch.nn import functional as F

_LEVELS = 1 << 16
_WORD = 4


class Dropout(nn.Dropout):
    """``nn.Dropout`` that cuts four 16-bit draws out of each random word when it runs on a CPU.

    PyTorch draws CPU masks one element at a time, a third of a SASRec training step. The probability is rounded to a
    multiple of 1/65536 and the kept values are scaled by exactly the rounded one, so expectations are exact. On other
    devices this is ``nn.Dropout``.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0.0 or values.device.type != "cpu":
            return super().forward(values)
        dropped = round(self.p * _LEVELS)
        if dropped == _LEVELS:
            return values * 0.0
        words = torch.randint(-(1 << 63), (1 << 63) - 1, (-(-values.numel() // _WORD),), dtype=torch.int64)
        draws = words.view(torch.int16)[: values.numel()].view(values.shape)
        keep = (draws >= dropped - _LEVELS // 2).to(values.dtype)
        return values * keep.mul_(_LEVELS / (_LEVELS - dropped))


def use_fast_kernels(model: nn.Module) -> None:
    """Replace dropout by :class:`Dropout` and RecBole's composed GELU by PyTorch's; parameters stay as they are."""
    for module in list(model.modules()):
        if isinstance(module, FeedForward) and module.intermediate_act_fn == module.gelu:
            module.intermediate_act_fn = F.gelu
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))
