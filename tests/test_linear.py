"""The reviews that are timed as they grow."""

from bench import linear
from bench.linear import FAMILIES


def test_the_largest_are_as_large_as_the_api_server_takes_them() -> None:
    for name, family in FAMILIES.items():
        size = len(linear.body(family, family.most))
        assert size < 3 << 20
        assert size > 1_900_000 or "containers" in name, "of which there are never more than 1,000"
