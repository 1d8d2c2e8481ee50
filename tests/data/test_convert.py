"""Raw files in their publishers' schemas to atomic files: contents, damage, interruption."""

import csv
import io
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import recbole
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_attack import AttackConfig
from recbole_attack.commands import main as command_line
from recbole_attack.data.convert import CONVERSIONS, Counts, convert, convert_csv
from recbole_attack.data.synthetic import Synthetic, write_synthetic
from recbole_attack.experiment import create_dataset
from recbole_attack.utils.errors import ConfigError, DataError


def main(arguments):
    return command_line.main(["convert", *arguments])


GENRES_100K = 19
FLAGS = {g: "|".join("1" if i in g else "0" for i in range(GENRES_100K)) for g in ((0,), (3, 4, 5), (1,))}
PROFILE = (
    "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,occupation,"
    "new_user_class_level \n234,0,5,2,5,,3,0,3\n523,5,2,1,2,1,3,1,\n"
)
RAW = {
    "aliec": {
        "raw_sample.csv": (
            "user,time_stamp,adgroup_id,pid,nonclk,clk\n581738,1494137644,1,430548_1007,1,0\n"
            "234,1494137645,63133,430539_1007,0,1\n523,1494137650,7,430539_1007,0,1\n"
        ),
        "ad_feature.csv": (
            "adgroup_id,cate_id,campaign_id,customer,brand,price\n63133,6406,83237,1,95471,170.0\n7,6406,2,3,NULL,19.9\n"
        ),
        "user_profile.csv": PROFILE,
    },
    "aliec-behavior": {
        "behavior_log.csv": (
            "user,time_stamp,btag,cate,brand\n234,1493741625,pv,6250,91286\n234,1493741626,cart,1,91286\n"
            "523,1493741627,pv,6250,5\n523,1493741628,pv,4,91286\n523,1493741629,pv,6250,91286\n"
        ),
        "user_profile.csv": PROFILE,
    },
    "cikm": {
        "user_behavior.csv": "1,10,pv,5\n1,11,buy,6\n2,10,pv,7\n",
        "user.csv": "1,0,31,4\n2,1,25,7\n",
        "item.csv": "10,100,1000,3\n11,100,1001,4\n",
    },
    "cikm-ubp": {
        "ECommAI_ubp_round1_train": "1\t10\tclk\t20190610\n1\t11\tcollect\t20190611\n2\t10\tclk\t20190612\n",
        "ECommAI_ubp_round1_user_feature": "1\tF\t[18,20]\t2\t3\t4500\t1,4\n2\t\t>=60\t\t\t\t\n",
        "ECommAI_ubp_round1_item_feature": "10\t5\t50\t7\t19.5\n11\t5\t51\t\t3\n",
    },
    "ml-100k": {
        "u.data": "196\t242\t3\t881250949\n186\t302\t4\t891717742\n",
        "u.user": "196|24|M|technician|85711\n186|53|F|other|T8H1N\n",
        "u.item": (
            f"242|Kolya (1996)|24-Jan-1997||http://x|{FLAGS[3, 4, 5]}\n"
            f"302|Café au Lait (1993) (V)|01-Jan-1993||http://y|{FLAGS[1,]}\n267|unknown||||{FLAGS[0,]}\n"
        ),
    },
    "ml-1m": {
        "ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n",
        "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
        "movies.dat": (
            "1193::One Flew Over the Cuckoo's Nest (1975)::Drama\n"
            '661::"Great Performances" Cats (1998)::Animation|Children\'s\n3::Misérables, Les (1995)::Drama\n'
        ),
    },
    "ml-20m": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n7,29,4.0,1112484676\n",
        "movies.csv": (
            'movieId,title,genres\n2,Jumanji (1995),Adventure|Children\n29,"City, The (1995)",Drama\n'
            "9,Babylon 5,(no genres listed)\n"
        ),
    },
    "steam-200k": {
        "steam-200k.csv": (
            '5250,"Warhammer 40,000 Dawn of War",purchase,1.0,0\n5250,"Warhammer 40,000 Dawn of War",play,0.5,0\n'
            "76767,Dota 2,purchase,1.0,0\n5250,Dota 2,purchase,1.0,0\n"
        )
    },
}
RAW["ml-25m"] = RAW["ml-20m"]
ENCODING = {"ml-100k": "latin-1", "ml-1m": "latin-1"}
USER_AD = (
    "user_id:token\tgender:token\tage:token\toccupation:token\tcms_segid:token\tcms_group_id:token\t"
    "pvalue_level:token\tshopping_level:token\tnew_user_class_level:token\n"
    "234\tF\t5\t0\t0\t5\t\t3\t3\n523\tM\t2\t1\t5\t2\t1\t3\t\n"
)
INTER = "user_id:token\titem_id:token\ttimestamp:float\n"
RATED = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ML_USER = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
ML_ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\t"
ATOMIC = {
    "aliec": {
        "inter": INTER + "234\t63133\t1494137645\n523\t7\t1494137650\n",
        "user": USER_AD,
        "item": (
            "item_id:token\tcategory:token\tcampaign:token\tcustomer:token\tbrand:token\tprice:float\n"
            "63133\t6406\t83237\t1\t95471\t170.0\n7\t6406\t2\t3\t\t19.9\n"
        ),
    },
    "aliec-behavior": {
        "inter": INTER + "234\t91286\t1493741625\n523\t5\t1493741627\n523\t91286\t1493741628\n523\t91286\t1493741629\n",
        "user": USER_AD,
        "item": "item_id:token\tcategory:token_seq\n91286\t6250 4\n5\t6250\n",
    },
    "cikm": {
        "inter": INTER + "1\t10\t5\n2\t10\t7\n",
        "user": "user_id:token\tgender:token\tage:token\tpower:token\n1\t0\t31\t4\n2\t1\t25\t7\n",
        "item": "item_id:token\tcategory:token\tshop:token\tbrand:token\n10\t100\t1000\t3\n11\t100\t1001\t4\n",
    },
    "cikm-ubp": {
        "inter": INTER + "1\t10\t20190610\n2\t10\t20190612\n",
        "user": (
            "user_id:token\tgender:token\tage:token\teducation:token\toccupation:token\tincome:float\tstage:token_seq\n"
            "1\tF\t18\t2\t3\t4500\t1 4\n2\t\t60\t\t\t\t\n"
        ),
        "item": (
            "item_id:token\tcategory:token\ttop_category:token\tbrand:token\tprice:float\n"
            "10\t50\t5\t7\t19.5\n11\t51\t5\t\t3\n"
        ),
    },
    "ml-100k": {
        "inter": RATED + "196\t242\t3\t881250949\n186\t302\t4\t891717742\n",
        "user": ML_USER + "196\t24\tM\ttechnician\t85711\n186\t53\tF\tother\tT8H1N\n",
        "item": (
            f"{ML_ITEM}class:token_seq\n242\tKolya\t1996\tAnimation Children's Comedy\n"
            "302\tCafé au Lait (V)\t1993\tAction\n267\tunknown\t\tunknown\n"
        ),
    },
    "ml-1m": {
        "inter": RATED + "1\t1193\t5\t978300760\n2\t661\t3\t978302109\n",
        "user": ML_USER + "1\t1\tF\t10\t48067\n2\t56\tM\t16\t70072\n",
        "item": (
            f"{ML_ITEM}genre:token_seq\n1193\tOne Flew Over the Cuckoo's Nest\t1975\tDrama\n"
            "661\tGreat Performances Cats\t1998\tAnimation Children's\n3\tMisérables, Les\t1995\tDrama\n"
        ),
    },
    "ml-20m": {
        "inter": RATED + "1\t2\t3.5\t1112486027\n7\t29\t4.0\t1112484676\n",
        "item": (
            f"{ML_ITEM}genre:token_seq\n2\tJumanji\t1995\tAdventure Children\n29\tCity, The\t1995\tDrama\n"
            "9\tBabylon 5\t\t\n"
        ),
    },
    "steam-200k": {
        "inter": INTER + "5250\t1\t0\n76767\t2\t1\n5250\t2\t2\n",
        "item": "item_id:token\tgame_title:token_seq\n1\tWarhammer 40,000 Dawn of War\n2\tDota 2\n",
    },
}
ATOMIC["ml-25m"] = ATOMIC["ml-20m"]


