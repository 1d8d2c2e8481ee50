"""MovieLens as GroupLens publishes it: ml-100k, ml-1m, ml-20m, ml-25m (https://grouplens.org/datasets/movielens/).

Fields get the names of RecBole's own atomic files: ``movie_title``, ``release_year`` and ``class`` (ml-100k) or
``genre``. A year that is not written as four digits in brackets is missing, and stays in the title.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from recbole_attack.data.convert.rows import Layout, Row
from recbole_attack.data.convert.table import Table, plain_text

_PIPES = Layout("|", header=False, encoding="latin-1")
_COLONS = Layout("::", header=False, encoding="latin-1")
_YEAR = re.compile(r"(.*)\((\d{4})\)(.*)", re.DOTALL)
_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""Genres in the order of u.item's flags, as ml-100k's README lists them."""


def _title_and_year(text: str) -> tuple[str, str]:
    match = _YEAR.fullmatch(text)
    return (plain_text(f"{match[1]} {match[3]}"), match[2]) if match else (plain_text(text), "")


def _flags_to_genres(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        genres = " ".join(genre for genre, flag in zip(_GENRES, row[-len(_GENRES) :], strict=True) if flag == "1")
        yield [*row, *_title_and_year(row[1]), genres]


def _list_to_genres(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        genres = "" if row[2] == "(no genres listed)" else row[2].replace("|", " ")
        yield [*row, *_title_and_year(row[1]), genres]


_INTER = {"user_id:token": "user", "item_id:token": "item", "rating:float": "rating", "timestamp:float": "timestamp"}
_USER = {
    "user_id:token": "user",
    "age:token": "age",
    "gender:token": "gender",
    "occupation:token": "occupation",
    "zip_code:token": "zip",
}
_ITEM = {"item_id:token": "item", "movie_title:token_seq": "clean title", "release_year:token": "year"}
_DERIVED = ("clean title", "year", "genres")

ML_100K = (
    Table("u.data", "inter", ("user", "item", "rating", "timestamp"), _INTER, Layout("\t", header=False)),
    Table("u.user", "user", ("user", "age", "gender", "occupation", "zip"), _USER, _PIPES),
    Table(
        raw="u.item",
        suffix="item",
        columns=("item", "title", "release date", "video release date", "IMDb URL", *_GENRES),
        fields={**_ITEM, "class:token_seq": "genres"},
        layout=_PIPES,
        derived=_DERIVED,
        derive=_flags_to_genres,
    ),
)

ML_1M = (
    Table("ratings.dat", "inter", ("user", "item", "rating", "timestamp"), _INTER, _COLONS),
    Table("users.dat", "user", ("user", "gender", "age", "occupation", "zip"), _USER, _COLONS),
    Table(
        raw="movies.dat",
        suffix="item",
        columns=("item", "title", "listed genres"),
        fields={**_ITEM, "genre:token_seq": "genres"},
        layout=_COLONS,
        derived=_DERIVED,
        derive=_list_to_genres,
    ),
)

ML_20M = (
    Table(
        raw="ratings.csv",
        suffix="inter",
        columns=("userId", "movieId", "rating", "timestamp"),
        fields={**_INTER, "user_id:token": "userId", "item_id:token": "movieId"},
    ),
    Table(
        raw="movies.csv",
        suffix="item",
        columns=("movieId", "title", "genres"),
        fields={**_ITEM, "item_id:token": "movieId", "genre:token_seq": "listed genres"},
        derived=("clean title", "year", "listed genres"),
        derive=_list_to_genres,
    ),
)
