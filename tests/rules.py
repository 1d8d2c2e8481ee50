"""Rules that stand for others where it is not the rule that is tested."""

from __future__ import annotations

ROUTES = ("mean", "multi_krum", "median", "bulyan", "support_shrunk")
"""One of each way through the server: in one pass, by weights, by coordinates, by both, and row by row."""
