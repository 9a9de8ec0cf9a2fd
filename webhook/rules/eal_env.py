"""One environment variable tells EAL where its hugepages are mounted.

Reads:        containers[*].env, envFrom, command, args, volumeMounts; dpdk/eal-env, dpdk/huge-size
Writes:       env (DPDK_EAL_ARGS prepended, or `--huge-dir=<path>` added to its value)
Rejects when: the variable names another --huge-dir, holds two, comes from a valueFrom or stands there twice, or the command
              line points --huge-dir elsewhere than at a hugepage mount
Why:          EAL reads no environment by itself: the image passes the variable on, as in `exec app $DPDK_EAL_ARGS`; a second
              --huge-dir is fatal from DPDK 25.11 on (DPDK: EAL parameters)
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from webhook.edits import Edit, Prepend, Reject, Set, Warn
from webhook.hugetlbfs import Mount, plan
from webhook.path import Path, shown
from webhook.pod import Container, Pod
from webhook.settings import Settings

_HUGE_DIR = re.compile(r"""(?:^|(?<=[\s'"]))--huge-dir(?:=|\s+|$)["']?([^\s"']*)""")
_NO_HUGE_DIR = re.compile(r"""(?:^|(?<=[\s'"]))--(in-memory|no-huge)(?=$|[\s'"])""")
_END_OF_EAL = re.compile(r"(?:^|\s)--(?=\s|$)")
_WHY = "EAL finds its hugepages there, once the image passes the variable on"


@dataclass(frozen=True, slots=True)
class _Choice:
    """What one container's variable is to say."""

    container: Container
    name: str
    mount: Mount
    mounts: list[Mount]  # every hugepage mount of the container: --huge-dir may name any of them
    several: Warn | None  # due once --huge-dir is written for an author who named no size

    @property
    def option(self) -> str:
        return f"--huge-dir={self.mount.path}"


def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
    planned = plan(pod, settings)
    name = pod.options.eal_env or settings.eal_env
    wanted = pod.options.huge_size
    for container in pod.dpdk_containers:
        mounts = planned.of(container)
        if not mounts:
            continue  # the rule hugepages says why
        sizes = sorted({mount.size for mount in mounts})
        if wanted is not None and wanted not in sizes:
            detail = f"container {container.name} has pages of {', '.join(map(str, sizes))} only"
            yield Reject(("metadata", "annotations", "dpdk/huge-size"), "page size not requested", detail)
            continue
        chosen = next(mount for mount in mounts if mount.size == (wanted or sizes[-1]))
        detail = f"--huge-dir names the {chosen.size} mount; choose with dpdk/huge-size"
        several = Warn(container.at("volumeMounts"), "several page sizes", detail) if not wanted and len(sizes) > 1 else None
        yield from _command_line(_Choice(container, name, chosen, mounts, several))


def _command_line(choice: _Choice) -> Iterator[Edit]:
    """A command line that settles the matter itself leaves nothing for the variable to say."""
    container = choice.container
    line = " ".join(container.command_line)
    path = container.at("args" if container.raw.get("args") else "command")
    paths = _HUGE_DIR.findall(line)
    for directory in paths:
        if "$" in directory:
            yield Warn(path, "--huge-dir in the command line", "it depends on a variable; check that it is a hugepage mount")
        elif not _is_mount(directory, choice.mounts):
            detail = f"{shown(directory) or 'it'} is not a hugepage mount of this container; write {choice.mount.path}"
            yield Reject(path, "--huge-dir elsewhere", detail)
            return
    bypass = _NO_HUGE_DIR.search(line)
    if bypass:
        yield Warn(path, f"--{bypass[1]} in the command line", _bypassed(bypass[1], choice.name))
    elif paths and any(_HUGE_DIR.search(entry.get("value") or "") for entry in container.env if _is_ours(entry, choice)):
        yield Warn(path, "--huge-dir twice", f"{choice.name} holds it as well, and EAL takes it once; keep one")
    elif paths:
        yield Warn(path, "--huge-dir in the command line", f"{choice.name} is not injected: EAL takes the option once")
    else:
        yield from _variable(choice)


def _variable(choice: _Choice) -> Iterator[Edit]:
    container, name = choice.container, choice.name
    found = [(index, entry) for index, entry in enumerate(container.env) if _is_ours(entry, choice)]
    if not found:
        if container.raw.get("envFrom"):
            detail = f"a {name} in there can't be read here and is overridden"
            yield Warn(container.at("envFrom"), "variables from elsewhere", detail)
        # in front: variables that follow may use $(DPDK_EAL_ARGS)
        yield Prepend(container.at("env"), {"name": name, "value": choice.option}, _WHY)
        yield from _several(choice)
        return
    index, entry = found[0]
    path = container.at("env", index)
    if len(found) > 1:
        detail = f"{name} is set {len(found)} times and the last one wins; keep one"
        yield Reject(container.at("env", found[1][0]), "variable set twice", detail)
    elif entry.get("valueFrom") is not None:
        detail = "what it will hold can't be read here; write the value, or set another name with dpdk/eal-env"
        yield Reject((*path, "valueFrom"), f"{name} from elsewhere", detail)
    else:
        yield from _value(entry.get("value") or "", (*path, "value"), choice)


def _value(value: str, path: Path, choice: _Choice) -> Iterator[Edit]:
    # what follows a lone -- is the application's, and EAL never reads it
    end = _END_OF_EAL.search(value)
    eal, rest = (value[: end.start()], value[end.start() :].lstrip()) if end else (value, "")
    paths = _HUGE_DIR.findall(eal)
    bypass = _NO_HUGE_DIR.search(eal)
    if len(paths) > 1:
        yield Reject(path, "--huge-dir twice", f"a second one is fatal from DPDK 25.11 on; keep {choice.option}")
    elif paths and not _is_mount(paths[0], choice.mounts):
        detail = f"{shown(paths[0]) or 'it'} is not a hugepage mount of this container; write {choice.option}"
        yield Reject(path, "--huge-dir elsewhere", detail)
    elif bypass:
        yield Warn(path, f"--{bypass[1]} in {choice.name}", _bypassed(bypass[1], choice.name))
    elif not paths:
        yield Set(path, " ".join(part for part in (eal, choice.option, rest) if part), _WHY)
        yield from _several(choice)


def _several(choice: _Choice) -> Iterator[Edit]:
    if choice.several:
        yield choice.several


def _is_ours(entry: Mapping[str, Any], choice: _Choice) -> bool:
    return entry.get("name") == choice.name


def _is_mount(directory: str, mounts: list[Mount]) -> bool:
    return directory.rstrip("/") in {mount.path.rstrip("/") for mount in mounts}


def _bypassed(option: str, name: str) -> str:
    if option == "no-huge":
        return f"EAL then uses no hugepages; {name} gets no --huge-dir"
    return f"EAL then creates no files; {name} gets no --huge-dir"
