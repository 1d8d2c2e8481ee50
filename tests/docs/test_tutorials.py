"""The tutorials work as they are printed, and show what their commands print."""

from __future__ import annotations

import ast
import json
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from pages import DOCS, ROOT, agrees, run_page

TUTORIALS = DOCS / "tutorials"
PAGES = sorted(TUTORIALS.glob("*.md"))
NEEDS = {"hyper-parameters": ("hyperopt", "tuning")}
"""What a page needs besides the package, and the extra that has it."""
CHECKOUT = {"reproduce-a-row": ("experiments", "results/store")}
"""What a page needs of the repository, of which it gets a copy."""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs Bash")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_runs(page: Path, tmp_path: Path) -> None:
    if page.stem in NEEDS:
        module, extra = NEEDS[page.stem]
        pytest.importorskip(module, reason=f"needs {module}: pip install 'recbole_attack[{extra}]'")
    for name in CHECKOUT.get(page.stem, ()):
        shutil.copytree(ROOT / name, tmp_path / name)
    run_page(page, tmp_path)


def test_every_tutorial_is_listed() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert len(PAGES) >= 6
    for page in PAGES:
        assert f"(tutorials/{page.name})" in index
        assert f"\ntutorials/{page.stem}\n" in index


@pytest.mark.parametrize("file", sorted(TUTORIALS.glob("*.ipynb")), ids=lambda file: file.stem)
def test_a_notebook_runs_and_shows_what_it_gives(file: Path) -> None:
    space: dict[str, Any] = {}
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    assert sum(bool(cell.get("outputs")) for cell in cells) >= 3
    for cell in cells:
        if cell["cell_type"] == "code":
            with redirect_stdout(StringIO()) as printed:
                value = last_value("".join(cell["source"]), space)
            assert (printed.getvalue(), value is not None) == ("", bool(cell["outputs"]))
            for output in cell["outputs"]:
                ((kind, shown),) = output["data"].items()
                given = {"text/html": lambda value: value._repr_html_(), "text/plain": repr}[kind](value)
                assert agrees("".join(shown), without_style(given)), given


def last_value(code: str, space: dict[str, Any]) -> Any:
    """Run a cell; the value of the expression that it ends with, if it ends with one."""
    body = ast.parse(code).body
    last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), space)
    return eval(compile(last, "cell", "eval"), space) if last else None


def without_style(html: str) -> str:
    start, _, rest = html.partition("<style scoped>")
    return start + rest.partition("</style>\n")[2] if rest else html
