"""Entries of a board, made up."""

from __future__ import annotations

from recbole_attack.evaluation.ensemble import read_ensemble

CHEAP = read_ensemble("cheap").about()


def worst(exposure, attack="margin"):
    return {"er@10": exposure, "low": None, "high": None, "cases": 2, "won": {attack: 2}}


def entry(name, norm, free=0.5, flags=(), kind="rule", **changes):
    found = {
        board: {"worst": worst(value), "budgets": {"0.01": {"worst": worst(value), "attacks": {"margin": value}}}}
        for board, value in (("norm", norm), ("free", free))
    }
    mean = {"hit@10": 0.2, "ndcg@10": 0.1, "tail hit@10": 0.1, "tail ndcg@10": 0.05}
    figures = {"boards": found, "mean": mean, "clean": mean, "cost": {**mean, "hit@10": 0.01}, "seconds a round": 0.1}
    return {
        **{"kind": kind, "name": name, "evaluation": CHEAP, "evaluator": 1, "package": "0.1.0", "store": "0"},
        **{"rule": {"aggregator": name}, "attack": {}, "setting": {"model": "SASRec", "dataset": "ml-100k"}},
        **{"plugins": {}, "data": {}, "figures": figures, "flags": dict.fromkeys(flags, "why"), **changes},
    }
