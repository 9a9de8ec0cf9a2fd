"""docs/policy.md: how far the policy and the contract agree, as `python -m tests.cluster.policy` counted last."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.golden import cases

RESULTS: Final = Path(__file__).resolve().parents[1] / "docs" / "policy.json"
COLUMNS: Final = ("both accept", "both refuse", "policy accepts", "policy refuses", "Kubernetes refuses")
LEFT: Final[Mapping[str, str]] = {
    "C5": "`--huge-dir` and where it stands, other options of EAL's, and a mount path that EAL can't read: words would have to "
    "be read as a shell and as EAL read them",
    "C4 over": "one hugepage mount over another in different spellings: CEL brings no path into its normal form",
}


def table() -> str:
    """A row a rule, and what is left to the webhook."""
    seen = json.loads(RESULTS.read_text())
    rows = [_row(f"`{rule}`", counts) for rule, counts in seen["rules"].items()]
    total = {column: sum(counts.get(column, 0) for counts in seen["rules"].values()) for column in COLUMNS}
    outputs = seen["outputs"]
    head = "| pods of | both accept | both refuse | only the policy accepts | only the policy refuses | Kubernetes refuses |"
    return "\n".join(
        [
            f"Measured on {seen['date']} with Kubernetes {seen['kubernetes']}, {sum(total.values())} annotated pods as their "
            f"authors sent them. Of the {sum(outputs.values())} pods that came out of the webhook the policy accepts "
            f"{outputs.get('both accept', 0)} and refuses {outputs.get('policy refuses', 0)}; the other "
            f"{outputs.get('Kubernetes refuses', 0)} Kubernetes itself does not create here, and says why:",
            "",
            *(f"- `{name}`: `{words}`" for name, words in seen["outputs that Kubernetes refuses"].items()),
            "",
            head,
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            _row("all", total),
            "",
            "What only the policy accepts:",
            "",
            *(_left(code, names) for code, names in seen["policy accepts"].items()),
        ]
    )


def _row(what: str, counts: Mapping[str, int]) -> str:
    return f"| {what} | {' | '.join(str(counts.get(column, 0)) for column in COLUMNS)} |"


def _left(codes: str, names: list[str]) -> str:
    known: dict[str, Any] = {case.name: case for case in cases()}
    rows = sorted({row for name in names for row in known[name].rows})
    said = "; ".join(LEFT[code] for code in codes.split("; "))
    pods = "1 pod" if len(names) == 1 else f"{len(names)} pods"
    return f"- {pods} of the contract's row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))}: {said}"
