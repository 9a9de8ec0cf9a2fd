"""One environment variable tells EAL where its hugepages are mounted.

Reads:        containers[*].env, envFrom, command, args, volumeMounts; dpdk/eal-env, dpdk/huge-size
Writes:       env (DPDK_EAL_ARGS prepended, or ` --huge-dir=<path>` appended to its value)
Rejects when: the variable names another --huge-dir, holds two, comes from a valueFrom or stands there twice, or the command
              line points --huge-dir elsewhere than at a hugepage mount
Why:          EAL reads no environment by itself: the image passes the variable on, as in `exec app $DPDK_EAL_ARGS`; a second
              --huge-dir is fatal from DPDK 25.11 on (DPDK: EAL parameters)
"""

import re
from collections.abc import Iterator
from typing import Any

from webhook.edits import Edit, Prepend, Reject, Set, Warn
from webhook.hugetlbfs import Mount, plan
from webhook.path import shown
from webhook.pod import Container, Pod
from webhook.settings import Settings

_HUGE_DIR = re.compile(r"""(?:^|(?<=[\s'"]))--huge-dir(?:=|\s+|$)["']?([^\s"']*)""")
_NO_HUGE_DIR = re.compile(r"""(?:^|(?<=[\s'"]))--(in-memory|no-huge)(?=$|[\s'"])""")
_WHY = "EAL finds its hugepages there, once the image passes the variable on"


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
        if wanted is None and len(sizes) > 1:
            detail = f"--huge-dir names the {sizes[-1]} mount; choose with dpdk/huge-size"
            yield Warn(container.at("volumeMounts"), "several page sizes", detail)
        chosen = next(mount for mount in mounts if mount.size == (wanted or sizes[-1]))
        yield from _command_line(container, name, chosen, mounts)


def _command_line(container: Container, name: str, chosen: Mount, mounts: list[Mount]) -> Iterator[Edit]:
    """A command line that settles the matter itself leaves nothing for the variable to say."""
    line = " ".join(container.command_line)
    path = container.at("args" if container.raw.get("args") else "command")
    paths = _HUGE_DIR.findall(line)
    for directory in paths:
        if "$" in directory:
            yield Warn(path, "--huge-dir in the command line", "it depends on a variable; check that it is a hugepage mount")
        elif not _is_mount(directory, mounts):
            detail = f"{shown(directory) or 'it'} is not a hugepage mount of this container; write {chosen.path}"
            yield Reject(path, "--huge-dir elsewhere", detail)
            return
    bypass = _NO_HUGE_DIR.search(line)
    if bypass:
        yield Warn(path, f"--{bypass[1]} in the command line", _bypassed(bypass[1], name))
    elif paths:
        yield Warn(path, "--huge-dir in the command line", f"{name} is not injected: EAL takes the option once")
    else:
        yield from _variable(container, name, chosen, mounts)


def _variable(container: Container, name: str, chosen: Mount, mounts: list[Mount]) -> Iterator[Edit]:
    found = [(index, entry) for index, entry in enumerate(container.env) if entry.get("name") == name]
    option = f"--huge-dir={chosen.path}"
    if not found:
        if container.raw.get("envFrom"):
            detail = f"a {name} in there can't be read here and is overridden"
            yield Warn(container.at("envFrom"), "variables from elsewhere", detail)
        # in front: variables that follow may use $(DPDK_EAL_ARGS)
        yield Prepend(container.at("env"), {"name": name, "value": option}, _WHY)
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
        yield from _value(entry, (*path, "value"), option, name, mounts)


def _value(entry: Any, path: tuple[str | int, ...], option: str, name: str, mounts: list[Mount]) -> Iterator[Edit]:
    value: str = entry.get("value") or ""
    paths = _HUGE_DIR.findall(value)
    bypass = _NO_HUGE_DIR.search(value)
    if len(paths) > 1:
        yield Reject(path, "--huge-dir twice", f"a second one is fatal from DPDK 25.11 on; keep {option}")
    elif paths and not _is_mount(paths[0], mounts):
        detail = f"{shown(paths[0]) or 'it'} is not a hugepage mount of this container; write {option}"
        yield Reject(path, "--huge-dir elsewhere", detail)
    elif bypass:
        yield Warn(path, f"--{bypass[1]} in {name}", _bypassed(bypass[1], name))
    elif not paths:
        yield Set(path, f"{value} {option}" if value else option, _WHY)


def _is_mount(directory: str, mounts: list[Mount]) -> bool:
    return directory.rstrip("/") in {mount.path.rstrip("/") for mount in mounts}


def _bypassed(option: str, name: str) -> str:
    if option == "no-huge":
        return f"EAL then uses no hugepages; {name} gets no --huge-dir"
    return f"EAL then creates no files; {name} gets no --huge-dir"
