"""The Decision for people and programs: sentences, a diff, plain JSON. Nothing is decided here."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import yaml

from webhook.edits import UNSET
from webhook.path import Path, dotted, shown
from webhook.review import Change, Decision, Finding

WARNING_LENGTH = 120  # characters; the API server cuts longer ones once the response holds 4,096 of them
_PART = 60


def rejection(finding: Finding) -> str:
    """resources: no memory (container app, spec.containers[0].resources.limits.memory): …; one line of any length."""
    where = f"container {finding.container}, {dotted(finding.path)}" if finding.container else dotted(finding.path)
    return f"{finding.rule}: {finding.reason} ({where}): {finding.detail}"


def warning(finding: Finding) -> str:
    """resources: container app, no cpu: …; at most 120 characters, since kubectl shows it beside everything else."""
    subject = f"container {finding.container}, " if finding.container else ""
    return shown(f"{finding.rule}: {subject}{finding.reason}: {finding.detail}", WARNING_LENGTH)


def shortfall(change: Change) -> str:
    """A change that is still outstanding, as the reason for a refusal: what is there and what must be."""
    path = change.operation.path
    subject = f"container {change.container}, " if change.container else ""
    must = "must go" if change.operation.op == "remove" else f"must be {_value(change.after)}"
    return f"{change.rule}: {subject}{dotted(path)} is {_value(change.operation.before)} and {must}: {change.why}"


def text(decision: Decision) -> str:
    """One aligned line a change (container, field, before → after, rule, why), then the warnings and the rejections."""
    rows = [_row(change) for change in decision.changes]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows]
    return "\n".join(lines + findings(decision))


def findings(decision: Decision) -> list[str]:
    """The warnings and the rejections, a line each."""
    lines = [f"warning   {warning(finding)}" for finding in decision.warnings]
    return lines + [f"rejected  {rejection(finding)}" for finding in decision.rejections]


def _row(change: Change) -> tuple[str, str, str, str, str]:
    path = change.operation.path
    inside = path[3:] if change.container else path[1:] if path[0] == "spec" else path
    if isinstance(inside[-1], int):
        field, effect = dotted(inside[:-1]), f"+ {_value(change.after)}"
    else:
        after = "(removed)" if change.operation.op == "remove" else _value(change.after)
        field, effect = dotted(inside), f"{_value(change.operation.before)} → {after}"
    return change.container or "pod", field, effect, change.rule, change.why


def _value(value: Any) -> str:
    """A value on one line; an object by its name, where it has one."""
    if value is UNSET:
        return "(unset)"
    if isinstance(value, str):
        return shown(value, _PART)
    if isinstance(value, Mapping) and "name" in value:
        rest = value.get("mountPath") or value.get("value")
        return shown(f"{value['name']} {rest}" if rest else str(value["name"]), _PART)
    return shown(orjson.dumps(value).decode(), _PART)


def diff(before: Mapping[str, Any], decision: Decision) -> str:
    """The pod's YAML before and after as a unified diff, with the rule and the reason behind each line that a rule wrote."""
    old, new = manifest(before), manifest(decision.pod)
    reasons = {path: f"{change.rule}: {change.why}" for change in decision.changes for path in [change.operation.path]}
    root = yaml.compose(new, yaml.CSafeLoader)
    notes = {line: reasons[path] for path, line in _lines(root, ()) if path in reasons}
    old_lines, new_lines = old.splitlines(), new.splitlines()
    result: list[str] = []
    for tag, old_from, old_to, new_from, new_to in difflib.SequenceMatcher(
        None, old_lines, new_lines, autojunk=False
    ).get_opcodes():
        if tag == "equal":
            result += [f" {line}" for line in new_lines[new_from:new_to]]
            continue
        result += [f"-{line}" for line in old_lines[old_from:old_to]]
        for number in range(new_from, new_to):
            note = f"  # {notes[number]}" if number in notes else ""
            result.append(f"+{new_lines[number]}{note}")
    return "\n".join(result)


def manifest(pod: Mapping[str, Any]) -> str:
    """The pod as YAML, its fields in the order in which they came."""
    # through JSON: aliases and unusual scalars are gone, and the two texts differ only where the pods do
    plain = orjson.loads(orjson.dumps(pod))
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


class _Dumper(yaml.SafeDumper):
    """Lists are indented as in the Kubernetes documentation, and no value is ever replaced by an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def _lines(node: yaml.Node | None, path: Path) -> Iterator[tuple[Path, int]]:
    """Every value's path and the line of the text on which it begins."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line
            yield from _lines(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item.start_mark.line
            yield from _lines(item, (*path, index))


def as_json(decision: Decision) -> dict[str, Any]:
    """The whole record as plain JSON: what /dry-run answers and the CLI prints."""
    return {
        "allowed": decision.allowed,
        "promised": decision.is_promised,
        "changes": [
            {
                "rule": change.rule,
                "container": change.container,
                "path": dotted(change.operation.path),
                "before": None if change.operation.before is UNSET else change.operation.before,
                "after": change.after,
                "why": change.why,
            }
            for change in decision.changes
        ],
        "rejections": [_finding(finding, rejection(finding)) for finding in decision.rejections],
        "warnings": [_finding(finding, warning(finding)) for finding in decision.warnings],
        "patch": decision.patch,
        "pod": decision.pod,
    }


def _finding(finding: Finding, message: str) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "container": finding.container,
        "path": dotted(finding.path),
        "reason": finding.reason,
        "detail": finding.detail,
        "message": message,
    }
