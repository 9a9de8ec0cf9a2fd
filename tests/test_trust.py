"""Between the event loop and the thread that watches the certificates: what is started, what is told, and how it ends."""

import asyncio
import base64
import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from certs.issue import Pair, issue_ca, issue_leaf
from certs.loop import Report
from certs.rotate import Material, Settle, Step
from scripts import throwaway
from scripts.throwaway import Certificates as Files
from tests.serving import environment, eventually
from webhook import trust as module
from webhook.health import Readiness
from webhook.metrics import Metrics
from webhook.settings import Settings, load
from webhook.tls import Certificates
from webhook.trust import GOODBYE, NoClusterError, Trust, names, notes

ROOT = Path(__file__).parent.parent
NAME = "dpdk-webhook.somewhere.svc"


@pytest.fixture(autouse=True)
def _no_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(module, "ACCOUNT", tmp_path / "account")


def settings(**given: object) -> Settings:
    return load().model_copy(update=given)


def of_files(files: Files, **more: object) -> Settings:
    return settings(**{"certificates": "files", "tls_cert": str(files.certificate), "tls_key": str(files.key)} | more)


def kubeconfig(directory: Path, port: int) -> str:
    file = directory / "kubeconfig"
    cluster = {"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
    user = {"name": "test", "user": {"token": "x"}}
    file.write_text(json.dumps({"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "test"}))
    return str(file)


class Told:
    """All that a Trust tells of itself. To be made in a loop."""

    def __init__(self, given: Settings) -> None:
        self.readiness, self.metrics = Readiness(), Metrics(lambda: 0)
        self.certificates = Certificates(given, self.metrics)
        self.reports: list[Report] = []
        self.trust = Trust(given, self.certificates, self.readiness, self.metrics, saw=self.reports.append)
        self.readiness.state = "ok"


def pair() -> Pair:
    now = datetime.now(UTC)
    return issue_leaf(issue_ca(name="a CA", now=now), names=[NAME], now=now)


def looking() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("certificates", "watch "))]


# --- what is started


def test_where_nobody_has_a_token_nothing_is_started(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        before = looking()
        told = Told(of_files(files))
        told.trust.start()
        assert looking() == before
        assert told.readiness.told() == (200, b"ok\n")
        told.trust.drain()
        await told.trust.stop()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == [
        "the caBundle is not read back: there is no service account's token"
    ]


def test_the_server_without_a_token_never_loads_the_kubernetes_client(files: Files) -> None:
    program = """
import asyncio, os, signal, sys
from webhook.server import serve
from webhook.settings import load
from webhook.trust import Trust

def trusting(*given):
    asyncio.get_running_loop().call_later(1, os.kill, os.getpid(), signal.SIGINT)
    return Trust(*given)

serve(load(), trusting=trusting)
print([name for name in sys.modules if name.partition(".")[0] == "kubernetes"], file=sys.stderr)
"""
    variables = environment(throwaway.settings(files, *throwaway.free_ports(2)))
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=60)
    assert (result.returncode, result.stderr) == (0, "[]\n")


def test_with_a_token_the_configurations_are_watched_and_nothing_else(files: Files, tmp_path: Path) -> None:
    async def run() -> None:
        before = looking()
        told = Told(of_files(files, namespace="somewhere", kubeconfig=kubeconfig(tmp_path, 1)))
        told.trust.start()
        started = looking()
        for name in before:
            started.remove(name)
        assert sorted(started) == [
            "certificates",
            "watch MutatingWebhookConfiguration",
            "watch ValidatingWebhookConfiguration",
        ]
        await asyncio.to_thread(eventually, lambda: told.reports, 20, "it tells")
        assert told.readiness.told() == (200, b"ok\n"), "nobody would look without a token either"
        await told.trust.stop()

    asyncio.run(run())


def test_in_mode_self_it_is_not_ready_until_the_api_server_has_answered(tmp_path: Path) -> None:
    async def run() -> None:
        told = Told(settings(namespace="somewhere", kubeconfig=kubeconfig(tmp_path, 1)))
        assert told.readiness.told() == (503, b"not ready: there is no certificate to serve yet\n")
        told.trust.start()
        await asyncio.to_thread(eventually, lambda: "can't be asked" in told.readiness.problem, 20, "it tells why")
        status, body = told.readiness.told()
        assert status == 503
        assert body.startswith(b"not ready: the API server has not said yet what there is: GET /")
        assert body.count(b"\n") == 1
        counted = re.compile(rb'^dpdk_webhook_certificate_errors_total{reason="unreachable"} [1-9][0-9]*\.0$', re.MULTILINE)
        await asyncio.to_thread(eventually, lambda: counted.search(told.metrics.expose()[0]), 20, "it is counted")
        await told.trust.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"certificates": "self", "namespace": "somewhere"},
            "certificates is self: this is no pod with a service account's token: Service host/port is not set; "
            "outside of a cluster write certificates=files, tls_cert and tls_key",
        ),
        (
            {"certificates": "openshift", "namespace": "somewhere", "kubeconfig": "/Nowhere"},
            "certificates is openshift: kubeconfig /Nowhere: Invalid kube-config file. No configuration found",
        ),
        (
            {"certificates": "self"},
            "certificates is self: namespace is not set, and this is no pod that has one; write DPDK_WEBHOOK_NAMESPACE; "
            "outside of a cluster write certificates=files, tls_cert and tls_key",
        ),
    ],
    ids=["no pod", "no kubeconfig", "no namespace"],
)
def test_who_cannot_find_the_api_server_says_what_to_write(files: Files, given: dict[str, Any], line: str) -> None:
    async def run() -> None:
        with pytest.raises(NoClusterError) as raised:
            Told(of_files(files, **given) if given["certificates"] != "self" else settings(**given))
        assert str(raised.value) == line

    asyncio.run(run())


