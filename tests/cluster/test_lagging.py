"""Two API servers on one etcd, of which the second hears of everything some seconds late: does it, and does it serve?"""

import math
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from scripts.throwaway import free_ports, listener
from tests.cluster.cluster import Cluster
from tests.cluster.counters import MUTATE, VALIDATE, Counted
from tests.cluster.creators import Create, Creators, Tally, longest_gap
from tests.cluster.mutator import CONFIGURATIONS
from tests.cluster.tied import Tied, until
from tests.cluster.webhook import Webhook

LAG = 3.0  # seconds
SHORT = 0.5  # seconds, of a proxy alone
ON_TIME = 0.4  # seconds


class Ends(NamedTuple):
    """A connection through the proxy, as both ends hold it."""

    client: socket.socket
    target: socket.socket


class Proxied:
    """A target, and the proxy through which its clients come."""

    def __init__(self, stack: ExitStack, log: Path) -> None:
        self._stack = stack
        self._target = stack.enter_context(listener())
        (self._port,) = free_ports(1)
        ports = (str(self._port), str(self._target.getsockname()[1]))
        self.process = Tied([sys.executable, "-m", "tests.cluster.lagging", *ports, str(SHORT)], log=log)
        stack.callback(self.process.kill)
        self.process.wait_ready(self._listening, seconds=20)

    def connect(self) -> Ends:
        client = self._stack.enter_context(socket.create_connection(("127.0.0.1", self._port), timeout=10))
        target = self._stack.enter_context(self._target.accept()[0])
        target.settimeout(10)
        return Ends(client, target)

    def _listening(self) -> bool:
        try:
            self.connect()
        except ConnectionRefusedError:
            return False
        return True


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxied]:
    with ExitStack() as stack:
        proxied = Proxied(stack, tmp_path / "lagging.log")
        yield proxied
        assert proxied.process.tail() == "", "an exception that nobody has caught"


def say(end: socket.socket, times: int) -> None:
    """Say what time it is, so many times in SHORT seconds or less."""
    for _ in range(times):
        end.sendall(struct.pack("d", time.monotonic()))
        time.sleep(SHORT / times / 2)


def lateness(end: socket.socket) -> float:
    """How many seconds ago the next of these was sent."""
    (said,) = struct.unpack("d", end.recv(8, socket.MSG_WAITALL))
    return time.monotonic() - float(said)


def lag(proxy: Proxied, ends: Ends) -> None:
    """Have the proxy lag, and return when it does."""
    os.kill(proxy.process.pid, signal.SIGUSR1)

    def late() -> bool:
        say(ends.target, 1)
        return lateness(ends.client) >= SHORT

    until(late, seconds=10, waiting_for="the lag")


def test_what_the_target_says_comes_late_and_nothing_waits_for_anything_else(proxy: Proxied) -> None:
    ends = proxy.connect()
    say(ends.target, 1)
    assert lateness(ends.client) < ON_TIME
    lag(proxy, ends)
    say(ends.target, 20)
    late = [lateness(ends.client) for _ in range(20)]
    assert min(late) >= SHORT
    assert max(late) < SHORT + ON_TIME
    say(ends.client, 1)
    assert lateness(ends.target) < ON_TIME


def test_much_comes_late_but_complete_in_order_and_not_slowly(proxy: Proxied) -> None:
    ends = proxy.connect()
    lag(proxy, ends)
    content = os.urandom(1 << 23)
    began = time.monotonic()
    ends.target.sendall(content)
    ends.target.close()
    with ends.client.makefile("rb") as file:
        assert file.read() == content
    assert SHORT <= time.monotonic() - began < SHORT + 2


def test_one_end_of_a_connection_may_stop_speaking_while_the_other_goes_on(proxy: Proxied) -> None:
    ends = proxy.connect()
    ends.client.shutdown(socket.SHUT_WR)
    assert ends.target.recv(1) == b""
    ends.target.sendall(b"the rest")
    ends.target.close()
    with ends.client.makefile("rb") as file:
        assert file.read() == b"the rest"


