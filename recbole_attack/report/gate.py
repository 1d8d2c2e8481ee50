"""Gates: conditions on what was measured, such as ``er@10 > 0.05``, that end a command with an exit code of its own.

A gate is written as in ``--fail_if="er@10 > 0.05, delta hit@10 < -2 %"``: several of them with commas, each a metric, a
sign and a limit, and in front of the metric the arm it is about, or ``delta`` for attacked minus clean. Without that
word it is about the model the run was for: the attacked one, the clean one where there is no attack.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from statistics import fmean
from typing import Any

from recbole_attack.evaluator import result_keys
from recbole_attack.report.cells import main_arm
from recbole_attack.report.numbers import is_share
from recbole_attack.report.words import ARMS
from recbole_attack.utils.errors import ConfigError, GateError, did_you_mean, lookup, shown
from recbole_attack.utils.words import counted

Record = Mapping[str, Any]

_GATE = re.compile(r"(?:(\w+)\s+)?([A-Za-z]\w*(?:@\d+)?)\s*([<>]=?)\s*(\S+?)\s*(%?)", re.ASCII)
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_DECIMALS = 9
"""Of a value and its limit; what differs in later ones differs by rounding."""

_WHAT = (*ARMS, "delta")
_NEEDS = {arm: {arm} for arm in ARMS} | {"delta": {"clean", "attacked"}}


@dataclass(frozen=True)
class Gate:
    """A condition no run may meet.

    Attributes:
        what: An arm, or ``delta``; None for the arm a run was for.
        metric: As records name it.
        sign: ``<``, ``<=``, ``>`` or ``>=``.
        limit: In the metric's own unit: a share lies in ``[0, 1]``.
    """

    what: str | None
    metric: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.limit:g}"

    @property
    def name(self) -> str:
        """What is held against the limit."""
        return f"{self.what} {self.metric}" if self.what else self.metric

    def concerns(self, arms: Iterable[str]) -> bool:
        """Whether a run with these arms has what the gate is about."""
        return self.what is None or _NEEDS[self.what] <= set(arms)

    def value(self, record: Record) -> float:
        """The record's figure under the configured ranking, NaN where it is undefined."""
        what = self.what or main_arm(record)
        measured = record[what] if what == "delta" else record[what]["test_result"]
        value = (measured or {}).get(self.metric)
        return nan if value is None else float(value)

    def fails(self, value: float) -> bool:
        """Whether a value meets the condition, or is undefined, of which nobody can say that it does not."""
        return not isfinite(value) or _meets(value, self.sign, self.limit)


def _meets(value: float, sign: str, limit: float) -> bool:
    return _SIGNS[sign](round(value, _DECIMALS), round(limit, _DECIMALS))


def read_gates(text: str) -> tuple[Gate, ...]:
    """The gates of a text.

    Raises:
        ConfigError: It is not written as gates are, or a limit cannot be reached.
    """
    return tuple(_gate(part.strip()) for part in text.split(","))


def _gate(text: str) -> Gate:
    found = _GATE.fullmatch(text)
    if not found:
        raise ConfigError(f"fail_if must be such as 'er@10 > 0.05' or 'delta hit@10 < -0.02': found {shown(text)}")
    what, metric, sign, number, unit = found.groups()
    if what:
        lookup(dict.fromkeys(_WHAT), what, "arm in fail_if")
    try:
        limit = float(number) / (100 if unit else 1)
    except ValueError:
        limit = nan
    if not isfinite(limit):
        raise ConfigError(f"fail_if {shown(text)}: expected a number behind '{sign}', found {shown(number)}")
    least = -1 if what == "delta" else 0
    if is_share(metric) and not (abs(limit) <= 1 and any(_meets(share, sign, limit) for share in (least, 1))):
        hint = f"; {limit:g} % is {limit / 100:g}" if abs(limit) >= 1 else ""
        raise ConfigError(
            f"fail_if {shown(text)}: {metric} is a share between {least} and 1, expected a limit that it can pass, "
            f"found {limit:g}{hint}"
        )
    return Gate(what, metric.lower(), sign, limit)


def gates_of(text: str, runs: Sequence[tuple[Mapping[str, Any], Iterable[str]]]) -> tuple[Gate, ...]:
    """The gates of a text, each of which can be judged on some run: see :func:`read_gates`, :func:`check_gates`."""
    gates = read_gates(text)
    check_gates(gates, runs)
    return gates


def check_gates(gates: Sequence[Gate], runs: Sequence[tuple[Mapping[str, Any], Iterable[str]]]) -> None:
    """See before anything is trained that every gate can be judged.

    Args:
        gates: The gates.
        runs: Parameters of a run, and its arms.

    Raises:
        ConfigError: A run does not measure the metric, or no run has the arm.
    """
    for gate in gates:
        for config, _ in runs:
            known = {key for name in config["metrics"] for key in result_keys(str(name), config["topk"])}
            if gate.metric not in known:
                raise ConfigError(
                    f"fail_if: {shown(gate.metric)} is not measured, expected one of {list(config['metrics'])} at "
                    f"{config['topk']}{did_you_mean(gate.metric, known)}"
                )
        if not any(gate.concerns(arms) for _, arms in runs):
            needed = " and ".join(arm for arm in ARMS if arm in _NEEDS[str(gate.what)])
            found = ", ".join(dict.fromkeys(arm for _, arms in runs for arm in arms))
            raise ConfigError(f"fail_if '{gate}': expected a run with {needed}, found {found}")


def check_passed(gates: Sequence[Gate], rows: Mapping[str, Sequence[Record]]) -> None:
    """See that no row fails a gate.

    Args:
        gates: The gates.
        rows: Row name -> the records of its seeds, over which the mean is taken; a single run has no name.

    Raises:
        GateError: Names every row and gate that fails, and the figure.
    """
    failed = []
    for row, records in rows.items():
        arms = [arm for arm in ARMS if records[0].get(arm)]
        of = f"row {shown(row)}: " if row else ""
        over = f" (mean of {counted(len(records), 'seed')})" if len(records) > 1 else ""
        for gate in (gate for gate in gates if gate.concerns(arms)):
            value = fmean(gate.value(record) for record in records)
            if gate.fails(value):
                found = f"{value:.6g}" if isfinite(value) else "undefined"
                failed.append(f"{of}{gate.name} is {found}{over}")
    if failed:
        raise GateError(f"fails ({', '.join(map(str, gates))}): {'; '.join(failed)}")
