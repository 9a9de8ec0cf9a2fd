"""Hugepage sizes by the names that nodes advertise, and the name that was meant."""

import pytest

from webhook.pagesize import PageSize, PageSizeError, medium_size, page_size
from webhook.quantity import parse

CANONICAL = [
    ("8Ki", 2**13),
    ("64Ki", 2**16),
    ("1Mi", 2**20),
    ("2Mi", 2**21),
    ("16Mi", 2**24),
    ("32Mi", 2**25),
    ("512Mi", 2**29),
    ("1Gi", 2**30),
    ("16Gi", 2**34),
]


@pytest.mark.parametrize(("name", "size"), CANONICAL)
def test_row_27_the_name_under_which_a_node_advertises_a_size(name: str, size: int) -> None:
    assert page_size(name) == PageSize(size)
    assert str(PageSize(size)) == name
    assert PageSize(size).resource == f"hugepages-{name}"


MEANT = [
    ("1024Mi", "1Gi"),
    ("2048Ki", "2Mi"),
    ("2097152", "2Mi"),
    ("+2Mi", "2Mi"),
    ("2.0Mi", "2Mi"),
    ("02Mi", "2Mi"),
    ("1G", "1Gi"),
    ("1g", "1Gi"),
    ("1GB", "1Gi"),
    ("1gi", "1Gi"),
    ("1GiB", "1Gi"),
    ("2M", "2Mi"),
    ("2MB", "2Mi"),
    ("2 MB", "2Mi"),
    ("2mi", "2Mi"),
    ("2048kB", "2Mi"),
    ("1048576k", "1Gi"),
    ("1t", "1Ti"),
]


@pytest.mark.parametrize(("name", "canonical"), MEANT)
def test_row_26_another_spelling_is_refused_with_the_canonical_one(name: str, canonical: str) -> None:
    with pytest.raises(PageSizeError) as caught:
        page_size(name)
    assert caught.value.canonical == canonical


NONE = ["", "huge", "3Mi", "0", "-2Mi", "4Ki", "4096", "2Mi ", "2Mi\n", "1.5", "0.5m", "9" * 50 + "Mi", "2\u212a"]


@pytest.mark.parametrize("name", NONE)
def test_a_name_that_means_no_size_suggests_none(name: str) -> None:
    with pytest.raises(PageSizeError) as caught:
        page_size(name)
    assert caught.value.canonical is None


MEDIA = [
    ("HugePages-2Mi", PageSize(2**21)),
    ("HugePages-2048Ki", PageSize(2**21)),
    ("HugePages-2097152", PageSize(2**21)),
    ("HugePages-3Mi", None),
    ("HugePages-2MB", None),
    ("HugePages-", None),
    ("HugePages2Mi", None),
]


@pytest.mark.parametrize(("medium", "size"), MEDIA)
def test_the_kubelet_reads_a_medium_as_a_number(medium: str, size: PageSize | None) -> None:
    assert medium_size(medium) == size


def test_whole_pages() -> None:
    assert PageSize(2**21).holds(parse("4Mi"))
    assert PageSize(2**21).holds(parse("4194304"))
    assert not PageSize(2**21).holds(parse("3Mi"))
    assert not PageSize(2**30).holds(parse("1G"))


def test_sizes_are_in_order() -> None:
    assert PageSize(2**21) < PageSize(2**30)
