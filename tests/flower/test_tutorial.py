"""What docs/flower.md says works."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="needs Flower: pip install 'recbole_attack[flower]'")

from flwr.app import Context, RecordDict
from flwr.serverapp.strategy import FedAvg
from pages import DOCS, bash, blocks

PAGE = DOCS / "flower.md"


def texts(language: str) -> list[str]:
    return [block.text for block in blocks(PAGE) if block.language == language]


def test_what_the_page_prints_is_run() -> None:
    """All but how the package is installed."""
    assert [text.split()[0] for language, text in blocks(PAGE) if language not in ("bash", "python")] == ["pip"]
    assert [len(texts(language)) for language in ("bash", "python")] == [3, 1]


def test_the_strategy_withstands_a_hostile_node(app_grid: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = texts("python")
    space: dict[str, Any] = {}
    exec(compile(code, "docs/flower.md", "exec"), space)
    assert len(code.splitlines()) <= 30
    context = Context(1, 0, {}, RecordDict(), {}, 1)
    space["server_app"](app_grid(space["client_app"], {}, 5), context)
    found = np.array(capsys.readouterr().out.strip().splitlines()[-1].strip("[]").split(), dtype=float)
    assert found == pytest.approx([1.0, 2.0], abs=0.01)
    space["RobustStrategy"] = lambda *rule, byzantine_ratio, **options: FedAvg(**options)
    space["server_app"](app_grid(space["client_app"], {}, 5), context)
    found = np.array(capsys.readouterr().out.strip().splitlines()[-1].strip("[]").split(), dtype=float)
    assert (np.abs(found - [1.0, 2.0]) > 100).all()


@pytest.mark.slow
@pytest.mark.skipif(not all(map(shutil.which, ("bash", "openssl", "ssh-keygen", "curl"))), reason="needs its tools")
def test_the_commands_run(tmp_path: Path) -> None:
    environment = {
        "FLWR_HOME": str(tmp_path / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    for script in texts("bash"):
        printed = bash(script, tmp_path, timeout=500, **environment)
        assert re.search(r"^er@10, % +\d", printed, re.MULTILINE)
