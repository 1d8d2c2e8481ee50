"""The runner of pages runs what it says, and finds what is wrong with a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import agrees, blocks, run_page


def page(folder: Path, *parts: tuple[str, str]) -> Path:
    file = folder / "page.md"
    file.write_text("# A page\n" + "".join(f"\nText.\n\n```{language}\n{text}\n```\n" for language, text in parts))
    return file


def test_blocks_are_found_in_their_order(tmp_path: Path) -> None:
    found = blocks(page(tmp_path, ("bash", "echo 1\necho 2"), ("python", "x = 1"), ("", "")))
    assert found == [("bash", "echo 1\necho 2\n"), ("python", "x = 1\n"), ("", "\n")]


def test_a_page_is_run_in_one_folder(tmp_path: Path) -> None:
    file = page(
        tmp_path,
        ("text", "pip install anything"),
        ("yaml", "# a.yaml\nb: 1"),
        ("bash", "cat a.yaml > c"),
        ("python", "print(open('c').read(), 1.5, 'x')"),
        ("text", "# a.yaml\nb: 1\n1.5 x"),
    )
    run_page(file, tmp_path)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([("bash", "false | true")], "false"),
        ([("bash", "nonesuch\necho on")], "nonesuch"),
        ([("python", "raise ValueError('seen')")], "seen"),
        ([("bash", "echo 1"), ("text", "2")], "prints\n1"),
        ([("text", "2")], "nothing above it printed"),
        ([("console", "$ ls")], "nobody runs"),
    ],
)
def test_a_page_that_does_not_work_fails(parts: list[tuple[str, str]], message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=message):
        run_page(page(tmp_path, *parts), tmp_path)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("hit@10, %  17.60 ± 1.24\n====", "hit@10, %    17.61 ± 1.23\n======"),
        ("a\n...\nb", "a\n1\n2\nb"),
        ("a\n...\nb", "a\nb"),
        ("3 arms in ... s", "3 arms in 2.7 s"),
        ("(10.00", "(11.90"),
        ("0.0100", "0.0290"),
    ],
)
def test_what_agrees(shown: str, printed: str) -> None:
    assert agrees(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("17.60", "21.60"),
        ("0.5000", "-0.5000"),
        ("3 runs", "4 runs"),
        ("seed 2020", "seed 2021"),
        ("a b", "a"),
        ("a", "a\nb"),
        ("a\n...\nb", "a\n1"),
        ("1.5", "1"),
        ("", "a"),
        ("=== 1", "--- 1"),
    ],
)
def test_what_does_not_agree(shown: str, printed: str) -> None:
    assert not agrees(shown, printed)
