"""Requests equal limits, and DPDK containers get whole CPUs.

Reads:        containers[*].resources, initContainers[*].resources, and whether a LimitRange gave defaults
Writes:       resources.requests and resources.limits (cpu, memory)
Rejects when: a request exceeds its limit, a quantity cannot be parsed, is negative or above max_cpu, or a DPDK container has
              no memory
Why:          exclusive CPUs need Guaranteed QoS and an integer request (Kubernetes: CPU management policies); init containers
              and sidecars count for QoS, so that one gap unpins the whole pod
"""

from collections.abc import Iterator

from webhook.edits import Edit, Reject, Set, Warn
from webhook.pod import HUGEPAGES, LIMIT_RANGER, Container, Pod
from webhook.quantity import Quantity, QuantityError, parse
from webhook.settings import Settings

_EQUAL = "exclusive CPUs need requests equal to limits in every container"
_DEFAULT = "exclusive CPUs need it in every container; this site's default"
_WHOLE = "a polling core cannot be shared; rounded up to whole CPUs"
_EVERYWHERE = "whole CPUs are wanted for every container; rounded up"


def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
    everywhere = pod.options.whole_cpus if pod.options.whole_cpus is not None else settings.whole_cpus == "all"
    defaults = _limit_range_defaults(pod)
    for container in pod.containers:
        is_dpdk = container.path in pod.dpdk_paths
        edits = [*_cpu(container, is_dpdk, everywhere, settings), *_memory(container, is_dpdk, settings), *_others(container)]
        if not pod.dpdk_paths:  # what one of them would get, or be warned of, depends on which of them runs DPDK
            edits = [edit for edit in edits if isinstance(edit, Reject)]
        yield from edits
        if defaults is not None:
            yield from _raised(container, [edit for edit in edits if isinstance(edit, Set)], defaults)


def _limit_range_defaults(pod: Pod) -> set[tuple[str, str]] | None:
    """(resource, container) of each default that a LimitRange gave; None where none applies. The plugin writes "LimitRanger
    plugin set: cpu, memory request for container app; cpu limit for init container setup"."""
    said = pod.annotations.get(LIMIT_RANGER)
    if said is None:
        return None
    parts = (part.rpartition(" container ") for part in said.split(";"))
    return {(word.strip(","), name) for what, _, name in parts for word in what.split()}


def _cpu(container: Container, is_dpdk: bool, everywhere: bool, settings: Settings) -> Iterator[Edit]:
    problem, request, limit = _read(container, "cpu")
    if problem:
        yield problem
        return
    path = container.at("resources", "limits", "cpu")
    given = limit or request
    target, why = given, _EQUAL
    if target is None:
        default = settings.default_cpu if is_dpdk else settings.other_cpu
        if not default:
            detail = "this site sets no default; write how many cores the application polls on, such as 2"
            yield Reject(path, "no cpu", detail)
            return
        target, why = parse(default), _DEFAULT
    if is_dpdk or everywhere:
        whole = target.round_up(settings.cpu_step)
        if whole != target and given is not None:
            why = _WHOLE if is_dpdk else _EVERYWHERE
            if settings.cpu_step > 1:
                why += f", in steps of {settings.cpu_step}"
        target = whole
    if target.millis > settings.max_cpu * 1000:
        yield Reject(path, "too many CPUs", f"{target} is above this site's max_cpu {settings.max_cpu}; write fewer")
        return
    if given is None:
        advice = "; write how many it needs" if is_dpdk else "; write what it needs"
        if is_dpdk and target.millis == 1000:
            advice = ", and testpmd for one needs 2; write how many"
        yield Warn(path, "no cpu", f"it gets {target}{advice}")
    elif target.is_whole and not (is_dpdk or everywhere):
        takes = "1 exclusive CPU" if target.millis == 1000 else f"{target} exclusive CPUs"
        if target == target.round_up(settings.cpu_step):
            detail = f"it takes {takes}; {target.millis - 100}m stays in the shared pool"
        else:
            # full-pcpus-only: the kubelet refuses the whole pod, SMTAlignmentError
            detail = f"{target} is no multiple of {settings.cpu_step}; {target.millis - 100}m stays in the shared pool"
        yield Warn(path, "whole CPUs beside DPDK", detail)
    yield from _both(container, "cpu", request, limit, target, why)


