"""Write the generated parts of README.md and docs/ anew: rules, settings, figures, contract, rotations (`make docs`)."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from bench.goals import MET, goals
from bench.plots import plots
from bench.sections import SECTIONS
from scripts import contract, lifecycle, policy, rotation
from webhook.rules import OPT_IN, RULES
from webhook.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
CONTRACT = ROOT / "docs" / "contract.md"
ROTATION = ROOT / "docs" / "rotation.md"
POLICY = ROOT / "docs" / "policy.md"
LIFECYCLE = ROOT / "docs" / "lifecycle.md"
RESULTS = ROOT / "bench" / "results.json"
ROTATED = ROOT / "docs" / "rotation.json"
PLOTTED = ROOT / "docs" / "plots"


def rules_table() -> str:
    """A row a rule, from the spec cards."""
    rows = [
        f"| `{rule.id}` | {_cell(rule.promise)} | {_cell(rule.part('Writes'))} | {_cell(rule.part('Rejects when'))} |"
        for rule in (OPT_IN, *RULES)
    ]
    return "\n".join(["| rule | promise | writes | rejects when |", "| --- | --- | --- | --- |", *rows])


def settings_table() -> str:
    """A row a setting, from the fields of Settings."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = f"`{field.default}`" if field.default not in ("", {}) else ""
        meaning = _cell(field.description or "")
        rows.append(f"| `{name}` | `{PREFIX}{name.upper()}` | {default} | {meaning} |")
    return "\n".join(["| key | variable | default | meaning |", "| --- | --- | --- | --- |", *rows])


def _cell(text: str) -> str:
    """Markdown takes <size> for a tag, except in code."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def results() -> dict[str, Any]:
    """What `make bench` wrote last."""
    read: dict[str, Any] = json.loads(RESULTS.read_text())
    return read


def bench_table() -> str:
    """A row for each number of connections."""
    measured = results()
    rows = []
    for connections, row in measured["connections"].items():
        known, new = (f"{row[f'mutate_{pod}_cpu_us']:.0f} ({row[f'{pod}_ratio']:.1f} ×)" for pod in ("known", "new"))
        asked = f"{row['rps']:,} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f}"
        rows.append(f"| {connections} | {asked} | {row['floor_cpu_us']:.0f} | {known} | {new} |")
    note = (
        f"`/mutate`, reviews of {measured['load']['review_bytes']['new']:,} bytes with three containers, TLS; load by "
        f"{measured['load']['generator']} on the same machine. {_measured('load')}"
    )
    head = "| connections | requests/s | p50 ms | p99 ms | floor, CPU µs a request | pods seen before | new pods |"
    return "\n".join([note, "", head, "| --- | --- | --- | --- | --- | --- | --- |", *rows])


def section(name: str) -> str:
    """One section as the bench prints it."""
    if name not in results()["ran"]:
        return f'Not measured yet: `make bench ARGS="--only {name}"`.'
    return "\n".join([_measured(name), "", "```text", SECTIONS[name].table(results()), "```"])


def _measured(name: str) -> str:
    ran = results()["ran"][name]
    machine = f"{ran['machine']['cores']} cores ({ran['machine']['cpu']})"
    return f"Measured on {ran['date']}: {machine}, Linux {ran['machine']['kernel']}, Python {ran['versions']['python']}."


def goals_table() -> str:
    """A row a goal."""
    rows = [f"| {goal.what} | {goal.seen:g} {goal.unit} | ≤ {goal.most:g} | {MET[goal.is_met]} |" for goal in goals(results())]
    return "\n".join(["| what | measured | goal | |", "| --- | --- | --- | --- |", *rows])


def method() -> str:
    """With what it was measured: a line for all sections that have that in common."""
    sections: dict[str, list[str]] = {}
    for name, ran in results()["ran"].items():
        versions = ", ".join(f"{package} {version}" for package, version in ran["versions"].items())
        rounds = f"{ran['rounds']} round{'s' if ran['rounds'] > 1 else ''} of {ran['seconds']:g} s"
        sections.setdefault(f"{ran['date']}, {rounds}; {ran['machine']['openssl']}, {versions}", []).append(name)
    return "\n".join(f"- {', '.join(names)}: {what}" for what, names in sections.items())


Parts: TypeAlias = Mapping[str, Callable[[], str]]
PARTS: Final[Mapping[Path, Parts]] = {
    README: {"rules": rules_table, "settings": settings_table, "bench": bench_table},
    PERFORMANCE: {"goals": goals_table, "method": method} | {name: partial(section, name) for name in SECTIONS},
    CONTRACT: {"rows": contract.rows},
    ROTATION: {"rotation": rotation.table},
    POLICY: {"policy": policy.table},
    LIFECYCLE: {"lifecycle": lifecycle.table, "coldstart": lifecycle.starts},
}


def generate(text: str, file: Path = README) -> str:
    """The file's text with everything between `<!-- generated: NAME -->` and `<!-- end -->` made anew."""
    for name, table in PARTS[file].items():
        text = _filled(text, file, name, table())
    return text


def _filled(text: str, file: Path, name: str, table: str) -> str:
    pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    filled, count = pattern.subn(lambda match: f"{match[1]}{table}\n{match[2]}", text)
    if count != 1:
        raise ValueError(f"{file.name} has {count} places for the table of {name}, not 1")
    return filled


def main() -> int:
    """Write the files."""
    for file in PARTS:
        file.write_text(generate(file.read_text(), file))
    PLOTTED.mkdir(exist_ok=True)
    for name, plot in plots(results()).items():
        (PLOTTED / name).write_text(plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
