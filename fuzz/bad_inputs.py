"""Bad inputs by the dozen, and the line each is answered with: ``python fuzz/bad_inputs.py``.

What it prints stands in ``docs/robustness.md``.
"""

from __future__ import annotations

import importlib
import io
import json
import pickle
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
ROWS = HEADER + "a\tx\t1\na\ty\t2\nb\tx\t3\nb\tz\t4\n"
USERS = "\x1euser_id:token\tage:float\n"

ATOMIC_FILES = {
    "an empty file": "",
    "a file of NUL bytes": "\0" * 100,
    "a header without types": ROWS.replace(":token", "").replace(":float", ""),
    "a type that is none": ROWS.replace("float", "flaot"),
    "a field given twice": ROWS.replace("item_id", "user_id"),
    "a time field of another name": ROWS.replace("timestamp", "time"),
    "ids as numbers": ROWS.replace("user_id:token", "user_id:float"),
    "a row with a value too few": ROWS + "c\tx\n",
    "a row with a value too many": ROWS + "c\tx\t5\t6\n",
    "commas for tabs": ROWS.replace("\t", ","),
    "a quote that is not closed": ROWS + '"c\tx\t5\n',
    "a byte-order mark and old Mac line ends": "\ufeff" + ROWS.replace("\n", "\r"),
    "ids that look like missing values": ROWS.replace("a\t", "NA\t").replace("b\t", "null\t"),
    "a time that is no number": ROWS + "c\tx\tnoon\n",
    "a time that is not finite": ROWS + "c\tx\tnan\n",
    "a time of 400 digits": ROWS + f"c\tx\t{'9' * 400}\n",
    "a row without a time": ROWS + "c\tx\t\n",
    "a NUL in an id": ROWS + "c\0\tx\t5\n",
    "bytes that are no UTF-8": ROWS.encode() + b"\xff\tx\t5\n",
    "UTF-16": ROWS.encode("utf-16"),
    "a terminal's escape in a name": ROWS.replace("timestamp", "time\x1b[2Jstamp"),
    "no row below the header": HEADER,
}
DATASETS = {
    "two rows of one user that disagree": f"{ROWS}{USERS}a\t1\na\t2\n",
    "users that nobody knows": f"{ROWS}{USERS}",
    "an age in words": f"{ROWS}{USERS}a\told\n",
    "a field of two files": f"{ROWS}\x1euser_id:token\titem_id:token\na\tx\n",
}
CONFIGURATIONS = {
    "an empty file": "",
    "a list": "- epochs\n- 3\n",
    "a tab for spaces": "eval_args:\n\tmode: full\n",
    "a bracket that is not closed": "topk: [5, 10\n",
    "a key given twice": "epochs: 3\nepochs: 4\n",
    "an alias bomb": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "lists in lists, 5000 deep": f"topk: {'[' * 5000}\n",
    "a file of 300 kB": f"# {'x' * 300_000}\n",
    "a tag that makes an object": "epochs: !!python/object/apply:os.system ['echo ran']\n",
    "bytes that are no UTF-8": b"model: \xff\n",
    "a parameter mistyped": "epoch: 3\n",
    "a name mistyped": "attack: dvfrs\n",
    "a parameter of another attack": "attack: ra\nmin_cosine: 0.1\n",
    "a number in words": "epochs: three\n",
    "a number that is not finite": "learning_rate: .nan\n",
    "a number beyond any file": f"epochs: {10**30}\n",
    "a share above 1": "malicious_ratio: 2\n",
    "a folder out of place": "dataset: ../../etc\n",
    "a module to import, of Python's own": "plugins: [os]\n",
    "a file to import": "plugins: [/elsewhere/mine.py]\n",
    "a metric that has no cut-off": "metrics: [GAUC]\nvalid_metric: GAUC@10\n",
    "a metric that has cut-offs": "metrics: [ItemCoverage]\nvalid_metric: ItemCoverage\n",
}
OPTIONS = {
    "code": "epochs=__import__('os').mkdir('ran')",
    "an interval of 40 000 digits": f"user_inter_num_interval=[{'1' * 40_000}x",
    "a selector mistyped": "target_items=populr:5",
    "a count of 50 digits": f"target_items=popular:{'9' * 50}",
    "a quote that is not closed": "target_items='a, b",
    "a range the wrong way round": "target_group=age=30..20",
    "a group that is no expression": "target_group=gender==M",
    "a user rule that is none": "platform_users=some",
}
COMMAND_LINES = {
    "a command mistyped": "tabel\nx",
    "an option mistyped": "run\n--atack=ra",
    "an option without a value": "run\n--attack",
    "an option given twice": "run\n--seed=1\n--seed=2",
    "a word that is no option": "run\ndvfsr",
    "a seed that is no number": "grid\nx.yaml\n--seeds\none",
    "a part that is none": "show\ndvfrs",
    "bytes that are no UTF-8": b"run\n--dataset=\xff",
}
GRIDS = {
    "a part that is none": "fixd: {epochs: 3}\n",
    "a value that is no list": "grid: {attack: ra}\n",
    "531 441 000 000 000 000 combinations": "grid:\n" + "".join(f"  k{n}: {[*range(30)]}\n" for n in range(12)),
    "a target each, of 999 999 999": "targets_each: popular:999999999\ngrid: {attack: [ra]}\n",
    "an exclusion of nothing": "grid: {attack: [ra, eb]}\nexclude: [{attack: dvfsr}]\n",
}
TABLES = {
    "a part of table.yaml that is none": "colums: [hit@10]\n",
    "notes.md that are no UTF-8": b"columns: [hit@10]\x1e\x1efound \xff\n",
}
DATA_NOTES = {
    "half of the file": '{"name": "tiny", "users": ',
    "other data": '{"name": "tiny", "users": 61}',
    "brackets, 100 000 deep": "[" * 100_000,
}
RECORDS = {
    "no JSON": "{",
    "a list": "[]",
    "an empty object": "{}",
    "a seed of 400 digits": ("seed", 10**400),
    "a scenario that is none": ("config.scenario", "federatd"),
    "a metric in words": ("attacked.test_result", {"er@10": "high"}),
    "no dataset": ("dataset", None),
    "an epoch without its number": ("history.attacked", [{"er@10": 0.1}]),
}


