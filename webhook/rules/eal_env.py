"""One environment variable tells EAL where its hugepages are mounted.

Reads:        containers[*].env, envFrom, command, args, volumeMounts; dpdk/eal-env, dpdk/huge-size
Writes:       env (DPDK_EAL_ARGS prepended, or `--huge-dir=<path>` added to its value)
Rejects when: the variable names another --huge-dir, holds two, comes from a valueFrom or stands there twice, the command line
              points --huge-dir elsewhere than at a hugepage mount, or no DPDK container has the size of dpdk/huge-size
Why:          EAL reads no environment by itself: the image passes the variable on, as in `exec app $DPDK_EAL_ARGS`; a second
              --huge-dir is fatal from DPDK 25.11 on (DPDK: EAL parameters)
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from webhook.eal import UNKNOWN, CommandLine, Value, Variables, command_line, huge_dirs, without_huge_dir
from webhook.edits import Edit, Prepend, Reject, Set, Warn
from webhook.hugetlbfs import Mount, Plan, plan
from webhook.pagesize import PageSize
from webhook.path import Path, shown
from webhook.pod import Container, Pod
from webhook.settings import Settings

_WHY = "EAL finds its hugepages there, once the image passes the variable on"
_DEPENDS = "it depends on a variable; name a hugepage mount"


class _Choice(Struct, frozen=True):
    """What one container's variable is to say, and what is there."""

    container: Container
    name: str
    mount: Mount
    paths: frozenset[str]  # of every hugepage mount of the container: --huge-dir may name any of them
    several: Warn | None  # due once --huge-dir is written for an author who named none of its sizes
    entries: list[tuple[int, Mapping[str, Any]]]  # the variable, wherever it stands in env
    line: CommandLine

    @property
    def option(self) -> str:
        return f"--huge-dir={self.mount.path}"

    @property
    def line_path(self) -> Path:
        return self.container.at("args" if self.container.raw.get("args") else "command")

    def value(self, place: int) -> Value:
        """What one of the entries holds; it may refer to those before it."""
        index, entry = self.entries[place]
        return Value(entry.get("value") or "", Variables(self.container.env[:index], self.name))

    def is_mount(self, directory: str) -> bool:
        return directory.rstrip("/") in self.paths


def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
    planned = plan(pod, settings)
    if not planned.mounts:
        return  # the rule hugepages says why
    name = pod.options.eal_env or settings.eal_env
    wanted = pod.options.huge_size
    if wanted is not None:
        sizes = sorted({page.size for page in planned.pages if page.container.path in pod.dpdk_paths})
        if wanted not in sizes:
            detail = f"no DPDK container has {wanted} pages; write {' or '.join(map(str, sizes))}"
            yield Reject(("metadata", "annotations", "dpdk/huge-size"), "page size not requested", detail)
    for container in pod.dpdk_containers:
        if planned.of(container):
            yield from _command_line(_choose(container, name, planned, wanted))


def _choose(container: Container, name: str, planned: Plan, wanted: PageSize | None) -> _Choice:
    """The wanted size where the container has it, else its largest."""
    mounts = planned.of(container)
    sizes = {mount.size for mount in mounts}
    size = wanted if wanted in sizes else max(sizes)
    mount = next(mount for mount in mounts if mount.size == size)
    detail = f"--huge-dir names that of {size}; choose with dpdk/huge-size"
    several = Warn(container.at("volumeMounts"), "several page sizes", detail) if len(sizes) > 1 and size != wanted else None
    entries = [(index, entry) for index, entry in enumerate(container.env) if entry.get("name") == name]
    line = command_line(container.command_line, Variables(container.env, name))
    paths = frozenset(mount.path.rstrip("/") for mount in mounts)
    return _Choice(container, name, mount, paths, several, entries, line)


