"""Plug-ins are imported where the user names or installed them, and never because something foreign names them."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml

from recbole_attack import AttackConfig, load_data_and_model, run_recbole_attack
from recbole_attack.attack import ATTACKS
from recbole_attack.benchmark import make_plan
from recbole_attack.benchmark.grid import Row
from recbole_attack.benchmark.workers import outcome
from recbole_attack.commands.main import main
from recbole_attack.config import plugins
from recbole_attack.config.plugins import check_saved_plugins, load_plugins, plugin_hashes
from recbole_attack.config.registered import REGISTERED, REGISTERED_OPTIONS
from recbole_attack.quick_start import train_arm
from recbole_attack.utils.errors import ConfigError

SOURCE = """
from pathlib import Path
from recbole_attack import Option, register_attack
from recbole_attack.attack.recipes import ra

Path("imported").write_text("imported")

def own(config):
    \"\"\"Random profiles under another name.\"\"\"
    return ra(config)

loudness = Option("how loud it is", float, above=0.0)
register_attack("{name}", own, {{"attack_weight": 1.0, "loudness": 2.0}}, {{"loudness": loudness}})
"""


@pytest.fixture(autouse=True)
def tidy(monkeypatch):
    """What a test imports and registers is gone after it."""
    tables = [ATTACKS, REGISTERED, REGISTERED_OPTIONS]
    before, modules = [dict(table) for table in tables], set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for table, values in zip(tables, before, strict=True):
        table.clear()
        table.update(values)
    for name in [name for name in sys.modules if name not in modules and name.startswith("mine")]:
        del sys.modules[name]
    plugins._load_installed.cache_clear()
    plugins._source_hash.cache_clear()


@pytest.fixture
def mine(tmp_path):
    """The file of a plug-in, in a folder that Python does not look in."""
    file = tmp_path / "parts" / "mine.py"
    file.parent.mkdir()
    file.write_text(SOURCE.format(name="own"))
    return file


def forget(name="mine"):
    """As in a new process that was not told where the plug-in is."""
    del sys.modules[name]
    plugins._source_hash.cache_clear()
    for table in (ATTACKS, REGISTERED, REGISTERED_OPTIONS):
        for key in [key for key in table if key.endswith("own")]:
            del table[key]
    sys.path[:] = [path for path in sys.path if not path.endswith("parts")]
    Path("imported").unlink()


@pytest.mark.parametrize("given", ["{file}", "[{file}]", "parts/mine.py", "parts/mine.py, json"])
def test_a_file_is_imported_once_and_known_by_its_module(mine, given):
    assert load_plugins(given.format(file=mine))[0] == "mine" and "own" in ATTACKS
    Path("imported").unlink()
    load_plugins("parts/mine.py")
    assert load_plugins("mine") == ["mine"] and not Path("imported").exists()


def test_a_module_is_imported_by_name_from_where_python_looks_or_from_here(mine, monkeypatch):
    monkeypatch.syspath_prepend(str(mine.parent))
    assert load_plugins(["mine"]) == ["mine"]
    Path("mine_here.py").write_text(SOURCE.format(name="own here"))
    assert load_plugins("mine_here") == ["mine_here"] and "own here" in ATTACKS


@pytest.mark.parametrize("way", ["line", "file", "both"])
def test_a_configuration_imports_what_it_names_and_reads_its_parameters_as_it_says(mine, small, tmp_path, way):
    file = tmp_path / "one.yaml"
    file.write_text("plugins: parts/nonesuch.py\n" if way == "both" else f"plugins: [{mine}]\nattack: own\n")
    line = {} if way == "file" else {"plugins": str(mine), "attack": "own"}
    config = AttackConfig(config_file_list=[] if way == "line" else [str(file)], config_dict=small(**line))
    assert (config["plugins"], config["loudness"]) == (["mine"], 2.0)
    assert config.replace(epochs=3)["plugins"] == ["mine"]
    with pytest.raises(ConfigError, match="loudness must be a number above 0: found -1"):
        config.replace(loudness=-1)


def test_no_plugin_is_the_default(small):
    assert AttackConfig(config_dict=small())["plugins"] is None
    assert AttackConfig(config_dict=small(plugins="null"))["plugins"] is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nonesuch_module", "plug-in 'nonesuch_module' cannot be imported: ModuleNotFoundError: No module named"),
        ("parts/mien.py", r"plug-in .*mien.py not found: .*did you mean 'mine.py'"),
        ("parts/mine", "plugins must be modules or .py files"),
        ("parts/random.py", "expected a name that no other module has, found 'random'"),
        ("parts/broken.py", "plug-in 'broken' cannot be imported: ZeroDivisionError: division by zero"),
        ("parts/quits.py", "plug-in 'quits' cannot be imported: SystemExit: 0"),
        ("parts/taken.py", "plug-in 'taken' cannot be imported: ConfigError: attack 'ra' exists already"),
        ("parts/a-b.py", "expected a file name that can be a module's, found 'a-b.py'"),
        (5, "plugins must be modules or .py files, .*: found 5"),
        ([["mine"]], "plugins must be modules or .py files"),
        ("'mine", "expected names separated by commas"),
    ],
    ids=str,
)
def test_what_cannot_be_imported_is_refused_in_one_line(mine, small, given, words):
    for name, text in {
        "random": "",
        "broken": "1 / 0",
        "quits": "raise SystemExit(0)",
        "taken": SOURCE.format(name="ra"),
        "a-b": "",
    }.items():
        (mine.parent / f"{name}.py").write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        AttackConfig(config_dict=small(plugins=given))
    assert "\n" not in str(error.value)


def test_installed_plugins_are_imported_and_a_broken_one_names_its_package(mine, small, monkeypatch):
    monkeypatch.syspath_prepend(str(mine.parent))
    monkeypatch.setattr(plugins, "entry_points", lambda group: [EntryPoint("x", "mine", group)])
    plugins._load_installed.cache_clear()
    assert AttackConfig(config_dict=small(attack="own"))["plugins"] is None
    (mine.parent / "mine_broken.py").write_text("1 / 0")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [EntryPoint("x", "mine_broken", group)])
    plugins._load_installed.cache_clear()
    with pytest.raises(ConfigError, match="plug-in 'mine_broken' cannot be imported: ZeroDivisionError"):
        AttackConfig(config_dict=small())


def test_every_command_knows_them(mine, capsys):
    for argv in (["list"], ["--list"], ["show", "own"], ["--help"]):
        assert main([*argv, f"--plugins={mine}"]) == 0
        out, _ = capsys.readouterr()
        assert ("Random profiles under another name." in out) == (argv != ["--help"])
        assert ("how loud it is (a number above 0; default 2.0" in out) == (argv[0] in ("show", "--help"))
    assert main(["list", "--plugins=parts/nonesuch.py"]) == 2
    assert "nonesuch.py not found" in capsys.readouterr().err


def test_a_process_started_from_this_one_finds_the_module(mine):
    load_plugins("parts/mine.py")
    code = f"import sys; sys.path[:] = {sys.path!r}; import recbole_attack as r; "
    code += "print(r.AttackConfig(config_dict={'plugins': ['mine'], 'attack': 'own'})['loudness'])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout == "2.0\n", done.stderr


# What was saved


def test_a_run_names_no_path_and_is_continued_and_loaded_once_its_plugin_is_given_again(mine, small, capsys):
    result = run_recbole_attack(config_dict=small(plugins=str(mine), attack="own", epochs=1, compare_clean=False))
    folder = Path(result["result_file"]).parent
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["plugins"] == ["mine"] and str(mine.parent) not in (folder / "config.yaml").read_text()
    model = str(folder / "attacked" / "SASRec.pth")
    forget()
    for call in (lambda: run_recbole_attack(resume=str(folder)), lambda: load_data_and_model(model)):
        with pytest.raises(ConfigError, match=r"was made with the plug-in 'mine', .*again as --plugins="):
            call()
    assert main(["resume", str(folder)]) == 2
    assert not Path("imported").exists()
    capsys.readouterr()
    assert main(["resume", str(folder), f"--plugins={mine}"]) == 0
    assert "attack own" in capsys.readouterr().out
    assert load_data_and_model(model)[0]["loudness"] == 2.0
    forget()
    assert main([f"--resume={folder}", "--plugins", str(mine)]) == 0


def test_a_run_is_not_continued_with_other_code(mine, small, capsys):
    result = run_recbole_attack(config_dict=small(plugins=str(mine), attack="own", epochs=1, compare_clean=False))
    folder = Path(result["result_file"]).parent
    kept, text = (folder / "result.json").read_bytes(), mine.read_text(encoding="utf-8")
    mine.write_text(text + "\nLOUDER = True\n", encoding="utf-8")
    forget()
    assert main(["resume", str(folder), f"--plugins={mine}"]) == 2
    assert "was trained with other code: expected plugins {'mine': " in capsys.readouterr().err
    assert (folder / "result.json").read_bytes() == kept
    mine.write_text(text, encoding="utf-8")
    forget()
    assert main(["resume", str(folder), f"--plugins={mine}"]) == 0


def test_what_is_installed_is_imported_again_by_itself(mine, small, monkeypatch):
    monkeypatch.syspath_prepend(str(mine.parent))
    result = run_recbole_attack(config_dict=small(plugins="mine", attack="own", epochs=1, compare_clean=False))
    folder = Path(result["result_file"]).parent
    forget()
    sys.path.insert(0, str(mine.parent))
    assert load_data_and_model(str(folder / "attacked" / "SASRec.pth"))[0]["attack"] == "own"
    assert run_recbole_attack(resume=str(folder))["attacked"] == result["attacked"]


@pytest.mark.parametrize(
    "named", ["{parts}/mine.py", "parts/mine.py", "mine.py", "mine", "../mine", "antigravity", "this", "os.path", "a b"]
)
def test_a_foreign_configuration_runs_no_code_of_its_own(mine, small, tmp_path, named):
    """The file stands inside the run folder, too, and in the working directory."""
    folder = tmp_path / "run"
    folder.mkdir()
    for place in (folder, tmp_path):
        (place / "mine.py").write_text(mine.read_text())
    values = AttackConfig(config_dict=small()).to_dict()
    values["plugins"] = [named.format(parts=mine.parent)]
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match="was made with the plug-in"):
        run_recbole_attack(resume=str(folder))
    assert not (tmp_path / "imported").exists() and "mine" not in sys.modules


@pytest.mark.parametrize("value", [5, {"a": 1}, [5], "'a", [""]], ids=str)
def test_a_saved_value_that_names_nothing_is_refused(value):
    with pytest.raises(ConfigError):
        check_saved_plugins(value, "somewhere")


def test_the_hash_of_a_plug_in_is_that_of_its_source_when_it_was_imported(mine):
    source, found = mine.read_text(), []
    for text in (source, source + "# changed", source):
        mine.write_text(text)
        load_plugins(str(mine))
        mine.write_text(text + "# later")
        found.append(plugin_hashes(["mine"])["mine"])
        forget()
    assert found[0] == found[2] != found[1]


def test_the_hash_of_a_package_is_that_of_all_its_modules(mine, monkeypatch):
    package = mine.parent / "mine_package"
    (package / "deep").mkdir(parents=True)
    for file in (package / "__init__.py", package / "deep" / "part.py"):
        file.write_text("")
    monkeypatch.syspath_prepend(str(mine.parent))
    load_plugins("mine_package, sys")
    before = plugin_hashes(["mine_package", "sys"])
    plugins._source_hash.cache_clear()
    (package / "deep" / "part.py").write_text("x = 1")
    after = plugin_hashes(["mine_package", "sys"])
    assert before["mine_package"] != after["mine_package"] and before["sys"] == after["sys"]


def test_runs_of_a_plug_in_are_found_by_its_name_and_trained_again_once_its_code_is_another(
    mine, small, tmp_path, capsys
):
    grid, store = tmp_path / "grid.yaml", f"--store={tmp_path / 'store'}"
    rows = {"a": {"attack": "own"}, "b": {"attack": "ra"}}
    grid.write_text(yaml.safe_dump({"fixed": small(epochs=1, compare_clean=False), "rows": rows}))
    given = f"--plugins={mine}"
    assert main(["grid", str(grid), store, given, "--jobs=1"]) == 0
    report = ["report", str(tmp_path / "store"), f"--out={tmp_path / 'out'}"]
    for words in (["table", str(grid), store, given], [*report, f"--grid={grid}", given], report):
        assert main(words) == 0
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| a |" in text and "| b |" in text and "Not finished" not in text

    def left():
        capsys.readouterr()
        assert main(["grid", str(grid), store, given, "--dry_run"]) == 0
        return re.search(r"(\d) arms? kept, (\d) to train", capsys.readouterr().out).groups()

    assert left() == ("2", "0")
    moved = tmp_path / "elsewhere" / "mine.py"
    moved.parent.mkdir()
    source = mine.read_text()
    mine.write_text(source.replace("return ra(config)", "return ra(config)  # changed"))
    forget()
    assert left() == ("0", "2")
    assert main(["table", str(grid), store, given]) == 2
    mine.unlink()
    moved.write_text(source)
    given = f"--plugins={moved}"
    forget()
    assert left() == ("2", "0")  # wherever it lies


def test_an_arm_that_was_trained_with_other_code_than_was_planned_is_never_kept(mine, small):
    (arm,) = make_plan(
        [Row("a", small(epochs=1, plugins=str(mine), attack="own", compare_clean=False), None)]
    ).arms.values()
    assert arm.parameters["plugins"] == plugin_hashes(["mine"]) and arm.place["plugins"] == ["mine"]
    mine.write_text(mine.read_text() + "# changed")
    forget()
    load_plugins(str(mine))  # as in a worker that is started later
    _, result = outcome(train_arm, arm, None, None)
    assert result.startswith("DataError: plug-ins changed, or are others on this machine: expected {'mine'")
