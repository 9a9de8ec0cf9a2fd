"""`python -m tests.cluster.away`: two replicas in mode `self` go on while their API server is away, and after it is back.

    stopped   SIGSTOP for kube-apiserver: connections are open, and nothing is answered
    killed    SIGKILL for it, and it is started again on the same port
    revoked   it is there, but takes the token no more: the account was deleted and made again; later there is a new token

The replicas reach it as a pod does: by the files of a mounted service account. Exit status 1 when one wasn't ready
meanwhile, or they can't go on afterwards.
"""

import argparse
import base64
import ctypes
import json
import math
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from certs.rotate import CA_CRT
from tests.cluster.cluster import Cluster, answers_ok
from tests.cluster.counters import samples
from tests.cluster.creators import pod
from tests.cluster.kept import ACCOUNT
from tests.cluster.netns import NetworkError
from tests.cluster.play import Figures, play, say
from tests.cluster.replicas import NAMESPACE, ROUTING, Replica
from tests.cluster.tended import PATIENCE, Tended
from tests.cluster.tied import until
from webhook.trust import ACCOUNT as MOUNTED

REPLICAS = 2
CASES = ("stopped", "killed", "revoked")
BACK = 10.0  # seconds after which all is as before, once the API server is back
RENEWED = 60.0  # seconds after which the client reads the token's file anew
FORGOTTEN = 30.0  # seconds; the API server goes on for 10 with a token that it has seen
AFTERWARDS = {
    "created_seconds": "a pod is created",
    "held_seconds": "the Lease is renewed",
    "rotated_seconds": "the CA is replaced",
}
LINES = 5  # of the log, a minute
CPU = 0.1  # of a core
LOOK = 0.2  # seconds

_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 0x40000


def run(options: argparse.Namespace) -> Figures:
    """One cluster and the same two replicas for all cases."""
    mount()
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as directory,
        Cluster(flags=[ROUTING]) as cluster,
        Pods(cluster, Path(directory), 0) as pods,
        cluster.namespace() as namespace,
    ):
        called = [pods.launch(number) for number in range(REPLICAS)]
        pods.serve(called)
        pods.finish(called)
        cases = []
        for case in options.only or CASES:
            cases.append({"case": case, **Away(cluster, pods, namespace, called).play(case, getattr(options, case))})
            say(str(cases[-1]))
        return {"cases": cases}


def mount() -> None:
    """Give this process and its children a place of their own for a mounted service account, empty; after `netns.enter`."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = os.path.realpath("/var/run").encode()
    failed = (
        libc.unshare(_CLONE_NEWNS)
        # otherwise the machine would see it as well
        or libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
        or libc.mount(b"tmpfs", place, b"tmpfs", ctypes.c_ulong(0), None)
    )
    if failed:
        raise NetworkError(f"no mounts of its own: {os.strerror(ctypes.get_errno())}")
    MOUNTED.mkdir(parents=True)


class Pods(Tended):
    """As Tended, but each replica finds the API server as a pod does."""

    def __init__(self, cluster: Cluster, directory: Path, number: int) -> None:
        super().__init__(cluster, directory, number)
        there = urlsplit(cluster.url)
        host, port = str(there.hostname), str(there.port)
        self._environment |= {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}

    def _certificates(self) -> Mapping[str, Any]:
        return {"certificates": "self"}

    def __enter__(self) -> Self:
        self.webhooks = self._cluster.register_service(b"")
        config = json.loads(self._cluster.kubeconfig.read_text())
        authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
        (MOUNTED / "ca.crt").write_bytes(base64.b64decode(authority))
        (MOUNTED / "namespace").write_text(NAMESPACE)
        self.renew()
        return self

    def renew(self) -> None:
        """Write a token of the account as the kubelet does: a short-lived one, whole at once."""
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"
        made = self._cluster.api("POST", path, {"spec": {"expirationSeconds": 600}})
        if made.status != httpx.codes.CREATED:
            raise RuntimeError(f"no token: {made.body}")
        beside = MOUNTED / "token.new"
        beside.write_text(made.body["status"]["token"])
        beside.replace(MOUNTED / "token")

    def revoke(self) -> None:
        """Make the account anew, and return when the API server refuses the token that was the old one's."""
        accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        found = self._cluster.api("GET", f"{accounts}/{ACCOUNT}").body["metadata"]
        kept = {key: found[key] for key in ("name", "namespace", "labels", "annotations") if key in found}
        self._cluster.api("DELETE", f"{accounts}/{ACCOUNT}")
        made = self._cluster.api("POST", accounts, {"metadata": kept})
        if made.status != httpx.codes.CREATED:
            raise RuntimeError(f"no account: {made.body}")
        until(lambda: not self.is_admitted(), seconds=FORGOTTEN, waiting_for="the old token to be refused")

    def is_admitted(self) -> bool:
        """Whether the API server takes the token that is there."""
        headers = {"Authorization": f"Bearer {(MOUNTED / 'token').read_text()}"}
        with httpx.Client(verify=str(MOUNTED / "ca.crt"), trust_env=False, headers=headers) as http:
            return http.get(f"{self._cluster.url}/api").status_code == httpx.codes.OK

    def status(self, replica: Replica) -> int:
        """How it answers whether it is ready; 0: it doesn't."""
        try:
            return self._http.get(f"{replica.health_url}/readyz").status_code
        except httpx.TransportError:
            return 0

    def errors(self, replica: Replica) -> Counter[str]:
        """How often it failed with the API server, by reason."""
        found = samples(self.scrape(replica), "dpdk_webhook_certificate_errors_total")
        return Counter({labels["reason"]: int(count) for labels, count in found})


