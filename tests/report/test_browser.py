"""The page in headless Chromium: nothing on the console, no request, sorting by keyboard, both widths and schemes."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from recbole_attack.report import pages
from recbole_attack.report.cells import cells
from recbole_attack.report.curves import epoch_panels, share_panels
from recbole_attack.report.pictures import curves_drawing

selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install 'recbole_attack[test]'")
from selenium.webdriver.common.keys import Keys  # noqa: E402 (not before it is known to be there)
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not CHROMIUM or not DRIVER, reason="needs Chromium and its driver: apt-get install chromium chromium-driver"
)

SCRIPT = "<script>pwned = 1</script><img src=x onerror='pwned = 1'>"
SCREENS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    """A page of several attacks, shares and datasets, one of them with a hostile name."""
    rows = {
        f"{data[:9]} {attack} {share}": [
            made(
                attack, er / scale, 0.3, seed=seed, clean=(0.35, 0), data=data, malicious_ratio=share, course=(0.1, er)
            )
            for seed in seeds
        ]
        for data, scale in (("ml-100k", 1), (SCRIPT, 2))
        for attack, er, seeds in (("dvfsr", 0.9, (1, 2)), ("a_ra", 0.11, (1,)), ("eb", 0.4, (1,)))
        for share in (0.001, 0.01, 0.05)
    }
    rows["undefined"] = [made("ra", er=None, malicious_ratio=0.05, data="ml-100k")]
    found = cells(rows)
    drawings = {
        "shares": ("over shares", curves_drawing(share_panels(found), "malicious_ratio")),
        "epochs": ("over epochs", curves_drawing(epoch_panels(found), "epoch")),
    }
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(pages.render(found, "A report", SCRIPT, drawings), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser():
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    yield driver
    driver.quit()


def show(browser, page: Path, width: int, scheme: str) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.as_uri())


def requests(browser) -> list[str]:
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


def column(browser, number: int) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll('.sortable tbody tr')].map((row) => row.cells[arguments[0]].innerText)",
        number,
    )


def heads(browser) -> list[str]:
    return browser.execute_script("return [...document.querySelectorAll('.sortable thead th')].map((h) => h.innerText)")


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_no_word_on_the_console_no_request_and_no_foreign_script(browser, page, width, scheme):
    browser.get_log("browser"), browser.get_log("performance")
    show(browser, page, width, scheme)
    assert browser.execute_script("return document.querySelectorAll('svg path').length") > 10
    assert set(requests(browser)) <= {page.as_uri(), "data:,"}
    assert browser.get_log("browser") == []
    assert browser.execute_script("return typeof pwned") == "undefined"


def test_what_the_log_would_tell(browser, page, tmp_path):
    """The two logs above are not empty by themselves."""
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='missing.png'><script>throw Error('seen')</script>", encoding="utf-8")
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(bad.as_uri())
    assert any("missing.png" in url for url in requests(browser))
    assert any("seen" in entry["message"] for entry in browser.get_log("browser"))


def test_the_table_is_sorted_by_keyboard_and_says_so(browser, page):
    show(browser, page, 1280, "light")
    number = heads(browser).index("er@10, %")
    buttons = browser.find_elements("css selector", ".sortable thead button")
    head = browser.find_elements("css selector", ".sortable thead th")[number]
    before = column(browser, number)
    figures = sorted(float(text.split()[0]) for text in before if text != "-")
    assert figures != [float(text.split()[0]) for text in before if text != "-"]
    browser.execute_script("arguments[0].focus()", buttons[number - 1])
    buttons[number - 1].send_keys(Keys.TAB)
    for direction, expected in (("ascending", figures), ("descending", figures[::-1])):
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        texts = column(browser, number)
        assert [float(text.split()[0]) for text in texts[:-1]] == expected
        assert texts[-1] == "-"  # what is undefined stays last
        assert head.get_attribute("aria-sort") == direction
        assert browser.find_element("id", "sorted").text == f"sorted by er@10, %, {direction}"
    browser.execute_script("arguments[0].click()", buttons[0])
    assert head.get_attribute("aria-sort") is None
    names = column(browser, 0)
    assert names == sorted(names, key=str.lower)


def test_rows_keep_together_when_they_are_sorted(browser, page):
    show(browser, page, 1280, "light")
    rows = "return [...document.querySelectorAll('.sortable tbody tr')].map((row) => row.innerText)"
    before = browser.execute_script(rows)
    browser.execute_script("document.querySelectorAll('.sortable thead button')[3].click()")
    after = browser.execute_script(rows)
    assert before != after
    assert sorted(before) == sorted(after)


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_page_fits_its_window_and_is_easy_to_read(browser, page, width, scheme):
    show(browser, page, width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    colours = browser.execute_script(
        "return ['body', 'caption', 'nav a', '.matrix .worst', '.card summary'].map((name) => {"
        "  const style = getComputedStyle(document.querySelector(name));"
        "  return [style.color, style.backgroundColor]; })"
    )
    paper = channels(colours[0][1])
    assert (sum(paper[:3]) > 1.5) == (scheme == "light")
    for ink, ground in colours:
        assert contrast(channels(ink), over(channels(ground), paper)) >= 4.5, (ink, ground)


def channels(colour: str) -> list[float]:
    """Red, green, blue and opacity in [0, 1]."""
    numbers = [float(number) for number in re.findall(r"[\d.]+", colour.removeprefix("color(srgb"))]
    scaled = numbers[:3] if colour.startswith("color") else [number / 255 for number in numbers[:3]]
    return [*scaled, numbers[3] if len(numbers) > 3 else 1.0]


def over(top: list[float], below: list[float]) -> list[float]:
    return [top[3] * t + (1 - top[3]) * b for t, b in zip(top[:3], below[:3], strict=True)]


def contrast(first: list[float], second: list[float]) -> float:
    """The contrast ratio of WCAG 2."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_contrast_of_known_colours():
    assert contrast(channels("rgb(255, 255, 255)"), channels("rgb(0, 0, 0)")) == pytest.approx(21)
    assert contrast(channels("rgb(255, 255, 255)"), channels("rgb(119, 119, 119)")) == pytest.approx(4.48, abs=0.01)


