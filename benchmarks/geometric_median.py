"""Seconds per geometric median: the Gram matrix against geom-median, byzfl and byzpy, side by side in one run.

    python benchmarks/geometric_median.py [--sizes 64x65536 256x431104] [--hostile=0.2] [--as_they_come]

Float32 updates; a share of hostile clients stands together, away from the rest. Ours runs with its defaults, screening
included. Every other library gets the fewest iterations with which it reaches our objective (up to ``--slack`` of it,
measured in float64), or what it has after 256; with ``--as_they_come`` it keeps its own defaults, whatever the
objective. The more iterations a round needs (more hostile clients, less slack), the larger the ratio: ours hardly pays
for them. ``product`` is PyTorch's product of all updates with all, of which a Gram matrix needs half: no rule that
looks at all distances takes less than that half. Libraries that are not installed are left out
(``pip install .[test]``; byzpy asks for older versions of torch and NumPy: ``pip install --no-deps byzpy``). Seconds
depend on the machine; the ratio travels.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any

import torch

from recbole_attack import AttackConfig
from recbole_attack.defense import AGGREGATORS, squared_norms

Median = Callable[[torch.Tensor, int | None], torch.Tensor]
"""``(updates [N, P], iterations, or None for the library's defaults) -> [P]``."""

MOST = 256


def draw(clients: int, parameters: int, hostile: float, seed: int = 0) -> torch.Tensor:
    """Honest clients around one direction, their norms a factor of a few apart; hostile ones at another place."""
    generator = torch.Generator().manual_seed(seed)
    updates = torch.randn(clients, parameters, generator=generator)
    updates *= torch.randn(clients, 1, generator=generator).mul(0.7).exp()
    updates += torch.randn(parameters, generator=generator).mul(0.5)
    updates[: int(hostile * clients)] += torch.randn(parameters, generator=generator).mul(5)
    return updates


def objective(point: torch.Tensor, updates: torch.Tensor) -> float:
    return float(squared_norms(updates - point).sqrt().mean())


def installed() -> dict[str, Median]:
    """The other libraries, as far as they are there."""
    found: dict[str, Median] = {}
    if importlib.util.find_spec("geom_median"):
        compute = importlib.import_module("geom_median.torch").compute_geometric_median
        found["geom-median"] = lambda u, k: compute(list(u), **({"maxiter": k, "ftol": -1.0} if k else {})).median
    spec = importlib.util.find_spec("byzfl")
    if spec:
        bare = ModuleType("byzfl")  # without its benchmarks, which want a torchvision that fits
        bare.__path__ = list(spec.submodule_search_locations or [])
        sys.modules["byzfl"] = bare
        rule = importlib.import_module("byzfl.aggregators.aggregators").GeometricMedian
        found["byzfl"] = lambda u, k: rule(**({"nu": 1e-6, "T": k} if k else {}))(u)
    if importlib.util.find_spec("byzpy"):
        other = importlib.import_module("byzpy.aggregators.geometric_wise.geometric_median").GeometricMedian
        importlib.import_module("byzpy.configs.backend").set_backend("torch")
        found["byzpy"] = lambda u, k: other(**({"tol": 1e-30, "max_iter": k} if k else {})).aggregate(list(u))
    return found


def fewest(rule: Median, updates: torch.Tensor, goal: float) -> int:
    """The fewest iterations that reach the goal; the objective never rises from one to the next."""
    high = 1
    while high < MOST and objective(rule(updates, high), updates) > goal:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if objective(rule(updates, middle), updates) <= goal else (middle, high)
    return high


def timed(rules: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each, taking turns, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in rules}
    for repeat in range(repeats + 1):
        for name, rule in rules.items():
            start = perf_counter()
            rule()
            if repeat:
                seconds[name].append(perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def compare(clients: int, parameters: int, others: dict[str, Median], arguments: argparse.Namespace) -> None:
    """Print one table."""
    updates = draw(clients, parameters, arguments.hostile)
    weights = torch.ones(len(updates))
    aggregator = AGGREGATORS["geometric_median"](AttackConfig(config_dict={"aggregator": "geometric_median"}))
    ours = aggregator.apply(updates, weights)
    goal = objective(ours.update, updates) * (1 + arguments.slack)
    counts = {name: None if arguments.as_they_come else fewest(rule, updates, goal) for name, rule in others.items()}
    rules: dict[str, Callable[[], Any]] = {"ours": lambda: aggregator.apply(updates, weights).update}
    for name, rule in others.items():
        rules[name] = lambda rule=rule, count=counts[name]: rule(updates, count)
    seconds = timed(rules | {"product": lambda: updates @ updates.T}, arguments.repeats)
    print(
        f"\n{clients} x {parameters} float32, {arguments.hostile:.0%} hostile, "
        f"slack {arguments.slack:g}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{'':<12} {'iterations':>10} {'objective':>14} {'ms':>10} {'ratio':>7}")
    for name, rule in rules.items():
        value, count = objective(rule(), updates), counts.get(name, ours.iterations)
        ratio = seconds[name] / seconds["ours"]
        print(f"{name:<12} {count or 'default':>10} {value:>14.6f} {1e3 * seconds[name]:>10.1f} {ratio:>7.2f}")
    ratio = seconds["product"] / seconds["ours"]
    print(f"{'product':<12} {'':>10} {'':>14} {1e3 * seconds['product']:>10.1f} {ratio:>7.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["64x65536", "256x431104"], help="clients x parameters")
    parser.add_argument("--hostile", type=float, default=0.2)
    parser.add_argument("--slack", type=float, default=1e-6)
    parser.add_argument("--as_they_come", action="store_true", help="the other libraries' own defaults")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    others = installed()
    for size in arguments.sizes:
        clients, parameters = map(int, size.split("x"))
        compare(clients, parameters, others, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
