"""What a rule may propose, and the draft that a proposal is lowered to RFC 6902 operations on."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from webhook.path import Path, pointer


class Set(Struct, frozen=True, gc=False):
    """The value at `path` becomes `value`; missing objects above it are made."""

    path: Path
    value: Any
    why: str


class Append(Struct, frozen=True, gc=False):
    """`value` joins the end of the list at `path`; a missing list, and missing objects above it, are made."""

    path: Path
    value: Any
    why: str


class Prepend(Struct, frozen=True, gc=False):
    """`value` joins the front of the list at `path`; a missing list, and missing objects above it, are made."""

    path: Path
    value: Any
    why: str


class Remove(Struct, frozen=True, gc=False):
    """The member at `path` goes."""

    path: Path
    why: str


class Reject(Struct, frozen=True, gc=False):
    """This pod can't be made right: a short stable `reason`, and one sentence of `detail` with what to write instead."""

    path: Path
    reason: str
    detail: str


class Warn(Struct, frozen=True, gc=False):
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


class Operation(Struct, frozen=True, gc=False):
    """One RFC 6902 operation, and where in the pod the proposed value now stands."""

    op: Literal["add", "replace", "remove"]
    target: Path  # of the operation: the highest member that had to be made
    value: Any
    path: Path  # of the proposed value itself
    before: Any  # what stood at `path`, or UNSET

    def as_json(self) -> dict[str, Any]:
        """{"op", "path", "value"} as RFC 6902 writes it."""
        body: dict[str, Any] = {"op": self.op, "path": pointer(self.target)}
        if self.op != "remove":
            body["value"] = self.value
        return body


_Copied: TypeAlias = "dict[str | int, _Copied]"  # the members that are copies already, and which of theirs are
_Place: TypeAlias = tuple[Any, _Copied, int]  # an object or a list of the draft, and how many parts of a path lead to it


class Draft:
    """The pod as it would be. The input is never written to: an object is copied when something below it first changes,
    so a value that an operation recorded stays as it was recorded. The operations' paths begin with `at`, the pod's place in
    something larger."""

    __slots__ = ("_at", "_copied", "pod")

    def __init__(self, pod: Mapping[str, Any], at: Path = ()) -> None:
        self.pod = dict(pod)  # the draft as it stands
        self._copied: _Copied = {}
        self._at = at

    def apply(self, edit: Proposal) -> Operation:
        """Lower one proposal to one operation, and apply it."""
        path = edit.path
        if isinstance(edit, Set):
            return self._put(self._writable(path), path, path, edit.value)
        if isinstance(edit, Remove):
            return self._remove(path)
        return self._insert(path, edit.value, front=isinstance(edit, Prepend))

    def _put(self, place: _Place, target: Path, path: Path, value: Any) -> Operation:
        """Set `target`, or the highest missing member above it to objects that lead down to it."""
        parent, copied, depth = place
        key = target[depth]
        is_object = isinstance(parent, dict)
        before = parent.get(key) if is_object else parent[key]
        for part in target[:depth:-1]:
            value = {part: value}
        parent[key] = value
        copied.pop(key, None)
        # a null member counts as missing: "add" is right for both, while "replace" needs a value; in a list it would insert
        op: Literal["add", "replace"] = "add" if before is None and is_object else "replace"
        return Operation(op, self._at + target[: depth + 1], value, self._at + path, UNSET if before is None else before)

    def _remove(self, path: Path) -> Operation:
        """Remove the member, or the null above it."""
        parent, copied, depth = self._writable(path)
        copied.clear()  # in a list, what follows moves up
        return Operation("remove", self._at + path[: depth + 1], None, self._at + path, parent.pop(path[depth]))

    def _insert(self, path: Path, value: Any, *, front: bool) -> Operation:
        first = (*path, 0)
        items, copied, depth = place = self._writable(first)
        if depth < len(path):
            return self._put(place, path, first, [value])
        index = 0 if front else len(items)
        if front:
            copied.clear()  # all of them move down
        items.insert(index, value)
        return Operation("add", (*self._at, *path, 0 if front else "-"), value, (*self._at, *path, index), UNSET)

    def _writable(self, path: Path) -> _Place:
        """The deepest existing parent on the way to `path`, copied as far as that."""
        here: Any = self.pod
        copied = self._copied
        try:
            for depth, part in enumerate(path[:-1]):
                below = here[part]
                if below is None:
                    return here, copied, depth
                if part in copied:
                    here, copied = below, copied[part]
                else:
                    here[part] = here = below.copy()
                    copied[part] = copied = {}
        except KeyError:
            return here, copied, depth
        return here, copied, len(path) - 1
