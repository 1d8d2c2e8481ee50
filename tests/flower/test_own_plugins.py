"""Plug-ins of a run whose clients are elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recbole_attack import AttackConfig
from recbole_attack.attack import ATTACKS
from recbole_attack.config import plugins
from recbole_attack.config.plugins import load_plugins, plugin_files, plugin_hashes
from recbole_attack.config.registered import REGISTERED, REGISTERED_OPTIONS
from recbole_attack.quick_start import run_recbole_attack
from recbole_attack.utils.errors import ConfigError
from recbole_attack.utils.files import sha256

pytest.importorskip("flwr", reason="needs Flower: pip install 'recbole_attack[flower]'")

from recbole_attack.flower import own_plugins, server_app
from recbole_attack.flower.launch import run_on_flower
from recbole_attack.flower.local import flower_environment
from recbole_attack.flower.own_plugins import PLUGINS, check_same_plugins, load_own_plugins
from recbole_attack.flower.training import prepare_on_nodes

SOURCE = """
from recbole_attack import register_attack
from recbole_attack.attack.recipes import ra

register_attack("elsewhere", lambda config: ra(config), {"attack_weight": 1.0})
"""
ATTACKED = {"attack": "elsewhere", "compare_clean": False, "epochs": 1, "clients_per_round": 100}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a plug-in, in a folder that Python does not look in; what it registers is gone at the end."""
    tables = [ATTACKS, REGISTERED, REGISTERED_OPTIONS]
    before = [dict(table) for table in tables]
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv(PLUGINS, raising=False)
    file = tmp_path / "parts" / "mine_elsewhere.py"
    file.parent.mkdir()
    file.write_text(SOURCE)
    yield file
    forget()
    for table, values in zip(tables, before, strict=True):
        table.clear()
        table.update(values)


def forget() -> None:
    """As in a process that was not told where the plug-in is."""
    sys.modules.pop("mine_elsewhere", None)
    plugins._source_hash.cache_clear()
    for table in (ATTACKS, REGISTERED, REGISTERED_OPTIONS):
        for key in [key for key in table if key.endswith("elsewhere")]:
            del table[key]
    sys.path[:] = [path for path in sys.path if not path.endswith("parts")]


def test_a_place_imports_what_its_variable_names(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, str(mine))
    assert load_own_plugins(["mine_elsewhere"]) == plugin_hashes(["mine_elsewhere"])
    assert "elsewhere" in ATTACKS
    assert load_own_plugins(None) == {}
    monkeypatch.setenv(PLUGINS, "")
    assert load_own_plugins(None) == {}


def test_and_nothing_for_the_sake_of_a_run(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    for named in (["mine_elsewhere"], [str(mine)], ["antigravity"]):
        with pytest.raises(ConfigError, match=f"this run was made with .* not installed here: .*{PLUGINS}="):
            load_own_plugins(named)
    assert "elsewhere" not in ATTACKS
    assert "antigravity" not in sys.modules


def test_programs_of_a_local_federation_are_told(mine: Path, tmp_path: Path) -> None:
    load_plugins(str(mine))
    assert plugin_files(["mine_elsewhere", "hypothesis"]) == [str(mine)]
    assert flower_environment(tmp_path, plugin_files(["mine_elsewhere"]))[PLUGINS] == str(mine)
    assert PLUGINS not in flower_environment(tmp_path)


def test_a_run_with_a_plugin_on_nodes(
    settings: Callable[..., AttackConfig], grid: Any, mine: Path, tmp_path: Path
) -> None:
    config = settings(**ATTACKED, plugins=str(mine))
    builtin = run_recbole_attack(config_dict=settings(**{**ATTACKED, "attack": "ra"}).to_dict(), saved=False)
    found = prepare_on_nodes(config, grid(config, 2), "repeat", 5.0).arms()["attacked"](tmp_path, False, verbose=False)
    assert found.test_result == pytest.approx(builtin["test_result"], rel=1e-4, abs=1e-5)


def test_a_node_without_it_cannot_take_part(
    settings: Callable[..., AttackConfig], grid: Any, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(**ATTACKED, plugins=str(mine))
    nodes, forgotten = grid(config, 2), own_plugins.check_saved_plugins

    def missing(*given: Any) -> None:
        forget()
        forgotten(*given)

    monkeypatch.setattr(own_plugins, "check_saved_plugins", missing)
    with pytest.raises(
        ConfigError, match=r"node 101 cannot take part: .*'mine_elsewhere', which is not installed here"
    ):
        prepare_on_nodes(config, nodes, "repeat", 5.0)


def test_nor_can_one_with_another(settings: Callable[..., AttackConfig], grid: Any, mine: Path) -> None:
    config = settings(**ATTACKED, plugins=str(mine))
    nodes = grid(config, 2)

    def other(node: int, message: Any) -> Any:
        message.content["node"]["plugins"] = json.dumps({"mine_elsewhere": sha256(Path(__file__))})
        return message

    nodes.said = other
    with pytest.raises(ConfigError, match=r"node 101 has other plug-ins: .*found another: \['mine_elsewhere'\]"):
        prepare_on_nodes(config, nodes, "repeat", 5.0)


def test_the_server_has_the_plugins_of_whoever_started_the_run(
    settings: Callable[..., AttackConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    from flwr.app import Context, RecordDict

    values = {"node-failure": "repeat", "node-timeout": 1.0, "saved": False, "resume": ""}
    run = {**values, "parameters": json.dumps({"plugins": None}), "plugins": json.dumps({"mine": "0"})}
    with pytest.raises(ConfigError, match="the SuperLink's machine has other plug-ins"):
        server_app.main(None, Context(1, 0, {}, RecordDict(), run, 1))  # type: ignore[arg-type]
    told = json.loads(capsys.readouterr().out.strip().removeprefix(server_app.MARK))
    assert told["error"] == "ConfigError"


@pytest.mark.parametrize(("expected", "found"), [({"a": "0"}, {"a": "1"}), ({"a": "0"}, {}), ({}, {"a": "0"})], ids=str)
def test_plugins_that_differ(expected: dict[str, str], found: dict[str, str]) -> None:
    check_same_plugins("it", expected, dict(expected))
    with pytest.raises(ConfigError, match=r"it has other plug-ins: .*\['a'\]"):
        check_same_plugins("it", expected, found)


@pytest.mark.slow
def test_a_plugin_on_a_federation_of_this_machine(settings: Callable[..., AttackConfig], mine: Path) -> None:
    config = settings(**ATTACKED, plugins=str(mine))
    here = run_recbole_attack(config_dict=config.to_dict(), saved=False)
    there = run_on_flower(config, {"flower_nodes": 2}, saved=False)
    assert there["test_result"] == pytest.approx(here["test_result"], rel=1e-4, abs=1e-5)