def test_a_token_that_is_of_no_use_keeps_nobody_from_serving_the_files_of_others(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "account").mkdir()
    (tmp_path / "account" / "token").write_text("x")

    async def run() -> None:
        told = Told(of_files(files))
        told.trust.start()
        assert told.readiness.told() == (200, b"ok\n")

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert caplog.records[0].getMessage() == (
        "the caBundle is not read back: namespace is not set, and this is no pod that has one; write DPDK_WEBHOOK_NAMESPACE"
    )


def test_in_a_pod_the_namespace_is_its_own_unless_a_setting_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "account").mkdir()
    (tmp_path / "account" / "namespace").write_text("of-the-pod\n")
    assert names(settings()).dns == "dpdk-webhook.of-the-pod.svc"
    assert names(settings(namespace="another")).dns == "dpdk-webhook.another.svc"


# --- what is told


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("report", "lines"),
    [
        (Report("", None), ()),
        (Report("", True), ("caBundle: trusts what is served",)),
        (Report("x", False), ("caBundle: does not trust what is served",)),
        (Report("", None, "stable", "one CA, trusted everywhere"), ("phase: stable: one CA, trusted everywhere",)),
        (
            Report("", True, "settling", "waiting", NOW + timedelta(days=29, hours=12)),
            (
                f"certificate: 29 days left, until {NOW + timedelta(days=29, hours=12):%Y-%m-%d}",
                "caBundle: trusts what is served",
                "phase: settling: waiting",
            ),
        ),
    ],
    ids=["nothing", "trusted", "not trusted", "a phase", "everything"],
)
def test_readyz_says_beside_yes_or_no_what_is_known(report: Report, lines: tuple[str, ...]) -> None:
    assert notes(report) == lines


# --- the thread, and the loop


def test_a_pair_is_served_when_the_other_thread_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        told, first = Told(settings(namespace="somewhere", kubeconfig=kubeconfig(tmp_path, 1))), pair()
        assert await asyncio.to_thread(told.trust._serve, first)
        assert told.certificates.pair == first
        mixed = Pair(pair().certificate, first.key)
        assert not await asyncio.to_thread(told.trust._serve, mixed)
        assert told.certificates.pair == first

    asyncio.run(run())


