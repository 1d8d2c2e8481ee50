"""No page has a dead link: files and anchors are there, as GitHub names them. Nothing is asked of the network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import ROOT

pytest.importorskip("markdown_it", reason="needs markdown-it-py: pip install 'recbole_attack[test]'")

from markdown_it import MarkdownIt
from markdown_it.token import Token

FOLDERS = ("docs", "results", "experiments", "dataset", "fuzz", "benchmarks")
PAGES = sorted([*ROOT.glob("*.md"), *(page for name in FOLDERS for page in (ROOT / name).rglob("*.md"))])
PAGES = [page for page in PAGES if ROOT / "docs" / "build" not in page.parents]


@cache
def tokens(text: str) -> list[Token]:
    parsed = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    return [part for token in parsed for part in (token, *(token.children or ()))]


def links(text: str) -> Iterator[str]:
    """Where a page points, pictures included."""
    for token in tokens(text):
        yield from (str(token.attrs[key]) for key in ("href", "src") if key in token.attrs)
        if token.type.startswith("html"):
            yield from re.findall(r"""\b(?:href|src)=["']([^"']*)""", token.content)


def anchors(text: str) -> set[str]:
    """The names of a page's headings, and those it gives itself."""
    own = {name for token in tokens(text) if token.type.startswith("html") for name in _names(token.content)}
    headings = [token for before, token in zip(tokens(text), tokens(text)[1:], strict=False) if _opens(before)]
    return own | set(slugs("".join(part.content for part in heading.children or ()) for heading in headings))


def _opens(token: Token) -> bool:
    return token.type == "heading_open"


def _names(html: str) -> list[str]:
    return re.findall(r"""\b(?:id|name)=["']([^"']*)""", html)


def slugs(headings: Iterable[str]) -> Iterator[str]:
    """GitHub's names of headings: no punctuation, a hyphen for a space, a number for what comes again."""
    seen: Counter[str] = Counter()
    for heading in headings:
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        yield f"{slug}-{seen[slug]}" if seen[slug] else slug
        seen[slug] += 1


def dead(link: str, page: Path) -> str:
    """Why a link goes nowhere; empty if it does not."""
    parts = urlsplit(link)
    if parts.scheme:
        proper = parts.scheme in ("http", "https") and "." in parts.netloc and not re.search(r"\s", link)
        return "" if proper else "is no address"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_relative_to(ROOT.resolve()) or not target.exists():
        return "names no file"
    if not parts.fragment:
        return ""
    if target.suffix != ".md" or parts.fragment not in anchors(target.read_text(encoding="utf-8")):
        return "names no heading"
    return ""


def stands(page: Path) -> Path:
    """Where a page is read: notes on an experiment or a benchmark are printed in its page of results."""
    if page == ROOT / "benchmarks" / "inspection" / "notes.md":
        return ROOT / "results" / "backdoor-detectors.md"
    if page.name == "notes.md" and ROOT / "experiments" in page.parents:
        return (ROOT / "results" / page.relative_to(ROOT / "experiments").parent).with_suffix(".md")
    return page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_dead(page: Path) -> None:
    found = {link: dead(link, stands(page)) for link in links(page.read_text(encoding="utf-8"))}
    assert not {link: reason for link, reason in found.items() if reason}


def test_the_pages_were_found_and_have_links() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "SECURITY.md", "docs/usage.md", "results/baselines.md", "dataset/README.md"} <= names
    assert len(list(links((ROOT / "README.md").read_text(encoding="utf-8")))) > 30


def test_links_are_found_wherever_they_stand() -> None:
    line = "[a](b.md) ![c](d.png) <https://e.org> [f][g] `[h](i)`"
    text = f"{line}\n\n|x|\n|-|\n|[j](k)|\n\n<img src='l'>\n\n```\n[m](n)\n```\n\n[g]: o\n"
    assert sorted(links(text)) == ["b.md", "d.png", "https://e.org", "k", "l", "o"]


def test_anchors_are_named_as_github_names_them() -> None:
    text = (
        "# How to read er@K\n## `run --x`, [a *b*](c)\n## Ä_1\n## Same\n## Same\n<a name='own'></a>\n```\n# no\n```\n"
    )
    assert anchors(text) == {"how-to-read-erk", "run---x-a-b", "ä_1", "same", "same-1", "own"}


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("usage.md", ""),
        ("../README.md#results", ""),
        ("#how-to-read-erk", ""),
        ("usag.md", "names no file"),
        ("../../elsewhere.md", "names no file"),
        ("#how-to-read-er", "names no heading"),
        ("../setup.cfg#L1", "names no heading"),
        ("https://recbole.io/docs", ""),
        ("https:/recbole.io", "is no address"),
        ("javascript:x", "is no address"),
    ],
)
def test_dead_links_are_seen(link: str, reason: str) -> None:
    assert dead(link, ROOT / "docs" / "usage.md") == reason
