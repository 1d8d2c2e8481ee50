"""The engine's parameters, and Flower where it is missing."""

from __future__ import annotations

from typing import Any

import pytest

from recbole_attack.commands.main import main
from recbole_attack.config.defaults import load_defaults
from recbole_attack.flower import engine
from recbole_attack.utils.errors import ConfigError


def test_without_flower_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert main(["run", "--engine=flower"]) == 2
    expected = "needs the package flwr, which is not installed: pip install 'recbole_attack[flower]'"
    assert expected in capsys.readouterr().err


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: object())


@pytest.mark.usefixtures("installed")
def test_what_is_not_given_has_its_default() -> None:
    assert engine.engine_parameters({}) == load_defaults("engine/flower")
    texts = {"superlink": "host:1", "flower_nodes": "3", "node_failure": "accept", "node_timeout": "2.5"}
    values = {"superlink": "host:1", "flower_nodes": 3, "node_failure": "accept", "node_timeout": 2.5}
    assert engine.engine_parameters(texts) == engine.engine_parameters(values) == values
    assert engine.engine_parameters({"superlink": "null"})["superlink"] is None


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"flower_node": 2}, "did you mean 'flower_nodes'"),
        ({"flower_nodes": 0}, "flower_nodes must be an integer at least 1"),
        ({"flower_nodes": "two"}, "flower_nodes must be an integer at least 1"),
        ({"node_failure": "ignore"}, "unknown node_failure 'ignore'"),
        ({"node_timeout": "inf"}, "node_timeout must be a number above 0"),
        ({"superlink": 9092}, "superlink must be HOST:PORT, or a connection's name: found 9092"),
    ],
    ids=str,
)
def test_what_is_not_valid_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        engine.engine_parameters(given)
