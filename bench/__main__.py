"""`make bench`: every figure in docs/performance.md, each with the machine, the versions and the day it was measured on.

A section that is not asked for keeps what was measured last. Compare ratios of one run: the rest depends on the machine.
"""

import argparse
import os
import platform
import ssl
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import orjson

from bench import linear
from bench.goals import goals
from bench.sections import SECTIONS, SHORT, Options
from bench.servers import BenchError, peers
from scripts import throwaway

RESULTS: Final = Path(__file__).parent / "results.json"
_PACKAGES: Final = ("cryptography", "fastapi", "httptools", "msgspec", "orjson", "uvicorn", "uvloop")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write. Exit status 1 when a figure would not be what it says, or when a review takes more than its
    share of time for being large."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Every figure in docs/performance.md.")
    parser.add_argument("--only", default=",".join(SHORT), help=f"of {', '.join(SECTIONS)} (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2, help="of one round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="for each figure (default: %(default)s)")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=URL", help="another webhook; repeatable")
    parser.add_argument("--peer-pid", action="append", default=[], metavar="NAME=PID", help="its process, for its CPU")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write them as JSON")
    given = parser.parse_args(arguments)
    names = given.only.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        parser.error(f"--only: no section is called {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    try:
        options = Options(given.seconds, given.rounds, peers(given.peer, given.peer_pid))
    except BenchError as error:
        parser.error(str(error))
    results = orjson.loads(given.results.read_bytes()) if given.results.exists() else {}
    failed = [name for name in names if not _run(name, options, results, given.results)]
    for goal in goals(results):
        print(goal)
    if steep := [name for name, row in results.get("linear", {}).items() if row["ratio"] > linear.LIMIT]:
        print(f"bench: time grows faster than the size: {', '.join(steep)}", file=sys.stderr)
    return 1 if failed or steep else 0


def _run(name: str, options: Options, results: dict[str, Any], file: Path) -> bool:
    """Whether the section could be measured: what was is written at once, since the next one may fail."""
    try:
        results |= SECTIONS[name].measure(options)
    except (BenchError, throwaway.StartError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return False
    results.setdefault("ran", {})[name] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seconds": options.seconds,
        "rounds": options.rounds,
        "machine": _machine(),
        "versions": {package: version(package) for package in _PACKAGES} | {"python": platform.python_version()},
    }
    file.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(SECTIONS[name].table(results), end="\n\n", flush=True)
    return True


def _machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "openssl": ssl.OPENSSL_VERSION,
    }


if __name__ == "__main__":
    sys.exit(main())
