"""YAML that is read within bounds, and written so that it reads back as itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from recbole_attack.utils.errors import DataError, did_you_mean, shown

MAX_BYTES = 1 << 18
"""Size of the longest configuration file; PyYAML reads about 100 KB a second."""

_TEXT, _NULL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:null"
_UNUSED = {f"tag:yaml.org,2002:{name}" for name in ("timestamp", "merge", "value", "int", "float")}


class YamlLoader(yaml.SafeLoader):
    """Safe YAML as RecBole's files mean it.

    ``1e-3`` is a number. A date is the text it is written as, and so is every key, and what some read as a number of
    another base: ``012`` is neither 10 nor 12, ``1:30`` is not 90. Keys that come twice, aliases and merged mappings
    are refused.
    """

    text_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys below which everything is text as it is written, such as ``012``; only a value that is null as a whole is
    not."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as PyYAML has it)
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _UNUSED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(
                None, None, "aliases are not supported", self.peek_event().start_mark
            )
        return super().compose_node(parent, index)

    def compose_document(self) -> Any:
        root = super().compose_document()
        for node in self.parameters(root) if isinstance(root, yaml.MappingNode) else ():
            for key, value in node.value:
                if key.value in self.text_keys and value.tag != _NULL:
                    for own in self.values(key.value, value):
                        _as_text(own)
        return root

    def parameters(self, root: yaml.MappingNode) -> Iterable[yaml.MappingNode]:
        """The mappings whose keys are parameters: the document itself."""
        return [root]

    def values(self, key: str, value: yaml.Node) -> Iterable[yaml.Node]:
        """What stands below a key and is its own: all of it."""
        return [value]

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            _as_text(key)
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {shown(key.value)} is given twice", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return super().construct_mapping(node, deep)


class AliasLoader(YamlLoader):
    """Takes aliases: of what a paper printed, where one row may stand for another."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        return yaml.SafeLoader.compose_node(self, parent, index)


def _as_text(node: yaml.Node) -> None:
    """Let all scalars below a node stand for their text."""
    if isinstance(node, yaml.ScalarNode):
        node.tag = _TEXT
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _as_text(value)
    elif isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            _as_text(value)


_NUMBERS = {
    "int": r"^[-+]?(0|[1-9][\d_]*|0b[01_]+|0x[\da-fA-F_]+)$",
    "float": r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$|^[-+]?\.\d+([eE][-+]?\d+)?$|^[-+]?\d[\d_]*\.[\d_]*$"
    r"|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$",
}
for _kind, _pattern in _NUMBERS.items():
    YamlLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(_pattern, re.ASCII), list("-+0123456789.")
    )


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes wherever this module's loader or YAML's own would take it for something else."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as PyYAML has it)
        first: [*YamlLoader.yaml_implicit_resolvers.get(first, []), *resolvers]
        for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # In single quotes PyYAML folds every kind of line break, and reads back another one.
        return self.represent_scalar(_TEXT, data, style=None if data.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_str)


def dump_yaml(value: Mapping[str, Any]) -> str:
    """YAML text of plain values, keys sorted, that :class:`YamlLoader` reads as the same values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=1 << 30)


def parse_yaml(text: str, loader: type[YamlLoader] = YamlLoader) -> Any:
    """What a YAML text stands for.

    Raises:
        DataError: It is not valid; the message is one line.
    """
    try:
        return yaml.load(text, Loader=loader)
    except RecursionError as error:
        raise DataError("it is nested too deeply") from error
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        # Besides its own errors, PyYAML lets those of int(), float() and the like pass, for values with a false tag.
        raise DataError(" ".join(str(error).split())[:500]) from error


def load_yaml(path: Path, loader: type[YamlLoader] = YamlLoader) -> dict[str, Any]:
    """A file of ``key: value`` lines.

    Raises:
        DataError: The file is missing, longer than :data:`MAX_BYTES`, or no YAML mapping.
    """
    try:
        found = path.is_file()
    except (OSError, ValueError):  # no name for a file: too long, or with a NUL in it
        found = False
    if not found:
        near = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise DataError(f"configuration file {path} not found{did_you_mean(path.name, near)}")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(f"configuration file {path} is too long: expected at most {MAX_BYTES} bytes, found {size}")
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"), loader)
    except ValueError as error:  # of the YAML, or of the encoding
        raise DataError(f"configuration file {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, Mapping):
        raise DataError(f"configuration file {path} must hold 'key: value' lines: found {type(values).__name__}")
    return dict(values)
