"""What comes of a run on a federation of this machine before it is started, and while it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from recbole_attack import AttackConfig
from recbole_attack.utils.errors import DataError

pytest.importorskip("flwr", reason="needs Flower: pip install 'recbole_attack[flower]'")

from recbole_attack.flower import launch
from recbole_attack.quick_start.result import Result

Settings = Callable[..., AttackConfig]


@pytest.fixture
def federation(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done with a federation; whoever waits for its end is interrupted."""
    done = []

    @contextmanager
    def local(*_: Any) -> Iterator[str]:
        done.append("started")
        yield "127.0.0.1:1"
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "local_federation", local)
    return done


def test_a_dataset_that_is_not_there_is_told_before_anything_is_started(
    settings: Settings, federation: list[str]
) -> None:
    with pytest.raises(DataError, match="nope"):
        launch.run_on_flower(settings(dataset="nope"))
    assert not federation


@pytest.mark.parametrize(
    ("file", "words"), [("saved/x/result.json", "; saved/x/result.json holds its result"), (None, "")]
)
def test_an_interruption_after_the_run_says_that_it_was_done(
    settings: Settings, federation: list[str], monkeypatch: pytest.MonkeyPatch, file: str | None, words: str
) -> None:
    monkeypatch.setattr(launch, "_followed", lambda app, link: Result({"result_file": file}, {}))
    with pytest.raises(KeyboardInterrupt) as interrupted:
        launch.run_on_flower(settings())
    assert str(interrupted.value) == f"interrupted after the run was done{words}"
    assert federation == ["started"]


def test_what_is_started_is_said_before_it(
    settings: Settings, federation: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def followed(app: Any, link: Any) -> None:
        assert capsys.readouterr().err == "starting Flower on this machine: a SuperLink and 3 SuperNodes\n"
        raise KeyboardInterrupt("seen")

    monkeypatch.setattr(launch, "_followed", followed)
    with pytest.raises(KeyboardInterrupt, match="seen"):
        launch.run_on_flower(settings(), {"flower_nodes": 3})


def test_an_interruption_before_is_told_as_it_came(
    settings: Settings, federation: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def followed(app: Any, link: Any) -> None:
        raise KeyboardInterrupt("interrupted; go on")

    monkeypatch.setattr(launch, "_followed", followed)
    with pytest.raises(KeyboardInterrupt, match="interrupted; go on"):
        launch.run_on_flower(settings())


def test_a_superlink_is_called_by_its_address(tmp_path: Any) -> None:
    assert launch._connected(tmp_path, "127.0.0.1:9999").known_as == "127.0.0.1:9999"
    assert launch.Connection("secure", None).known_as == "secure"
