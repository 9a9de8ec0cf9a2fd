"""What a pod's dpdk/… annotations ask for, read strictly: a typo must not pass silently."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from webhook.edits import Reject
from webhook.pagesize import PageSize, PageSizeError, page_size
from webhook.path import shown
from webhook.quantity import Quantity, QuantityError, parse

ANNOTATION: Final = "dpdk"
PREFIX: Final = "dpdk/"
_HUGEPAGES: Final = "dpdk/hugepages-"
KEYS: Final = ("containers", "eal-env", "huge-dir", "huge-size", "hugepages-1Gi", "hugepages-2Mi", "whole-cpus")

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,253}", re.ASCII)
_MOUNT_PATH = re.compile(r"""(/[^/\s:'"$]+)+""")


@dataclass(frozen=True, slots=True)
class Options:
    """One pod's options; None where the pod leaves the choice to the site's settings."""

    containers: tuple[str, ...] | None = None
    hugepages: tuple[tuple[PageSize, Quantity], ...] = ()  # smallest size first
    huge_dir: str | None = None
    huge_size: PageSize | None = None
    eal_env: str | None = None
    whole_cpus: bool | None = None
    problems: tuple[Reject, ...] = ()

    @property
    def hugepages_misread(self) -> bool:
        """An amount of hugepages was given and could not be understood: no second complaint that it is missing."""
        return any(str(problem.path[-1]).startswith(_HUGEPAGES) for problem in self.problems)


def read_options(annotations: Mapping[str, str]) -> Options:
    """The options; what can't be understood is in `problems` and counts as not given."""
    options = Options()
    for key, value in annotations.items():
        if key.startswith(PREFIX):
            try:
                options = _read(options, key, value or "")
            except _OptionError as error:
                problem = Reject(("metadata", "annotations", key), error.reason, error.detail)
                options = replace(options, problems=(*options.problems, problem))
    return replace(options, hugepages=tuple(sorted(options.hugepages)))


class _OptionError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def _read(options: Options, key: str, value: str) -> Options:
    if key.startswith(_HUGEPAGES):
        return replace(options, hugepages=(*options.hugepages, _hugepages(key, value)))
    match key.removeprefix(PREFIX):
        case "containers":
            names = tuple(name.strip() for name in value.split(","))
            if not all(names):
                raise _OptionError("malformed option", f"'{shown(value)}' is not a list of container names, such as app,fwd")
            return replace(options, containers=names)
        case "huge-dir":
            problem = mount_path_problem(value)
            if problem:
                raise _OptionError("malformed option", f"'{shown(value)}' {problem}; write a path such as /dev/hugepages")
            return replace(options, huge_dir=value)
        case "huge-size":
            return replace(options, huge_size=_page_size(value))
        case "eal-env":
            if not is_env_name(value):
                detail = f"'{shown(value)}' is not a name that a shell can read, such as DPDK_EAL_ARGS"
                raise _OptionError("malformed option", detail)
            return replace(options, eal_env=value)
        case "whole-cpus":
            if value not in ("all", "dpdk"):
                raise _OptionError("malformed option", f"'{shown(value)}' is neither all nor dpdk")
            return replace(options, whole_cpus=value == "all")
        case unknown:
            near = get_close_matches(unknown[:64], KEYS, n=1)
            meant = f"did you mean dpdk/{near[0]}?" if near else f"known are {', '.join(KEYS)}"
            raise _OptionError("unknown option", meant)


def _hugepages(key: str, value: str) -> tuple[PageSize, Quantity]:
    size = _page_size(key.removeprefix(_HUGEPAGES), _HUGEPAGES)
    try:
        amount = parse(value)
    except QuantityError as error:
        raise _OptionError("malformed option", f"{error.problem}; write an amount such as 2Gi") from error
    problem = whole_pages_problem(size, amount)
    if problem:
        raise _OptionError("malformed option", problem)
    return size, amount


def _page_size(name: str, prefix: str = "") -> PageSize:
    try:
        return page_size(name)
    except PageSizeError as error:
        meant = f"write {prefix}{error.canonical}" if error.canonical else "known sizes are 64Ki, 2Mi, 32Mi, 512Mi, 1Gi"
        raise _OptionError("unknown page size", f"no node advertises '{shown(name)}'; {meant}") from error


def whole_pages_problem(size: PageSize, amount: Quantity) -> str | None:
    """Why this amount of bytes can't be had in pages of this size, or None."""
    if amount.millis <= 0:
        return f"{amount} is not an amount above 0"
    if not size.holds(amount):
        return f"{amount} is not a whole number of {size} pages; write {Quantity(amount.millis, 'binary').round_up(size.size)}"
    return None


def mount_path_problem(path: str) -> str | None:
    """Why EAL or the API can't use this path for a hugetlbfs mount, or None."""
    if not path.startswith("/"):
        return "is not an absolute path"
    if path == "/":
        return "is the root"
    if not path.isprintable() or not _MOUNT_PATH.fullmatch(path):
        return "has a blank, a colon, a quote, a $, an empty part or a trailing slash"
    if {".", ".."} & set(path.split("/")):
        return "has a part . or .."
    return None


def is_env_name(name: str) -> bool:
    """A name that both the API and a shell accept for an environment variable."""
    return _ENV_NAME.fullmatch(name) is not None
