"""CIKM 2019 EComm AI, both of its tasks. The files need a login at Tianchi, and no column has a name in them.

``CIKM``: "Efficient and Novel Item Retrieval" (https://tianchi.aliyun.com/competition/entrance/231721), comma-separated
files in folders such as ``ECommAI_EUIR_round1_train_20190701``:

- ``user_behavior.csv``: user, item, behaviour (pv, buy, cart, fav), time in seconds from the first day
- ``user.csv``: user, gender (0 or 1), age in years, purchase power
- ``item.csv``: item, category, shop, brand

``CIKM_UBP``: "User Behavior Prediction" (https://tianchi.aliyun.com/competition/entrance/231719), tab-separated:

- ``ECommAI_ubp_round1_train``: user, item, behaviour (clk, collect, cart, buy), day as yyyymmdd
- ``ECommAI_ubp_round1_user_feature``: user, gender (F or M), age such as ``[18,20]`` or ``>=60``, education, career,
  income, stages such as ``1,4``; any but the user may be empty
- ``ECommAI_ubp_round1_item_feature``: item, first-level category, category, brand, price

Source: the readers of public solutions, which agree (massquantity/DBRL for the first, the data description of
xuehansheng/DyHATR for the second). "Attacking Pre-trained Recommendation" (Wu et al., 2023) links the second task;
its released code reads the attributes of the first (gender, age, power; category, brand, shop). Clicks only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from recbole_attack.data.convert.rows import Layout, Row
from recbole_attack.data.convert.table import Keep, Table

_COMMAS, _TABS = Layout(header=False), Layout("\t", header=False)
_INTER = {"user_id:token": "user", "item_id:token": "item", "timestamp:float": "time"}


def _readable(rows: Iterator[Row]) -> Iterator[Row]:
    """The age by the first number of its range, and stages separated by spaces."""
    for row in rows:
        first = re.search(r"\d+", row[2])
        yield [*row, first[0] if first else row[2], row[6].replace(",", " ")]


CIKM = (
    Table(
        raw="user_behavior.csv",
        suffix="inter",
        columns=("user", "item", "behavior", "time"),
        fields=_INTER,
        layout=_COMMAS,
        keep=Keep("behavior", "pv", ("pv", "buy", "cart", "fav")),
    ),
    Table(
        raw="user.csv",
        suffix="user",
        columns=("user", "gender", "age", "power"),
        fields={"user_id:token": "user", "gender:token": "gender", "age:token": "age", "power:token": "power"},
        layout=_COMMAS,
    ),
    Table(
        raw="item.csv",
        suffix="item",
        columns=("item", "category", "shop", "brand"),
        fields={"item_id:token": "item", "category:token": "category", "shop:token": "shop", "brand:token": "brand"},
        layout=_COMMAS,
    ),
)

CIKM_UBP = (
    Table(
        raw="ECommAI_ubp_round1_train",
        suffix="inter",
        columns=("user", "item", "behavior", "time"),
        fields=_INTER,
        layout=_TABS,
        keep=Keep("behavior", "clk", ("clk", "collect", "cart", "buy")),
    ),
    Table(
        raw="ECommAI_ubp_round1_user_feature",
        suffix="user",
        columns=("user", "gender", "age range", "education", "career", "income", "stages"),
        fields={
            "user_id:token": "user",
            "gender:token": "gender",
            "age:token": "age",
            "education:token": "education",
            "occupation:token": "career",
            "income:float": "income",
            "stage:token_seq": "stage",
        },
        layout=_TABS,
        derived=("age", "stage"),
        derive=_readable,
    ),
    Table(
        raw="ECommAI_ubp_round1_item_feature",
        suffix="item",
        columns=("item", "top category", "category", "brand", "price"),
        fields={
            "item_id:token": "item",
            "category:token": "category",
            "top_category:token": "top category",
            "brand:token": "brand",
            "price:float": "price",
        },
        layout=_TABS,
    ),
)
