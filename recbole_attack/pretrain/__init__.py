"""Pre-trained models: what a provider ships and what a platform makes of it."""

from recbole_attack.pretrain.stages import PLATFORMS, STAGES, Stage

__all__ = ["PLATFORMS", "STAGES", "Stage"]
