"""Paths, as people and as RFC 6901 write them, and text that fits on one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.path import Path, dotted, pointer, shown

PATHS: list[tuple[Path, str, str]] = [
    ((), "", ""),
    (("spec",), "spec", "/spec"),
    (
        ("spec", "containers", 0, "resources", "limits", "hugepages-2Mi"),
        "spec.containers[0].resources.limits.hugepages-2Mi",
        "/spec/containers/0/resources/limits/hugepages-2Mi",
    ),
    (
        ("metadata", "annotations", "dpdk/huge-dir"),
        "metadata.annotations[dpdk/huge-dir]",
        "/metadata/annotations/dpdk~1huge-dir",
    ),
    (("a", "x~y/z"), "a[x~y/z]", "/a/x~0y~1z"),
    (("a", "~1"), "a[~1]", "/a/~01"),
    (("a", ""), "a[]", "/a/"),
    (("a", "two\nlines"), "a[two\\nlines]", "/a/two\nlines"),
    (("spec", "env", "-"), "spec.env.-", "/spec/env/-"),
    (("a.b",), "[a.b]", "/a.b"),
    (("x" * 65,), "[" + "x" * 65 + "]", "/" + "x" * 65),
    (("x" * 90,), "[" + "x" * 79 + "…]", "/" + "x" * 90),
]


@pytest.mark.parametrize(("path", "expected", "_"), PATHS)
def test_dotted(path: Path, expected: str, _: str) -> None:
    assert dotted(path) == expected


@pytest.mark.parametrize(("path", "_", "expected"), PATHS)
def test_pointer(path: Path, _: str, expected: str) -> None:
    assert pointer(path) == expected


SHOWN = [
    ("plain text stays", "-l 2-3", 80, "-l 2-3"),
    ("letters of any language stay", "größe", 80, "größe"),
    ("a line break is escaped", "a\nb", 80, "a\\nb"),
    ("a terminal's escape is escaped", "\x1b[31m", 80, "\\x1b[31m"),
    ("a right-to-left override is escaped", "a\u202eb", 80, "a\\u202eb"),
    ("a lone surrogate is escaped", "\ud800", 80, "\\ud800"),
    ("a text of the limit's length stays", "x" * 5, 5, "xxxxx"),
    ("a longer text ends in an ellipsis", "x" * 6, 5, "xxxx…"),
    ("the limit counts what is shown", "\n\n\n", 5, "\\n\\n…"),
]


@pytest.mark.parametrize(("text", "limit", "expected"), [row[1:] for row in SHOWN], ids=[row[0] for row in SHOWN])
def test_shown(text: str, limit: int, expected: str) -> None:
    assert shown(text, limit) == expected


@given(st.text(st.characters(), max_size=300))
def test_whatever_is_shown_is_one_printable_line_of_at_most_eighty_characters(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) <= 80
