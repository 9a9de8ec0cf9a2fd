"""What EAL reads in a command line and in a variable: the words in front of a lone `--`.

The kubelet puts the value of an entry of env in the place of `$(NAME)`, in command and args as in the entries that follow
it, and makes one `$` of `$$`. What it will find in a valueFrom, in envFrom or among the services can't be known here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

UNKNOWN: Final = "\0"  # stands where a reference can't be resolved; no argument can hold it

_ROOM: Final = 1 << 17  # characters that references may bring in, lest a few of them multiply; Linux takes no longer argument
_REFERENCE = re.compile(r"\$\$|\$\(([^$)]*)\)")
_END = re.compile(r"(?:^|\s)--(?=\s|$)")
_HUGE_DIR = re.compile(r"""(["']*)--huge-dir(?:=(.*))?""", re.DOTALL)
_WITHOUT_HUGE_DIR: Final = ("--in-memory", "--no-huge")
_SCRIPT_FOLLOWS = re.compile(r"-[A-Za-z]*c")
# whatever stays is in it too: to look for a character in vain costs more than all the rest
_SHELL: Final = {code: code for code in range(128)} | str.maketrans(";&|()<>", " " * 7, "\"'\\")


class Variables:
    """The values of these entries of env. `ours` stays the reference that it is, whether it is there yet or not."""

    def __init__(self, env: Iterable[Mapping[str, Any]], ours: str) -> None:
        self._room = _ROOM
        self._values = {ours: f"$({ours})"}
        for entry in env:
            name = entry.get("name") or ""
            if name != ours:
                self._values[name] = UNKNOWN if entry.get("valueFrom") is not None else self.read(entry.get("value") or "")

    def read(self, text: str) -> str:
        """The text with the values in it, and UNKNOWN for those that can't be resolved."""
        return _REFERENCE.sub(self._value, text) if "$" in text else text

    def _value(self, reference: re.Match[str]) -> str:
        if reference[0] == "$$":
            return "$"
        value = self._values.get(reference[1], UNKNOWN)
        self._room -= len(value)
        return value if self._room >= 0 else UNKNOWN


class Value:
    """A variable's value; its words are split at blanks alone, since a shell leaves quotes that a variable brings."""

    def __init__(self, text: str, variables: Variables) -> None:
        end = _END.search(text)
        self._eal = text[: end.start()] if end else text
        self._application = text[end.start() :].lstrip() if end else ""
        read = variables.read(self._eal)
        self.words, application = _split(read.split())
        self._hides_end = application is not None  # a reference brings a lone -- of its own
        self.is_one_word = not self._application and read.split() == [read]

    def with_option(self, option: str) -> str:
        """The text with one more option, where EAL reads it."""
        parts = (option, self._eal) if self._hides_end else (self._eal, option)
        return " ".join(part for part in (*parts, self._application) if part)


class CommandLine(Struct, frozen=True):
    """command and args: each element with its references resolved, EAL's words, and the words behind a lone `--`."""

    elements: list[str]
    words: list[str]
    application: list[str]


def command_line(elements: Sequence[str], variables: Variables) -> CommandLine:
    """An element that follows -c or holds blanks is read as a shell's, any other is one word."""
    line = CommandLine([variables.read(element) for element in elements], [], [])
    is_over = False
    for previous, element in zip(["", *line.elements], line.elements, strict=False):
        is_script = element.split() != [element] or _SCRIPT_FOLLOWS.fullmatch(previous)
        ours, theirs = _split(element.translate(_SHELL).split() if is_script else [element])
        (line.application if is_over else line.words).extend(ours)
        line.application.extend(theirs or ())
        # a lone -- within a script ends one command of it, not the list of arguments
        is_over = is_over or element == "--"
    return line


def huge_dirs(words: Sequence[str]) -> list[str]:
    """The path of each --huge-dir, in one word or two; with the quotes around it, which make it another path."""
    found = [(following, _HUGE_DIR.fullmatch(word)) for following, word in enumerate(words, 1) if "--huge-dir" in word]
    return [
        option[1] + ("".join(words[following : following + 1]) if option[2] is None else option[2])
        for following, option in found
        if option
    ]


def without_huge_dir(words: Sequence[str]) -> str | None:
    """The option that leaves nothing for --huge-dir to say."""
    return next((word for word in words if word in _WITHOUT_HUGE_DIR), None)


def _split(words: list[str]) -> tuple[list[str], list[str] | None]:
    """The words in front of a lone --, and those behind it; None when there is none."""
    if "--" not in words:
        return words, None
    end = words.index("--")
    return words[:end], words[end + 1 :]
