"""Wheel, source archive and installations made from a copy of the checkout carry all they need and nothing else."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCATE = "from recbole_attack.config.defaults import properties as p; print(p())"
DEFAULTS = {str(p.relative_to(ROOT)) for p in (ROOT / "properties").rglob("*.yaml")}
TEMPLATES = {str(p.relative_to(ROOT)) for p in (ROOT / "recbole_attack" / "report" / "templates").iterdir()}
MODULES = {str(p.relative_to(ROOT)) for p in (ROOT / "recbole_attack").rglob("*.py")}

pytestmark = [
    pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="needs a git checkout"),
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("setuptools", "build", "pip")),
        reason="needs setuptools, build and pip: pip install 'recbole_attack[test]'",
    ),
]


def run(*command: object, cwd: Path, **environment: str) -> str:
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment}
    words = [sys.executable, "-W", "ignore", *map(str, command)]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the tracked files and of the package as it is now: building leaves traces in the source."""
    copy = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in {*filter(None, listed.split("\0")), *MODULES, *DEFAULTS, *TEMPLATES}:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def archives(checkout, tmp_path_factory):
    """The folder with the built wheel and source archive."""
    out = tmp_path_factory.mktemp("archives")
    run("-m", "build", "--no-isolation", "--wheel", "--sdist", "--outdir", out, checkout, cwd=checkout)
    return out


@pytest.fixture(scope="module")
def wheel(archives):
    (path,) = archives.glob("*.whl")
    return path


def sources(archives: Path) -> set[str]:
    (path,) = archives.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}


def test_the_wheel_holds_the_package_its_defaults_and_templates_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    expected = MODULES | TEMPLATES | {f"recbole_attack/{name}" for name in DEFAULTS}
    assert "recbole_attack/properties/overall.yaml" in expected
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
        metadata, scripts = (archive.read(files[name]).decode() for name in ("METADATA", "entry_points.txt"))
    version = re.search(r'__version__ = "(.+)"', (ROOT / "recbole_attack" / "__init__.py").read_text())[1]
    assert f"\nVersion: {version}\n" in metadata
    assert re.search(r"^Requires-Dist: recbole==1\.2\.1", metadata, re.MULTILINE)
    assert "recbole_attack = recbole_attack.commands.main:main" in scripts
    assert "LICENSE" in files


def test_the_source_archive_can_be_tested(archives):
    names = sources(archives)
    tiny = {f"dataset/tiny/tiny.{suffix}" for suffix in ("inter", "item", "user")}
    assert MODULES | DEFAULTS | TEMPLATES | tiny | {"run_recbole_attack.py", "setup.cfg", "pyproject.toml"} <= names
    assert "tests/conftest.py" in names


def test_the_source_archive_holds_nothing_a_run_or_a_build_left(archives):
    folders = {name.split("/")[0] for name in sources(archives) if "/" in name}
    assert folders <= {
        *("recbole_attack", "recbole_attack.egg-info", "properties", "dataset", "tests"),
        *("experiments", "results", "benchmarks", "docs"),
    }
    assert not [name for name in sources(archives) if name.endswith((".pth", ".pyc", ".log"))]


def test_an_installed_wheel_finds_its_defaults_from_anywhere(wheel, tmp_path):
    target = tmp_path / "target"
    run("-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel, cwd=tmp_path)
    found = Path(run("-c", LOCATE, cwd=tmp_path, PYTHONPATH=str(target)).strip())
    assert found == target / "recbole_attack" / "properties"
    assert {f"properties/{p.relative_to(found)}" for p in found.rglob("*.yaml")} == DEFAULTS


def test_an_editable_installation_reads_the_checkouts_defaults(checkout, tmp_path):
    target = tmp_path / "target"
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--target", target)
    run("-m", "pip", "install", *options, "--editable", checkout, cwd=tmp_path)
    # The new finder goes first: the package may also be installed, editable or not, where the tests run.
    forget = "[sys.modules.pop(name) for name in [*sys.modules] if name.startswith('__editable__')]"
    find = f"sys.path.insert(0, {str(target)!r}); site.addsitedir(sys.path[0])"
    code = f"import site, sys; {forget}; {find}; sys.meta_path.insert(0, sys.meta_path.pop()); {LOCATE}"
    found = Path(run("-c", code, cwd=tmp_path, PYTHONPATH="").strip())
    assert found == checkout / "properties"