@pytest.fixture
def raw(tmp_path):
    """A folder with the raw files of a dataset, some of them changed or left out."""

    def write(name, **changes):
        folder = tmp_path / f"raw {name}"
        folder.mkdir(exist_ok=True)
        for file, text in {**RAW[name], **changes}.items():
            if text is not None:
                content = text if isinstance(text, bytes) else text.encode(ENCODING.get(name, "utf-8"))
                (folder / file).write_bytes(content)
        return folder

    return write


def contents(folder):
    return {path.suffix[1:]: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_every_conversion_is_tested():
    assert set(CONVERSIONS) == set(RAW) == set(ATOMIC)


@pytest.mark.parametrize("name", CONVERSIONS)
def test_raw_files_become_atomic_files(tmp_path, raw, name):
    counts = convert(name, raw(name), tmp_path / "out")
    assert contents(tmp_path / "out" / name) == ATOMIC[name]
    rows = {file.rpartition(".")[2]: count.written for file, count in counts.items()}
    assert rows == {suffix: text.count("\n") - 1 for suffix, text in ATOMIC[name].items()}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_windows_line_ends_marks_and_blank_lines_change_nothing(tmp_path, raw, name):
    changed = {file: text.replace("\n", "\r\n") + "\r\n" for file, text in RAW[name].items()}
    if name not in ENCODING:
        changed = {file: "\ufeff" + text for file, text in changed.items()}
    convert(name, raw(name, **changed), tmp_path / "out")
    assert contents(tmp_path / "out" / name) == ATOMIC[name]


# RecBole takes its own files for the name ml-100k, whatever data_path says.
@pytest.mark.parametrize("name", [name for name in CONVERSIONS if name != "ml-100k"])
def test_recbole_loads_what_was_written(tmp_path, raw, small, name):
    convert(name, raw(name), tmp_path)
    headers = {suffix: text.partition("\n")[0].split("\t") for suffix, text in ATOMIC[name].items()}
    columns = {suffix: [header.split(":")[0] for header in names] for suffix, names in headers.items()}
    dataset = create_dataset(AttackConfig(config_dict=small(data_path=str(tmp_path), dataset=name, load_col=columns)))
    assert dataset.inter_num == ATOMIC[name]["inter"].count("\n") - 1
    assert dataset.item_num == ATOMIC[name]["item"].count("\n")


TITLES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=9)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(rows=st.lists(st.tuples(st.integers(1, 4), TITLES, st.booleans()), min_size=1, max_size=9))
def test_any_game_title_survives_the_quotes(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("steam")
    text = io.StringIO(newline="")
    kind = {True: ("play", "3.5"), False: ("purchase", "1.0")}
    csv.writer(text, lineterminator="\n").writerows((user, title, *kind[play], 0) for user, title, play in rows)
    (folder / "steam-200k.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    bought = [(str(user), title) for user, title, play in rows if not play]
    if not bought:
        with pytest.raises(DataError, match=f"at least one row with behavior = purchase, found {len(rows)}"):
            convert("steam-200k", folder, folder / "out")
        return
    convert("steam-200k", folder, folder / "out")
    games = list(dict.fromkeys(title for _, title in bought))
    written = (folder / "out" / "steam-200k" / "steam-200k.inter").read_text().splitlines()[1:]
    assert written == [f"{user}\t{games.index(title) + 1}\t{n}" for n, (user, title) in enumerate(bought)]
    names = (folder / "out" / "steam-200k" / "steam-200k.item").read_text(encoding="utf-8").split("\n")[1:-1]
    for game, line in zip(games, names, strict=True):
        assert (
            line.split("\t")[1].split()
            == "".join(c for c in game if c.isprintable() or c.isspace()).replace('"', "").split()
        )


DAMAGE = [
    ("cikm", {"user.csv": None}, r"user\.csv not found: .* holds item\.csv, user_behavior\.csv"),
    ("cikm", {"user.csv": None, "users.csv": "1"}, "did you mean 'users.csv'"),
    ("cikm", {"user.csv": ""}, "user.csv, line 0: expected at least one row, found no"),
    ("cikm", {"item.csv": "\n\n"}, "item.csv, line 2: expected at least one row, found no"),
    ("cikm", {"user.csv": "1,0,31,4\n2,1,25\n"}, r"user\.csv, line 2: expected 4 fields \(user, .*found 3: '2,1,25'$"),
    ("cikm", {"user.csv": "1,0,31,4\n2,1,2"}, "line 2: expected 4 fields.*the file ends in the middle of this line"),
    ("cikm", {"user.csv": "1,0,31,4,9\n"}, "line 1: expected 4 fields .*, found 5"),
    ("cikm", {"user_behavior.csv": "1,10,pv,noon\n"}, "line 1: expected a number as 'time', found 'noon'"),
    ("cikm", {"user_behavior.csv": "1,10,pv,\n"}, "line 1: expected a value of 'time', found ''"),
    ("cikm", {"user_behavior.csv": "1,10,pv,nan\n"}, "expected a number as 'time', found 'nan'"),
    ("cikm", {"user_behavior.csv": "1,10,pv,1e999\n"}, "expected a number as 'time', found '1e999'"),
    ("cikm", {"user_behavior.csv": "1,10,pv,²\n"}, "expected a number as 'time', found '²'"),
    ("cikm", {"user_behavior.csv": "1,10,pv,1_0\n"}, "expected a number as 'time', found '1_0'"),
    ("cikm", {"user_behavior.csv": ",10,pv,5\n"}, "expected a value of 'user', found ''"),
    ("cikm", {"user_behavior.csv": "1,10,5,pv\n"}, "line 1: expected behavior to be one of pv, .*, found '5'"),
    ("cikm", {"user_behavior.csv": "1,10,pvv,5\n"}, "did you mean 'pv'"),
    ("cikm", {"user_behavior.csv": "1,10,buy,5\n"}, "at least one row with behavior = pv, found 1"),
    ("cikm", {"user_behavior.csv": b"1,10,pv,5\n1,\xff\xfe,pv,6\n"}, "line 2: expected utf-8 text, found bytes"),
    ("cikm", {"user_behavior.csv": "1,1\x000,pv,5\n"}, "line 1: expected plain text, found a quote or control char"),
    (
        "cikm",
        {"user_behavior.csv": '1,10,pv,5\n1,"10,pv,6\n'},
        "line 2: expected comma-separated fields, found damaged",
    ),
    ("cikm", {"user_behavior.csv": '1,"10" 0,pv,6\n'}, "line 1: expected comma-separated fields, found damaged"),
    ("cikm-ubp", {"ECommAI_ubp_round1_train": "1\t1 0\tclk\n"}, "line 1: expected 4 fields"),
    (
        "cikm-ubp",
        {"ECommAI_ubp_round1_train": '1\t"10"\tclk\t20190610\n'},
        "line 1: expected plain text, found a quote",
    ),
    ("ml-1m", {"ratings.dat": "1::2::5::978300760\n1::2::5:978300761\n"}, "line 2: expected 4 fields"),
    ("ml-1m", {"users.dat": "::F::1::10::48067\n"}, "line 1: expected a value of 'user', found ''"),
    (
        "aliec",
        {"raw_sample.csv": "user,time_stamp,adgroup_id,pid\n1,2,3,4\n"},
        "line 1: expected a column 'clk', found ",
    ),
    ("aliec", {"ad_feature.csv": ""}, "line 0: expected a column 'adgroup_id', found no line"),
    (
        "aliec",
        {"ad_feature.csv": "adgroup_id,cate,campaign_id,customer,brand,price\n"},
        "expected a column 'cate_id', found adgroup_id, cate, .*did you mean 'cate'",
    ),
    ("aliec", {"user_profile.csv": PROFILE.partition("\n")[0] + "\n"}, "line 1: expected at least one row, found no"),
    (
        "aliec",
        {"ad_feature.csv": RAW["aliec"]["ad_feature.csv"] + "8,1,2,3,4,cheap\n"},
        "line 4: .*'price', found 'cheap'",
    ),
]


@pytest.mark.parametrize(("name", "changes", "message"), DAMAGE)
def test_damaged_files_are_data_errors_and_nothing_is_written(tmp_path, raw, name, changes, message):
    with pytest.raises(DataError, match=message):
        convert(name, raw(name, **changes), tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


LINES = [(name, file) for name in CONVERSIONS for file in RAW[name]]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(place=st.sampled_from(LINES), position=st.floats(0, 1, exclude_max=True), byte=st.none() | st.binary(max_size=3))
def test_cut_and_damaged_files_convert_or_are_data_errors(tmp_path_factory, place, position, byte):
    name, damaged = place
    folder = tmp_path_factory.mktemp("damaged")
    for file, text in RAW[name].items():
        (folder / file).write_bytes(text.encode(ENCODING.get(name, "utf-8")))
    content = (folder / damaged).read_bytes()
    at = int(position * len(content))
    (folder / damaged).write_bytes(content[:at] + (b"" if byte is None else byte + content[at + 1 :]))
    try:
        convert(name, folder, folder / "out")
    except DataError as error:
        assert str(folder / damaged) in str(error)
        assert not list(folder.glob("out/*"))
        return
    for suffix, text in contents(folder / "out" / name).items():
        width = ATOMIC[name][suffix].partition("\n")[0].count("\t")
        assert text.endswith("\n")
        assert {line.count("\t") for line in text[:-1].split("\n")} == {width}
        assert '"' not in text


def test_a_last_line_without_end_is_told(tmp_path, raw, capsys):
    folder = raw("cikm", **{"user_behavior.csv": "1,10,pv,5\n2,10,pv,77"})
    assert convert("cikm", folder, tmp_path / "a")["cikm.inter"] == Counts(written=2, read=2, cut=True)
    assert main(["cikm", str(folder), str(tmp_path / "b")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("cikm.inter: 2 rows from 2")
    assert [n for n, line in enumerate(out) if "without a line end" in line] == [1]


def test_columns_in_another_order(tmp_path, raw):
    swapped = "".join("{1},{0},{2},{3}\n".format(*line.split(",")) for line in RAW["cikm"]["user_behavior.csv"].split())
    columns = {"user_behavior.csv": ["item", "user", "behavior", "time"]}
    convert("cikm", raw("cikm", **{"user_behavior.csv": swapped}), tmp_path / "out", columns)
    assert contents(tmp_path / "out" / "cikm") == ATOMIC["cikm"]


def test_columns_with_another_name_and_more_of_them(tmp_path, raw):
    renamed = RAW["aliec"]["ad_feature.csv"].replace("brand", "marke")
    columns = {"ad_feature.csv": ["adgroup_id", "cate_id", "campaign_id", "customer", "brand", "price"]}
    more = "".join(f"x,{line}\n" for line in RAW["aliec"]["raw_sample.csv"].split())
    convert("aliec", raw("aliec", **{"ad_feature.csv": renamed, "raw_sample.csv": more}), tmp_path / "out", columns)
    assert contents(tmp_path / "out" / "aliec") == ATOMIC["aliec"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"users.csv": ["user"]}, "given for 'users.csv': expected one of .*did you mean 'user.csv'"),
        ({"user.csv": ["user", "gender", "years", "power"]}, "expected a column 'age', found user, gender, years"),
        ({"user.csv": ["user", "gender", "age", "power", "city"]}, "line 1: expected 5 fields .*city.*, found 4"),
    ],
)
def test_columns_that_do_not_fit(tmp_path, raw, columns, message):
    with pytest.raises((ConfigError, DataError), match=message):
        convert("cikm", raw("cikm"), tmp_path / "out", columns)


def test_a_file_without_a_header_may_have_more_columns_than_published(tmp_path, raw):
    more = "".join(f"{line},x\n" for line in RAW["cikm"]["user.csv"].split())
    columns = {"user.csv": ["user", "gender", "age", "power", "tier"]}
    convert("cikm", raw("cikm", **{"user.csv": more}), tmp_path / "out", columns)
    assert contents(tmp_path / "out" / "cikm") == ATOMIC["cikm"]


def test_columns_of_a_file_are_named_once(tmp_path, raw, capsys):
    twice = ["--columns=user.csv=user,gender,age,power", "--columns=user.csv=user,age,gender,power"]
    assert main(["cikm", str(raw("cikm")), str(tmp_path / "out"), *twice]) == 2
    assert "--columns must name a file once: found 'user.csv' twice" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a/b", "../x", "x" * 300, ""])
def test_a_dataset_is_named_like_a_folder(tmp_path, name):
    out = tmp_path / "out"
    (tmp_path / "log.csv").write_text("u,i,t\na,b,1\n", encoding="utf-8")
    own = {"user": "u", "item": "i", "time": "t"}
    for write in (
        lambda: write_synthetic(Synthetic(users=20, items=10, categories=2, mean_length=12), out, name),
        lambda: convert_csv(tmp_path / "log.csv", out, name, **own),
    ):
        with pytest.raises(ConfigError, match="dataset must be the name of a folder"):
            write()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv"]


def test_an_interruption_leaves_nothing(tmp_path, raw, monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    folder = raw("ml-1m")
    monkeypatch.setattr("recbole_attack.data.convert.table.itemgetter", interrupted)
    assert main(["ml-1m", str(folder), str(tmp_path / "out")]) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command(tmp_path, raw, capsys):
    arguments = ["ml-1m", str(raw("ml-1m")), str(tmp_path / "out")]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["2 rows from 2", "2 rows from 2", "3 rows from 3"]
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["ml-1n", *arguments[1:]]) == 2
    assert "did you mean 'ml-1m'" in capsys.readouterr().err
    assert main([*arguments, "--columns", "users.dat"]) == 2
    assert "--columns must be" in capsys.readouterr().err
    assert main(["cikm", str(raw("cikm")), str(tmp_path), "--columns=item.csv=item, category, brand, shop"]) == 0
    assert (tmp_path / "cikm" / "cikm.item").read_text().splitlines()[1] == "10\t100\t3\t1000"


def test_memory_does_not_grow_with_the_file(tmp_path, raw):
    """The peak is the same for 2 000 and for 200 000 rows, which alone would fill over 10 MB."""
    peaks = []
    for rows in (2000, 200_000):
        log = "".join(f"{n % 50},{n % 70},pv,{n}\n" for n in range(rows))
        folder = raw("cikm", **{"user_behavior.csv": log})
        del log
        tracemalloc.start()
        convert("cikm", folder, tmp_path / f"out {rows}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000


# The datasets the converters were compared with: their atomic files turned back into raw files give the same again.

BUNDLED = Path(recbole.__file__).parent / "dataset_example" / "ml-100k"
DATA_PATH = os.environ.get("RECBOLE_ATTACK_DATA_PATH")
with_data = pytest.mark.skipif(
    not DATA_PATH, reason="set RECBOLE_ATTACK_DATA_PATH to a folder with ml-1m and steam-200k"
)


def rows_of(path):
    return [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[1:-1]]


def test_ml_100k_is_recboles(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    names = [
        *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
        *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
    ]
    items = [
        (i, f"{t} ({y})", "", "", "", *(str(int(n in g.split())) for n in names))
        for i, t, y, g in rows_of(BUNDLED / "ml-100k.item")
    ]
    for file, rows, mark in (
        ("u.data", rows_of(BUNDLED / "ml-100k.inter"), "\t"),
        ("u.user", rows_of(BUNDLED / "ml-100k.user"), "|"),
        ("u.item", items, "|"),
    ):
        (folder / file).write_text("".join(mark.join(row) + "\n" for row in rows), encoding="latin-1")
    convert("ml-100k", folder, tmp_path)
    for suffix in ("inter", "user"):
        ours, theirs = (path / f"ml-100k.{suffix}" for path in (tmp_path / "ml-100k", BUNDLED))
        assert ours.read_bytes() == theirs.read_bytes()
    ours, theirs = (rows_of(path / "ml-100k.item") for path in (tmp_path / "ml-100k", BUNDLED))
    # RecBole has a year 'V' where the title goes on after it, and 'unkonwn' where there is none.
    assert [o for o, t in zip(ours, theirs, strict=True) if o != t and t[2].isdigit()] == []
    assert sum(not row[2].isdigit() for row in theirs) <= 20


@pytest.mark.slow
@with_data
def test_ml_1m_comes_back(tmp_path):
    source, folder = Path(DATA_PATH) / "ml-1m", tmp_path / "raw"
    folder.mkdir()
    users = [(u, g, a, o, z) for u, a, g, o, z in rows_of(source / "ml-1m.user")]
    movies = [(i, f"{t} ({y})", g.replace(" ", "|")) for i, t, y, g in rows_of(source / "ml-1m.item")]
    files = {"ratings.dat": rows_of(source / "ml-1m.inter"), "users.dat": users, "movies.dat": movies}
    for file, rows in files.items():
        (folder / file).write_text("".join("::".join(row) + "\n" for row in rows), encoding="latin-1")
    convert("ml-1m", folder, tmp_path)
    for suffix in ("inter", "user", "item"):
        assert (tmp_path / "ml-1m" / f"ml-1m.{suffix}").read_bytes() == (source / f"ml-1m.{suffix}").read_bytes()


@pytest.mark.slow
@with_data
def test_steam_200k_sequences_come_back(tmp_path):
    source, folder = Path(DATA_PATH) / "steam-200k", tmp_path / "raw"
    folder.mkdir()
    theirs = rows_of(source / "steam-200k.inter")
    lines = [f'{u},"Game, {i}",{what}' for u, i, _ in theirs for what in ("purchase,1.0,0\n", "play,2.5,0\n")]
    (folder / "steam-200k.csv").write_text("".join(lines))
    convert("steam-200k", folder, tmp_path)
    titles = {
        number: title.removeprefix("Game, ") for number, title in rows_of(tmp_path / "steam-200k" / "steam-200k.item")
    }
    ours = rows_of(tmp_path / "steam-200k" / "steam-200k.inter")
    assert [(u, titles[i]) for u, i, _ in ours] == [(u, i) for u, i, _ in theirs]
    assert np.all(np.diff([int(time) for *_, time in ours]) == 1)
