"""What tests/cluster plays at length on a real API server, as sections of the results: in processes of their own, since each
enters a network of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.servers import BenchError
from webhook.path import shown

_WIDEST: Final = 72  # characters of a name; what an API server said of a failure is longer


def measure(scenario: str, *arguments: str) -> dict[str, Any]:
    """What `python -m tests.cluster.<scenario>` saw; BenchError when it could not be played. Promises that it saw broken are
    in the figures."""
    with TemporaryDirectory(prefix="dpdk-webhook-bench-") as directory:
        file = Path(directory, "figures.json")
        command = [sys.executable, "-m", f"tests.cluster.{scenario}", "--json", str(file), *arguments]
        played = subprocess.run(command, capture_output=True, text=True, check=False)
        if not file.exists():
            raise BenchError(f"{scenario} could not be played: {played.stderr.strip()[-400:]}")
        figures: dict[str, Any] = json.loads(file.read_bytes())
    return figures


def table(figures: dict[str, Any]) -> str:
    """The figures for people, one a line; of a list, one line for each of its records."""
    rows = list(_rows(figures, ""))
    width = min(max(len(name) for name, _ in rows), _WIDEST)
    return "\n".join(f"{shown(name, width):<{width}}  {value}" for name, value in rows)


def _rows(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _rows(each, f"{name}, {key}" if name else key)
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for number, each in enumerate(value, 1):
            yield f"{name} {number}", ", ".join(f"{key} {_written(figure)}" for key, figure in each.items()).replace("_", " ")
    else:
        yield name.replace("_", " "), _written(value)


def _written(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
