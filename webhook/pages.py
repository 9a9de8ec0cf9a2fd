"""The hugepages that each container gets: what it asks for, or what the pod's annotations or the site give it."""

from collections.abc import Iterator

from msgspec import Struct

from webhook.edits import Reject, Warn
from webhook.options import HUGEPAGES_KEY, whole_pages_problem
from webhook.pagesize import PageSize, PageSizeError, page_size
from webhook.path import shown
from webhook.pod import HUGEPAGES, Container, Pod
from webhook.quantity import Quantity, QuantityError, parse
from webhook.settings import Settings


class Pages(Struct, frozen=True, gc=False):
    """So many bytes in pages of one size, for one container; `asked` where the container itself asks for them."""

    container: Container
    size: PageSize
    amount: Quantity
    asked: bool


def pages(pod: Pod, settings: Settings) -> Iterator[Pages | Reject | Warn]:
    """Container by container: its pages, or why they can't be told."""
    given = pod.options.hugepages or settings.default_page_amounts
    for container in pod.containers:
        asked = _asked(container)
        yield from asked
        if container.path not in pod.dpdk_paths:
            continue
        if asked:
            yield from _unused(pod, container, [each for each in asked if isinstance(each, Pages)])
        elif given:
            yield from (Pages(container, size, amount, asked=False) for size, amount in given)
        elif not pod.options.misread(HUGEPAGES_KEY):
            detail = 'an amount can\'t be guessed; write it, or an annotation such as dpdk/hugepages-2Mi: "1Gi"'
            yield Reject(container.at("resources", "limits"), "no hugepages", detail)


def _asked(container: Container) -> list[Pages | Reject]:
    """What a container's requests and limits say; a side that is missing is like the other, and 0 is nothing."""
    requests, limits = container.amounts
    read = [
        _read(container, each, requests.get(each), limits.get(each))
        for each in {**limits, **requests}
        if each.startswith(HUGEPAGES)
    ]
    return [each for each in read if each is not None]


def _read(container: Container, resource: str, requested: object, limited: object) -> Pages | Reject | None:
    path = container.at("resources", "requests" if limited is None else "limits", resource)
    try:
        size = page_size(resource.removeprefix(HUGEPAGES))
        request, limit = (_amount(requested), _amount(limited))
    except PageSizeError as error:
        meant = f"write {HUGEPAGES}{error.canonical}" if error.canonical else "write a size such as hugepages-2Mi"
        return Reject(path, "unknown page size", f"no node advertises {shown(resource)} by that name; {meant}")
    except QuantityError as error:
        return Reject(path, "not a quantity", f"{error.problem}; write an amount such as 2Gi")
    amount = limit if limit is not None else request
    if amount is None:
        return None
    if request is not None and limit is not None and request != limit:
        detail = f"the request {request} is not the limit {limit}; write one amount on both sides"
        return Reject(container.at("resources", "requests", resource), "hugepages request is not the limit", detail)
    if not amount.millis:
        return None
    problem = whole_pages_problem(size, amount)
    return Reject(path, "not whole pages", problem) if problem else Pages(container, size, amount, asked=True)


def _unused(pod: Pod, container: Container, asked: list[Pages]) -> Iterator[Warn]:
    have = {page.size: page.amount for page in asked}
    for size, amount in pod.options.hugepages:
        if asked and have.get(size) != amount:
            detail = f"dpdk/{size.resource}: what the container asks for stands"
            yield Warn(container.at("resources", "limits"), "option not used", detail)


def _amount(value: object) -> Quantity | None:
    return None if value is None else parse(value)