def test_a_screen_reader_finds_landmarks_headings_and_what_tables_and_pictures_are(browser, page):
    show(browser, page, 1280, "light")

    def tree(browser):
        nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        seen = [n for n in nodes if not n.get("ignored")]
        return seen if any(n["role"]["value"] == "contentinfo" for n in seen) else None

    seen = WebDriverWait(browser, 30).until(tree)  # the browser makes it in the background, from the top on

    def of_role(*roles):
        return [n for n in seen if n["role"]["value"] in roles]

    assert all(len(of_role(role)) == 1 for role in ("banner", "navigation", "main", "contentinfo"))
    levels = [next(p["value"]["value"] for p in n["properties"] if p["name"] == "level") for n in of_role("heading")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(n["name"]["value"] for n in of_role("heading", "table", "image", "link", "button", "region"))
    assert len(of_role("image")) == len(browser.find_elements("css selector", "svg")) == 8
    captions = [n.get_attribute("innerText").strip() for n in browser.find_elements("css selector", "table caption")]
    tables = browser.find_elements("css selector", "table")
    assert len(captions) == len(tables) == 3
    assert browser.execute_script("return [...document.querySelectorAll('th')].every((head) => head.scope)")


def test_a_rows_link_opens_its_threat_card(browser, page):
    show(browser, page, 1280, "light")
    link = browser.find_element("css selector", ".sortable tbody a")
    browser.execute_script("arguments[0].click()", link)
    card = browser.find_element("id", link.get_attribute("hash")[1:])
    assert WebDriverWait(browser, 5).until(lambda _: card.get_attribute("open")) == "true"
    assert link.text in card.text


def test_the_page_is_whole_without_scripts(browser, page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, page, 390, "dark")
        assert len(browser.find_elements("css selector", ".sortable tbody tr")) == 19
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
