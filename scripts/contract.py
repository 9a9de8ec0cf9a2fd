"""docs/contract.md: each row of the contract, and the cases that show it."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tests.golden import ACCEPTS, Case, cases
from webhook.contract import ROWS
from webhook.rules import OPT_IN, RULES

ROOT = Path(__file__).resolve().parents[1]


def rows() -> str:
    """A section a rule, in the order in which they are asked; in it a heading a row and a line a case."""
    promises = {rule.id: rule.promise for rule in (OPT_IN, *RULES)} | {
        "admission": "What is asked, and when, before and behind the rules."
    }
    shown: dict[int, list[Case]] = defaultdict(list)
    for case in cases():
        for number in case.rows:
            shown[number].append(case)
    parts: list[str] = []
    for rule, promise in promises.items():
        parts.append(f"## `{rule}`\n\n{promise}")
        for row in (row for row in ROWS if row.rule == rule):
            found = shown[row.number]
            parts.append(f"### {row.number}. {row.given}\n\n{_sentence(row.outcome)} Why: {row.why}.{_alone(found)}")
            parts.append("\n".join(map(_line, found)))
    return "\n\n".join(parts)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _alone(found: list[Case]) -> str:
    """What Kubernetes does with these pods by itself: this is what a row is worth."""
    asked = [case for case in found if case.kubernetes is not None]
    if not asked:
        return ""
    taken = sum(_accepted(case) for case in asked)
    return f" Kubernetes alone creates {taken} of these {len(asked)} pods." if len(asked) > 1 else ""


def _accepted(case: Case) -> bool:
    said = list(case.kubernetes.values())[-1] if isinstance(case.kubernetes, Mapping) else case.kubernetes
    return said == ACCEPTS


def _line(case: Case) -> str:
    what = "allowed" if case.is_allowed else "answered with 400" if "status" in case.found else "refused"
    if case.found.get("patch"):
        what = "changed"
    if case.found.get("warnings"):
        what += ", warned of"
    return f"- [{case.path.stem.replace('-', ' ')}](../{case.path.relative_to(ROOT)}): {what}"
