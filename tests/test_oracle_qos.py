"""QoS as Kubernetes defines it, on quantities as Kubernetes reads them."""

from fractions import Fraction

import pytest

from tests.oracle import qos
from tests.oracle.minimal import (
    ABSENT,
    APP,
    CPU_LIMIT,
    CPU_REQUEST,
    LIMITS,
    REQUESTS,
    Changes,
    cpu,
    memory,
    minimal,
    tweak,
)
from tests.oracle.quantity import UnreadableError, canonical_bytes, parse

QOS = [
    ("every amount equal to its limit", {}, "Guaranteed"),
    ("limits only, which the API server copies to requests", {REQUESTS: ABSENT}, "Guaranteed"),
    ("another spelling", {CPU_REQUEST: "2000m"}, "Guaranteed"),
    ("no memory limit", {f"{LIMITS} memory": ABSENT}, "Burstable"),
    ("a request below its limit", {CPU_REQUEST: "1"}, "Burstable"),
    ("a request of zero", {CPU_REQUEST: "0"}, "Burstable"),
    ("an init container that has nothing", {"spec initContainers": [{"name": "setup"}]}, "Burstable"),
    ("an amount that cannot be read", {CPU_LIMIT: "two"}, "Burstable"),
    ("hugepages alone", {**cpu(ABSENT), **memory(ABSENT)}, "BestEffort"),
    ("zero everywhere", {**cpu(0), **memory("0Mi")}, "BestEffort"),
    ("no resources", {f"{APP} resources": None}, "BestEffort"),
]


@pytest.mark.parametrize(("changes", "name"), [pytest.param(c, n, id=i) for i, c, n in QOS])
def test_qos_is_as_kubernetes_defines_it(changes: Changes, name: str) -> None:
    assert qos(tweak(minimal(), changes)) == name


READ: list[tuple[object, str]] = [
    (2, "2"),
    (2.0, "2"),
    (0.5, "1/2"),
    (1e22, "10000000000000000000000"),
    ("2000m", "2"),
    ("2e0", "2"),
    ("2E+3", "2000"),
    ("+2", "2"),
    ("-1.5", "-3/2"),
    ("1.", "1"),
    (".5", "1/2"),
    ("00.50", "1/2"),
    ("1E", "1000000000000000000"),
    ("1Ei", "1152921504606846976"),
    ("1.5Ki", "1536"),
    ("0.0000000001", "1/1000"),
    ("-0.1n", "-1/1000"),
    (None, "0"),
]


@pytest.mark.parametrize(("written", "amount"), READ)
def test_a_quantity_is_read_exactly(written: object, amount: str) -> None:
    assert parse(written) == Fraction(amount)


@pytest.mark.parametrize(
    "written",
    ["", "two", "1K", "1ki", "1 Gi", " 1", "1\n", "1_000", "1e", "1e1.5", "1e9999", "0x10", "٣", "--1", ".", "Ki",
     "1MB", "9" * 1000, 10**1000, True, [], {}, float("nan"), float("inf")],
)  # fmt: skip
def test_what_is_no_quantity_is_refused(written: object) -> None:
    with pytest.raises(UnreadableError):
        parse(written)


@pytest.mark.parametrize(
    ("size", "name"),
    [(2**21, "2Mi"), (2**30, "1Gi"), (2**16, "64Ki"), (2**29, "512Mi"), (2**34, "16Gi"), (512, "512"), (1000, "1000")],
)
def test_page_sizes_are_named_as_nodes_name_them(size: int, name: str) -> None:
    assert canonical_bytes(size) == name