def test_a_loop_that_is_busy_takes_the_pair_later_and_says_so_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWAP", 0.1)

    async def run() -> None:
        told, first = Told(settings(namespace="somewhere", kubeconfig=kubeconfig(tmp_path, 1))), pair()
        given = asyncio.create_task(asyncio.to_thread(told.trust._serve, first))
        await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 - the loop is busy
        assert not await given
        assert await asyncio.to_thread(told.trust._serve, first)
        assert told.certificates.pair == first

    asyncio.run(run())


def test_once_the_loop_is_closed_nothing_is_served_and_nothing_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWAP", 0.1)

    async def run() -> Told:
        return Told(settings(namespace="somewhere", kubeconfig=kubeconfig(tmp_path, 1)))

    told = asyncio.run(run())
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(told.trust._serve(pair())))
    thread.start()
    thread.join(10)
    assert answers == [False]
    assert told.certificates.pair is None


def test_each_step_that_is_done_is_counted_and_told_of(tmp_path: Path) -> None:
    async def run() -> None:
        told, did = Told(settings(namespace="somewhere", kubeconfig=kubeconfig(tmp_path, 1))), list[Step]()
        step = Settle("settling", "everybody serves it", None)
        await asyncio.to_thread(told.trust._counted(did.append), step)
        await asyncio.sleep(0)
        assert did == [step]
        assert b'dpdk_webhook_rotation_steps_total{phase="settling"} 1.0\n' in told.metrics.expose()[0]

    asyncio.run(run())


def test_what_is_served_from_a_file_is_compared_with_the_ca_bundles(files: Files, tmp_path: Path) -> None:
    entry = {"name": "an.entry", "clientConfig": {"service": {"namespace": "somewhere", "name": "dpdk-webhook"}}}
    found = {"dpdk-webhook": {"metadata": {"resourceVersion": "7"}, "webhooks": [entry]}}

    async def run(port: int) -> None:
        told = Told(of_files(files, namespace="somewhere", kubeconfig=kubeconfig(tmp_path, port)))
        told.trust.start()
        await asyncio.to_thread(eventually, lambda: told.readiness.problem, 20, "it tells")
        why = "the caBundle of an.entry does not stand for the served certificate: it is empty"
        line = f"not ready: {why}\ncaBundle: does not trust what is served\n"
        assert told.readiness.told() == (503, line.encode())
        assert b"dpdk_webhook_ca_bundle_matches 0.0\n" in told.metrics.expose()[0]
        await told.trust.stop()

    with answering_no_writes(found) as (port, _):
        asyncio.run(run(port))


# --- the end


@contextmanager
def answering_no_writes(found: dict[str, Any]) -> Iterator[tuple[int, threading.Event]]:
    """An API server that lets everything be read, and never answers a write: its port, and whether one was asked for."""
    asked, ended = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place, _, query = self.path.partition("?")
            body = b"" if query else json.dumps(found[place.rpartition("/")[2]]).encode()
            self.send_response(200)
            if not query:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            if query:
                ended.wait(60)

        def do_PATCH(self) -> None:
            asked.set()
            ended.wait(60)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def test_an_api_server_that_does_not_answer_delays_the_end_for_a_moment_only(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ca = issue_ca(name="a CA", now=now)
    held = Material(ca, issue_leaf(ca, names=[NAME], now=now))
    data = {key: base64.b64encode(value).decode() for key, value in held.data().items()}
    metadata = {"metadata": {"resourceVersion": "7"}}
    found = {"dpdk-webhook-tls": metadata | {"data": data}, "dpdk-webhook": metadata}

    async def run(port: int, asked: threading.Event) -> None:
        told = Told(settings(namespace="somewhere", kubeconfig=kubeconfig(tmp_path, port)))
        told.trust.start()
        assert await asyncio.to_thread(asked.wait, 20)
        assert told.certificates.pair == held.leaf, "it is served before anybody is told"
        told.trust.drain()
        began = time.monotonic()
        await told.trust.stop()
        assert GOODBYE <= time.monotonic() - began < GOODBYE + 1

    with answering_no_writes(found) as (port, asked):
        asyncio.run(run(port, asked))
