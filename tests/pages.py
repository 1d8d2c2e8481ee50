"""The code of a page of the documentation, run as its reader would run it.

A block is run in a folder that all blocks of its page share:

- ``bash`` by Bash, ``python`` by a Python of its own, and neither may fail;
- a block of any language whose first line is a comment with nothing but a file's name, such as ``# shop.yaml``, is that
  file;
- ``text`` is what the block above it printed, see :func:`agrees`, unless it is how something is installed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


class Block(NamedTuple):
    """What stands between two fences."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All blocks of code of a page, in its order."""
    found = re.findall(r"^```([^\n]*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(*parts) for parts in found]


def run(words: Sequence[str], folder: Path, timeout: float = 300, **environment: str) -> str:
    """What a command prints to standard output; whatever it started ends with it."""
    env = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    out, err = folder / ".out", folder / ".err"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(words, cwd=folder, env=env, stdout=stdout, stderr=stderr, start_new_session=True)
        try:
            code = process.wait(timeout)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert code == 0, f"{words[-1]}\n{err.read_text()[-3000:]}"
    return out.read_text(encoding="utf-8")


def bash(script: str, folder: Path, timeout: float = 300, **environment: str) -> str:
    """What a script prints, which stops at its first error."""
    return run(["bash", "-euo", "pipefail", "-c", script], folder, timeout, **environment)


def run_page(page: Path, folder: Path) -> None:
    """Run all blocks of a page, and hold what it shows against what they print."""
    printed = None
    for language, text in blocks(page):
        name = re.match(r"# ([\w.-]+\.\w+)\n", text)
        if name:
            (folder / name[1]).write_text(text, encoding="utf-8")
        elif language == "bash":
            printed = bash(text, folder)
        elif language == "python":
            printed = run([sys.executable, "-W", "ignore", "-c", text], folder)
        elif not text.startswith("pip install "):
            assert language == "text", f"{page.name} has a block of '{language}', which nobody runs:\n{text}"
            assert printed is not None, f"{page.name} shows what nothing above it printed:\n{text}"
            assert agrees(text, printed), f"{page.name} shows\n{text}\nand it prints\n{printed}"


def agrees(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed.

    A line ``...`` stands for any lines, a word ``...`` for any word. Words and whole numbers are what they are. Numbers
    with a point come from training, which may round otherwise on another machine: they agree within a fifth, or 0.02.
    Spaces, and rules as wide as a table, do not matter.
    """
    return _lines_agree(*([line.split() for line in text.splitlines() if line.strip()] for text in (shown, printed)))


def _lines_agree(shown: list[list[str]], printed: list[list[str]]) -> bool:
    if not shown:
        return not printed
    if shown[0] == ["..."]:
        return any(_lines_agree(shown[1:], printed[start:]) for start in range(len(printed) + 1))
    return bool(printed) and _line_agrees(shown[0], printed[0]) and _lines_agree(shown[1:], printed[1:])


def _line_agrees(shown: list[str], printed: list[str]) -> bool:
    return len(shown) == len(printed) and all(map(_word_agrees, shown, printed))


_NUMBER = re.compile(r"[+-]?\d+\.\d+(?:e[+-]?\d+)?")


def _word_agrees(shown: str, printed: str) -> bool:
    if shown == "..." or {*shown} == {*printed} <= {"=", "-"}:
        return True
    if _NUMBER.sub("", shown) != _NUMBER.sub("", printed):
        return False
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=True)
    return all(abs(float(a) - float(b)) <= max(0.02, 0.2 * abs(float(a))) for a, b in pairs)
