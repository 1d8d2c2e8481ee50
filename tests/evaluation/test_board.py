"""The board: who is ranked, in which order, and what never stands in one table."""

from __future__ import annotations

import copy
import re

import pytest
from entries import CHEAP, entry

from recbole_attack.commands.main import main
from recbole_attack.evaluation.board import board_files, read_entries
from recbole_attack.report.texts import Section
from recbole_attack.utils.errors import DataError
from recbole_attack.utils.yaml_files import dump_yaml


def table(text, title):
    """The cells of the table below a heading, a list a row."""
    part = text.split(f"## {title}\n")[1].split("\n## ")[0]
    return [re.split(r" \| ", line.strip("| ")) for line in part.splitlines() if line.startswith("|")][2:]


def page(tmp_path, *entries, more=()):
    return board_files(entries, tmp_path / "board.md", more)[tmp_path / "board.md"]


def test_rules_are_ranked_by_their_worst_case_and_flagged_ones_stand_below_without_a_rank(tmp_path):
    entries = [
        *(entry("second", 0.3, 0.1), entry("masked", 0.0, 0.0, ["masked"]), entry("first", 0.2, 0.4)),
        entry("informed", 0.4, 0.2, ["sees updates"]),
    ]
    text = page(tmp_path, *entries)
    shown = {
        board: table(text, f"Rules, cheap version 3, SASRec on ml-100k: board {board}") for board in ("norm", "free")
    }
    assert [row[:2] for row in shown["norm"]] == [["1", "first"], ["2", "second"], ["3", "informed"], ["-", "masked"]]
    assert [row[1] for row in shown["free"]] == ["second", "informed", "first", "masked"]
    assert shown["norm"][0][2:6] == ["20.00", "margin", "+1.00", "+10.00"]
    assert [row[-2:] for row in shown["norm"][2:]] == [["-", "sees updates"], ["masked", "-"]]
    first = "3 ranked rules, worst er@10 20.00 % (first) to 40.00 % (informed)"
    assert f"{first}; lower, but without a rank: masked 0.00 % (masked)." in text
    assert "lower, but" not in page(tmp_path, entries[0], entry("masked", 0.5, 0.5, ["masked"]))
    assert "2 ranked rules, worst er@10 20.00 % (a, b).**" in page(tmp_path, entry("b", 0.200001), entry("a", 0.2))


def test_equal_figures_share_a_rank(tmp_path):
    entries = [entry(name, value) for name, value in (("z", 0.0), ("worse", 0.2), ("a", 0.0), ("last", 0.3))]
    entries.append(entry("flagged", 0.0, flags=["masked"]))
    rows = table(page(tmp_path, *entries), "Rules, cheap version 3, SASRec on ml-100k: board norm")
    ranks = [["1", "a"], ["1", "z"], ["3", "worse"], ["4", "last"], ["-", "flagged"]]
    assert [row[:2] for row in rows] == ranks
    under = {"kind": "attack", "rule": {"aggregator": "mean"}}
    attacks = [entry(f"{name} under mean", value, **under) for name, value in (("z", 0.5), ("a", 0.5), ("b", 0.1))]
    rows = table(page(tmp_path, *attacks), "Attacks under mean, cheap version 3, SASRec on ml-100k: board norm")
    assert [row[:2] for row in rows] == [["1", "a under mean"], ["1", "z under mean"], ["3", "b under mean"]]


def test_what_does_not_compare_stands_in_tables_of_its_own(tmp_path):
    changed = entry("other", 0.1, evaluation={**CHEAP, "sha256": "f" * 64})
    steam = entry("steam", 0.1, setting={"model": "SASRec", "dataset": "steam-200k"})
    text = page(tmp_path, entry("ours", 0.2), changed, steam, entry("measured otherwise", 0.1, evaluator=99))
    assert [row[1] for row in table(text, "Rules, cheap version 3, SASRec on steam-200k: board norm")] == ["steam"]
    ours = "Rules, cheap version 3, SASRec on ml-100k"
    assert [row[1] for row in table(text, f"{ours}: board norm")] == ["ours"]
    assert [row[1] for row in table(text, f"{ours}, evaluator version 99: board norm")] == ["measured otherwise"]
    other = "Rules, cheap version 3, not of this package (ffffffff), SASRec on ml-100k: board norm"
    assert [row[1] for row in table(text, other)] == ["other"]


def test_rules_that_were_tried_on_other_data_of_the_same_name_do_not_compare(tmp_path):
    entries = [entry(name, 0.1, data={"mine.inter": name}) for name in ("a", "b")]
    text = page(tmp_path, *entries, entry("c", 0.2, data={"mine.inter": "a"}))
    titles = re.findall(r"## (Rules, .* data [0-9a-f]{8}: board norm)\n", text)
    assert sorted([row[1] for row in table(text, title)] for title in titles) == [["a", "c"], ["b"]]


