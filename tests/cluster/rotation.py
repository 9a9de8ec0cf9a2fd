"""`python -m tests.cluster.rotation`: the CA is replaced again and again while pods are created all the time.

Two API servers share one etcd, and the second hears of everything late. The replicas are those of mode `self`, with the rights
of deploy/overlays/self. What is not waited for is the margin for API servers that learn late: the replicas' clock is driven
past it, but only after more time than this one lags. Exit status 1 when a rotation cost anything.
"""

import argparse
import base64
import os
import socket
import ssl
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import NamedTuple, Self

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from certs.cluster import CONFIGURATIONS
from certs.pem import certificates, fingerprint, pem_of
from certs.rotate import CA_CRT, MARGIN, OLD_CA_CRT, TLS_CRT, Demand, Seen
from tests.cluster.background import Background
from tests.cluster.cluster import ApiServer, Cluster
from tests.cluster.counters import MUTATE, VALIDATE, Counted, samples
from tests.cluster.creators import MOST, Create, Creators, Tally, longest_gap
from tests.cluster.kept import NAMES, Kept
from tests.cluster.play import Figures, play, say
from tests.cluster.replicas import ROUTING, TLS_PORT, Replica
from tests.cluster.tied import until

SERVERS = FIRST, SECOND = "first", "second"
SHARE = {FIRST: 2 / 3, SECOND: 1 / 3}  # of the creates
PROMISED = 100  # annotated creates a second, on both together
LEAF_TOO = 4  # of so many rotations, one is followed by another leaf
TICK = 0.5  # seconds between two looks of a newcomer
GAP = 5.0  # seconds without a successful create: as many as API servers wait for a webhook, and no busy machine any more
MEMORY = 110  # MiB
TURN = 60  # seconds that a step of a rotation may take
UNTRUSTED = ("unknown_ca", "bad_certificate", "certificate_expired")  # why a handshake fails that should not
ITS_OWN, BOTH, CROSS = "the CA of the leaf", "that CA and another", "another CA alone"


def run(options: argparse.Namespace) -> Figures:
    """Two API servers with replicas; everything that is counted while their certificates change."""
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as directory,
        Cluster(flags=[ROUTING], second=options.lag) as cluster,
        Kept(cluster, Path(directory), options.replicas) as kept,
        cluster.namespace() as namespace,
    ):
        servers = {FIRST: cluster, SECOND: cluster.second}
        cluster.second.wait_for_namespace(namespace)  # by then it has heard of all that is older
        # the second one has called nobody yet, and tells what it counts only after several lags
        before = {FIRST: Count.of(cluster), SECOND: Count()}
        failures = _handshake_failures(kept)
        rate = {name: options.rate * share for name, share in SHARE.items()}
        # where it lags, more are outstanding, and one that is stored would take several lags
        most = MOST + int(rate[SECOND] * options.lag * 2)
        with (
            Creators(cluster, namespace, rate=rate[FIRST]) as first,
            Creators(cluster.second, namespace, rate=rate[SECOND], most=most, store=False) as second,
            Newcomers(kept, servers) as newcomers,
        ):
            began = time.monotonic()
            rotated = rotate(kept, newcomers, options)
            time.sleep(options.lag + 1)
            ended = time.monotonic()
        creates = {FIRST: first.creates, SECOND: second.creates}
        return {
            "date": f"{datetime.now(UTC):%F}",
            "cores": len(os.sched_getaffinity(0)),
            "replicas": options.replicas,
            "lag_seconds": options.lag,
            "seconds": ended - began,
            "rotated": rotated,
            "annotated_per_second": due(first.creates + second.creates, began, ended) / (ended - began),
            "creates": {name: Tally.of(made).record() for name, made in creates.items()},
            "longest_gap_seconds": {name: longest_gap(made) for name, made in creates.items()},
            "api_servers": {name: Count.of(server).since(before[name]) for name, server in servers.items()},
            "newcomers": newcomers.record(),
            "failed_handshakes": dict(_handshake_failures(kept) - failures),
            "connections": [replica.connections() for replica in kept.running],
            "memory_mib": [replica.memory() for replica in kept.running],
            "end": _end(kept, servers),
        }


def due(creates: Sequence[Create], began: float, ended: float) -> int:
    """How many annotated ones were due in that time: of those that went on afterwards, nothing is counted."""
    return sum(create.annotated and began <= create.due < ended for create in creates)


