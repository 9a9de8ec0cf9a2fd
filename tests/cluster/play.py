"""A scenario as a program: played in a network of its own, told as a table and as JSON."""

import argparse
import json
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tests.cluster import netns
from tests.cluster.binaries import AssetsError, BuildError, GoUnavailableError, binaries, kubernetes_version
from tests.cluster.tied import StartError

Figures: TypeAlias = dict[str, Any]

KEPT, BROKEN, NOT_PLAYED = 0, 1, 2


def play(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    scenario: Callable[[argparse.Namespace], Figures],
    broken: Callable[[Figures], list[str]],
) -> int:
    """Play it with the options that the parser knows, and print what it saw and which promises that breaks.

    Exit status 1 when there are any, 2 when it could not be played.
    """
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl-C does
    try:
        binaries()  # built from what there is outside
        netns.enter()
        played = scenario(options)
    except (GoUnavailableError, AssetsError, BuildError, StartError, netns.NetworkError) as error:
        print(error, file=sys.stderr)
        return NOT_PLAYED
    figures = {"kubernetes": kubernetes_version(), "python": platform.python_version()} | played
    problems = broken(figures)
    if options.json:
        options.json.write_text(json.dumps(figures | {"broken": problems}, indent=2) + "\n")
    print("| figure | value |", "| --- | --- |", *_rows(figures), *problems, sep="\n")
    return BROKEN if problems else KEPT


def say(text: str) -> None:
    """Show how far it is, on stderr."""
    print(text, file=sys.stderr, flush=True)


def _rows(figures: Any, name: str = "") -> Iterator[str]:
    match figures:
        case dict():
            for key, value in figures.items():
                yield from _rows(value, f"{name}: {key}" if name else key)
        case list():
            for number, each in enumerate(figures, 1):
                yield f"| {name} {number} | {_short(each)} |"
        case _:
            yield f"| {name} | {_short(figures)} |"


def _short(figure: Any) -> str:
    match figure:
        case dict():
            return ", ".join(f"{key} {_short(value)}" for key, value in figure.items())
        case float():
            return f"{figure:.2f}"
        case _:
            return str(figure)