def test_attacks_stand_apart_the_strongest_first(tmp_path):
    under = {"kind": "attack", "rule": {"aggregator": "mean"}}
    attacks = [entry(f"{name} under mean", value, **under) for name, value in (("weak", 0.1), ("strong", 0.9))]
    attacks.append(entry("easy under mean", 1.0, flags=["weak victim", "sees updates"], **under))
    other = entry("weak under median", 0.5, **under | {"rule": {"aggregator": "median", "per_item": True}})
    text = page(tmp_path, *attacks, other, entry("rule", 0.3))
    rows = table(text, "Attacks under mean, cheap version 3, SASRec on ml-100k: board norm")
    assert [row[:3] for row in rows[:2]] == [["1", "strong under mean", "90.00"], ["2", "weak under mean", "10.00"]]
    assert rows[2:] == [["-", "easy under mean", "100.00", "weak victim", "sees updates"]]
    rows = table(text, "Attacks under median, per\\_item True, cheap version 3, SASRec on ml-100k: board norm")
    assert [row[:2] for row in rows] == [["1", "weak under median"]]


def test_models_from_outside_of_one_name_do_not_compare(tmp_path):
    setting = {"model": "Mine", "dataset": "ml-100k"}
    entries = [entry(name, 0.1, setting=setting, plugins={"mine.py": name}) for name in ("a", "b")]
    text = page(tmp_path, *entries, entry("c", 0.2, setting=setting, plugins={"mine.py": "a"}))
    titles = re.findall(r"## (Rules, cheap version 3, Mine \([0-9a-f]{8}\) on ml-100k: board norm)\n", text)
    assert sorted([row[1] for row in table(text, title)] for title in titles) == [["a", "c"], ["b"]]


def test_attacks_under_rules_from_outside_of_one_name_do_not_compare(tmp_path):
    under = {"kind": "attack", "rule": {"aggregator": "mine"}}
    entries = [entry(f"{name} under mine", 0.1, plugins={"mine": name}, **under) for name in ("a", "b")]
    titles = re.findall(r"## (Attacks under mine \([0-9a-f]{8}\), .*: board norm)\n", page(tmp_path, *entries))
    assert len(titles) == 2


def test_nothing_of_an_entry_is_markup(tmp_path):
    files = board_files([entry("<b>x</b>|y", 0.1)], tmp_path / "board.md", [Section("More <i>", ["a & b"])])
    text, html = files[tmp_path / "board.md"], files[tmp_path / "board.html"]
    assert "<b>" not in text and "<b>" not in html and "&lt;b&gt;x&lt;/b&gt;|y" in html
    assert "More &lt;i&gt;" in html and "a &amp; b" in html and "<script" not in html


def test_the_command_writes_both_files_from_a_folder_of_entries(tmp_path, capsys):
    for name, value in (("a", 0.2), ("b", 0.1)):
        file = tmp_path / "entries" / name / "entry.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(dump_yaml(entry(name, value)), encoding="utf-8")
    assert main(["evaluate", f"--board={tmp_path / 'entries'}", f"--out={tmp_path / 'out' / 'board.md'}"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / name) for name in ("board.md", "board.html")]
    text = (tmp_path / "out" / "board.md").read_text(encoding="utf-8")
    assert [row[1] for row in table(text, "Rules, cheap version 3, SASRec on ml-100k: board norm")] == ["b", "a"]
    assert "recbole\\_attack validate entry.yaml" in text
    finding = "Rules, cheap version 3, SASRec on ml-100k: board norm: 2 ranked rules"
    finding = f"{finding}, worst er@10 10.00 % (b) to 20.00 % (a)."
    assert text.split("\n\n")[2] == f"**{finding}**"
    page = (tmp_path / "out" / "board.html").read_text(encoding="utf-8")
    assert f'<p class="finding">{finding}</p>' in page and page.count('<p class="finding">') == 2


def test_a_file_that_is_no_entry_is_named(tmp_path):
    broken = copy.deepcopy(entry("a", 0.1))
    del broken["figures"]["boards"]["norm"]["worst"]["er@10"]
    (tmp_path / "a.yaml").write_text(dump_yaml(broken), encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.yaml is no entry of a board: expected 'figures.boards.norm.worst.er@10'"):
        read_entries(tmp_path)


@pytest.mark.parametrize("exposure", [float("nan"), -1.0, 1.5])
def test_a_worst_case_that_is_no_share_of_users_is_no_place_on_the_board(tmp_path, exposure):
    (tmp_path / "a.yaml").write_text(dump_yaml(entry("a", exposure)), encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.yaml is no entry of a board: expected er@10 of board 'norm' from 0 to 1"):
        read_entries(tmp_path)
