"""Steam-200K: the purchases of ``steam-200k.csv`` (https://www.kaggle.com/datasets/tamber/steam-video-games).

Published schema, without a header: user id, game title, behaviour (``purchase`` or ``play``), value (1.0 for a
purchase, hours for play), 0. A game is purchased before it is played, so purchases are the interactions. The source has
no times: the position in the file stands for the time. Games are numbered as they appear, since titles hold commas.
"""

from __future__ import annotations

from collections.abc import Iterator

from recbole_attack.data.convert.rows import Layout, Row
from recbole_attack.data.convert.table import Keep, Table, plain_text

_FILE, _COLUMNS = "steam-200k.csv", ("user", "game", "behavior", "value", "zero")
_PURCHASES = Keep("behavior", "purchase", ("purchase", "play"))


def _numbered(rows: Iterator[Row]) -> Iterator[Row]:
    """Each row with its game's number and its own position."""
    numbers: dict[str, int] = {}
    for position, row in enumerate(rows):
        yield [*row, str(numbers.setdefault(row[1], len(numbers) + 1)), str(position)]


def _first_of_each_game(rows: Iterator[Row]) -> Iterator[Row]:
    """The first row of each game with its number, position and title."""
    games = 0
    for row in _numbered(rows):
        if int(row[-2]) > games:
            games += 1
            yield [*row, plain_text(row[1])]


STEAM_200K = (
    Table(
        raw=_FILE,
        suffix="inter",
        columns=_COLUMNS,
        fields={"user_id:token": "user", "item_id:token": "number", "timestamp:float": "position"},
        layout=Layout(header=False),
        keep=_PURCHASES,
        derived=("number", "position"),
        derive=_numbered,
    ),
    Table(
        raw=_FILE,
        suffix="item",
        columns=_COLUMNS,
        fields={"item_id:token": "number", "game_title:token_seq": "title"},
        layout=Layout(header=False),
        keep=_PURCHASES,
        derived=("number", "position", "title"),
        derive=_first_of_each_game,
    ),
)
