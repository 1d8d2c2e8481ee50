"""AliEC: "Ad Display/Click Data on Taobao.com" (https://tianchi.aliyun.com/dataset/56).

Published schema, UTF-8 CSV with a header, times in seconds since 1970:

- ``raw_sample.csv``: user, time_stamp, adgroup_id, pid, nonclk, clk; 26 million impressions, about 5 % clicked.
- ``behavior_log.csv``: user, time_stamp, btag (pv, cart, fav, buy), cate, brand; 700 million rows.
- ``ad_feature.csv``: adgroup_id, cate_id, campaign_id, customer, brand, price; brand may be ``NULL``.
- ``user_profile.csv``: userid, cms_segid, cms_group_id, final_gender_code (1 male, 2 female), age_level, pvalue_level,
  shopping_level, occupation (1 college student), ``new_user_class_level `` with a space at its end (city level);
  levels may be empty.

There are two readings of "clicks". ``ALIEC``: clicked ads, item = ad, category = the ad's. That is RecBole's ``aliec``
(1.4 million clicks). The 8.9 million clicks of "Attacking Pre-trained Recommendation" (Wu et al., 2023) are more than
all clicked ads, and its released targets list one item under two categories, which an ad never has. ``ALIEC_BEHAVIOR``
is the reading that allows both: page views in the behaviour log, item = brand, categories = those it was viewed under.
"""

from __future__ import annotations

from collections.abc import Iterator

from recbole_attack.data.convert.rows import Row
from recbole_attack.data.convert.table import Keep, Table

_VIEWS = Keep("btag", "pv", ("pv", "cart", "fav", "buy"))


def _gender(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        yield [*row, {"1": "M", "2": "F"}.get(row[3], row[3])]


def _brands(rows: Iterator[Row]) -> Iterator[Row]:
    """One row for each brand, with all its categories in the order they appear."""
    categories: dict[str, dict[str, None]] = {}
    for row in rows:
        categories.setdefault(row[1], {})[row[0]] = None
    for brand, names in categories.items():
        yield ["", brand, "", " ".join(names)]


_USERS = Table(
    raw="user_profile.csv",
    suffix="user",
    columns=(
        *("userid", "cms_segid", "cms_group_id", "final_gender_code", "age_level"),
        *("pvalue_level", "shopping_level", "occupation", "new_user_class_level"),
    ),
    fields={
        "user_id:token": "userid",
        "gender:token": "gender",
        "age:token": "age_level",
        "occupation:token": "occupation",
        "cms_segid:token": "cms_segid",
        "cms_group_id:token": "cms_group_id",
        "pvalue_level:token": "pvalue_level",
        "shopping_level:token": "shopping_level",
        "new_user_class_level:token": "new_user_class_level",
    },
    derived=("gender",),
    derive=_gender,
)

ALIEC = (
    Table(
        raw="raw_sample.csv",
        suffix="inter",
        columns=("user", "time_stamp", "adgroup_id", "clk"),
        fields={"user_id:token": "user", "item_id:token": "adgroup_id", "timestamp:float": "time_stamp"},
        keep=Keep("clk", "1", ("0", "1")),
    ),
    _USERS,
    Table(
        raw="ad_feature.csv",
        suffix="item",
        columns=("adgroup_id", "cate_id", "campaign_id", "customer", "brand", "price"),
        fields={
            "item_id:token": "adgroup_id",
            "category:token": "cate_id",
            "campaign:token": "campaign_id",
            "customer:token": "customer",
            "brand:token": "brand",
            "price:float": "price",
        },
    ),
)

ALIEC_BEHAVIOR = (
    Table(
        raw="behavior_log.csv",
        suffix="inter",
        columns=("user", "time_stamp", "btag", "brand"),
        fields={"user_id:token": "user", "item_id:token": "brand", "timestamp:float": "time_stamp"},
        keep=_VIEWS,
    ),
    _USERS,
    Table(
        raw="behavior_log.csv",
        suffix="item",
        columns=("cate", "brand", "btag"),
        fields={"item_id:token": "brand", "category:token_seq": "categories"},
        keep=_VIEWS,
        derived=("categories",),
        derive=_brands,
    ),
)
