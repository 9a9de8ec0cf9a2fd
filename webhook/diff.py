"""YAML before and after, line by line, with the rule and the reason behind what a rule did.

Each line is known by where in the object its value stands, and the record says what moved; so nothing is searched for, and the
time is that of the length, however much the containers resemble each other.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import yaml

from webhook.path import Path
from webhook.review import Change, Decision
from webhook.workload import rewritten


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of YAML."""

    place: tuple[Path, int]  # of the innermost value that begins on it, or as many lines above it
    text: str
    note: str  # why a rule wrote or removed it; empty where none did


def diff(before: Mapping[str, Any], *decisions: Decision) -> str:
    """The object's YAML before and after as a unified diff, with the rule and the reason behind each line that a rule wrote."""
    written, removed, shifts = _record([change for decision in decisions for change in decision.changes])
    old = list(_lines(manifest(before), removed, shifts))
    numbers = {line.place: number for number, line in enumerate(old)}
    result: list[str] = []
    added: list[str] = []
    reached = 0
    for line in _lines(manifest(rewritten(before, decisions)), written, {}):
        number = numbers.get(line.place, -1)
        if number < reached or old[number].text != line.text:
            added.append(f"+{line.text}{line.note}")
            continue
        result += [f"-{gone.text}{gone.note}" for gone in old[reached:number]] + added + [f" {line.text}"]
        added = []
        reached = number + 1
    return "\n".join(result + [f"-{gone.text}{gone.note}" for gone in old[reached:]] + added)


_Reasons = Mapping[Path, list[str]]


def _record(changes: Sequence[Change]) -> tuple[_Reasons, _Reasons, Counter[Path]]:
    """Why a value was written and why one was removed, each by its path in the end, and by how much lists were shifted."""
    written: dict[Path, list[str]] = defaultdict(list)
    removed: dict[Path, list[str]] = defaultdict(list)
    shifts: Counter[Path] = Counter()
    # backwards: a path holds from its change on, and only what came to the front later has shifted it
    for change in reversed(changes):
        operation = change.operation
        if operation.op == "remove":
            removed[_shifted(operation.target, shifts)].append(f"{change.rule}: {change.why}")
        else:
            written[_shifted(operation.path, shifts)].append(f"{change.rule}: {change.why}")
        if operation.op == "add" and operation.target[-1] == 0:
            shifts[_shifted(operation.target[:-1], shifts)] += 1
    return written, removed, shifts


def _shifted(path: Path, shifts: Mapping[Path, int]) -> Path:
    moved: Path = ()
    for part in path:
        moved = (*moved, part + shifts.get(moved, 0) if isinstance(part, int) else part)
    return moved


def _lines(text: str, reasons: _Reasons, shifts: Mapping[Path, int]) -> Iterator[_Line]:
    starts: dict[int, Path] = {}
    notes: dict[int, list[str]] = defaultdict(list)
    for path, first, last in _spans(yaml.compose(text, yaml.CSafeLoader), (), shifts):
        starts[first] = path
        notes[last] += reasons.get(path, ())
    path, first = (), 0
    for number, line in enumerate(text.splitlines()):
        if number in starts:
            path, first = starts[number], number
        note = "; ".join(dict.fromkeys(notes.get(number, ())))
        yield _Line((path, number - first), line, note and f"  # {note}")


def _spans(node: yaml.Node | None, path: Path, shifts: Mapping[Path, int]) -> Iterator[tuple[Path, int, int]]:
    """Every value's path, the line on which it begins, and the line that a comment on it may follow."""
    if isinstance(node, yaml.MappingNode):
        members = [(key.value, key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        members = [(index, item, item) for index, item in enumerate(node.value, shifts.get(path, 0))]
    else:
        return
    for part, begin, value in members:
        first: int = begin.start_mark.line
        # a comment inside a text of several lines would be text
        yield (*path, part), first, value.end_mark.line if isinstance(value, yaml.ScalarNode) else first
        yield from _spans(value, (*path, part), shifts)


def manifest(given: Mapping[str, Any]) -> str:
    """The object as YAML, its fields in the order in which they came."""
    # through JSON: aliases and unusual scalars are gone, and the two texts differ only where the pods do
    plain = orjson.loads(orjson.dumps(given))
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


class _Dumper(yaml.SafeDumper):
    """Lists are indented as in the Kubernetes documentation, and no value is ever replaced by an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)