@pytest.mark.parametrize("gone", ["client", "target"])
def test_a_connection_that_one_end_breaks_off_is_broken_off_at_the_other_as_well_and_costs_no_more(
    proxy: Proxied, gone: str
) -> None:
    ends, others = proxy.connect(), proxy.connect()
    broken, left = ends if gone == "client" else reversed(ends)
    broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
    broken.close()
    with suppress(ConnectionResetError):
        assert left.recv(1) == b""
    say(others.target, 1)
    assert lateness(others.client) < ON_TIME


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(second=LAG) as running, Webhook(tmp_path_factory.mktemp("webhook")) as webhook:
        running.register(webhook.url, webhook.ca_pem)
        yield running
        webhook.kill()  # nothing is in flight, and a drain takes its time


class Namespace(NamedTuple):
    """One that was made on the first server, and the seconds after which each of the two had heard of it."""

    name: str
    first: float
    second: float


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    began = time.monotonic()
    with cluster.namespace() as name:
        first = time.monotonic() - began
        cluster.second.wait_for_namespace(name)  # by then it has heard of the webhooks, too
        yield Namespace(name, first, time.monotonic() - began)


def test_the_second_server_hears_of_a_namespace_after_the_lag(namespace: Namespace) -> None:
    assert namespace.first < 1.5
    assert LAG <= namespace.second < LAG + 5


@contextmanager
def nobody(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Register a webhook that can't answer for the annotated pods of a namespace."""
    (port,) = free_ports(1)
    webhook = {
        "name": "nobody.example.com",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://127.0.0.1:{port}/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "matchConditions": [{"name": "dpdk", "expression": "'dpdk' in object.metadata.?annotations.orValue({})"}],
        "failurePolicy": "Fail",
        "sideEffects": "None",
    }
    made = cluster.api("POST", CONFIGURATIONS, {"metadata": {"name": "nobody"}, "webhooks": [webhook]})
    assert made.status == httpx.codes.CREATED, made.body
    try:
        yield
    finally:
        cluster.api("DELETE", f"{CONFIGURATIONS}/nobody")


def test_a_change_of_the_configuration_is_obeyed_by_the_second_server_after_the_lag(
    cluster: Cluster, namespace: Namespace
) -> None:
    with (
        Creators(cluster, namespace.name, rate=20, store=False) as first,
        Creators(cluster.second, namespace.name, rate=20, store=False) as second,
    ):
        time.sleep(0.5)
        written = time.monotonic()
        with nobody(cluster, namespace.name):
            time.sleep(LAG + 1.5)
    assert obeyed(first.creates) - written < 1.5
    assert LAG <= obeyed(second.creates) - written < LAG + 5


def obeyed(creates: Sequence[Create]) -> float:
    """When the first create was refused because nobody listens; only annotated ones were, and none failed before."""
    refused = [create for create in creates if create.problem]
    assert refused != []
    assert {create.annotated for create in refused} == {True}
    assert [create.problem for create in refused if "connection refused" not in create.problem] == []
    return min(create.ended for create in refused)


@pytest.mark.usefixtures("namespace")  # by then the second server has heard of the webhooks
def test_sixty_creates_a_second_succeed_on_a_server_that_lags(cluster: Cluster) -> None:
    with Creators(cluster.second, "default", rate=60, most=400, store=False) as creators:
        end = time.monotonic() + 5
        health = cluster.kubectl("--kubeconfig", cluster.second.kubeconfig, "get", "--raw", "/readyz?verbose").stdout
        time.sleep(max(0.0, end - time.monotonic()))
    tally = Tally.of(creators.creates)
    assert (tally.failed, tally.problems) == (0, {})
    assert tally.annotated + tally.plain >= 0.97 * 60 * 5
    assert LAG * 1e3 <= tally.p50 <= tally.longest < (LAG + 2) * 1e3
    assert longest_gap(creators.creates) < 1
    calls = Counted.of(cluster.second.metrics()).calls
    assert min(calls[MUTATE, "200"], calls[VALIDATE, "200"]) >= tally.annotated
    assert "[+]etcd ok\n" in health
    assert health.endswith("readyz check passed\n")


def create(ended: float, *, annotated: bool = True, problem: str = "") -> Create:
    return Create(annotated, stored=False, due=ended - 0.25, seconds=0.25, problem=problem)


def test_the_longest_gap_lies_between_successful_annotated_creates_in_the_order_in_which_they_ended() -> None:
    plain, failed = create(5, annotated=False), create(6, problem="500 EOF")
    assert longest_gap([create(8), plain, create(1), failed, create(2)]) == 6


def test_where_fewer_than_two_creates_succeed_the_gap_is_infinite() -> None:
    assert longest_gap([]) == longest_gap([create(1), create(2, problem="500 EOF")]) == math.inf
