"""Results as tables and pictures; nothing is computed here that ``result.json`` does not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from texttable import Texttable

from recbole_attack.files import write_atomically

ARMS = ("local", "clean", "attacked")
"""The arms a run can have, in the order they are shown."""

_DASH = "-"


def caption(record: Mapping[str, Any]) -> str:
    """One sentence that says what was run.

    Args:
        record: The content of ``result.json``.
    """
    config, budget, data = record["config"], record["budget"], record["dataset"]
    targets = budget["target_items"]
    promoted = f"item {targets[0]}" if len(targets) == 1 else f"{len(targets)} items"
    candidates = config["exposure_candidates"]
    ranking = "full ranking" if candidates == "full" else f"{candidates} sampled candidates"
    parts = [
        f"{config['model']} on {data['name']} ({data['users']} users, {data['items']} items)",
        _training(config),
        ranking + (", history masked" if config["mask_history"] else ", history not masked"),
        f"target {promoted} ({config['target_items']})",
    ]
    if config["attack"] != "none":
        parts.append(f"attack {config['attack']}" + _attackers(budget))
    return "; ".join([*parts, f"seed {config['seed']}"])


def _attackers(budget: Mapping[str, Any]) -> str:
    if "malicious_clients" not in budget:
        return f" for users {budget['target_group']}"
    verb = {"clone": "cloned", "compromise": "compromised"}[budget["mode"]]
    share = f"{100 * budget['malicious_share']:.2g} %"
    return f": {budget['malicious_clients']} malicious clients ({share}, {verb})"


def _training(config: Mapping[str, Any]) -> str:
    optimiser = f"{config['learner']} {config['learning_rate']:g}, {config['epochs']} epochs"
    if config["scenario"] == "pretrain":
        return f"pre-trained, platform users {config['platform_users']}, platform {config['platform']}"
    if config["scenario"] == "central":
        return f"central, {optimiser}"
    return f"federated, {config['clients_per_round']} clients a round, server {optimiser}, {config['aggregator']}"


def result_table(record: Mapping[str, Any]) -> str:
    """Test metrics of the clean and the attacked model, one row per metric.

    Args:
        record: The content of ``result.json``.
    """
    tables = [_table(record, "test_result", record["delta"])]
    if record["config"]["exposure_candidates"] != "full":
        tables.append("the same models under full ranking:\n" + _table(record, "test_result_full", None))
    if record.get("detection"):
        tables.append("can the platform find the promoted items?\n" + _detection_table(record["detection"]))
    return "\n".join([caption(record), *tables])


def _detection_table(detection: Mapping[str, Any]) -> str:
    table = Texttable(max_width=0)
    table.set_deco(Texttable.HEADER)
    qualities = list(next(iter(next(iter(detection.values())).values())))
    table.set_cols_dtype(["t"] * (2 + len(qualities)))
    table.set_cols_align(["l", "l"] + ["r"] * len(qualities))
    table.header(["model", "detector", *qualities])
    for model, detectors in detection.items():
        for detector, values in detectors.items():
            table.add_row([model, detector, *(_number(values[quality]) for quality in qualities)])
    return table.draw()


def _table(record: Mapping[str, Any], key: str, delta: Mapping[str, float] | None) -> str:
    arms = {name: record[name][key] for name in ARMS if record.get(name) and record[name][key]}
    if not arms and key == "test_result":
        return "no test user; best validation:\n" + _table(record, "best_valid_result", None)
    if not arms:
        return "no evaluated user"
    table = Texttable()
    table.set_deco(Texttable.HEADER)
    header = ["metric", *arms, *(["delta"] if delta else [])]
    table.set_cols_dtype(["t"] * len(header))
    table.set_cols_align(["l"] + ["r"] * (len(header) - 1))
    table.header(header)
    for metric in next(iter(arms.values())):
        row = [metric, *(_number(values[metric]) for values in arms.values())]
        table.add_row(row + ([_number(delta[metric], sign=True)] if delta else []))
    return table.draw()


def _number(value: float | None, sign: bool = False) -> str:
    if value is None or value != value:
        return _DASH
    return f"{value:+.4f}" if sign else f"{value:.4f}"


COLUMNS = ("hit@10", "ndcg@10", "er@5", "er@10", "er@20", "er@30")
"""Metrics of a published table, in its order."""


def markdown_table(records: Mapping[str, Sequence[Mapping[str, Any]]], paper: Mapping[str, Any]) -> str:
    """Rows of an experiment beside the paper's, with a caption of each row below.

    Args:
        records: Row name -> the ``result.json`` of every seed; several seeds give mean and standard deviation.
        paper: Row name -> arm -> metric -> the paper's number, and ``reason``: why ours differs. May lack any of them.
    """
    lines = [["row", "", *COLUMNS], ["---"] * (2 + len(COLUMNS))]
    captions = []
    for row, seeds in records.items():
        printed = paper.get(row, {})
        for arm in ARMS:
            if seeds[0].get(arm):
                name = f"{row}, {arm}" if seeds[0]["clean"] and seeds[0]["attacked"] else row
                lines += [
                    [name, *line] for line in _beside([record[arm] for record in seeds], seeds[0], printed.get(arm))
                ]
        minutes = sum(sum(record["timing"].values()) for record in seeds) / len(seeds) / 60
        all_seeds = ", ".join(str(record["seed"]) for record in seeds)
        about = f"- `{row}`: {caption(seeds[0]).rpartition(';')[0]}; seeds {all_seeds}; {minutes:.1f} min a seed"
        captions.append(f"{about}. {printed['reason']}" if "reason" in printed else about)
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return table + "\n\n" + "\n".join(captions)


def _beside(
    results: Sequence[Mapping[str, Any]], first: Mapping[str, Any], printed: Mapping[str, float] | None
) -> list[list[str]]:
    """Lines of one arm: ours under the configured ranking, the paper's, the difference, ours under full ranking."""
    candidates = first["config"]["exposure_candidates"]
    main = [[result["test_result"].get(metric) for result in results] for metric in COLUMNS]
    lines = [["ours, full" if candidates == "full" else f"ours, {candidates} sampled", *map(_spread, main)]]
    if printed:
        lines.append(["paper", *(_number(printed.get(metric)) for metric in COLUMNS)])
        pairs = zip(main, (printed.get(metric) for metric in COLUMNS), strict=True)
        lines.append(["difference", *(_number(_difference(ours, theirs), sign=True) for ours, theirs in pairs)])
    if candidates != "full":
        full = ([result["test_result_full"].get(metric) for result in results] for metric in COLUMNS)
        lines.append(["ours, full", *map(_spread, full)])
    return lines


