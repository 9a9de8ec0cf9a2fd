"""docs/lifecycle.md: what the life cycle and the cold start cost when they were played last.

`python -m scripts.lifecycle HELM KUSTOMIZE COLDSTART` takes the figures that tests.cluster.lifecycle (twice) and
tests.cluster.coldstart wrote with --json into docs/lifecycle.json; of the rounds only what all have in common.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.cluster.lifecycle import LEARNS, POLICY_LEARNS

RESULTS: Final = Path(__file__).resolve().parents[1] / "docs" / "lifecycle.json"
STEPS: Final = {
    "install_seconds": "seconds of an install, until the tool says that all is ready: median, longest",
    "blocked_in_install_seconds": "of these, from the first configuration to the last annotated create that was refused",
    "upgrade_seconds": "seconds of an upgrade, from two replicas to three new ones",
    "rollback_seconds": "seconds of a rollback",
    "uninstall_seconds": "seconds of an uninstall",
    "gone_after_seconds": "seconds after it until nothing is left, as replicas drain",
}
PROMISES: Final = {
    "plain_refused": "plain creates that were refused, ever",
    "failed_while_installed": "annotated creates that failed from the install's end to the uninstall's beginning",
    "unmutated_while_installed": (
        f"annotated pods that passed us by while a configuration was there, but for {LEARNS:g} s at either end"
    ),
    "refused_when_uninstalled": (
        "annotated creates that were refused when nothing was installed, "
        f"from {LEARNS:g} s after the configurations went, by the policy from {POLICY_LEARNS:g} s after"
    ),
    "left_over": "objects left over",
}
SPANS: Final = {
    "installed": "while nothing is done",
    "upgrade": "in upgrades",
    "rollback": "in rollbacks",
    "install": "in installs",
    "down": "while no replica ran, before an uninstall",
    "uninstall": "in uninstalls",
    "absent": f"while nothing was installed, the {LEARNS:g} s and the {POLICY_LEARNS:g} s included",
}
STARTS: Final = {"restarted": "the nodes come back", "lost": "another node comes instead of them"}


def table() -> str:
    """A row a figure: of Helm and of kustomize beside each other."""
    seen = json.loads(RESULTS.read_text())
    helm, kustomize = (seen[tool]["totals"] for tool in ("helm", "kustomize"))
    rows = [
        ("rounds", _rounds(helm), _rounds(kustomize), ""),
        *((what, helm[name], kustomize[name], "0") for name, what in PROMISES.items()),
        *((what, _seconds(helm, name), _seconds(kustomize, name), "") for name, what in STEPS.items()),
        *((f"creates {what}: {OF}", _creates(helm, name), _creates(kustomize, name), "") for name, what in SPANS.items()),
    ]
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    broken = [*seen["helm"]["broken"], *seen["kustomize"]["broken"]]
    return "\n".join(
        [_about(seen["helm"], broken), "", "| what | Helm | kustomize | promised |", "| --- | --- | --- | --- |", *lines]
    )


def starts() -> str:
    """A row a cold start."""
    seen = json.loads(RESULTS.read_text())["coldstart"]
    head = (
        "| what comes back | plain creates: all, refused | annotated: let through, refused meanwhile, refused later "
        "| seconds from the first node to the first annotated pod | promised |"
    )
    rows = [
        f"| {STARTS[each['case']]} | {each['plain']}, {each['plain_refused']} | {each['let_through']}, {each['refused']}, "
        f"{each['refused_later']} | {each['recovered_seconds']:.1f} | ≤ {each['promised_seconds']:g} |"
        for each in seen["cases"]
    ]
    return "\n".join([_promises(seen["broken"]), "", head, "| --- | --- | --- | --- | --- |", *rows])


OF: Final = "annotated, refused, not changed; plain"


def _about(seen: dict[str, Any], broken: Sequence[str]) -> str:
    played = (
        f"Played on {seen['date']} with Kubernetes {seen['kubernetes']}, Python {seen['python']} and {seen['rate']:g} creates"
    )
    return f"{played} a second, on {seen['cores']} cores for all of it. {_promises(broken)}"


def _promises(broken: Sequence[str]) -> str:
    return f"Promises broken: {'; '.join(broken) or 'none'}."


def _rounds(totals: dict[str, Any]) -> str:
    return ", ".join(f"{number} by {tool}" for tool, number in totals["by"].items())


def _seconds(totals: dict[str, Any], name: str) -> str:
    return f"{totals['seconds'][name]['median']:.1f}, {totals['seconds'][name]['longest']:.1f}"


def _creates(totals: dict[str, Any], name: str) -> str:
    numbers = totals["creates"].get(name)
    if numbers is None:
        return ""
    return f"{numbers['annotated']:,}, {numbers['refused']:,}, {numbers['unmutated']:,}; {numbers['plain']:,}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Take in the figures of three files."""
    names = ("helm", "kustomize", "coldstart")
    files = sys.argv[1:] if arguments is None else list(arguments)
    figures = {name: json.loads(Path(file).read_text()) for name, file in zip(names, files, strict=True)}
    for name in names[:2]:
        del figures[name]["rounds"]
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