def _memory(container: Container, is_dpdk: bool, settings: Settings) -> Iterator[Edit]:
    problem, request, limit = _read(container, "memory")
    if problem:
        yield problem
        return
    target, why = limit or request, _EQUAL
    path = container.at("resources", "limits", "memory")
    if target is None:
        default = settings.default_memory if is_dpdk else settings.other_memory
        if not default:
            detail = (
                "a guess could kill the application when it runs out; write how much it needs beside hugepages, such as 1Gi"
            )
            yield Reject(path, "no memory", detail)
            return
        target, why = parse(default), _DEFAULT
        yield Warn(path, "no memory", f"it gets {target}; write what it needs")
    yield from _both(container, "memory", request, limit, target, why)


def _raised(container: Container, edits: list[Set], defaults: set[tuple[str, str]]) -> Iterator[Edit]:
    """A LimitRange gave its defaults before us, and judges its maximum after us, as a quota does: what it gave, and what the
    author was allowed, may be refused for what we raised."""
    for resource, target in {str(edit.path[-1]): parse(edit.value) for edit in edits}.items():
        sides = (container.limits.get(resource), container.requests.get(resource))
        below = [amount for amount in (parse(side) for side in sides if side is not None) if amount < target]
        if below:
            whose, judges = ("its ", "the max") if (resource, container.name) in defaults else ("", "its max")
            detail = f"{whose}{resource} {below[0]} becomes {target}; {judges} and the quota are judged afterwards"
            yield Warn(container.at("resources", "limits", resource), "LimitRange", detail)


def _others(container: Container) -> Iterator[Edit]:
    """Every other resource: nothing to mend, but what the API would refuse is said with the rest."""
    requests, limits = container.amounts
    for resource in {**requests, **limits}:
        if resource not in ("cpu", "memory") and not resource.startswith(HUGEPAGES):
            problem, _, _ = _read(container, resource)
            if problem:
                yield problem


def _read(container: Container, resource: str) -> tuple[Reject | None, Quantity | None, Quantity | None]:
    """(problem, request, limit); 0 counts as unset where both sides say no more."""
    requests, limits = container.amounts
    requested, limited = requests.get(resource), limits.get(resource)
    sides = [("requests", requested), ("limits", limited)]
    if isinstance(requested, str) and requested == limited:
        del sides[1]  # it says the same
    amounts: list[Quantity | None] = []
    for side, value in sides:
        if value is None:
            amounts.append(None)
            continue
        try:
            amount = parse(value)
        except QuantityError as error:
            path = container.at("resources", side, resource)
            return (Reject(path, "not a quantity", f"{error.problem}; write a number such as 2"), None, None)
        if amount.millis < 0:
            path = container.at("resources", side, resource)
            return (Reject(path, "negative amount", f"{amount} is below 0; write what the container needs"), None, None)
        amounts.append(amount)
    request, limit = amounts[0], amounts[-1]
    if request is not None and limit is not None and request.millis > limit.millis:
        detail = f"the request {request} is more than the limit {limit}; write one amount on both sides"
        return (Reject(container.at("resources", "requests", resource), "request above limit", detail), None, None)
    return (None, request if request and request.millis else None, limit if limit and limit.millis else None)


def _both(
    container: Container, resource: str, request: Quantity | None, limit: Quantity | None, target: Quantity, why: str
) -> list[Edit]:
    """Limit and request become `target`; a side that is equal already keeps its spelling."""
    is_given = limit is not None or request is not None
    return [
        Set(container.at("resources", side, resource), str(target), _EQUAL if amount is None and is_given else why)
        for side, amount in (("limits", limit), ("requests", request))
        if amount is None or amount.millis != target.millis
    ]
