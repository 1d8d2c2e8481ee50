"""An evaluation's result in words: a page of Markdown, and the same tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recbole_attack.evaluation.flags import FLAGS, blocking
from recbole_attack.report.markdown import escape, table
from recbole_attack.report.numbers import DASH, is_share, number, percent, rounded
from recbole_attack.report.run_table import drawn
from recbole_attack.report.texts import Table

BOARDS = {
    "norm": "updates no longer than the honest median",
    "free": "updates of any length",
}
"""What the boards of this package are about."""

Result = Mapping[str, Any]


def interval(worst: Mapping[str, Any]) -> str:
    """A worst case in per cent, with the ends of its interval where it has any."""
    ends = [worst["low"], worst["high"]]
    shown = f" ({percent(ends[0])} to {percent(ends[1])})" if None not in ends else ""
    return f"{percent(worst['er@10'])}{shown}"


def won(worst: Mapping[str, Any]) -> str:
    """Which attacks were chosen, the most frequent first, with counts where there are several."""
    order = sorted(worst["won"].items(), key=lambda each: -each[1])
    return ", ".join(f"{name} {count}" for name, count in order) if len(order) > 1 else order[0][0]


def board_title(name: str) -> str:
    """What a board is about."""
    return f"Board {name}: {BOARDS[name]}" if name in BOARDS else f"Board {name}"


def board_tables(result: Result) -> Iterator[Table]:
    """For each board: budgets, their worst case, and each attack's mean."""
    for name, of in result["figures"]["boards"].items():
        attacks = list(dict.fromkeys(a for budget in of["budgets"].values() for a in budget["attacks"]))
        head = ["malicious, %", "worst er@10, %", "chosen", *(f"{attack}, %" for attack in attacks)]
        body = [
            [
                rounded(100 * float(ratio), 3),
                *(interval(budget["worst"]), won(budget["worst"])),
                *(percent(budget["attacks"].get(attack)) for attack in attacks),
            ]
            for ratio, budget in of["budgets"].items()
        ]
        if len(body) > 1:
            body.append(["all", interval(of["worst"]), won(of["worst"]), *(DASH for _ in attacks)])
        yield Table(board_title(name), head, body)


def accuracy_table(result: Result) -> Table:
    """Accuracy without an attack, under the mean and under what was evaluated."""
    found = result["figures"]
    names = {name: is_share(name.removeprefix("tail ")) for name in found["cost"]}
    body = [
        [kind, *((percent if share else number)(found[key][name], key == "cost") for name, share in names.items())]
        for kind, key in _KINDS.items()
    ]
    return Table(
        "Accuracy without an attack", ["", *(f"{name}, %" if share else name for name, share in names.items())], body
    )


_KINDS = {"mean": "mean", "evaluated": "clean", "cost": "cost"}


def flag_lines(result: Result) -> list[str]:
    """Every flag with what it says and why it was raised, those that block first."""
    raised = result["flags"]
    order = [*blocking(raised), *(name for name in raised if not FLAGS[name].blocks)]
    kinds = {True: "blocks a place on the board", False: "informs"}
    return [f"{name} ({kinds[FLAGS[name].blocks]}): {FLAGS[name].meaning}; {raised[name]}" for name in order]


def facts(result: Result) -> list[str]:
    """What was measured, and the figures that are no table."""
    of, found, setting = result["evaluation"], result["figures"], result["setting"]
    return [
        f"evaluation {of['name']}, version {of['version']}; {setting['model']} on {setting['dataset']}",
        f"standard error of hit@10 over users: {percent(found['clean']['standard error'])} points",
        f"er@10 of targets nobody promotes: {percent(found['clean']['er@10'])} %",
        f"{rounded(found['seconds a round'])} seconds a round",
    ]


def tables(result: Result) -> list[Table]:
    """All tables of a result."""
    return [*board_tables(result), accuracy_table(result)]


def terminal(result: Result) -> str:
    """What the command prints."""
    blocks = [f"{result['kind']} {result['name']}", "\n".join(facts(result))]
    blocks += [f"{each.title}\n{drawn(each.head, each.body)}" for each in tables(result)]
    return "\n\n".join([*blocks, "\n".join(["flags", *_or_none(flag_lines(result))])])


def page(result: Result) -> str:
    """``evaluation.md``."""
    parts = [
        f"# {escape(result['kind'])} {escape(result['name'])}",
        "\n".join(f"- {escape(fact)}" for fact in facts(result)),
        *(f"## {escape(each.title)}\n\n{table(each)}" for each in tables(result)),
        "## Flags\n\n" + "\n".join(f"- {escape(line)}" for line in _or_none(flag_lines(result))),
    ]
    return "\n\n".join(parts) + "\n"


def _or_none(lines: Sequence[str]) -> Sequence[str]:
    return lines or ["none"]