def main() -> None:
    """Print the table."""
    sys.path.insert(0, str(HERE))
    print(table())


HEAD = ("| reader | input | answer |", "| --- | --- | --- |")
"""How the table of :func:`table` begins."""


def table() -> str:
    """Every input with what came of it, as Markdown."""
    lines = [*HEAD]
    for parser, inputs in everything().items():
        run = importlib.import_module(f"parsers.{parser}").run
        for what, data in inputs.items():
            answer = shorter(run(data), importlib.import_module("contract").scratch(parser))
            lines.append(f"| {parser} | {what} | {answer} |")
    return "\n".join(lines)


def everything() -> Mapping[str, Mapping[str, bytes]]:
    """Parser -> what an input is -> the input."""
    plain = {
        **{"atomic_files": ATOMIC_FILES, "datasets": DATASETS, "configurations": CONFIGURATIONS, "options": OPTIONS},
        **{"command_lines": COMMAND_LINES, "grids": GRIDS, "tables": TABLES, "data_notes": DATA_NOTES},
    }
    inputs = {name: {what: encoded(data) for what, data in of.items()} for name, of in plain.items()}
    kept = {
        "checkpoints": dict(checkpoints()),
        "model_files": dict(model_files()),
        "arrays": dict(arrays()),
        "stores": dict(stores()),
        "entries": dict(entries()),
    }
    return {**inputs, "records": dict(records()), **kept}


def encoded(data: str | bytes) -> bytes:
    """Bytes of a text."""
    return data if isinstance(data, bytes) else data.encode()


def shorter(answer: str, folder: Path) -> str:
    """An answer for a cell: without the folder, and cut in the middle."""
    text = answer.replace(str(folder), "<folder>").replace("|", "\\|")
    text = text if len(text) <= 320 else f"{text[:200]} [...] {text[-100:]}"
    return text if text == "read" else f"`{text}`"


def corpus(parser: str, name: str) -> bytes:
    """A kept input."""
    return (HERE / "corpus" / parser / name).read_bytes()


