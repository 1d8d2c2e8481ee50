"""Rules about the source itself: imports go one way, randomness has one home, nothing is run that was only read."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "recbole_attack"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE, MAX_FUNCTION = 300, 50
FREE = {"utils", "stages"}
"""Parts any other may import; they import nothing but each other."""
ROOMS = {"data", "model", "attack", "defense", "evaluator"}
ALLOWED = {
    **{name: set() for name in FREE},
    "data": set(),
    "model": {"data"},
    "attack": {"data"},
    "defense": {"data"},
    "evaluator": {"data"},
    "threat": {"data"},
    "config": ROOMS,
    "federated": {"data", "model", "attack", "defense"},
    "trainer": {*ROOMS, "threat", "federated"},
    "experiment": {*ROOMS, "threat", "trainer", "config"},
    "register": {"data", "attack", "defense", "model", "config"},
    "inspection": {"data", "defense", "evaluator", "threat", "trainer", "config", "experiment"},
    "report": {"evaluator"},
    "capabilities": {"attack", "defense", "model", "federated", "experiment", "config", "report"},
    "quick_start": {"config", "evaluator", "experiment", "report"},
    "flower": {"data", "config", "threat", "federated", "trainer", "experiment", "quick_start", "report", "defense"},
    "benchmark": {*ROOMS, "config", "trainer", "experiment", "quick_start", "report"},
    "evaluation": {*ROOMS, "config", "federated", "trainer", "experiment", "quick_start", "benchmark", "report"},
    "commands": {*ROOMS, "config", "inspection", "quick_start", "benchmark", "evaluation", "flower", "report"},
    "__main__": {"commands"},
    "__init__": {"config", "evaluator", "inspection", "quick_start", "register", "benchmark", "evaluation"},
}
"""Which parts of the package each part may import, besides itself and the free ones."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> set[str]:
    """Every module a file imports, wherever it does; ``from a import b`` counts as ``a`` and as ``a.b``."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_parts(path: Path) -> set[str]:
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("recbole_attack.")}
    return parts & {part(file) for file in FILES} - {"__init__"}


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for a chain of attributes, an empty string for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def each(paths=FILES):
    return pytest.mark.parametrize("path", paths, ids=lambda p: str(p.relative_to(PACKAGE)))


def test_the_package_was_found():
    assert {"attack_config.py", "sasrec.py", "recipes.py"} <= {p.name for p in FILES}
    assert "recbole_attack.data" in imports(PACKAGE / "experiment" / "base.py")
    assert own_parts(PACKAGE / "trainer" / "federated.py") >= {"attack", "data", "defense", "federated"}


@each()
def test_imports_go_one_way(path):
    assert own_parts(path) <= ALLOWED[part(path)] | FREE | {part(path)}


def test_no_two_parts_import_each_other():
    """Depth-first: a part that is reached again on the way down is on a circle."""

    def visit(name, way):
        assert name not in way, " <- ".join([*way, name])
        for other in ALLOWED[name] - {name}:
            visit(other, [*way, name])

    for name in ALLOWED:
        visit(name, [])


ENTRY_POINTS = {"quick_start", "benchmark", "evaluation", "flower", "commands"}


@each([p for p in FILES if part(p) not in ENTRY_POINTS | {"__init__", "__main__"}])
def test_nothing_imports_the_entry_points(path):
    assert not own_parts(path) & ENTRY_POINTS


FLOWER = "needs Flower: pip install 'recbole_attack[flower]'"


@each([p for p in FILES if part(p) not in {"flower", "commands"}])
def test_flower_is_an_extra(path):
    assert not {name for name in imports(path) if name.split(".")[0] in ("flwr", "tomli_w")}
    assert "flower" not in own_parts(path)


PARALLEL = {"workers.py": ("joblib.",), "cluster.py": ("distributed.",)}


@each()
def test_recboles_quick_start_and_ray_are_never_imported(path):
    own = PARALLEL.get(path.name, ()) if path.parent == PACKAGE / "benchmark" else ()
    parallel = {"joblib.", "distributed.", "dask."} - set(own)
    for name in imports(path):
        assert not f"{name}.".startswith(("recbole.quick_start.", "ray.", "random.", "pickle5.", "dill.", *parallel))


def test_importing_the_package_loads_neither_ray_nor_recboles_quick_start():
    code = "import sys, recbole_attack.quick_start as _; print({'ray', 'recbole.quick_start'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout == "set()\n"


def test_importing_the_package_alone_does_not_wait_for_torch():
    code = "import sys, recbole_attack; print({'torch', 'recbole'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout == "set()\n"


def test_the_report_computes_nothing():
    for name in ("words.py", "run_table.py"):
        path = PACKAGE / "report" / name
        assert not {name.split(".")[0] for name in imports(path)} & {"torch", "numpy", "pandas", "scipy", "recbole"}
        assert own_parts(path) <= {"report", *FREE}


@each()
def test_files_and_functions_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < MAX_FUNCTION, f"{node.name} is longer than {MAX_FUNCTION} lines"


@each()
def test_nothing_read_is_ever_run(path):
    forbidden = {"eval", "exec", "compile", "__import__", "os.system", "yaml.full_load", "yaml.unsafe_load"}
    forbidden |= {"pickle.load", "pickle.loads", "subprocess.run"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            assert name not in forbidden, f"line {node.lineno} calls {name}"
            if name == "torch.load":
                keywords = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                assert keywords.get("weights_only") is True, f"line {node.lineno}"


TYPES_OF_NUMPY_RANDOM = {"np.random.Generator", "np.random.SeedSequence"}


DROPOUT = "kernels.py"  # like every dropout layer it reads torch's own state, which rng.torch_stream sets


@each([p for p in FILES if p.name not in {"rng.py", DROPOUT}])
def test_randomness_comes_from_its_one_home(path):
    for node in ast.walk(tree(path)):
        name = dotted(node) if isinstance(node, ast.Attribute) else ""
        if name in TYPES_OF_NUMPY_RANDOM:
            continue
        assert not name.startswith(("np.random.", "numpy.random.", "torch.rand", "torch.random.")), (
            f"line {node.lineno}"
        )
        assert name not in {"torch.manual_seed", "torch.seed", "torch.normal", "torch.bernoulli", "torch.multinomial"}
    assert not {name for name in imports(path) if name.startswith(("numpy.random", "torch.random"))}


def test_the_home_of_randomness_uses_generators_only():
    used = {dotted(n) for n in ast.walk(tree(PACKAGE / "utils" / "rng.py")) if isinstance(n, ast.Attribute)}
    numpy = {name for name in used if name.startswith("np.random.")}
    assert numpy <= TYPES_OF_NUMPY_RANDOM | {"np.random.default_rng"}
    assert not {name for name in used if name.startswith("torch.rand") and not name.startswith("torch.random")}


@each()
def test_every_public_name_exists(path):
    if part(path) == "flower":
        pytest.importorskip("flwr", reason=FLOWER)
    module = importlib.import_module(module_name(path))
    names = getattr(module, "__all__", [])
    assert len(names) == len(set(names))
    for name in names:
        assert hasattr(module, name), f"{module_name(path)}.{name}"


@each([p for p in FILES if p.name == "__init__.py" and p.parent != PACKAGE and own_parts(p)])
def test_packages_list_what_they_offer(path):
    if part(path) == "flower":
        pytest.importorskip("flwr", reason=FLOWER)
    offered = set(importlib.import_module(module_name(path)).__all__)
    imported = {
        alias.asname or alias.name
        for node in tree(path).body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("recbole_attack")
        for alias in node.names
    }
    assert {name for name in imported if not name.startswith("_")} <= offered


def test_the_package_lists_what_it_offers_before_anything_is_loaded():
    code = (
        "import recbole_attack as r; print([name for name in r.__all__ if name not in dir(r)], '__version__' in dir(r))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=True
    )
    assert done.stdout == "[] True\n"


def test_unknown_attributes_of_the_package_are_errors():
    import recbole_attack

    with pytest.raises(AttributeError, match="nonesuch"):
        recbole_attack.nonesuch  # noqa: B018