class Away:
    """One case: from when the API server goes, until all is as before."""

    def __init__(self, cluster: Cluster, pods: Pods, namespace: str, called: Sequence[Replica]) -> None:
        self._cluster, self._pods, self._namespace, self._called = cluster, pods, namespace, called

    def play(self, case: str, seconds: float) -> Figures:
        errors = [self._pods.errors(replica) for replica in self._called]
        before = [Process.of(replica) for replica in self._called]
        promised = BACK + (RENEWED if case == "revoked" else 0)
        began = time.monotonic()
        with looking(self._pods, self._called) as looks:
            away = {"stopped": self._stopped, "killed": self._killed, "revoked": self._revoked}[case](seconds)
            then = [Process.of(replica) for replica in self._called]
            gone = time.monotonic() - began
            back = self._recover(promised)
        after = [Process.of(replica) for replica in self._called]
        complaints = [now.complaints[len(was.complaints) :] for was, now in zip(before, after, strict=True)]
        return {
            "away_seconds": gone,
            "looks": sum(looks.values()),
            "not_ready": {str(status): count for status, count in looks.items() if status != httpx.codes.OK},
            "cpu": max(now.cpu - was.cpu for was, now in zip(before, then, strict=True)) / gone,
            "lines_a_minute": max(map(a_minute, complaints)),
            "log": max(complaints, key=len),
            "threads_ended": sum(len(was.threads - now.threads) for was, now in zip(before, after, strict=True)),
            "errors": [dict(self._pods.errors(replica) - was) for was, replica in zip(errors, self._called, strict=True)],
            "promised_seconds": promised,
            **away,
            **back,
        }

    def _stopped(self, seconds: float) -> Figures:
        server = self._cluster.process
        os.kill(server.pid, signal.SIGSTOP)
        try:
            answered = self._wait(seconds)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        return {"answered": answered}

    def _killed(self, seconds: float) -> Figures:
        self._cluster.process.kill()
        answered = self._wait(seconds)
        self._cluster.launch()
        self._cluster.wait_ready()
        return {"answered": answered}

    def _revoked(self, seconds: float) -> Figures:
        self._pods.revoke()
        time.sleep(seconds)
        found = {"answered": int(self._pods.is_admitted()), "refused": int(not self._is_created())}
        self._pods.renew()
        return found

    def _wait(self, seconds: float) -> int:
        """Wait; return how often the API server gave an answer, although it is away."""
        answered, end = 0, time.monotonic() + seconds
        with httpx.Client(verify=self._cluster.administrator, trust_env=False, timeout=LOOK) as http:
            while time.monotonic() < end:
                answered += answers_ok(http, f"{self._cluster.url}/livez")
                time.sleep(LOOK)
        return answered

    def _recover(self, promised: float) -> Figures:
        """After how many seconds the replicas do again what they could not; inf: not long after it was promised either."""
        began = time.monotonic()
        held, ca = self._spec(), self._ca()
        self._pods.demand_ca()

        def is_held() -> bool:
            spec = self._spec()
            names = [replica.process.name for replica in self._called]
            return spec.get("holderIdentity") in names and spec.get("renewTime") != held.get("renewTime")

        def is_rotated() -> bool:
            return self._ca() != ca and self._pods.is_stable()

        def wait(holds: Callable[[], bool]) -> None:
            until(holds, seconds=promised + PATIENCE, waiting_for="all to be as before")

        figures = dict.fromkeys(AFTERWARDS, math.inf)
        with suppress(TimeoutError):
            for figure, waited in (
                ("created_seconds", lambda: wait(self._is_created)),
                ("held_seconds", lambda: wait(is_held)),
                ("rotated_seconds", lambda: self._pods.go_on(is_rotated, waiting_for="the new CA", called=self._called)),
            ):
                waited()
                figures[figure] = time.monotonic() - began
        return figures

    def _spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = (self._pods.administrator.read("Lease") or {}).get("spec") or {}
        return spec

    def _ca(self) -> bytes:
        return (self._pods.held().data or {}).get(CA_CRT, b"")

    def _is_created(self) -> bool:
        path = f"/api/v1/namespaces/{self._namespace}/pods?dryRun=All"
        return self._cluster.api("POST", path, pod(0, annotated=True)).status == httpx.codes.CREATED


