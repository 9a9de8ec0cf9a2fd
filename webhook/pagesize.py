"""Hugepage sizes, by the names under which nodes advertise them."""

import re
from functools import lru_cache

from msgspec import Struct

from webhook.path import shown
from webhook.quantity import Quantity, QuantityError, parse

_BASE_PAGE = 4096  # bytes; a hugepage is larger
_LOOSE = re.compile(r"0*([1-9][0-9]{0,9})\s*([kmgt]?)i?b?", re.ASCII | re.IGNORECASE)


class PageSizeError(ValueError):
    """No node advertises hugepages by this name; `canonical` is the name that was probably meant."""

    def __init__(self, canonical: str | None) -> None:
        super().__init__(canonical)
        self.canonical = canonical


class PageSize(Struct, frozen=True, order=True, gc=False):
    """A page size in bytes."""

    size: int

    def __str__(self) -> str:
        """The canonical name: 64Ki, 2Mi, 1Gi."""
        return _canonical(self.size)

    @property
    def resource(self) -> str:
        """The resource that a container requests: hugepages-1Gi."""
        return f"hugepages-{self}"

    def holds(self, amount: Quantity) -> bool:
        """Is this amount of bytes a whole number of pages?"""
        return amount.millis % (self.size * 1000) == 0


@lru_cache(maxsize=64)
def _canonical(size: int) -> str:
    return str(Quantity(size * 1000, "binary"))


@lru_cache(maxsize=256)
def page_size(name: str) -> PageSize:
    """The size that a canonical name stands for (kubelet and scheduler compare names as text, so no other will do)."""
    size = _power_of_two(_bytes(name))
    if size is not None and str(size) == name:
        return size
    size = size or _power_of_two(_meant(name))
    raise PageSizeError(str(size) if size else None)


def medium_size(medium: str) -> PageSize | None:
    """The size of `HugePages-<size>` in any spelling (the kubelet reads this one as a number); None when there is none."""
    return _power_of_two(_bytes(medium.removeprefix("HugePages-")))


def _bytes(name: str) -> int:
    try:
        amount = parse(name)
    except QuantityError:
        return 0
    return amount.millis // 1000 if amount.is_whole else 0


def _meant(name: str) -> int:
    """What people write for a page size: 2MB, 1G, 1gb, 2048kB are all powers of 1024 in their minds."""
    match = _LOOSE.fullmatch(shown(name))
    return int(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " ") if match else 0


def _power_of_two(size: int) -> PageSize | None:
    return PageSize(size) if size > _BASE_PAGE and size & (size - 1) == 0 else None
