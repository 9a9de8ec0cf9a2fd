"""The servers that are measured: ours, the floor, and whatever else somebody names."""

import base64
import os
import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import orjson

from bench.review import Reviews
from scripts import throwaway

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_MEMO: Final = re.compile(r"^dpdk_webhook_decision_memo_(hits|misses)_total (\S+)$", re.MULTILINE)


class BenchError(Exception):
    """The figures would not be what they say they are."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. Without a pid its CPU is not known, without `metrics` neither is what it remembered."""

    name: str
    url: str
    trust: ssl.SSLContext
    pid: int | None = None
    metrics: str | None = None  # URL
    role: Literal["ours", "floor", "peer"] = "peer"

    @property
    def cpu(self) -> float | None:
        """Seconds of CPU that the process has used, user and system."""
        return None if self.pid is None else cpu_seconds(self.pid)

    def memo(self) -> tuple[int, int] | None:
        """(decisions that it remembered, decisions that it made) since it started."""
        if self.metrics is None:
            return None
        text = httpx.get(self.metrics, trust_env=False).raise_for_status().text
        counts = {match[1]: int(float(match[2])) for match in _MEMO.finditer(text)}
        if len(counts) != 2:
            raise BenchError(f"{self.name}: {self.metrics} does not say how many decisions were remembered")
        return counts["hits"], counts["misses"]

    def check(self, reviews: Reviews, number: int) -> int:
        """How many operations its patch has; BenchError where it does not do the job: answer this review, and rightly."""
        body = reviews.numbered(number)
        try:
            answer = httpx.post(
                self.url, content=body, headers={"Content-Type": "application/json"}, verify=self.trust, trust_env=False
            )
        except httpx.TransportError as error:
            raise BenchError(f"{self.name} can't be reached: {error}") from error
        said = f"{answer.status_code}: {answer.text[:200]}"
        try:
            response: dict[str, Any] = answer.json()["response"]
            operations = len(orjson.loads(base64.b64decode(response.get("patch") or "W10=")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BenchError(f"{self.name} did not answer a review with a review, but with {said}") from error
        outcome = ("patched" if operations else "untouched") if response.get("allowed") is True else "refused"
        # the floor knows one answer; a peer may find nothing to change, which is told
        expected = "patched" if self.role == "floor" else reviews.outcome
        has_nothing_to_do = self.role == "peer" and (outcome, expected) == ("untouched", "patched")
        if answer.status_code != 200 or not (outcome == expected or has_nothing_to_do):
            raise BenchError(f"{self.name} left a pod {outcome} that should be {expected}, with {said}")
        if self.role != "floor" and response.get("uid") != orjson.loads(body)["request"]["uid"]:
            raise BenchError(f"{self.name} answered another review than it was asked: {said}")
        return operations


OURS: Final = "ours"
FLOOR: Final = "floor"
PLAIN: Final = ("uvicorn uvloop", "uvicorn asyncio")  # the floor without what we add to uvicorn


def cpu_seconds(pid: int) -> float:
    """utime and stime of proc(5), of all threads, in seconds."""
    try:
        # the name in parentheses may hold blanks and parentheses; utime and stime are the 14th and 15th field
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise BenchError(f"process {pid} can't be watched: {error.strerror}") from error
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def placed(*, servers: bool) -> Iterator[None]:
    """What is started here runs on the first core if it is a server, and on the others if it is what asks them. Left alone, the
    kernel puts the two of one connection together for one run and apart for the next, which is half of the floor's CPU."""
    cores = os.sched_getaffinity(0)
    first = {min(cores)}
    os.sched_setaffinity(0, first if servers else cores - first or cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def start(stack: ExitStack, files: throwaway.Certificates, name: str, *arguments: str) -> Server:
    """One of ours, until the stack is closed; its log stands beside the certificates."""
    port, health_port = throwaway.free_ports(2)
    module = ["webhook", "serve"] if name == OURS else ["bench.floor", *arguments]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DPDK_WEBHOOK_")}
    log = stack.enter_context((files.ca.parent / f"{name}.log").open("wb"))
    environment = inherited | throwaway.settings(files, port, health_port)
    url = f"https://127.0.0.1:{port}"
    process = stack.enter_context(throwaway.running(module, environment, f"{url}/readyz", files.trust, log))
    metrics = f"http://127.0.0.1:{health_port}/metrics" if name == OURS else None
    return Server(name, f"{url}/mutate", files.trust, process.pid, metrics, "ours" if name == OURS else "floor")


def peers(urls: Sequence[str], pids: Sequence[str]) -> list[Server]:
    """The servers of `--peer NAME=URL`, with the processes of `--peer-pid NAME=PID`. Their certificates are taken as they
    are: whoever names them trusts them."""
    named = dict(_pair(text, "--peer") for text in urls)
    processes = {name: int(pid) for name, pid in (_pair(text, "--peer-pid") for text in pids) if pid.isdecimal()}
    if unknown := sorted({_pair(text, "--peer-pid")[0] for text in pids} - (named.keys() & processes.keys())):
        raise BenchError(f"--peer-pid {unknown[0]}: a number is expected, and --peer {unknown[0]}=URL")
    if taken := named.keys() & {OURS, FLOOR, *PLAIN}:
        raise BenchError(f"--peer {min(taken)}: this name is taken; choose another")
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    return [Server(name, url, trust, processes.get(name)) for name, url in named.items()]


def _pair(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign or not value:
        raise BenchError(f"{option} {text}: NAME=… is expected")
    return name, value
