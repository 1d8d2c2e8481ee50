"""The version of what the numbers mean."""

EVALUATOR_VERSION = 1
"""Bumped whenever the same parameters and data give other numbers than before: when a metric, a ranking protocol, a
split, a selector, a model, a loss, an attack or a rule is defined anew, or draws other random numbers.

Stored results are found by it, and results of different versions never stand in one table.
"""
