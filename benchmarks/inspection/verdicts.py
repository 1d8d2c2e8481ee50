"""Which models and items are flagged by each way to set a threshold, as CSV and as a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from judging import Judged
from providers import KINDS
from thresholds import Flags, best_threshold, flags, summary

from recbole_attack.defense import DETECTORS
from recbole_attack.report.words import markdown
from recbole_attack.utils.files import read_text, write_csv, write_text

CLEAN, SAME, TUNED = "clean models", "clean, same users", "tuned on BRA"
TABLES = "<!-- tables -->"
HEADER = [
    *("threshold", "detector", "kind", "split", "number", "er_in@10", "er_out@10"),
    *("above", "flagged items", "targets flagged", "targets", "f1"),
]


@dataclass(frozen=True)
class Line:
    """What one detector flags of one model, and above which score."""

    rule: str
    detector: str
    model: Judged
    above: float
    found: Flags


def lines(models: Sequence[Judged], same: Mapping[int, Mapping[str, float]]) -> Iterator[Line]:
    """A line for each model, detector and way to set the threshold.

    Args:
        models: All models.
        same: Split -> detector -> the highest score of clean models on the same users; empty without such models.
    """
    for name in DETECTORS:
        for model in models:
            yield _line(CLEAN, name, model, model.clean[name])
            if model.split in same:
                yield _line(SAME, name, model, same[model.split][name])
        tuning = [model for model in models if _tunes(model)]
        if not any(model.kind == "bra" for model in tuning):
            continue
        above = best_threshold([_scores(m, name) for m in tuning], [np.array(m.promoted) for m in tuning])
        yield from (_line(TUNED, name, model, above) for model in models if not _tunes(model))


def _tunes(model: Judged) -> bool:
    """Every other honest and BRA model chooses the threshold, and is not judged by it."""
    return model.kind in ("honest", "bra") and model.number % 2 == 0


def _scores(model: Judged, detector: str) -> Any:
    return np.array(model.scores[detector])


def _line(rule: str, detector: str, model: Judged, above: float) -> Line:
    return Line(rule, detector, model, above, flags(_scores(model, detector), np.array(model.promoted), above))


def write_lines(path: Path, found: Sequence[Line]) -> None:
    """The CSV: a row for each line."""
    write_csv(path, HEADER, [_row(line) for line in found])


def _row(line: Line) -> list[Any]:
    model, found = line.model, line.found
    f1 = "" if math.isnan(found.f1) else f"{found.f1:.4f}"
    about = [line.rule, line.detector, model.kind, model.split, model.number, f"{model.exposure:.4f}"]
    outside = "" if model.outside is None else f"{model.outside:.4f}"
    return [*about, outside, f"{line.above:.6g}", found.flagged, found.right, found.targets, f1]


def page(title: str, notes: Path, found: Sequence[Line], command: str) -> str:
    """The notes, with the tables in their place, and the command that made them."""
    text = read_text(notes).strip().replace(TABLES, "\n\n".join(tables(found)))
    return f"# {title}\n\n{text}\n\n```bash\n{command}\n```\n"


def write_page(path: Path, notes: Path, found: Sequence[Line], command: str) -> None:
    write_text(path, page(path.stem, notes, found, command))


def tables(found: Sequence[Line]) -> list[str]:
    """How well attacks worked, models flagged, and flagged items."""
    kinds = [name for name in KINDS if any(line.model.kind == name for line in found)]
    planted = [name for name in kinds if KINDS[name].planted]
    rules = [(rule, name) for rule in (CLEAN, SAME, TUNED) for name in DETECTORS if _of(found, rule, name)]
    return [
        "## Exposure of the targets",
        markdown(
            ["attack", "models", "er@10 of the users promoted to, % (lowest to highest)", "of all others"],
            _exposed(found, planted),
        ),
        "## Models flagged",
        markdown(
            ["threshold", "detector", *(KINDS[name].title for name in kinds)],
            [[*rule, *(_models(_of(found, *rule, name)) for name in kinds)] for rule in rules],
        ),
        "## Items flagged: precision / recall / mean F1 of a model",
        markdown(
            ["threshold", "detector", *(KINDS[name].title for name in planted)],
            [[*rule, *(_items(_of(found, *rule, name)) for name in planted)] for rule in rules],
        ),
    ]


def _of(found: Sequence[Line], rule: str, detector: str, kind: str | None = None) -> list[Flags]:
    return [
        line.found
        for line in found
        if (line.rule, line.detector) == (rule, detector) and kind in (None, line.model.kind)
    ]


def _exposed(found: Sequence[Line], kinds: Sequence[str]) -> list[list[str]]:
    first = next(iter(DETECTORS))
    models = [line.model for line in found if (line.rule, line.detector) == (CLEAN, first)]
    shown = []
    for name in kinds:
        of = [model for model in models if model.kind == name]
        outside = [model.outside for model in of if model.outside is not None]
        shown.append([KINDS[name].title, str(len(of)), _range([model.exposure for model in of]), _range(outside)])
    return shown


def _range(shares: Sequence[float]) -> str:
    low, mean, high = (100 * float(of(shares)) for of in (min, np.mean, max)) if shares else (math.nan,) * 3
    return f"{mean:.1f} ({low:.1f} to {high:.1f})" if shares else ""


def _models(found: Sequence[Flags]) -> str:
    return f"{summary(found).caught} of {len(found)}" if found else ""


def _items(found: Sequence[Flags]) -> str:
    if not found:
        return ""
    told = summary(found)
    return " / ".join("-" if math.isnan(value) else f"{value:.2f}" for value in (told.precision, told.recall, told.f1))
