"""A YAML file: what is read is written, and read again as the same."""

from __future__ import annotations

from contract import outcome, promise, scratch

from recbole_attack.utils.yaml_files import YamlLoader, dump_yaml, load_yaml, parse_yaml


class _Ids(YamlLoader):
    text_keys = frozenset({"ids"})


def run(data: bytes) -> str:
    """Read ``data`` as a file."""
    path = scratch("yaml_files") / "made.yaml"
    path.write_bytes(data)

    def read() -> None:
        for loader in (YamlLoader, _Ids):
            values = load_yaml(path, loader)
            promise(all(isinstance(key, str) for key in values), "a key is no text")
            if not _odd(values):
                again = parse_yaml(dump_yaml(values), loader)
                promise(repr(again) == repr(dict(sorted(values.items()))), "it does not read back as itself")

    return outcome(read)


def _odd(value: object) -> bool:
    """Whether it holds what no configuration may: bytes, dates, sets, keys in another order."""
    if isinstance(value, dict):
        return list(value) != sorted(value) or any(map(_odd, value.values()))
    if isinstance(value, list):
        return any(map(_odd, value))
    return not (value is None or isinstance(value, (bool, int, float, str)))
