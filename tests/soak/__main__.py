"""`make soak`: every property on a million random pods, on all cores."""

import argparse
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.soak.progress import Progress
from tests.soak.search import Failure, search, shrunk, told

_LOT = 250  # cases that a process takes at a time


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every property held, 1 with the smallest counterexample when one did not, 130 when it was interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Check every property on random pods.")
    parser.add_argument("--cases", type=_count, default=1_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--processes", type=_count, default=len(os.sched_getaffinity(0)), help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32), help="(default: a new one)")
    parser.add_argument("--case", type=int, help="this case alone")
    options = parser.parse_args(arguments)
    if options.case is not None:
        failure = search(options.seed, range(options.case, options.case + 1))
    else:
        print(f"{options.cases:,} cases of seed {options.seed} in {options.processes} processes")
        began = time.monotonic()
        try:
            failure = run(options.cases, options.processes, options.seed)
        except KeyboardInterrupt:
            return 130
        if failure is None:
            print(f"every property held on {options.cases:,} cases, {options.cases / (time.monotonic() - began):,.0f} a second")
    if failure is None:
        return 0
    print(f"case {failure.number} breaks a property; shrinking it …", flush=True)
    print(told(failure, shrunk(failure)))
    return 1


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return count


def run(cases: int, processes: int, seed: int) -> Failure | None:
    """The first case that breaks a property, or None."""
    lots = [range(start, min(start + _LOT, cases)) for start in range(0, cases, _LOT)]
    progress = Progress(cases, sys.stdout)
    executor = ProcessPoolExecutor(processes, initializer=_leave_interrupts_to_the_parent)
    try:
        for lot, failure in zip(lots, executor.map(search, repeat(seed), lots), strict=True):
            if failure is not None:
                progress.end()
                return failure
            progress.show(lot.stop)
    except KeyboardInterrupt:
        progress.end()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
    return None


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
