"""The types of the fields that the rules read, checked once so that no rule has to.

Source: the Kubernetes API reference, core/v1 PodSpec. Fields not named here are nobody's business and pass as they are.
"""

from typing import Annotated, Any, Final, TypedDict

import msgspec

from webhook.path import Path, dotted, shown
from webhook.quantity import json_type

CONTAINERS: Final = 1_000
DEPTH: Final = 64


class Malformed(ValueError):
    """Input that is not what it should be: `path` says where, `problem` what was expected there."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{dotted(path)}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


class _Each:
    """An object with any keys, whose values all have one shape."""

    def __init__(self, shape: "_Shape") -> None:
        self.shape = shape


_Shape = type | None | dict[str, Any] | list[Any] | _Each  # None: anything; a list of one: a list of that

_AMOUNT: Final = object  # a quantity: a string or a number, judged by the rules, which can name the container
_AMOUNTS = _Each(_AMOUNT)
_OBJECT = _Each(None)
_HANDLER = {"exec": _OBJECT}
_RESOURCES = {"requests": _AMOUNTS, "limits": _AMOUNTS}
_CONTAINER = {
    "name": str,
    "command": [str],
    "args": [str],
    "env": [{"name": str, "value": str, "valueFrom": _OBJECT}],
    "envFrom": [{"prefix": str}],
    "lifecycle": {"postStart": _HANDLER, "preStop": _HANDLER},
    "livenessProbe": _HANDLER,
    "readinessProbe": _HANDLER,
    "resources": _RESOURCES,
    "restartPolicy": str,
    "securityContext": {
        "capabilities": {"add": [str], "drop": [str]},
        "privileged": bool,
        "runAsUser": int,
        "runAsNonRoot": bool,
    },
    "startupProbe": _HANDLER,
    "terminationMessagePath": str,
    "volumeDevices": [{"name": str, "devicePath": str}],
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool, "subPath": str, "subPathExpr": str}],
}
_POD = {
    "metadata": {"annotations": _Each(str), "name": str, "generateName": str, "namespace": str},
    "spec": {
        "containers": [_CONTAINER],
        "initContainers": [_CONTAINER],
        "hostUsers": bool,
        "os": {"name": str},
        "resources": _OBJECT,
        "securityContext": {"runAsUser": int, "runAsNonRoot": bool, "fsGroup": int},
        "volumes": [{"name": str, "emptyDir": {"medium": str, "sizeLimit": _AMOUNT}}],
    },
}
_NAMES: dict[type, str] = {str: "a string", bool: "a boolean", int: "a whole number"}


def check_shape(raw: object, at: Path = ()) -> dict[str, Any]:
    """The pod, all of whose fields have the types that the rules rely on; Malformed otherwise."""
    if not isinstance(raw, dict):
        raise Malformed(at, f"a Pod is expected, not {json_type(raw)}")
    for field, expected in (("apiVersion", "v1"), ("kind", "Pod")):
        if raw.get(field) not in (None, expected):
            raise Malformed((*at, field), f"'{expected}' is expected, not {_show(raw[field])}")
    _check(raw, _POD, at)
    spec = raw.get("spec")
    if spec is None:
        raise Malformed((*at, "spec"), "a pod needs it")
    if not spec.get("containers"):
        raise Malformed((*at, "spec", "containers"), "a pod needs at least one container")
    if len(spec["containers"]) + len(spec.get("initContainers") or ()) > CONTAINERS:
        raise Malformed((*at, "spec", "containers"), f"more than {CONTAINERS} containers in one pod")
    return raw


def read_spec(spec: bytes) -> dict[str, Any] | None:
    """Of a pod's spec, given as JSON, the fields that have a shape, as the rules rely on it; None where it may not have it, or
    where a number would be read in another way than by orjson. The rest, which no rule asks for, is not even built."""
    try:
        read: dict[str, Any] = _DECODER.decode(spec)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return read if 0 < len(read.get("containers") or ()) <= CONTAINERS - len(read.get("initContainers") or ()) else None


def _typed(shape: _Shape, name: str) -> Any:
    """The type that has this shape in JSON, for msgspec."""
    if isinstance(shape, dict):
        fields = {key: _typed(inner, key) | None for key, inner in shape.items()}
        return TypedDict(name.capitalize(), fields, total=False)  # type: ignore[operator]
    if isinstance(shape, list):
        return list[_typed(shape[0], name)]  # type: ignore[misc]
    if isinstance(shape, _Each):
        value = Any if shape.shape is None else _typed(shape.shape, name) | None
        return dict[str, value]  # type: ignore[valid-type]
    # a number with a fraction or of more than 64 bits may be another one to orjson
    whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    if shape is _AMOUNT:
        return str | whole | bool | dict[str, Any] | list[Any]
    return whole if shape is int else shape


_DECODER: Final = msgspec.json.Decoder(_typed(_POD["spec"], "spec"))


def _check(value: object, shape: _Shape, path: Path) -> None:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise Malformed(path, f"an object is expected, not {json_type(value)}")
        for key, inner in shape.items():
            member = value.get(key)
            if member is not None:
                _check(member, inner, (*path, key))
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise Malformed(path, f"a list is expected, not {json_type(value)}")
        for index, item in enumerate(value):
            _check(item, shape[0], (*path, index))
    elif isinstance(shape, _Each):
        if not isinstance(value, dict):
            raise Malformed(path, f"an object is expected, not {json_type(value)}")
        if shape.shape is not None:
            for key, member in value.items():
                if member is not None:
                    _check(member, shape.shape, (*path, key))
    elif shape not in (None, _AMOUNT) and type(value) is not shape:
        advice = "; quote it" if shape is str and isinstance(value, bool | int | float) else ""
        raise Malformed(path, f"{_NAMES[shape]} is expected, not {_show(value)}{advice}")


def _show(value: object) -> str:
    if isinstance(value, str):
        return f"'{shown(value)}'"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    return json_type(value)


_NESTING: Final = (dict, list)


def check_depth(value: object, at: Path = (), *, has_aliases: bool = True) -> None:
    """Malformed when objects and lists are nested deeper than 64: nothing that Kubernetes sends is. What was
    read as JSON has no aliases, and is looked at faster."""
    level: list[Any] = [value] if type(value) in _NESTING else []
    for _ in range(DEPTH + 1):
        inner = [
            each
            for outer in level
            for each in (outer.values() if type(outer) is dict else outer)
            if type(each) is dict or type(each) is list
        ]
        if not inner:
            return
        # by identity: what YAML aliases repeat is looked at once, so that the work stays that of the text's own size
        level = list({id(each): each for each in inner}.values()) if has_aliases else inner
    raise Malformed(at, f"nested deeper than {DEPTH} levels")