def records() -> Iterator[tuple[str, bytes]]:
    """Records of a run with one part of them changed."""
    for what, change in RECORDS.items():
        if isinstance(change, str):
            yield what, change.encode()
            continue
        record = json.loads(corpus("records", "federated"))
        *path, last = change[0].split(".")
        part = record
        for name in path:
            part = part[name]
        part[last] = change[1]
        yield what, json.dumps(record).encode()


def stores() -> Iterator[tuple[str, bytes]]:
    """A store with one line of it changed."""
    whole = corpus("stores", "trained")
    yield "a line cut short", whole[:3000] + whole[whole.index(b"\n") :]
    yield "cells of another evaluator", whole.replace(b'"evaluator": ', b'"evaluator": 9')
    yield "an arm's parameters lost", whole.replace(b'"parameters"', b'"parametres"', 1)
    yield "arms with other metrics", whole.replace(b'"er@10"', b'"er@11"', 2)
    yield "histories lost", b"\x1e".join([whole.split(b"\x1e")[0], b"", *whole.split(b"\x1e")[2:]])


def entries() -> Iterator[tuple[str, bytes]]:
    """Entries of a board with one thing wrong each."""
    rule = corpus("entries", "rule")
    yield "half of the file", rule[:400]
    yield "a flag mistyped", corpus("entries", "flag")
    yield "a kind that is none", rule.replace(b"kind: rule", b"kind: rul")
    yield "a budget in words", rule.replace(b"'0.01':", b"few:")
    yield "an exposure in words", rule.replace(b"er@10: 0.2", b"er@10: high")


def checkpoints() -> Iterator[tuple[str, bytes]]:
    """Checkpoints that are damaged, of something else, or made to harm."""
    whole = corpus("checkpoints", "sealed")
    yield "an empty file", b"R"
    yield "half of the file", whole[: len(whole) // 2]
    yield "one bit flipped", whole[:900] + bytes([whole[900] ^ 1]) + whole[901:]
    yield "a text", b"Rweights"
    yield "a pickle that runs code", b"R" + pickle.dumps(_Code())
    yield "an archive whose pickle runs code, with its right hash", corpus("checkpoints", "code")
    yield "a zip bomb", b"R" + _bomb()
    kinds = {
        **{"bytearray": "bytes of any number", "float_tensor": "a tensor of any size"},
        **{"untyped_storage": "a storage of any size", "expanded": "4 TB of one number"},
        **{"beyond_storage": "a tensor beyond its storage", "shared_lists": "lists that share their elements"},
        **{"itself": "a mapping that holds itself", "legacy": "PyTorch's old format"},
    }
    for name, what in kinds.items():
        yield f"{what}, with its right hash" if name != "legacy" else what, corpus("checkpoints", name)


def model_files() -> Iterator[tuple[str, bytes]]:
    """Model files of others: not what they say, or made to harm."""
    whole = corpus("model_files", "recbole")
    yield "an empty file", b"R"
    yield "half of RecBole's checkpoint", whole[: len(whole) // 2]
    yield "one bit of its weights flipped", whole.replace(b"\x00\x00\x80?", b"\x00\x00\x81?", 1)
    yield "a pickle that runs code, in no archive", corpus("model_files", "bare_code")
    yield "a zip bomb", b"R" + _bomb()
    kinds = {
        **{"code_2": "code beside the weights, protocol 2", "code_4": "code beside the weights, protocol 4"},
        **{"vendors_class": "a class of the vendor's", "repeated_name": "code by names that are remembered"},
        **{"not_finite": "a weight that is NaN", "itself": "a configuration that holds itself"},
        **{"lists": "lists that share their elements", "header": "safetensors with a header of 1 TB"},
        "huge_shape": "a tensor of 10^24 numbers",
    }
    for name, what in kinds.items():
        yield what, corpus("model_files", name)


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return print, ("ran",)


def _bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"\0" * 50_000_000)
    return buffer.getvalue()


def arrays() -> Iterator[tuple[str, bytes]]:
    """Archives of arrays."""
    yield "no archive", b"arrays"
    yield "half of the file", corpus("arrays", "outcomes")[:400]
    yield "an array of 8 PB by its header", corpus("arrays", "huge_shape")
    yield "1 GB in 2 kB", corpus("arrays", "bomb")
    yield "a negative length", corpus("arrays", "negative_shape")


if __name__ == "__main__":
    main()