def _command_line(choice: _Choice) -> Iterator[Edit]:
    """A command line that settles the matter itself leaves nothing for the variable to say."""
    name, path, words = choice.name, choice.line_path, choice.line.words
    paths, bypass = huge_dirs(words), without_huge_dir(words)
    for directory in paths:
        if set(f"$`{UNKNOWN}") & set(directory):
            yield Warn(path, "--huge-dir in the command line", _DEPENDS)
        elif not choice.is_mount(directory):
            yield _elsewhere(path, directory, choice.mount.path)
            return
    if bypass:
        yield _bypassed(path, bypass, "the command line", name)
    elif paths and choice.entries and huge_dirs(choice.value(-1).words):
        yield Warn(path, "--huge-dir twice", f"{name} holds it too, and EAL takes it once; keep one")
    elif paths:
        yield Warn(path, "--huge-dir in the command line", f"{name} is not injected: EAL takes one")
    else:
        yield from _application(choice)
        yield from _variable(choice)
        return
    is_unset = not choice.entries and not _may_be_elsewhere(choice)
    if is_unset and any(f"$({name})" in element for element in choice.line.elements):
        yield Warn(path, f"$({name}) in the command line", "unset, so EAL gets this text; remove it")


def _application(choice: _Choice) -> Iterator[Edit]:
    """A lone -- can be a launcher's or another command's as well, with EAL's options behind it."""
    words = choice.line.application
    option = "--huge-dir" if huge_dirs(words) else without_huge_dir(words)
    if option:
        yield Warn(choice.line_path, f"{option} behind a lone --", "read as the application's; EAL's go in front")


def _may_be_elsewhere(choice: _Choice) -> bool:
    """Only the keys of a ConfigMap or Secret, which can't be known here, are free to be anything behind their prefix."""
    return any(choice.name.startswith(source.get("prefix") or "") for source in choice.container.raw.get("envFrom") or ())


def _variable(choice: _Choice) -> Iterator[Edit]:
    container, name, entries = choice.container, choice.name, choice.entries
    if not entries:
        if _may_be_elsewhere(choice):
            yield Warn(container.at("envFrom"), "variables from elsewhere", f"any {name} in there is overridden")
        # in front: variables that follow may use $(DPDK_EAL_ARGS)
        yield Prepend(container.at("env"), {"name": name, "value": choice.option}, _WHY)
        yield from _several(choice)
        return
    index, entry = entries[0]
    path = container.at("env", index)
    if len(entries) > 1:
        detail = f"{name} is set {len(entries)} times and the last one wins; keep one"
        yield Reject(container.at("env", entries[1][0]), "variable set twice", detail)
    elif entry.get("valueFrom") is not None:
        detail = "what it will hold can't be read here; write the value, or set another name with dpdk/eal-env"
        yield Reject((*path, "valueFrom"), f"{name} from elsewhere", detail)
    else:
        yield from _value(choice, choice.value(0), (*path, "value"))


def _value(choice: _Choice, value: Value, path: Path) -> Iterator[Edit]:
    paths, bypass = huge_dirs(value.words), without_huge_dir(value.words)
    is_one_word = value.is_one_word
    if len(paths) > 1:
        yield Reject(path, "--huge-dir twice", f"a second one is fatal from DPDK 25.11 on; keep {choice.option}")
        return
    if paths and UNKNOWN in paths[0]:
        yield Warn(path, f"--huge-dir in {choice.name}", _DEPENDS)
    elif paths and not choice.is_mount(paths[0]):
        yield _elsewhere(path, paths[0], choice.option)
        return
    elif bypass:
        yield _bypassed(path, bypass, choice.name, choice.name)
    elif not paths:
        text = value.with_option(choice.option)
        is_one_word = text == choice.option
        yield Set(path, text, _WHY)
        yield from _several(choice)
        if any(word.startswith(UNKNOWN) for word in value.words):
            yield Warn(path, f"reference in {choice.name}", "can't be read here; a second --huge-dir is fatal")
    if not is_one_word and f"$({choice.name})" in choice.line.elements:
        yield Warn(choice.line_path, "one word on the command line", f"write sh -c 'exec app ${choice.name}'")


def _several(choice: _Choice) -> Iterator[Edit]:
    if choice.several:
        yield choice.several


def _elsewhere(path: Path, directory: str, instead: str) -> Reject:
    problem = "holds quotes, which stay" if set("\"'") & set(directory) else "is not a hugepage mount of this container"
    return Reject(path, "--huge-dir elsewhere", f"{shown(directory) or 'it'} {problem}; write {instead}")


def _bypassed(path: Path, option: str, where: str, name: str) -> Warn:
    then = "no hugepages" if option == "--no-huge" else "no files"
    return Warn(path, f"{option} in {where}", f"{then}: {name} gets no --huge-dir")
