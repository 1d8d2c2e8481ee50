"""Ways to damage the folder of a run, or to put into it what should never be there.

Each is ``damage(folder, bait, chance)``. ``bait`` is a folder of the attacker's: code that is run makes ``bait/ran``,
and ``bait/precious`` is a file of somebody else.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from recbole_attack.utils.checkpoints import save_checkpoint

Damage = Callable[[Path, Path, random.Random], object]
LAST, BEST = "attacked/last.pth", "attacked/SASRec.pth"


class Payload:
    """Makes ``ran`` when it is unpickled by a loader that runs code."""

    def __init__(self, bait: Path) -> None:
        self.bait = bait

    def __reduce__(self) -> Any:
        return os.makedirs, (str(self.bait / "ran"), 0o777, True)


def prepared(bait: Path) -> Path:
    """A folder of the attacker's."""
    bait.mkdir()
    (bait / "precious").write_text("precious")
    (bait / "evil.py").write_text(f"import os\nos.makedirs({str(bait / 'ran')!r}, exist_ok=True)\n")
    return bait


def is_safe(bait: Path) -> bool:
    """Whether nothing was run, and what is somebody else's is as it was."""
    kept = {file.name for file in bait.iterdir()} == {"precious", "evil.py"}
    return kept and (bait / "precious").read_text() == "precious"


# Checkpoints


def write(name: str, content: Callable[[Path], bytes]) -> Damage:
    return lambda folder, bait, chance: (folder / name).write_bytes(content(bait))


def edit(name: str, change: Callable[[bytearray, random.Random], bytes]) -> Damage:
    """Change a file's bytes."""
    return lambda folder, bait, chance: (folder / name).write_bytes(
        change(bytearray((folder / name).read_bytes()), chance)
    )


def state(name: str, change: Callable[[dict[str, Any], Path], object]) -> Damage:
    """Change what a checkpoint holds, and give it the hash that belongs to it."""

    def damage(folder: Path, bait: Path, chance: random.Random) -> None:
        held = torch.load(folder / name, weights_only=True)
        change(held, bait)
        save_checkpoint(folder / name, held)

    return damage


def zipped(value: Any, legacy: bool = False) -> bytes:
    content = io.BytesIO()
    torch.save(value, content, _use_new_zipfile_serialization=not legacy)
    return content.getvalue()


def bomb() -> bytes:
    """Sixty-four megabytes in as many kilobytes, and the hash that belongs to them."""
    packed = io.BytesIO()
    whole = zipfile.ZipFile(io.BytesIO(zipped({"state_dict": {"x": torch.zeros(1 << 24)}})))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in whole.infolist():
            archive.writestr(entry.filename, whole.read(entry))
    body = packed.getvalue()[:-2]
    seal = f"sha256 {hashlib.sha256(body).hexdigest()}".encode()
    return body + struct.pack("<H", len(seal)) + seal


def flipped(content: bytearray, chance: random.Random) -> bytes:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def truncated(content: bytearray, chance: random.Random) -> bytes:
    return bytes(content[: chance.randrange(len(content))])


def spoiled(content: bytearray, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    content[place : place + 64] = chance.randbytes(64)
    return bytes(content)


def weights(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any], Path], object]:
    return lambda held, bait: held["state_dict"].update(
        {"item_embedding.weight": change(held["state_dict"]["item_embedding.weight"])}
    )


def code(bait: Path) -> dict[str, Any]:
    return {"state_dict": {}, "config": {}, "trainer": Payload(bait)}


CONTENTS: dict[str, Callable[[str], Damage]] = {
    "empty": lambda name: write(name, lambda bait: b""),
    "no archive": lambda name: write(name, lambda bait: b"PK\x03\x04 and so on"),
    "pickled code": lambda name: write(name, lambda bait: pickle.dumps(code(bait))),
    "code saved by torch": lambda name: write(name, lambda bait: zipped(code(bait))),
    "code saved by an old torch": lambda name: write(name, lambda bait: zipped(code(bait), legacy=True)),
    "code in a whole state": lambda name: state(name, lambda held, bait: held.update(more=Payload(bait))),
    "code for weights": lambda name: state(name, lambda held, bait: held.update(state_dict=Payload(bait))),
    "unpacks to a thousand times as much": lambda name: write(name, lambda bait: bomb()),
    "of another shape": lambda name: state(name, weights(lambda value: value[:3])),
    "of numbers in words": lambda name: state(name, weights(lambda value: "much")),
    "without weights": lambda name: state(name, lambda held, bait: held.pop("state_dict")),
    "with more weights": lambda name: state(name, lambda held, bait: held["state_dict"].update(more=torch.ones(1))),
    "a list": lambda name: write(name, lambda bait: zipped([1])),
    "one bit flipped": lambda name: edit(name, flipped),
    "truncated": lambda name: edit(name, truncated),
    "spoiled": lambda name: edit(name, spoiled),
}
"""What may stand in the place of a checkpoint; all of it is refused."""

