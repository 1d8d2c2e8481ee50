"""Synthetic users with attributes, items with categories, and sequences that can be learnt; any size, no login."""

from recbole_attack.data.synthetic.files import ensure_synthetic, synthetic_size, write_synthetic
from recbole_attack.data.synthetic.generate import PRESETS, Synthetic, SyntheticData, generate

__all__ = ["PRESETS", "Synthetic", "SyntheticData", "ensure_synthetic", "generate", "synthetic_size", "write_synthetic"]