def _difference(ours: Sequence[float | None], theirs: float | None) -> float | None:
    known = [value for value in ours if value is not None]
    return mean(known) - theirs if known and theirs is not None else None


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return _DASH
    spread = f" ± {stdev(known):.4f}" if len(known) > 1 else ""
    return f"{mean(known):.4f}{spread}"


Panels = dict[str, dict[str, list[tuple[float, float]]]]
"""Panel title -> line label -> points ``(x, y)``."""


def curves(records: Mapping[str, Sequence[Mapping[str, Any]]], figure: Mapping[str, Any]) -> Panels:
    """Measurements of the attacked models as lines, means over seeds.

    Args:
        records: As for :func:`markdown_table`.
        figure: ``y``, a metric; ``x``, a parameter or ``epoch`` for the history; ``line`` and ``panel``, the parameters
            that tell lines and panels apart (a list each).
    """
    found: dict[str, dict[str, dict[float, list[float]]]] = {}
    for seeds in records.values():
        for record in seeds:
            if not record["attacked"]:
                continue
            config = record["config"]
            title, label = (", ".join(str(config[key]) for key in figure[part]) for part in ("panel", "line"))
            line = found.setdefault(title, {}).setdefault(label, {})
            for x, y in _points(record, figure):
                line.setdefault(x, []).append(y)
    return {
        title: {label: [(x, mean(ys)) for x, ys in sorted(line.items())] for label, line in lines.items()}
        for title, lines in found.items()
    }


def _points(record: Mapping[str, Any], figure: Mapping[str, Any]) -> list[tuple[float, float]]:
    x, y = figure["x"], figure["y"]
    if x == "epoch":
        return [(e["epoch"] + 1, e[y]) for e in record["history"]["attacked"] if y in e]
    value = record["attacked"]["test_result"].get(y)
    return [] if value is None else [(record["config"][x], value)]


def plot_curves(panels: Panels, labels: tuple[str, str], path: Path) -> None:
    """Draw what :func:`curves` found as a PNG, at most two panels in a row.

    Args:
        panels: At least one.
        labels: Of the x and the y axis.
        path: Where the picture goes.
    """
    from matplotlib.figure import Figure

    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.5 * columns, 3 * rows), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(rows, columns, squeeze=False).flat, panels.items(), strict=False):
        for label, points in lines.items():
            axes.plot(*zip(*points, strict=True), label=label, marker=".")
        axes.set(title=title, xlabel=labels[0], ylabel=labels[1], ylim=(0, None))
        axes.legend(fontsize="small")
    write_atomically(path, lambda target: figure.savefig(target, format="png", dpi=120))


def plot_history(record: Mapping[str, Any], path: Path, k: int = 10) -> None:
    """Exposure and accuracy over epochs, clean and attacked, as a PNG.

    Args:
        record: The content of ``result.json``; without an epoch whose accuracy was measured nothing is drawn.
        path: Where the picture goes.
        k: Cut-off; the smallest measured one if this one was not.
    """
    history = record["history"]
    measured = {key for epochs in history.values() for e in epochs for key in e}
    cutoffs = sorted(int(key.split("@")[1]) for key in measured if key.startswith("hit@"))
    if not cutoffs:
        return
    k = k if k in cutoffs else cutoffs[0]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    titles = {f"er@{k}": "exposure of the target items", f"hit@{k}": "accuracy for honest users"}
    panels = {metric: title for metric, title in titles.items() if metric in measured}
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (metric, title) in zip(grid, panels.items(), strict=True):
        for name, epochs in history.items():
            points = [(e["epoch"] + 1, e[metric]) for e in epochs if metric in e]
            axes.plot(*zip(*points, strict=True), label=name, marker=".")
        axes.set(title=title, xlabel="epoch", ylabel=metric, ylim=(0, None))
        axes.legend()
    write_atomically(path, lambda target: figure.savefig(target, format="png", dpi=120))
