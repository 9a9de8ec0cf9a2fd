"""The Decision for people and programs: sentences, a diff, plain JSON. Nothing is decided here."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import orjson

from webhook.edits import UNSET
from webhook.path import cut, dotted, shown
from webhook.review import Change, Decision, Finding
from webhook.workload import Reviewed, Subject

WARNING_LENGTH = 120  # characters
WARNINGS_LENGTH = 4_096  # characters of all; the API server cuts longer ones beyond, and drops what comes then
REASONS = 50
REASON_LENGTH = 1_000  # characters
REFUSAL_LENGTH = 16 * 1024  # characters
_ADVICE_LENGTH = 256  # characters; the API server cuts what is longer
_AUDIT_LENGTH = 1_024  # characters
_PART = 60


def rejection(finding: Finding) -> str:
    """resources: no memory (container app, spec.containers[0].resources.limits.memory): …; one line of any length."""
    where = f"container {finding.container}, {dotted(finding.path)}" if finding.container else dotted(finding.path)
    return f"{finding.rule}: {finding.reason} ({where}): {finding.detail}"


def warning(finding: Finding) -> str:
    """resources: container app, no cpu: …; at most 120 characters, since kubectl shows it beside everything else."""
    return _warning(finding, [finding.container] if finding.container else [])


def warnings(decision: Decision) -> list[str]:
    """The warnings as the API server passes them on: containers that share a text share a line, and it takes only so much."""
    if not decision.warnings:
        return []
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in decision.warnings:
        groups.setdefault((finding.rule, finding.reason, finding.detail), []).append(finding)
    named = [dict.fromkeys(finding.container for finding in group if finding.container) for group in groups.values()]
    lines = [_warning(group[0], list(names)) for group, names in zip(groups.values(), named, strict=True)]
    return _bounded(lines, len(lines), WARNINGS_LENGTH)


def _warning(finding: Finding, containers: Sequence[str]) -> str:
    """Names give way to the detail, which says what to write instead."""
    before, behind = f"{finding.rule}: ", f"{finding.reason}: {finding.detail}"
    return shown(before + _subject(containers, WARNING_LENGTH - len(before + behind)) + behind, WARNING_LENGTH)


def _subject(containers: Sequence[str], room: int) -> str:
    if not containers:
        return ""
    *others, last = containers
    if not others:
        return f"container {_narrowed(last, room - len('container , '))}, "
    named = f"containers {', '.join(others)} and {last}, "
    return named if len(containers) <= 3 and len(named) <= room else f"{len(containers)} containers, "


def _narrowed(name: str, room: int) -> str:
    """Both ends of the name: what tells one container from the next may stand at either."""
    if len(name) <= room:
        return name
    ends = max(room - 1, 0)
    return f"{name[: ends - ends // 2]}…{name[len(name) - ends // 2 :]}"


def refusal(reasons: Sequence[str], head: str) -> str:
    """Every reason at once, a line each; of a pod with more than anybody would read, the first ones."""
    lines = [shown(reason, REASON_LENGTH) for reason in reasons]
    return "\n".join([f"{head} ({_count(reasons)}):", *_bounded(lines, REASONS, REFUSAL_LENGTH)])


def _count(reasons: Sequence[str]) -> str:
    return "1 reason" if len(reasons) == 1 else f"{len(reasons)} reasons"


def _bounded(lines: list[str], most: int, size: int) -> list[str]:
    """The lines; where there are more than `most`, or more than `size` characters, the first ones, and how many follow."""
    if len(lines) <= most and sum(map(len, lines)) < size:
        return lines
    left_out = "… and {} more; POST the pod to /dry-run to see all"
    room = size - len(left_out.format(len(lines)))
    kept = [line for line, end in zip(lines[:most], accumulate(map(len, lines)), strict=False) if end < room]
    return [*kept, left_out.format(len(lines) - len(kept))]


def advice(subject: Subject, decision: Decision) -> list[str]:
    """What whoever applies a workload is warned of: all that its pods would be refused for, then what they would be warned of.
    A refusal is not cut to the length of a warning: it is all that there is to read, until the pods are missing."""
    reasons = [shown(rejection(finding), _ADVICE_LENGTH) for finding in decision.rejections]
    head = [f"the pods of this {subject.kind} would be refused ({_count(reasons)}):"] if reasons else []
    lines = head + reasons + warnings(decision)
    return _bounded(lines, len(lines), WARNINGS_LENGTH)


def changes(patch: Sequence[Mapping[str, Any]]) -> str:
    """Each operation of a patch by its kind and its JSON Pointer, for the audit log; at most 1,024 characters."""
    return cut("; ".join([f"{operation['op']} {operation['path']}" for operation in patch]), _AUDIT_LENGTH)


def shortfall(change: Change) -> str:
    """A change that is still outstanding, as the reason for a refusal: what is there and what must be."""
    path = change.operation.path
    subject = f"container {change.container}, " if change.container else ""
    if isinstance(path[-1], int):
        return f"{change.rule}: {subject}{dotted(path[:-1])} lacks {_value(change.after)}: {change.why}"
    must = "must go" if change.operation.op == "remove" else f"must be {_value(change.after)}"
    return f"{change.rule}: {subject}{dotted(path)} is {_value(change.operation.before)} and {must}: {change.why}"


def text(decision: Decision) -> str:
    """One aligned line a change (container, field, before → after, rule, why), then the warnings and the rejections."""
    rows = [_row(change, len(decision.at)) for change in decision.changes]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows]
    return "\n".join(lines + findings(decision))


def findings(decision: Decision) -> list[str]:
    """The warnings and the rejections, a line each."""
    lines = [f"warning   {warning(finding)}" for finding in decision.warnings]
    return lines + [f"rejected  {rejection(finding)}" for finding in decision.rejections]


def _row(change: Change, depth: int) -> tuple[str, str, str, str, str]:
    path = change.operation.path[depth:]
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


def record(reviewed: Sequence[Reviewed]) -> dict[str, Any] | list[dict[str, Any]]:
    """The decisions about a manifest as plain JSON, each with its document, kind, name and path: one object for a manifest of
    one pod or workload, a list for a List and for several documents."""
    found = [
        {"document": number, "kind": subject.kind, "name": subject.name, "path": dotted(subject.at)} | as_json(decision)
        for number, each in enumerate(reviewed, 1)
        for subject, decision in zip(each.subjects, each.decisions, strict=True)
    ]
    is_one = len(reviewed) == 1 and "items" not in reviewed[0].subjects[0].at
    return found[0] if is_one else found


def as_json(decision: Decision) -> dict[str, Any]:
    """The whole record as plain JSON."""
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
