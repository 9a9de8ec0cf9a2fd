"""The kubelet of the tests does what a pod says: else a life cycle that is played with it shows nothing."""

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.kubelet import is_ours
from tests.cluster.netns import NETWORK
from tests.cluster.pods import SHIM, Probe, State

CONTAINER: dict[str, Any] = {
    "name": "dpdk-webhook",
    "image": "dpdk-webhook:1",
    "ports": [{"name": "health", "containerPort": 80}],
}


@pytest.mark.parametrize(
    ("image", "ours"),
    [
        ("dpdk-webhook", True),
        ("dpdk-webhook:0.1.0", True),
        ("registry.example.com:5000/net/dpdk-webhook:0.2.0", True),
        ("registry.example.com/dpdk-webhook@sha256:0123", True),
        ("registry.example.com/dpdk-webhook/other:1", False),
        ("my-dpdk-webhook:1", False),
    ],
)
def test_pods_of_the_webhooks_image_are_run(image: str, ours: bool) -> None:
    assert is_ours({"spec": {"containers": [{"image": image}]}}) is ours


def test_a_pod_with_another_container_is_not() -> None:
    assert not is_ours({"spec": {"containers": [{"image": "dpdk-webhook"}, {"image": "proxy"}]}})


def test_a_probe_is_read_as_it_is_written() -> None:
    port, get = {"port": "health"}, {"path": "/readyz"}
    written = {"httpGet": get | port, "periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 4, "successThreshold": 1}
    probe = Probe.of(CONTAINER | {"readinessProbe": written}, "readinessProbe")
    assert probe is not None
    assert (probe.path, probe.port, probe.period, probe.timeout, probe.failures) == ("/readyz", 80, 2, 3, 4)
    later = Probe.of(CONTAINER | {"livenessProbe": written | {"initialDelaySeconds": 100}}, "livenessProbe")
    assert later is not None
    assert later.due > time.monotonic() + 90
    assert Probe.of(CONTAINER, "startupProbe") is None


@contextmanager
def answering(statuses: list[int]) -> Iterator[int]:
    """A server that answers with each of these in turn; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.pop(0))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_probe_fails_only_when_it_has_failed_often_enough_in_a_row() -> None:
    with answering([503, 200, 503, 503, 500]) as port, httpx.Client(trust_env=False) as http:
        probe = Probe("/", port, period=0, timeout=1, failures=3, successes=1, due=0)
        assert [probe.look(http, "127.0.0.1") for _ in range(5)] == [None, True, None, None, False]


def test_a_probe_that_nobody_answers_has_failed() -> None:
    with answering([]) as port, httpx.Client(trust_env=False) as http:
        pass
    with httpx.Client(trust_env=False) as http:
        assert Probe("/", port, period=0, timeout=1, failures=1, successes=1, due=0).look(http, "127.0.0.1") is False


def test_a_probe_waits_for_its_time() -> None:
    with answering([200]) as port, httpx.Client(trust_env=False) as http:
        probe = Probe("/", port, period=60, timeout=1, failures=1, successes=1, due=0)
        assert [probe.look(http, "127.0.0.1") for _ in range(2)] == [True, None]


def test_a_pod_is_ready_when_its_container_is_and_pending_until_there_is_one() -> None:
    def told(state: State) -> tuple[str, str, str]:
        status = state.status(CONTAINER)
        [container] = status["containerStatuses"]
        ready = next(each["status"] for each in status["conditions"] if each["type"] == "Ready")
        assert container["ready"] is (ready == "True")
        return status["phase"], ready, next(iter(container["state"]))

    address = str(NETWORK[20])
    assert told(State(address, waiting="no token")) == ("Pending", "False", "waiting")
    assert told(State(address, started=True)) == ("Running", "False", "running")
    assert told(State(address, started=True, ready=True)) == ("Running", "True", "running")
    assert told(State(address, ready=True, waiting="held", restarts=1)) == ("Running", "False", "waiting")


MOUNTED = """
import subprocess, sys
from pathlib import Path
from tests.cluster import netns
netns.enter()
shim, directory, place = sys.argv[1:]
subprocess.run([sys.executable, "-I", "-S", shim, f"{directory}={place}", "--", "cat", f"{place}/token"], check=True)
print("outside:", *(each.name for each in Path(place).iterdir()))
"""


def test_a_container_sees_its_volumes_and_nobody_else_does(tmp_path: Path) -> None:
    tried = subprocess.run([sys.executable, "-m", "tests.cluster.netns"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(tried.stderr.strip())
    volume, place = tmp_path / "volume", tmp_path / "place"
    volume.mkdir()
    place.mkdir()
    (volume / "token").write_text("of the pod\n")
    command = [sys.executable, "-c", MOUNTED, str(SHIM), str(volume), str(place)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["of the pod", "outside:"]
