"""The documentation builds without a warning, and its API reference has everything that is public."""

from __future__ import annotations

import importlib.util
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, run

import recbole_attack
from recbole_attack.attack import ATTACKS, BACKDOORS, PROFILES
from recbole_attack.defense import AGGREGATORS, CLIENT_DEFENSES, DETECTORS
from recbole_attack.evaluator import EXPOSURE_METRICS
from recbole_attack.model import MODELS

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("sphinx", "myst_parser", "furo")),
    reason="needs Sphinx: pip install 'recbole_attack[docs]'",
)


def built(folder: Path) -> Path:
    """The documentation; a warning is an error."""
    words = ["-m", "sphinx", "-q", "-W", "--keep-going", "-d", folder / "doctrees", "-c", ROOT / "docs", ROOT]
    run([sys.executable, *map(str, words), str(folder / "html")], folder)
    return folder / "html"


def documented(site: Path) -> set[str]:
    """What the inventory for other projects lists: four lines of a head, then names, packed."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines() if " py:" in line}


def home(part: Any) -> str:
    return f"{part.__module__}.{part.__qualname__}"


def public() -> set[str]:
    """What the package offers, and all parts of its own that have a name, where they are written."""
    tables = {"evaluator.metrics.EXPOSURE_METRICS", "data.convert.conversions.CONVERSIONS", "model.lookup.MODELS"}
    parts = [
        home(part)
        for table in (ATTACKS, BACKDOORS, PROFILES, AGGREGATORS, CLIENT_DEFENSES, DETECTORS)
        for part in table.values()
    ]
    metrics = [home(metric) for name, metric in EXPOSURE_METRICS.items() if not name.endswith(("_In", "_Out"))]
    models = [home(model) for model in MODELS.values() if not model.__module__.endswith(".adapter")]
    return {*(f"recbole_attack.{name}" for name in (*recbole_attack.__all__, *tables)), *parts, *metrics, *models}


def test_the_documentation_builds_without_a_warning_and_has_all_that_is_public(tmp_path: Path) -> None:
    site = built(tmp_path)
    assert public() - documented(site) == set()
    index = (site / "docs" / "index.html").read_text(encoding="utf-8")
    for page in ("usage", "robustness", "tutorials/own-parts", "reference/defences"):
        assert f'href="{page}.html"' in index
        assert (site / "docs" / f"{page}.html").is_file()
    assert "Yin et al. 2018" in (site / "docs" / "reference" / "defences.html").read_text(encoding="utf-8")


def test_what_is_public_was_found() -> None:
    found = public()
    assert len(found) > 45
    names = {"run_recbole_attack", "attack.recipes.dvfsr", "defense.detection.kmeans", "evaluator.metrics.ER"}
    assert {f"recbole_attack.{name}" for name in names} <= found
