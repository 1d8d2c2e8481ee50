"""Tables of published experiments: ours beside the paper's, groups and rankings apart."""

from __future__ import annotations

import pytest

from recbole_attack.report.published import published_cells, published_page
from recbole_attack.report.tables import captions, course_table

COLUMNS = ("hit@10", "ndcg@10", "er@10")


def sections(page):
    """Title -> the sentence below it, and the rows of its table by name."""
    found = {}
    for section in page.split("## ")[1:]:
        title, sentence, table = section.strip().split("\n\n")
        head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        found[title] = sentence, {line[0]: dict(zip(head, line, strict=True)) for line in body}
    return found


@pytest.fixture
def rows(made):
    sampled = {"exposure_candidates": 1000}
    return {
        "strong": [made(er=er, hit=0.4, full=(0.1, 0.02), seed=seed, **sampled) for seed, er in ((1, 0.5), (2, 0.7))],
        "weak": [made("eb", er=0.25, hit=0.3, full=(0.1, 0.0), **sampled)],
        "other": [made("eb", er=0.125, data="other")],
    }


PAPER = {
    "strong": {"attacked": {"hit@10": 0.42, "er@10": 0.9}},
    "weak": {"attacked": {"er@10": 0.2}},
}


def test_a_row_has_one_line_with_ours_and_the_papers_in_a_cell(rows):
    found = sections(published_page(rows, PAPER, COLUMNS))
    _, lines = found["SASRec on tiny, 1000 sampled items"]
    assert lines["strong"] == {
        "row": "strong",
        "seeds": "2",
        "hit@10, %": "40.00 / 42.00",
        "ndcg@10": "0.2000 / -",
        "er@10, %": "60.00 (50.00 to 70.00) / 90.00",
    }
    assert lines["weak"]["seeds"] == "one seed"
    assert (lines["weak"]["hit@10, %"], lines["weak"]["er@10, %"]) == ("30.00 / -", "25.00 / 20.00")


def test_captions_speak_of_all_seeds(made):
    seeds = [made("ra", seed=seed, targets=targets) for seed, targets in ((1, ("i8",)), (2, ("i34",)))]
    for record, count in zip(seeds, (1169, 871), strict=True):
        budget = {key: value for key, value in record["budget"].items() if not key.startswith("malicious_")}
        record["budget"] = {**budget, "fake_users": 9, "malicious_share": 0.01, "fake_interactions": count}
    text = captions({"row": seeds}, {})
    assert (
        "; 1 target item (" in text and "i8" not in text and "9 fake users (1 % of the users) with 871 to 1169 " in text
    )
    assert "; target item i8 (" in captions({"row": seeds[:1]}, {}) and "with 1169 interactions" in captions(
        {"row": seeds[:1]}, {}
    )


def test_a_name_ends_no_cell_of_the_table_of_courses(made):
    page = course_table({"krum|mean <b>": [made(course=(0.1, 0.2))]})
    head, _, line = page.splitlines()
    assert "<b>" not in page and line.replace(r"\|", "").count("|") == head.count("|")


def test_an_arm_may_lack_a_full_ranking(rows):
    (record,) = rows["weak"]
    bare = {**record, "attacked": {"test_result": record["attacked"]["test_result"]}}
    other = {**record, "attacked": {**record["attacked"], "test_result_full": None}}
    assert published_page({"weak": [bare]}, PAPER, COLUMNS) == published_page({"weak": [other]}, PAPER, COLUMNS)


def test_rows_of_one_model_each_stand_together(made):
    models = {"pop": made("none", model="Pop"), "bpr": made("none", model="BPR"), "sasrec": made("ra", model="SASRec")}
    found = sections(published_page({name: [record] for name, record in models.items()}, {}, COLUMNS))
    assert {title: list(lines) for title, (_, lines) in found.items()} == {"tiny, full ranking": list(models)}
    twice = {f"{name} {number}": [record] for name, record in models.items() for number in (1, 2)}
    assert len(sections(published_page(twice, {}, COLUMNS))) == 3


