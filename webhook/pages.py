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


class Pages(Struct, frozen=True):
    """So many bytes in pages of one size, for one container; `asked` where the container itself asks for them."""

    container: Container
    size: PageSize
    amount: Quantity
    asked: bool


def pages(pod: Pod, settings: Settings) -> Iterator[Pages | Reject | Warn]:
    """Container by container: its pages, or why they can't be told."""
    dpdk = {container.path for container in pod.dpdk_containers}
    given = pod.options.hugepages or settings.default_page_amounts
    for container in pod.containers:
        asked = list(_asked(container))
        yield from asked
        if container.path not in dpdk:
            continue
        if asked:
            yield from _unused(pod, container, [each for each in asked if isinstance(each, Pages)])
        elif given:
            yield from (Pages(container, size, amount, asked=False) for size, amount in given)
        elif not pod.options.misread(HUGEPAGES_KEY):
            detail = 'an amount can\'t be guessed; write it, or an annotation such as dpdk/hugepages-2Mi: "1Gi"'
            yield Reject(container.at("resources", "limits"), "no hugepages", detail)


def _asked(container: Container) -> Iterator[Pages | Reject]:
    """What a container's requests and limits say; a side that is missing is like the other, and 0 is nothing."""
    requests, limits = container.requests, container.limits
    for resource in dict.fromkeys([*limits, *requests]):
        if not resource.startswith(HUGEPAGES):
            continue
        side = "limits" if limits.get(resource) is not None else "requests"
        path = container.at("resources", side, resource)
        try:
            size = page_size(resource.removeprefix(HUGEPAGES))
            request, limit = (_amount(requests.get(resource)), _amount(limits.get(resource)))
        except PageSizeError as error:
            meant = f"write {HUGEPAGES}{error.canonical}" if error.canonical else "write a size such as hugepages-2Mi"
            yield Reject(path, "unknown page size", f"no node advertises {shown(resource)} by that name; {meant}")
            continue
        except QuantityError as error:
            yield Reject(path, "not a quantity", f"{error.problem}; write an amount such as 2Gi")
            continue
        amount = limit if limit is not None else request
        if amount is None:
            continue
        if request is not None and limit is not None and request != limit:
            detail = f"the request {request} is not the limit {limit}; write one amount on both sides"
            yield Reject(container.at("resources", "requests", resource), "hugepages request is not the limit", detail)
        elif amount.millis:
            problem = whole_pages_problem(size, amount)
            yield Reject(path, "not whole pages", problem) if problem else Pages(container, size, amount, asked=True)


def _unused(pod: Pod, container: Container, asked: list[Pages]) -> Iterator[Warn]:
    have = {page.size: page.amount for page in asked}
    for size, amount in pod.options.hugepages:
        if asked and have.get(size) != amount:
            detail = f"dpdk/{size.resource}: what the container asks for stands"
            yield Warn(container.at("resources", "limits"), "option not used", detail)


def _amount(value: object) -> Quantity | None:
    return None if value is None else parse(value)