def rotate(kept: Kept, newcomers: "Newcomers", options: argparse.Namespace) -> Figures:
    """Replace the CA again and again, and sometimes the leaf alone as well."""
    seconds, cas, leaves = [], {_fingerprint(kept, CA_CRT)}, {_fingerprint(kept, TLS_CRT)}

    def served(replaced: Demand) -> None:
        cas.add(_fingerprint(kept, CA_CRT))
        leaves.add(leaf := _fingerprint(kept, TLS_CRT))
        everybody = {replica.address for replica in kept.running}
        until(
            lambda: newcomers.shown.get(leaf) == everybody,
            seconds=TURN,
            waiting_for=f"every replica to serve the new {replaced}",
        )

    renewed = 0
    for number in range(options.rotations):
        seconds.append(_replace_ca(kept, options.lag + 1))
        served("ca")
        if number % LEAF_TOO == 0:
            kept.demand("leaf")
            until(lambda: not kept.held().demand, seconds=TURN, waiting_for="the new leaf")
            served("leaf")
            renewed += 1
        say(f"{number + 1} rotations, the last in {seconds[-1]:.1f} s")
    return {
        "cas": options.rotations,
        "leaves_alone": renewed,
        "different_cas": len(cas),
        "different_leaves": len(leaves),
        "seconds_median": statistics.median(seconds),
        "seconds_max": max(seconds),
    }


def _replace_ca(kept: Kept, wait: float) -> float:
    """Replace the CA and with it the leaf; return how many seconds it took, without the margin.

    Before the margin is driven past, `wait` seconds go by in earnest: an API server that lags must have learned.
    """
    began = time.monotonic()
    kept.demand("ca")
    until(
        lambda: kept.held().settled is not None,
        seconds=TURN,
        waiting_for="everybody to trust the new CA",
    )
    settled = time.monotonic()
    time.sleep(wait)
    kept.drive(MARGIN.total_seconds() + 1)
    driven = time.monotonic()
    until(lambda: _is_over(kept.held()), seconds=TURN, waiting_for="the end of the old CA")
    return settled - began + time.monotonic() - driven


def _is_over(held: Seen) -> bool:
    return not held.demand and held.settled is None and OLD_CA_CRT not in (held.data or {})


def _fingerprint(kept: Kept, key: str) -> str:
    return fingerprint((kept.held().data or {})[key])


class Newcomers(Background):
    """A TLS client, again and again, that trusts what an API server has heard that it is to trust, and connects to a replica.

    API servers connect when they need one more connection, or when they have heard of another caBundle; these do all the time.
    """

    def __init__(self, kept: Kept, servers: Mapping[str, ApiServer]) -> None:
        super().__init__()
        self._kept, self._servers = kept, servers
        self._trusted: dict[str, Counter[str]] = {name: Counter() for name in servers}
        self._failed: Counter[str] = Counter()
        self._connections: set[str] = set()
        self.shown: dict[str, set[str]] = {}  # the fingerprint of each leaf: the addresses that served it

    def record(self) -> Figures:
        """How many were let in, by what they trusted and what they were shown; and how many connections API servers made."""
        return {
            "trusted": {name: dict(sorted(trusted.items())) for name, trusted in self._trusted.items()},
            "failed": dict(self._failed),
            "connections_of_api_servers": len(self._connections),
        }

    def _run(self) -> None:
        while not self._end.wait(TICK):
            self._connections |= _connections()
            for name, server in self._servers.items():
                for bundle in set(bundles(server)):
                    for replica in list(self._kept.running):
                        self._meet(name, bundle, replica)

    def _meet(self, name: str, bundle: bytes, replica: Replica) -> None:
        trusted = certificates(bundle)
        context = ssl.create_default_context(cadata=pem_of(trusted).decode())
        try:
            with (
                # from an address of its own, which tells it from the API servers
                socket.create_connection((replica.address, TLS_PORT), timeout=5, source_address=("127.0.0.1", 0)) as plain,
                context.wrap_socket(plain, server_hostname=NAMES.dns) as tls,
            ):
                leaf = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
                tls.unwrap()
        except OSError as error:
            self._failed[f"{name}: {error}"] += 1
            return
        self._trusted[name][_by(leaf, trusted)] += 1
        self.shown.setdefault(fingerprint(pem_of([leaf])), set()).add(replica.address)


def bundles(server: ApiServer) -> list[bytes]:
    """The caBundle of each of our entries as this API server has heard of it, which is not always as etcd has it."""
    found = []
    for kind in CONFIGURATIONS:
        path = f"/apis/admissionregistration.k8s.io/v1/{kind.lower()}s/{NAMES.configuration}?resourceVersion=0"
        answer = server.api("GET", path)
        if answer.status != httpx.codes.OK:
            raise RuntimeError(f"{path}: {answer.body}")
        found += [base64.b64decode(webhook["clientConfig"]["caBundle"]) for webhook in answer.body["webhooks"]]
    return found


def _by(leaf: x509.Certificate, trusted: Sequence[x509.Certificate]) -> str:
    """By what it was verified."""
    own = sum(_signed(leaf, ca) for ca in trusted)
    return CROSS if not own else ITS_OWN if len(trusted) == own else BOTH


def _signed(leaf: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(ca)
    except InvalidSignature:
        return False
    return True


def _connections() -> set[str]:
    """The addresses from which replicas are connected to now, but for the newcomers'."""
    # address and port in hexadecimal, then those of the peer, then the state: proc(5)
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()]
    return {
        row[2] for row in rows if row[1].endswith(f":{TLS_PORT:04X}") and row[3] == "01" and not row[2].startswith("0100007F")
    }


