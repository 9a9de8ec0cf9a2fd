"""Write the generated parts of README.md and docs/ anew: rules, settings, figures, the contract (`make docs`)."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from scripts import contract
from webhook.rules import OPT_IN, RULES
from webhook.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
CONTRACT = ROOT / "docs" / "contract.md"
RESULTS = ROOT / "bench" / "results.json"


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


def bench_table() -> str:
    """A row for each number of connections, from the last `make bench`."""
    results = json.loads(RESULTS.read_text())
    machine, load = results["machine"], results["load"]
    rows = [
        f"| {connections} | {figures['rps']:,} | {figures['p50_ms']:.2f} | {figures['p99_ms']:.2f} "
        f"| {figures['mutate_cpu_us']:.0f} | {figures['floor_cpu_us']:.0f} | {figures['ratio']:.1f} |"
        for connections, figures in results["connections"].items()
    ]
    note = (
        f"`/mutate`, a review of {load['review_bytes']:,} bytes with three containers, TLS, {machine['cores']} cores "
        f"({machine['cpu']}), Python {results['versions']['python']}, load by {load['generator']} on the same machine."
    )
    head = "| connections | requests/s | p50 ms | p99 ms | CPU µs a request | floor, CPU µs | ratio |"
    return "\n".join([note, "", head, "| --- | --- | --- | --- | --- | --- | --- |", *rows])


def linear_table() -> str:
    """A row for each thing that a review can have much of, from the last `make bench`."""
    results = json.loads(RESULTS.read_text())
    rows = []
    for name, figures in results["linear"].items():
        times = [microseconds / kilobytes for microseconds, kilobytes in zip(figures["us"], figures["kb"], strict=True)]
        per = f"{times[-3]:,.1f} | {times[-1]:,.1f} | {figures['ratio']:.2f}"
        rows.append(f"| {name} | {figures['kb'][-1]:,.0f} | {figures['us'][-1] / 1000:,.0f} | {per} |")
    note = f"{results['machine']['cpu']}, Python {results['versions']['python']}."
    head = "| much of | kB | ms | µs a kB at a sixteenth | µs a kB | ratio |"
    return "\n".join([note, "", head, "| --- | --- | --- | --- | --- | --- |", *rows])


Parts: TypeAlias = Mapping[str, Callable[[], str]]
PARTS: Final[Mapping[Path, Parts]] = {
    README: {"rules": rules_table, "settings": settings_table, "bench": bench_table},
    PERFORMANCE: {"linear": linear_table},
    CONTRACT: {"rows": contract.rows},
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
