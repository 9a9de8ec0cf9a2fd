"""A pod manifest from a file or a request body: JSON, or YAML as kubectl reads it."""

from typing import Any

import orjson
import yaml

from webhook.path import shown
from webhook.pod import Pod, parse_pod
from webhook.shape import Malformed, check_depth

_NODES = 1_000_000  # values in one manifest, aliases written out


class _Loader(yaml.CSafeLoader):
    """YAML into JSON's types: a date stays text, as in kubectl, and a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def read_pod(body: bytes) -> Pod:
    """The pod in a manifest; Malformed, with the place, when there is none."""
    value = _json(body) if body.lstrip()[:1] in (b"{", b"[") else _yaml(body)
    check_depth(value)
    if isinstance(value, dict) and value.get("kind") not in (None, "Pod"):
        detail = "the pod of a workload stands in its spec.template; give that, with kind: Pod"
        raise Malformed(("kind",), f"'Pod' is expected, not '{shown(str(value['kind']))}'; {detail}")
    return parse_pod(value)


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # a flow mapping in YAML begins like JSON does
        try:
            return _yaml(body)
        except Malformed:
            raise Malformed((), f"not JSON: {error}") from error


def _yaml(body: bytes) -> Any:
    try:
        documents = [document for document in yaml.load_all(body, _Loader) if document is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise Malformed((), f"not YAML: {' '.join(str(error).split())}") from error
    if len(documents) != 1:
        raise Malformed((), f"one manifest is expected, not {len(documents)}")
    check_depth(documents[0])
    if _nodes(documents[0], {}) > _NODES:
        raise Malformed((), f"more than {_NODES} values once its aliases are written out")
    return _plain(documents[0])


def _nodes(value: object, known: dict[int, int]) -> int:
    """How many values there are with aliases written out, counting each shared one only once."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = 1 + sum(_nodes(inner, known) for inner in (value.values() if isinstance(value, dict) else value))
    return known[id(value)]


def _plain(value: Any) -> Any:
    """What JSON can carry; Malformed for keys that are not text and for YAML's sets, bytes and infinities."""
    try:
        return orjson.loads(orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATETIME))
    except orjson.JSONEncodeError as error:
        raise Malformed((), f"not a manifest: {error}") from error
