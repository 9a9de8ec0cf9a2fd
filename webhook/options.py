"""What a pod's dpdk/… annotations ask for, read strictly: a typo must not pass silently."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from msgspec import Struct

from webhook.edits import Reject
from webhook.pagesize import PageSize, PageSizeError, page_size
from webhook.path import shown
from webhook.quantity import Quantity, QuantityError, parse

ANNOTATION: Final = "dpdk"
PREFIX: Final = "dpdk/"
HUGEPAGES_KEY: Final = "dpdk/hugepages-"
KEYS: Final = ("containers", "eal-env", "huge-dir", "huge-size", "hugepages-1Gi", "hugepages-2Mi", "whole-cpus")

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
_ANNOTATIONS: Final = ("metadata", "annotations")
_MOST = 100  # options; page sizes are few, and Kubernetes bounds annotations only after the webhooks have seen them
_LONGEST_PATH = 255
_SYSTEM = frozenset(
    f"/{name}"
    for name in ("bin", "boot", "dev", "etc", "home", "lib", "lib64", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var")
)
_TAKEN = frozenset(("ENV", "HOME", "HOSTNAME", "IFS", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "PWD", "SHELL", "USER"))
_MOUNT_PATH = re.compile(r"""(/[^/\s:'"`$;&|()<>*?\[\]\\]+)+""")


class Options(Struct, frozen=True):
    """One pod's options; None where the pod leaves the choice to the site's settings."""

    containers: tuple[str, ...] | None = None
    hugepages: tuple[tuple[PageSize, Quantity], ...] = ()  # smallest size first
    huge_dir: str | None = None
    huge_size: PageSize | None = None
    eal_env: str | None = None
    whole_cpus: bool | None = None
    problems: tuple[Reject, ...] = ()

    def misread(self, key: str) -> bool:
        """Keys that begin like this were given and could not be understood: no second complaint that they are missing."""
        return any(problem.path == _ANNOTATIONS or str(problem.path[-1]).startswith(key) for problem in self.problems)


def read_options(annotations: Mapping[str, str]) -> Options:
    """The options; what can't be understood is in `problems` and counts as not given."""
    given = [(key, value or "") for key, value in annotations.items() if key.startswith(PREFIX)]
    if len(given) > _MOST:
        detail = f"there are {len(given)} dpdk/… keys; write what is needed"
        return Options(problems=(Reject(_ANNOTATIONS, "too many options", detail),))
    values: dict[str, Any] = {}
    hugepages: list[tuple[PageSize, Quantity]] = []
    problems: list[Reject] = []
    for key, value in given:
        try:
            if key.startswith(HUGEPAGES_KEY):
                hugepages.append(_hugepages(key, value))
            else:
                values |= _read(key.removeprefix(PREFIX), value)
        except _OptionError as error:
            problems.append(Reject((*_ANNOTATIONS, key), error.reason, error.detail))
    return Options(**values, hugepages=tuple(sorted(hugepages)), problems=tuple(problems))


class _OptionError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def _read(key: str, value: str) -> dict[str, Any]:
    """The field of Options that one key sets."""
    problem = None
    match key:
        case "containers":
            names = tuple(name.strip() for name in value.split(","))
            if all(names):
                return {"containers": names}
            problem = "is not a list of container names, such as app,fwd"
        case "huge-dir":
            problem = chosen_path_problem(value)
            if problem is None:
                return {"huge_dir": value}
            problem = f"{problem}; write a path such as /dev/hugepages"
        case "huge-size":
            return {"huge_size": _page_size(value)}
        case "eal-env":
            problem = env_name_problem(value)
            if problem is None:
                return {"eal_env": value}
        case "whole-cpus":
            if value in ("all", "dpdk"):
                return {"whole_cpus": value == "all"}
            problem = "is neither all nor dpdk"
        case unknown:
            near = get_close_matches(unknown[:64], KEYS, n=1)
            meant = f"did you mean dpdk/{near[0]}?" if near else f"known are {', '.join(KEYS)}"
            raise _OptionError("unknown option", meant)
    raise _OptionError("malformed option", f"'{shown(value)}' {problem}")


def _hugepages(key: str, value: str) -> tuple[PageSize, Quantity]:
    size = _page_size(key.removeprefix(HUGEPAGES_KEY), HUGEPAGES_KEY)
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
    """Why EAL, the API or a shell can't use this path for a hugetlbfs mount, or None."""
    if not path.startswith("/"):
        return "is not an absolute path"
    if path == "/":
        return "is the root"
    if not path.isprintable() or not _MOUNT_PATH.fullmatch(path):
        return "has a blank, a colon, a character that a shell reads, an empty part or a trailing slash"
    if {".", ".."} & set(path.split("/")):
        return "has a part . or .."
    return None


def chosen_path_problem(path: str) -> str | None:
    """Why a site or a pod can't choose this path for a mount of ours, or None."""
    if len(path) > _LONGEST_PATH:
        return f"has more than {_LONGEST_PATH} characters"
    if path in _SYSTEM or path.startswith(("/proc/", "/sys/")):
        return "belongs to the system, which a mount there would hide"
    return mount_path_problem(path)


def env_name_problem(name: str) -> str | None:
    """Why this can't be the variable for EAL's options, or None."""
    if not _ENV_NAME.fullmatch(name):
        return "is not a name that a shell can read, such as DPDK_EAL_ARGS"
    if name in _TAKEN or name.startswith("KUBERNETES_"):
        return "means something else to the container; write a name such as DPDK_EAL_ARGS"
    return None