def test_groups_and_rankings_stand_apart_sampled_ones_first(rows):
    found = sections(published_page(rows, PAPER, COLUMNS))
    assert list(found) == [
        "SASRec on tiny, 1000 sampled items",
        "SASRec on other, full ranking",
        "SASRec on tiny, full ranking",
    ]
    assert [list(lines) for _, lines in found.values()] == [["strong", "weak"], ["other"], ["strong", "weak"]]
    assert found["SASRec on tiny, full ranking"][1]["strong"]["er@10, %"] == "2.00"
    assert found["SASRec on other, full ranking"][1]["other"]["er@10, %"] == "12.50"


def test_a_sentence_says_what_rows_share_and_how_far_they_are_from_the_paper(rows):
    found = sections(published_page(rows, PAPER, COLUMNS))
    assert found["SASRec on tiny, 1000 sampled items"][0] == (
        "All rows: training federated, 16 clients a round, 3 epochs, adam 0.1; rule mean; targets popular:1; "
        "malicious clients clone. Cells: ours / paper. Ours are means over seeds (smallest to largest). "
        "Of 2 rows, the median is 17.5 points of er@10 from the paper's, and the farthest, strong, -30."
    )
    assert found["SASRec on other, full ranking"][0].endswith(
        "attack eb; malicious clients clone. All figures are ours."
    )


def test_the_papers_other_datasets_stand_one_after_the_other(made):
    printed = {"a | b": {"attacked": {"CIKM": {"er@10": 0.1}, "AliEC": {"hit@10": 0.2}}}}
    ((sentence, lines),) = sections(published_page({"a | b": [made()]}, printed, COLUMNS).replace("\\|", "!")).values()
    assert sentence.endswith("Cells: ours / paper, CIKM / paper, AliEC.")
    assert lines["a ! b"]["er@10, %"] == "25.00 / 10.00 / -"
    assert lines["a ! b"]["hit@10, %"] == "40.00 / - / 20.00"


def test_a_cell_says_how_many_seeds_have_a_value(made):
    seeds = [made(er=0.5, seed=1), made(er=None, seed=2), made(er=0.25, seed=3)]
    ((_, lines),) = sections(published_page({"odd": seeds}, {}, ["er@10"])).values()
    assert lines["odd"]["er@10, %"] == "37.50 (25.00 to 50.00) (2 of 3 seeds)"


def test_arms_have_lines_of_their_own_and_detectors_columns(made):
    record = made(clean=(0.5, 0.0))
    record["detection"] = {"attacked": {"kmeans": {"f1": 0.75}}}
    page = published_page({"bra": [record]}, {"bra": {"clean": {"hit@10": 0.5}}}, ["hit@10", "kmeans f1", "er@30"])
    ((_, lines),) = sections(page).values()
    assert lines == {
        "bra, clean": {"row": "bra, clean", "seeds": "one seed", "hit@10, %": "50.00 / 50.00", "kmeans f1": "- / -"},
        "bra, attacked": {"row": "bra, attacked", "seeds": "one seed", "hit@10, %": "40.00", "kmeans f1": "0.7500"},
    }


def test_the_cells_are_what_the_tables_are_made_from(rows):
    frame = published_cells(rows, PAPER, COLUMNS)
    chosen = frame[(frame["row"] == "strong") & (frame["metric"] == "er@10")]
    assert chosen[["ranking", "seed", "ours"]].to_numpy().tolist() == [
        ["1000 sampled items", 1, 0.5],
        ["1000 sampled items", 2, 0.7],
        ["full", 1, 0.02],
        ["full", 2, 0.02],
    ]
    assert chosen["paper"].iloc[:2].tolist() == [0.9, 0.9]
    assert chosen["paper"].iloc[2:].isna().all()
    assert len(frame) == len(COLUMNS) * (2 + 1 + 1 + 2 + 1)
