"""What a rule may propose, and the draft that a proposal is lowered to RFC 6902 operations on."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from webhook.path import Path, pointer


class Set(Struct, frozen=True):
    """The value at `path` becomes `value`; missing objects above it are made."""

    path: Path
    value: Any
    why: str


class Append(Struct, frozen=True):
    """`value` joins the end of the list at `path`; a missing list, and missing objects above it, are made."""

    path: Path
    value: Any
    why: str


class Prepend(Struct, frozen=True):
    """`value` joins the front of the list at `path`; a missing list, and missing objects above it, are made."""

    path: Path
    value: Any
    why: str


class Remove(Struct, frozen=True):
    """The member at `path` goes."""

    path: Path
    why: str


class Reject(Struct, frozen=True):
    """This pod can't be made right: a short stable `reason`, and one sentence of `detail` with what to write instead."""

    path: Path
    reason: str
    detail: str


class Warn(Struct, frozen=True):
    """The pod is let through, and its author should know."""

    path: Path
    reason: str
    detail: str


Proposal: TypeAlias = Set | Append | Prepend | Remove
Edit: TypeAlias = Proposal | Reject | Warn


class Unset:
    """The type of UNSET: there was no value (JSON null and a missing member are the same to Kubernetes)."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


class Operation(Struct, frozen=True):
    """One RFC 6902 operation, and where in the pod the proposed value now stands."""

    op: Literal["add", "replace", "remove"]
    target: Path  # of the operation: the highest member that had to be made
    value: Any
    path: Path  # of the proposed value itself
    before: Any  # what stood at `path`, or UNSET

    def below(self, at: Path) -> "Operation":
        """The same on a pod that stands at a place in something larger."""
        return replace(self, target=(*at, *self.target), path=(*at, *self.path)) if at else self

    def as_json(self) -> dict[str, Any]:
        """{"op", "path", "value"} as RFC 6902 writes it."""
        body: dict[str, Any] = {"op": self.op, "path": pointer(self.target)}
        if self.op != "remove":
            body["value"] = self.value
        return body


class Draft:
    """The pod as it would be. The input is never written to: an object is copied when something below it first changes,
    so a value that an operation recorded stays as it was recorded."""

    def __init__(self, pod: Mapping[str, Any]) -> None:
        self._root = dict(pod)
        self._own: dict[int, Any] = {id(self._root): self._root}

    @property
    def pod(self) -> dict[str, Any]:
        """The draft as it stands."""
        return self._root

    def apply(self, edit: Proposal) -> Operation:
        """Lower one proposal to one operation, and apply it."""
        if isinstance(edit, Set):
            return self._put(edit.path, edit.path, edit.value)
        if isinstance(edit, Remove):
            return self._remove(edit.path)
        return self._insert(edit.path, edit.value, front=isinstance(edit, Prepend))

    def _put(self, target: Path, path: Path, value: Any) -> Operation:
        """Set `target`, or the highest missing member above it to objects that lead down to it."""
        parent, depth = self._writable(target)
        key = target[depth]
        before = parent[key] if isinstance(key, int) or key in parent else None
        for part in reversed(target[depth + 1 :]):
            value = {part: value}
        parent[key] = value
        # a null member counts as missing: "add" is right for both, while "replace" needs a value; in a list it would insert
        op: Literal["add", "replace"] = "add" if before is None and isinstance(parent, dict) else "replace"
        return Operation(op, target[: depth + 1], value, path, UNSET if before is None else before)

    def _remove(self, path: Path) -> Operation:
        """Remove the member, or the null above it."""
        parent, depth = self._writable(path)
        return Operation("remove", path[: depth + 1], None, path, parent.pop(path[depth]))

    def _insert(self, path: Path, value: Any, *, front: bool) -> Operation:
        if self._get(path) is None:
            return self._put(path, (*path, 0), [value])
        items, _ = self._writable((*path, 0))
        index = 0 if front else len(items)
        items.insert(index, value)
        place = 0 if front else "-"
        return Operation("add", (*path, place), value, (*path, index), UNSET)

    def _get(self, path: Path) -> Any:
        value: Any = self._root
        for part in path:
            value = value[part] if isinstance(part, int) else value.get(part)
            if value is None:
                return None
        return value

    def _writable(self, path: Path) -> tuple[Any, int]:
        """The deepest existing parent on the way to `path`, safe to write to, and how many parts of `path` lead to it."""
        here: Any = self._root
        for depth, part in enumerate(path[:-1]):
            below = here[part] if isinstance(part, int) else here.get(part)
            if below is None:
                return here, depth
            if id(below) not in self._own:
                below = below.copy()
                self._own[id(below)] = below
                here[part] = below
            here = below
        return here, len(path) - 1
