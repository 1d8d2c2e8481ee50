"""What docs/flower.md says works."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="needs Flower: pip install 'recbole_attack[flower]'")

from flwr.app import Context, RecordDict
from flwr.serverapp.strategy import FedAvg

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "flower.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_what_the_page_prints_is_run() -> None:
    """All but how the package is installed."""
    printed = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert [text.split()[0] for language, text in printed if language not in ("bash", "python")] == ["pip"]
    assert [len(blocks(language)) for language in ("bash", "python")] == [3, 1]


def test_the_strategy_withstands_a_hostile_node(app_grid: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
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
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "FLWR_HOME": str(tmp_path / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    for number, script in enumerate(blocks("bash")):
        with (tmp_path / f"{number}.out").open("w") as out, (tmp_path / f"{number}.err").open("w") as err:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=tmp_path,
                env=environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            try:
                code = process.wait(500)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        assert code == 0, (tmp_path / f"{number}.err").read_text()[-3000:]
        assert re.search(r"^er@10, % +\d", (tmp_path / f"{number}.out").read_text(), re.MULTILINE)
