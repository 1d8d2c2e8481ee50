"""Markdown, CSV, LaTeX and HTML of one report hold the same figures, whatever the names in it."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser

import markdown as python_markdown
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recbole_attack.report import latex, markdown, pages, texts
from recbole_attack.report.cells import cells
from recbole_attack.report.curves import share_panels
from recbole_attack.report.pictures import curves_drawing

HOSTILE = [
    "<script>pwned = 1</script>",
    "a|b \\| c",
    "R&D &amp; &#124;",
    "_under_ snake_case __dunder__",
    "100 % of #1",
    "$x^2$ ~ \\alpha {b} \\",
    "\"double\" 'single'",
    "*bold* `code` [link](javascript:pwned) ![image](http://x/y)",
    "--> <!-- comment ]]> </style></title>",
    "{{ 7*7 }} {% raw %}",
    "=1+1, with a comma",
    "± ▲ plus",
]
LINE = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1).map(
    lambda text: " ".join(text.split())
)


class Tables(HTMLParser):
    """All tables of a page as rows of texts, and the texts of its other elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables, self.elements, self._open, self._hidden = [], [], [], 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in ("meta", "link", "wbr", "img", "br", "hr"):
            self._open.append((tag, dict(attrs)))
            self.elements.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if any(attrs.get("class") == "unseen" for _, attrs in self._open):
            return
        if any(tag in ("td", "th") for tag, _ in self._open):
            self.tables[-1][-1][-1] += data
        if self._open:
            self.elements[-1][2] += data


def from_html(page):
    return [[[" ".join(text.split()) for text in row] for row in table] for table in Tables(page).tables]


def from_markdown(text):
    return from_html(python_markdown.markdown(text, extensions=["tables"]))