STATES = {
    "optimiser in words": lambda held, bait: held.update(optimizer="x"),
    "moments of another shape": lambda held, bait: held["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)),
    "another rate": lambda held, bait: held["optimizer"]["param_groups"][0].update(lr="fast"),
    "schedule of another": lambda held, bait: held["scheduler"].update(step_size="x"),
    "code for an epoch": lambda held, bait: held["trainer"].update(start_epoch="__import__('os').mkdir('ran')"),
    "endless epochs": lambda held, bait: held["trainer"].update(start_epoch=10**30),
    "history of another kind": lambda held, bait: held["trainer"]["history"][0].update({"hit@10": "x"}),
    "other parameters": lambda held, bait: held["config"].update(learning_rate=0.5),
    "parameters of another kind": lambda held, bait: held.update(config=[1]),
}
"""States that no training leaves behind; all of them are refused."""


# Other files


def values(**changes: Any) -> Damage:
    """Change parameters of the saved configuration; a callable makes one of the bait."""

    def damage(folder: Path, bait: Path, chance: random.Random) -> None:
        file = folder / "config.yaml"
        held = yaml.safe_load(file.read_text())
        made = {key: value(bait) if callable(value) else value for key, value in changes.items()}
        file.write_text(yaml.safe_dump({**held, **made}))

    return damage


def line(text: str) -> Damage:
    """Add to the saved configuration; ``BAIT`` stands for the attacker's folder."""

    def damage(folder: Path, bait: Path, chance: random.Random) -> None:
        with (folder / "config.yaml").open("a") as file:
            file.write(text.replace("BAIT", str(bait)) + "\n")

    return damage


def data(text: str) -> Damage:
    return write("dataset.json", lambda bait: text.encode("latin-1"))


def expression(bait: Path) -> str:
    return f"__import__('os').mkdir({str(bait / 'ran')!r})"


def beside(folder: Path, bait: Path, chance: random.Random) -> None:
    """A plug-in in the folder itself."""
    shutil.copy(bait / "evil.py", folder / "evil.py")
    values(plugins=["evil"])(folder, bait, chance)


CONFIGS = {
    "tag that calls": line('note: !!python/object/apply:os.mkdir ["BAIT/ran"]'),
    "tag that makes": line('note: !!python/object/new:os.mkdir ["BAIT/ran"]'),
    "tag of a name": line("note: !!python/name:os.system"),
    "tag of a module": line("note: !!python/module:evil"),
    "tag of its own": line("note: !evil x"),
    "tag in a value": line('seed: !!python/object/apply:os.mkdir ["BAIT/ran"]'),
    "aliases": line("a: &a [x, x]\nb: [*a, *a, *a]"),
    "deep": line("note: " + "[" * 5000 + "]" * 5000),
    "long": line("note: " + "x" * (1 << 19)),
    "two documents": line("---\nseed: 1"),
    "no YAML": line("[\x00"),
    "plug-in by its path": values(plugins=lambda bait: [str(bait / "evil.py")]),
    "plug-in by its name": values(plugins=["evil"]),
    "plug-in beside it": beside,
    "plug-in of the standard library": values(plugins=["antigravity"]),
    "plug-in of another kind": values(plugins={"evil": 1}),
    "unknown parameter": values(nonesuch=1),
    "data elsewhere": values(data_path=lambda bait: str(bait)),
    "dataset elsewhere": values(dataset="../../precious"),
}
"""Saved configurations; all of them are refused."""

DESCRIPTIONS = {
    "empty": data(""),
    "half": data("{"),
    "bytes": data("\xff\xfe"),
    "deep": data("[" * 100_000),
    "list": data("[1]"),
    "null": data("null"),
    "nothing": data("{}"),
    "other data": data('{"name": "tiny", "users": 1}'),
    "endless number": data('{"name": ' + "9" * 5000 + "}"),
}
"""Descriptions of the data; all of them are refused."""


def elsewhere(name: str, target: str) -> Damage:
    """A link in the place of a file or a folder."""

    def damage(folder: Path, bait: Path, chance: random.Random) -> None:
        place = folder / name
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(bait / target)

    return damage


LINKS = {
    f"{name} is a link to {'a file' if target else 'a folder'}": elsewhere(name, target)
    for name, target in {
        **dict.fromkeys(
            ("run.log", ".lock", "result.json", "dataset.json", LAST, BEST, "attacked/rounds.csv"), "precious"
        ),
        **dict.fromkeys(("attacked", "clean", "tensorboard", "attacked/client_weights"), ""),
    }.items()
}
"""Links out of the folder; all of them are refused."""


def arrays(folder: Path, bait: Path, chance: random.Random) -> None:
    np.savez(folder / "clean" / "outcomes.npz", rank_truth=np.array([Payload(bait)], dtype=object))


UNREAD = {
    "code in arrays": arrays,
    "code in a file of its own": write("sitecustomize.py", lambda bait: (bait / "evil.py").read_bytes()),
    "a result of somebody else": write("result.json", lambda bait: json.dumps({"clean": expression(bait)}).encode()),
    "a half written file": write("attacked/.last.pth.0123abcd.tmp", lambda bait: pickle.dumps(Payload(bait))),
}
"""What a run does not read; it ends as it would have, and replaces what belongs to it."""

DIVERGED = {f"{name}: no finite weight": state(name, weights(lambda value: value / 0)) for name in (LAST, BEST)}
"""Weights that no training goes on from; it says so."""

REFUSED: dict[str, Damage] = {
    "rounds of somebody else": write("attacked/rounds.csv", lambda bait: b"=cmd|' /C calc'!A0\n"),
    **{f"{name}: {what}": make(name) for name in (LAST, BEST) for what, make in CONTENTS.items()},
    **{f"{LAST}: {what}": state(LAST, change) for what, change in STATES.items()},
    **{f"config.yaml: {what}": damage for what, damage in CONFIGS.items()},
    **{f"dataset.json: {what}": damage for what, damage in DESCRIPTIONS.items()},
    **LINKS,
}


def expressions(names: list[str]) -> dict[str, Damage]:
    """For each of these parameters a saved configuration with code in its place."""
    return {f"config.yaml: code for {name}": values(**{name: expression}) for name in names}
