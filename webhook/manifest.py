"""A manifest from a file or a request body: JSON, or YAML as kubectl reads it."""

from math import isfinite
from typing import Any

import orjson
import yaml

from webhook.path import shown
from webhook.shape import DEPTH, Malformed, check_depth

_LIMIT = 3 * 1024 * 1024  # bytes; the API server takes no more from a client
_EVENTS = 200_000  # values, with two for an object or a list; a pod that fills etcd's 1.5 MiB has fewer
_DIRECTIVES = 100
_MERGED = 100_000  # values that << may bring into one manifest
_DIGITS = 400  # more than any float has

_TEXT = "tag:yaml.org,2002:str"
_TEXT_TO_KUBECTL = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
_CHECKED = {"bool": "a boolean", "int": "a whole number", "float": "a number"}
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


class _Loader(yaml.CSafeLoader):
    """YAML into JSON's types, as kubectl does it; a key that stands twice is an error."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._flat: set[yaml.Node] = set()
        self._merged = 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        """The tag of a value that has none: a date, 1:30 (base 60 to YAML 1.1) and = are text to kubectl."""
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return _TEXT if tag in _TEXT_TO_KUBECTL or (tag in _NUMBERS and ":" in value) else tag

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Write `<<` out. PyYAML does it without a bound: a dozen lines that merge each other fill the memory."""
        if node in self._flat:
            return
        self._flat.add(node)
        seen: set[str] = set()
        own, merged = [], []
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _error(f"key {shown(key.value)} stands twice", key)
                seen.add(key.value)
            if key.tag != "tag:yaml.org,2002:merge":
                own.append((key, value))
                continue
            # the first of several to give a key wins, while in a dict the last one does
            for source in reversed(value.value) if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode):
                    raise _error("<< takes an object or a list of objects", value)
                self.flatten_mapping(source)
                self._merged += len(source.value)
                if self._merged > _MERGED:
                    raise _error(f"<< brings more than {_MERGED} values", key)
                merged += source.value
        node.value = merged + own

    def construct_checked(self, node: yaml.ScalarNode) -> Any:
        """A value of a kind in _CHECKED; PyYAML trips over wrong ones, and reads a number in the square of its length."""
        text = str(self.construct_scalar(node))
        kind = node.tag.rpartition(":")[2]
        try:
            if len(text) > _DIGITS or ":" in text:
                raise ValueError
            value = getattr(self, f"construct_yaml_{kind}")(node)
            if isinstance(value, float) and not isfinite(value):
                raise ValueError
        except (LookupError, ValueError) as error:
            raise _error(f"'{shown(text, 20)}' is not {_CHECKED[kind]}", node) from error
        return value


def _error(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


# YAML's sets, dates, bytes and ordered maps are none of JSON's
_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.CSafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "str", "seq", "map")
} | {f"tag:yaml.org,2002:{kind}": _Loader.construct_checked for kind in _CHECKED}


def read(body: bytes) -> list[Any]:
    """The objects in a manifest, JSON or YAML; Malformed, with the place, when there is none."""
    if len(body) > _LIMIT:
        raise Malformed((), f"above {_LIMIT} bytes, which is all that the API server takes")
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            # a flow mapping in YAML begins like JSON does
            try:
                return read_yaml(body)
            except Malformed:
                raise Malformed((), f"not JSON: {error}") from error
        check_depth(value)
        return [value]
    documents = read_yaml(body)
    if not documents:
        raise Malformed((), "there is no manifest in it")
    return documents


def read_yaml(body: bytes) -> list[Any]:
    """The documents that are not empty, as JSON can carry them; Malformed for anything that JSON, or this machine, can't."""
    try:
        _check_bounds(body)
        documents = [document for document in yaml.load_all(body, _Loader) if document is not None]
    except Malformed:
        raise
    except (yaml.YAMLError, ValueError) as error:
        raise Malformed((), f"not YAML: {' '.join(str(error).split())}") from error
    check_depth(documents)
    if _size(documents, {}) > _LIMIT:
        raise Malformed((), f"above {_LIMIT} bytes once its aliases are written out")
    return [_plain(document) for document in documents]


def _check_bounds(body: bytes) -> None:
    """Malformed for what libyaml and PyYAML build without a bound: nesting overflows the stack in C, which ends the process,
    and each %TAG is looked for among all those before it."""
    if body.decode().count("%TAG") > _DIRECTIVES:
        raise Malformed((), f"more than {_DIRECTIVES} %TAG directives")
    depth = 0
    for count, event in enumerate(yaml.parse(body, yaml.CSafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH:
            raise Malformed((), f"nested deeper than {DEPTH} levels")
        if count > _EVENTS:
            raise Malformed((), f"more than {_EVENTS} values")


def _size(value: object, known: dict[int, int]) -> int:
    """About how many bytes of JSON this is with aliases written out, without writing them out."""
    if not isinstance(value, dict | list):
        return len(value) if isinstance(value, str) else 1
    if id(value) not in known:
        inner = sum(_size(item, known) for item in (value.values() if isinstance(value, dict) else value))
        keys = sum(len(key) for key in value if isinstance(key, str)) if isinstance(value, dict) else 0
        known[id(value)] = 1 + len(value) + keys + inner
    return known[id(value)]


def _plain(value: Any) -> Any:
    """What JSON can carry; Malformed for keys that are not text and numbers beyond 64 bits."""
    try:
        return orjson.loads(orjson.dumps(value))
    except orjson.JSONEncodeError as error:
        raise Malformed((), f"not a manifest: {error}") from error
