"""Hostile clients: each attack is over within its bounds, and whoever asks properly meanwhile is answered."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from bench.attacks import ATTACKS, Attack, Outcome
from bench.hostile import Healthy, attacked
from scripts.throwaway import Certificates
from tests.serving import Server, serving

SLOW = [attack for attack in ATTACKS if attack.seconds > 3]
FAST = [attack for attack in ATTACKS if attack not in SLOW]
# what is not here hears nothing at all
ANSWERED = {
    "garbage after a handshake": {"400"},
    "a header without end": {"431"},
    "headers without end": {"431"},
    "a chunk's extension without end": {"431"},
    "trailers without end": {"431"},
    "chunks of one byte without end": {"431"},
    "a chunked body without end": {"413"},
    "a body of 64 MiB": {"413"},
    "deep nesting": {"400"},
    "a number of a million digits": {"200"},  # a review that refuses the pod
    "pipelining, 200 at once": {"200"},
    "a wrong method": {"405"},
    "a wrong path": {"404"},
}
CLOSED = 10.0  # seconds that a bad connection may live
GROWTH = 80  # MiB that an attack may make the server take


@dataclass(frozen=True)
class Played:
    outcome: Outcome
    healthy: Healthy
    growth: int  # MiB at most
    left: int  # MiB, afterwards
    answers: bool


def _play(server: Server, attack: Attack, seconds: float) -> Played:
    assert server.answers()
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak counts from here
    before = server.rss
    healthy = Healthy(server.port, server.files.trust)
    outcome = attacked(attack, healthy, seconds)
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) // 1024
    answers = server.answers()
    time.sleep(1)
    return Played(outcome, healthy, peak - before, server.rss - before, answers)


@pytest.fixture(scope="module")
def slow(files: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Played]]]:
    """The long ones, each on a server of its own, some at a time: most of it is waiting."""

    def play(attack: Attack, directory: Path) -> Played:
        with serving(files, directory) as running:
            return _play(running, attack, attack.seconds)

    with ThreadPoolExecutor(3) as pool:
        yield {attack.name: pool.submit(play, attack, tmp_path_factory.mktemp("slow")) for attack in SLOW}


def _check(attack: Attack, played: Played) -> None:
    outcome, healthy = played.outcome, played.healthy
    assert healthy.failures == []
    assert len(healthy.latencies) > 20
    assert played.answers
    assert outcome.failed == 0
    assert outcome.opened >= attack.connections
    assert played.growth < GROWTH
    if attack.connections >= 1000:
        assert played.left < played.growth / 2, "what a horde took is given back"
    assert set(outcome.statuses) == ANSWERED.get(attack.name, set())
    if attack.is_closed:
        assert outcome.closed == outcome.opened
        assert outcome.longest < CLOSED


BY_SIZE: Final = ("deep nesting", "a number of a million digits")


@pytest.mark.parametrize("attack", FAST, ids=lambda attack: attack.name)
def test_a_short_attack(slow: dict[str, Future[Played]], server: Server, attack: Attack) -> None:
    # what is large is read aside, by a process that has to start first
    _check(attack, _play(server, attack, 2.0 if attack.name in BY_SIZE else 0.6))


@pytest.mark.parametrize("attack", SLOW, ids=lambda attack: attack.name)
def test_a_long_attack(slow: dict[str, Future[Played]], attack: Attack) -> None:
    _check(attack, slow[attack.name].result())
