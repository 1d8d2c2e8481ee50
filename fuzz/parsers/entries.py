"""An entry of a board, ``entry.yaml``, up to the page with it."""

from __future__ import annotations

from contract import outcome, promise, scratch

from recbole_attack.evaluation import board_files, read_entries


def run(data: bytes) -> str:
    """Read ``data`` as the file."""
    folder = scratch("entries")
    (folder / "entry.yaml").write_bytes(data)

    def read() -> None:
        files = board_files(read_entries(folder), folder / "board.md")
        promise("<script" not in "".join(files.values()), "the page has a script")

    return outcome(read)
