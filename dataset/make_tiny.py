"""Make ``dataset/tiny``: 60 synthetic users and 40 items with the traits that trip up data code.

Users with 1, 2, 3 and 4 interactions, repeated items, equal and nearly equal times beyond float32's resolution, rows
in random order, an item nobody has, user attributes and item categories.
"""

from pathlib import Path

import numpy as np

USERS, ITEMS, START = 60, 40, 1_100_000_000


def main() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for user in range(1, USERS + 1):
        length = user if user <= 4 else int(rng.integers(5, 25))
        taste = rng.integers(0, 4)
        time = START + int(rng.integers(0, 1000))
        for _ in range(length):
            liked = rng.random() < 0.8
            item = int(rng.integers(0, ITEMS // 4)) * 4 + taste if liked else int(rng.integers(0, ITEMS - 1))
            time += int(rng.integers(0, 20))
            rows.append((f"u{user}", f"i{min(item, ITEMS - 2)}", int(rng.integers(1, 6)), time))
    rng.shuffle(rows)
    folder = Path(__file__).parent / "tiny"
    folder.mkdir(exist_ok=True)
    write(folder / "tiny.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float", rows)
    users = [(f"u{u}", int(rng.integers(15, 60)), "MF"[int(rng.integers(2))]) for u in range(1, USERS + 1)]
    write(folder / "tiny.user", "user_id:token\tage:token\tgender:token", users)
    items = [(f"i{i}", " ".join({f"c{i % 4}", f"c{i % 3}"})) for i in range(ITEMS)]
    write(folder / "tiny.item", "item_id:token\tclass:token_seq", [(i, " ".join(sorted(c.split()))) for i, c in items])


def write(path: Path, header: str, rows: list[tuple[object, ...]]) -> None:
    path.write_text("\n".join([header, *("\t".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