@dataclass(frozen=True, slots=True)
class Process:
    """A replica, as the kernel sees it and its log has it, at one moment."""

    cpu: float  # seconds
    threads: frozenset[int]
    complaints: Sequence[str]  # every line of the log that isn't mere information

    @classmethod
    def of(cls, replica: Replica) -> Self:
        place = Path(f"/proc/{replica.process.pid}")
        # what follows the name, which may have blanks in it: user and system time are fields 14 and 15, proc(5)
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        threads = frozenset(int(task.name) for task in (place / "task").iterdir())
        lines = replica.process.log.read_text().splitlines()
        complaints = [line for line in lines if '"level":"info"' not in line]
        return cls(ticks / os.sysconf("SC_CLK_TCK"), threads, complaints)


def a_minute(lines: Sequence[str]) -> int:
    """How many lines of a log there are in one minute at most."""
    times = [datetime.fromisoformat(json.loads(line)["timestamp"]) for line in lines]
    return max((sum(first <= each < first + timedelta(minutes=1) for each in times) for first in times), default=0)


@contextmanager
def looking(pods: Pods, called: Sequence[Replica]) -> Iterator[Counter[int]]:
    """Ask each of them all the time whether it is ready, while something is done: how often it said what; 0 is silence."""
    looks: Counter[int] = Counter()
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK):
            looks.update(pods.status(replica) for replica in called)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        over.set()
        thread.join()


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    problems = [] if figures["cases"] else ["nothing was played"]
    for each in figures["cases"]:
        told: Sequence[tuple[bool, str]] = (
            (each["answered"] != 0, f"the API server answered {each['answered']} times while it was away"),
            (each["looks"] == 0, "nobody looked whether they are ready"),
            (bool(each["not_ready"]), f"a replica was not ready: {each['not_ready']}"),
            (each.get("refused", 0) != 0, "a create was refused, although the API server was there"),
            (each["cpu"] > CPU, f"a replica took {each['cpu']:.0%} of a core"),
            (each["lines_a_minute"] > LINES, f"a replica wrote {each['lines_a_minute']} lines in a minute: {each['log']}"),
            (each["threads_ended"] != 0, f"{each['threads_ended']} threads ended"),
            (
                each["case"] == "revoked" and not all(reasons.get("forbidden") for reasons in each["errors"]),
                f"a replica did not count that it was forbidden: {each['errors']}",
            ),
            *(
                (each[figure] > each["promised_seconds"], f"{what} only after {each[figure]:.1f} s")
                for figure, what in AFTERWARDS.items()
            ),
        )
        problems += [f"{each['case']}: {sentence}" for is_broken, sentence in told if is_broken]
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster.away",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", help="these, in this order (default: every one)")
    for case, seconds in (("stopped", 15.0), ("killed", 5.0), ("revoked", 65.0)):
        parser.add_argument(f"--{case}", type=float, default=seconds, help="seconds that it lasts (default: %(default)s)")
    return play(parser, arguments, run, broken)


if __name__ == "__main__":
    sys.exit(main())