class Count(NamedTuple):
    """What an API server has counted."""

    counted: Counted = Counted(Counter(), 0, 0)
    rejections: Mapping[str, int] = MappingProxyType(
        {}
    )  # by error_type: calling_webhook_error, no_error when the webhook said no, …

    @classmethod
    def of(cls, server: ApiServer) -> Self:
        metrics = server.metrics()
        rejections: Counter[str] = Counter()
        for labels, number in samples(metrics, "apiserver_admission_webhook_rejection_count"):
            rejections[labels["error_type"]] += int(number)
        return cls(Counted.of(metrics), rejections)

    def since(self, before: Self) -> Figures:
        return self.counted.since(before.counted) | {"rejections": dict(Counter(self.rejections) - Counter(before.rejections))}


def _handshake_failures(kept: Kept) -> Counter[str]:
    """By reason, of all replicas."""
    failures: Counter[str] = Counter()
    for replica in kept.running:
        for labels, number in samples(kept.scrape(replica), "dpdk_webhook_tls_handshake_failures_total"):
            failures[labels["reason"]] += int(number)
    return failures


def _end(kept: Kept, servers: Mapping[str, ApiServer]) -> Figures:
    """What is left when all is over: how many entries each API server knows, and how many of them trust the one CA alone."""
    data = kept.held().data or {}
    trusted = {name: bundles(server) for name, server in servers.items()}
    return {
        "secret": sorted(data),
        "entries": {name: len(found) for name, found in trusted.items()},
        "entries_with_the_ca_alone": {name: found.count(data[CA_CRT]) for name, found in trusted.items()},
    }


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    rotated, newcomers, end = figures["rotated"], figures["newcomers"], figures["end"]
    cas, leaves = rotated["cas"] + 1, rotated["cas"] + rotated["leaves_alone"] + 1
    rate, connections = figures["annotated_per_second"], newcomers["connections_of_api_servers"]
    problems = [
        (rotated["different_cas"] != cas, f"{rotated['different_cas']} different CAs, not {cas}"),
        (rotated["different_leaves"] != leaves, f"{rotated['different_leaves']} different leaves, not {leaves}"),
        (rate < PROMISED, f"{rate:.1f} annotated creates a second, not {PROMISED}"),
        (newcomers["failed"] != {}, f"newcomers were not let in, or did not trust whom they met: {newcomers['failed']}"),
        # each of them verifies anew what it has heard of, twice a rotation
        (
            connections < 4 * rotated["cas"],
            f"the API servers connected only {connections} times in {rotated['cas']} rotations",
        ),
        (OLD_CA_CRT in end["secret"], f"the Secret holds {OLD_CA_CRT} in the end"),
    ]
    for reason in UNTRUSTED:
        number = figures["failed_handshakes"].get(reason, 0)
        problems.append((number != 0, f"the replicas count {number} failed handshakes: {reason}"))
    for number, memory in enumerate(figures["memory_mib"], 1):
        problems.append((memory["server"] > MEMORY, f"replica {number} takes {memory['server']:.1f} MiB, more than {MEMORY}"))
    for name in SERVERS:
        problems += _broken_by(name, figures)
    problems.append(
        (
            CROSS not in newcomers["trusted"][SECOND],
            "nobody who trusted as the second API server did needed the cross-signed certificate",
        )
    )
    return [sentence for is_broken, sentence in problems if is_broken]


def _broken_by(name: str, figures: Figures) -> list[tuple[bool, str]]:
    """What one API server saw that it should not have."""
    creates, counts = figures["creates"][name], figures["api_servers"][name]
    gap, end = figures["longest_gap_seconds"][name], figures["end"]
    alone, entries = end["entries_with_the_ca_alone"][name], end["entries"][name]
    server = f"the {name} API server"
    problems = [
        (creates["failed"] != 0, f"{creates['failed']} creates failed at {server}"),
        (counts["rejections"] != {}, f"{server} counts rejections: {counts['rejections']}"),
        (counts["failed_open"] != 0, f"{server} counts {counts['failed_open']} requests that it let through"),
        (gap > GAP, f"no annotated pod was created at {server} for {gap:.2f} s"),
        (not entries or alone != entries, f"{alone} of {entries} entries hold the CA alone in the end, by {server}"),
    ]
    for webhook in (MUTATE, VALIDATE):
        calls = counts["calls"].get(webhook)
        told = f"{server} called {webhook} {calls} times for {creates['annotated']} annotated creates"
        problems.append((calls != {"200": creates["annotated"]}, told))
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.rotation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rotations", type=int, default=100, help="of the CA (default: %(default)s)")
    parser.add_argument("--lag", type=float, default=2, help="seconds, of the second API server (default: %(default)s)")
    parser.add_argument("--replicas", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=132, help="creates a second, 5 of 6 annotated (default: %(default)s)")
    return play(parser, arguments, run, broken)


if __name__ == "__main__":
    sys.exit(main())