UNESCAPED = {
    **{r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textless{}": "<"},
    **{r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"', r"$\pm$": "±", r"$\blacktriangle$": "▲"},
    **{f"\\{letter}": letter for letter in "&%$#_{}"},
}
TOKEN = re.compile("|".join(map(re.escape, sorted(UNESCAPED, key=len, reverse=True))))


def unescaped(text):
    """What LaTeX would set; nothing that means something to it may be left over."""
    assert not text.startswith(("[", "*")), text  # arguments of the command that ends a row or draws a rule
    text = text.removeprefix("{}")
    assert not re.search(r"[&%$#_{}\\~^<>|\"]", TOKEN.sub("", text)), text
    return " ".join(TOKEN.sub(lambda found: UNESCAPED[found[0]], text).split())


def from_latex(text):
    found = []
    for tabular in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.DOTALL):
        lines = [line.removesuffix(r" \\") for line in tabular.splitlines() if line != r"\midrule"]
        found.append([[unescaped(cell) for cell in re.split(r"(?<!\\) & ", line)] for line in lines])
    return found


@pytest.fixture(scope="module")
def hostile(made):
    """Rows with hostile names, of every kind: several seeds, one seed, a clean twin, undefined and missing figures."""
    rows = {}
    for number, name in enumerate(HOSTILE):
        share = (0.01, 0.1)[number % 2]
        shared = {"data": HOSTILE[number // 4], "malicious_ratio": share, "targets": (name,)}
        rows[name] = [made(er=0.1 * number / 2, hit=0.3, clean=(0.35, 0.0), note=name, **shared)]
        if number % 3 == 0:
            rows[name].append(made(er=0.05, hit=0.2, seed=2021, note=name, **shared))
    rows["none"] = [made("none", er=None, data=HOSTILE[0])]
    return cells(rows)


def rendered(found):
    drawings = {"shares": ("exposure <over> shares", curves_drawing(share_panels(found), "malicious_ratio"))}
    finding = "\n\n".join(HOSTILE)
    return {
        "html": pages.render(found, HOSTILE[0], finding, drawings),
        "markdown": markdown.render(found, HOSTILE[0], finding, {"shares.png": "exposure <over> shares"}),
        "latex": latex.render(found),
        "csv": texts.frame(found).to_csv(index=False, lineterminator="\n"),
    }


@pytest.fixture(scope="module")
def text(hostile):
    return rendered(hostile)


def test_html_markdown_and_latex_hold_the_same_tables(text):
    page, document, paper = from_html(text["html"]), from_markdown(text["markdown"]), from_latex(text["latex"])
    threats = len(document) - 1
    assert len(page) == threats >= 4
    assert page == document[:threats] == paper[:threats]
    assert document[threats] == paper[threats]


def test_the_csv_holds_the_same_figures_unrounded(hostile, text):
    (table,) = [table for table in from_html(text["html"]) if table[0][0] == "row"]
    head, *body = table
    numbers = list(csv.DictReader(io.StringIO(text["csv"])))
    assert len(numbers) == len(body) == len(HOSTILE) + 1
    for line, raw in zip(body, numbers, strict=True):
        shown = dict(zip(head, line, strict=True))
        assert raw["row"] == shown["row"]
        assert {"one seed": "1"}.get(shown["seeds"], shown["seeds"]) == raw["seeds"]
        for metric in hostile.metrics:
            scale, digits = (1, 4) if metric.startswith("ndcg") else (100, 2)
            parts = [float(part) for part in (raw[metric], raw[f"{metric} ±"]) if part]
            words = [f"{scale * part:.{digits}f}" for part in parts]
            ends = [parts[0] - parts[1], parts[0] + parts[1]] if len(parts) == 2 else []
            if ends and scale == 100 and not metric.endswith("lost") and (ends[0] < 0 or ends[1] > 1):
                words = [f"{words[0]} ({100 * max(ends[0], 0):.2f} to {100 * min(ends[1], 1):.2f})"]
            count = raw.get(f"{metric} seeds", raw["seeds"])
            few = f" ({count} of {raw['seeds']} seeds)" if words and count != raw["seeds"] else ""
            assert shown[metric if scale == 1 else f"{metric}, %"] == (" ± ".join(words) or "-") + few


def test_hostile_names_come_back_as_themselves(text):
    for read in (from_html(text["html"]), from_markdown(text["markdown"]), from_latex(text["latex"])):
        assert [name for table in read for name, *_ in table if name in HOSTILE][: len(HOSTILE)] == HOSTILE
    assert [row["row"] for row in csv.DictReader(io.StringIO(text["csv"]))][:-1] == HOSTILE


def test_hostile_names_bring_no_element_into_a_page(hostile, text):
    def shape(page):
        return [(tag, sorted(attrs)) for tag, attrs, _ in Tables(page).elements]

    tame = {}
    for number, row in enumerate(hostile.rows):
        records = [dict(record) for record in row.records]
        for record in records:
            config = {**record["config"], "dataset": f"data{HOSTILE.index(record['config']['dataset'])}"}
            config |= {"note": f"n{number}"} if "note" in config else {}
            record.update(config=config, budget={**record["budget"], "target_items": ["i1"]})
        tame[f"row {number}"] = records
    assert shape(text["html"]) == shape(rendered(cells(tame))["html"])
    page = Tables(text["html"])
    assert sum(tag == "script" for tag, *_ in page.elements) == 1
    assert not [attrs for _, attrs, _ in page.elements if any(name.startswith("on") for name in attrs)]


@given(LINE)
def test_any_line_of_text_survives_markdown(name):
    table = f"| {markdown.escape(name)} | x |\n| --- | --- |\n| {markdown.escape(name)} | y |"
    assert from_markdown(table) == [[[name, "x"], [name, "y"]]]


@given(LINE)
@example("[0.1] of all")
@example("*")
def test_any_line_of_text_survives_latex(name):
    assert unescaped(latex.escape(name)) == name


def test_a_page_asks_for_nothing(text):
    page = Tables(text["html"])
    urls = [
        value for _, attrs, _ in page.elements for key, value in attrs.items() if key in ("src", "href", "xlink:href")
    ]
    assert urls
    assert all(url.startswith("#") for url in urls)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", text["html"].split("</style>")[0])


def test_ids_are_unique_and_every_reference_has_its_target(text):
    page = Tables(text["html"])
    ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    references = [
        attrs[key] for _, attrs, _ in page.elements for key in ("aria-labelledby", "aria-describedby") if key in attrs
    ]
    links = [value[1:] for _, attrs, _ in page.elements for key, value in attrs.items() if key.endswith("href")]
    assert {*references, *links} <= set(ids)


def test_the_finding_comes_first_and_what_rows_share_once(made):
    found = cells([made(er=0.5), made("eb", er=0.75, hit=0.25, clean=(0.5, 0.0))])
    sentence = texts.finding(found)
    assert sentence == (
        "Worst case of 2 attacked rows: eb brings its targets to 75 % of the users within the top 10, at the cost of "
        "25.00 points of hit@10 (one seed)."
    )
    gain, loss = (made("eb", er=0.75, hit=hit, clean=(0.5, 0.0), seed=seed) for seed, hit in ((1, 0.6), (2, 0.45)))
    cost = 100 * 12.706204736 * 0.075  # t of one degree of freedom times the standard error: no share, and not cut
    assert f"with hit@10 2.50 ± {cost:.2f} points higher than without it (mean of 2 seeds)." in texts.finding(
        cells([gain, loss])
    )
    page = pages.render(found, "title", sentence, {})
    assert 0 < page.index(sentence) < page.index("tiny: 60 users, 39 items, 900 interactions") < page.index("<nav")
    assert page.count("tiny: 60 users, 39 items, 900 interactions") == 1
    text = markdown.render(found, "title", sentence, {})
    assert text.splitlines()[2] == f"**{markdown.escape(sentence)}**"


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([("none", 0.5)], "No attack was measured."),
        ([("dvfsr", 0.0), ("eb", 0.0)], "No attack exposed its targets: er@10 is 0 in all 2 attacked rows."),
        ([("dvfsr", None)], "er@10 is undefined in all 1 attacked rows."),
    ],
)
def test_findings_without_a_worst_case(made, records, sentence):
    assert texts.finding(cells([made(attack, er) for attack, er in records])) == sentence


def test_a_threat_card_says_the_level_of_what_is_known_where_a_record_has_it(made):
    graded, old = made(), made(seed=2021)
    graded["budget"]["knowledge_level"] = "K1"
    cards = [texts.threat_table(cells({"a": [record]})) for record in (graded, old)]
    assert [dict(zip(card.head, *card.body, strict=True))["knows"] for card in cards] == [
        "K1: the model; its clients",
        "the model; its clients",
    ]


def test_a_threat_card_says_what_the_attacker_knows_controls_and_may_do(made):
    loud = made(uploads={"malicious_weight": 0.01, "norm_ratio": 15.0})
    again = made(seed=2021, uploads={"malicious_weight": 0.03, "norm_ratio": None})
    loud["budget"] |= {"gradient_scale": 3.0, "norm_budget": 0.9, "claimed_interactions": "round"}
    table = texts.threat_table(cells({"a": [loud, again], "b": [made("none")]}))
    assert dict(zip(table.head, *table.body, strict=True)) == {
        "row": "a",
        "knows": "the model; its clients",
        "controls": "3 malicious clients (5 % of the users, cloned) with 45 interactions",
        "promotes": "item i22 (popular:1)",
        "budget": "uploads times 3, no longer than the 0.9 quantile of honest ones, "
        "claiming as much data as any honest client of the round",
        "weight share, %": "2",
        "norm ratio": "15",
    }


def test_a_provider_that_attacks_has_a_card_of_its_own(made):
    record = made("bra", targets=("i1", "i2"), scenario="pretrain", target_items="random:2")
    record["budget"] = {
        **{"attack": "bra", "knowledge": ["the model"], "target_items": ["i1", "i2"], "target_group": "gender=M"},
        "stages": {"attacked": ["pre_train"]},
    }
    table = texts.threat_table(cells([record]))
    assert table.body[0][1:] == [
        "the model",
        "the model that the provider ships",
        "2 items (random:2) to users gender=M",
        *("-", "-", "-"),
    ]


def test_runs_that_failed_are_named(made):
    found = cells([made()], {"<b>": "out of | memory"})
    assert "&lt;b&gt;: out of | memory" in pages.render(found, "t", "f", {})
    assert r"&lt;b&gt;: out of \| memory" in markdown.render(found, "t", "f", {})
