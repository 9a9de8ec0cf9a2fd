"""Spans, as a collector gets them over HTTP."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts import throwaway
from tests.collector import Collector, attributes
from tests.serving import POD, REVIEW, serving
from webhook import tracing
from webhook.tracing import Tracer, tracer
from webhook.verdict import Asked, Verdict

ASKED = Asked("8f0c", "CREATE", "default", "testpmd", dry_run=False, user="alice")
CHANGED = Verdict("changed", 9, (("resources", 4), ("hugepages", 5)))
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
Headers = list[tuple[bytes, bytes]]


def _headers(flags: str, **more: str) -> Headers:
    named = {"host": "x", "traceparent": f"00-{TRACE}-{PARENT}-{flags}"} | more
    return [(name.encode(), value.encode()) for name, value in named.items()]


@pytest.fixture(autouse=True)
def _nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A thread of the SDK that still tries would draw random numbers beside tests that depend on theirs."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")  # seconds for which it tries; 10 without
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(40)
        assert not thread.is_alive(), thread


@contextmanager
def _tracing(endpoint: str) -> Iterator[Tracer]:
    made = Tracer(endpoint)
    try:
        yield made
    finally:
        made.close()


def _span(to: Tracer, headers: Headers, asked: Asked = ASKED) -> None:
    now = time.perf_counter()
    to.span(headers, "/mutate", now - 0.25, now, asked, CHANGED)


def test_a_review_is_a_span_below_the_one_that_the_api_server_sent() -> None:
    with Collector() as collector:
        with _tracing(collector.url) as to:
            before = time.time()
            _span(to, _headers("01", tracestate="vendor=1"))
        [span] = collector.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state) == (TRACE, PARENT, "vendor=1")
    assert (span.name, span.kind) == ("POST /mutate", span.SPAN_KIND_SERVER)
    assert abs(span.end_time_unix_nano / 1e9 - before) < 1
    assert (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9 == pytest.approx(0.25, abs=0.01)
    assert attributes(span.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/mutate",
        "url.path": "/mutate",
        "url.scheme": "https",
        "dpdk.review.uid": "8f0c",
        "dpdk.review.operation": "CREATE",
        "dpdk.review.namespace": "default",
        "dpdk.review.name": "testpmd",
        "dpdk.review.dry_run": False,
        "dpdk.outcome": "changed",
        "dpdk.rules": ["resources", "hugepages"],
        "dpdk.operations": 9,
    }
    assert collector.resource["service.name"] == "dpdk-webhook"
    assert collector.resource["service.version"]
    assert collector.resource["service.instance.id"]
    assert collector.paths == {"/v1/traces"}


@pytest.mark.parametrize(("flags", "count"), [("00", 0), ("01", 1), ("02", 0), ("03", 1)])
def test_it_is_sampled_as_the_parent_is(flags: str, count: int) -> None:
    with Collector() as collector:
        with _tracing(collector.url) as to:
            _span(to, _headers(flags))
        assert len(collector.spans) == count


@pytest.mark.parametrize("header", [None, "", "nonsense", f"00-{'0' * 32}-{PARENT}-01", "00-ü-ü-01"])
def test_without_a_parent_that_makes_sense_a_review_begins_a_trace_of_its_own(header: str | None) -> None:
    headers = [] if header is None else [(b"traceparent", header.encode())]
    with Collector() as collector:
        with _tracing(collector.url) as to:
            _span(to, headers)
        [span] = collector.spans
    assert span.parent_span_id == b""
    assert span.trace_id.hex() != TRACE
    assert any(span.trace_id)


def test_what_others_wrote_is_cut() -> None:
    with Collector() as collector:
        with _tracing(collector.url) as to:
            _span(to, [], Asked("u" * 999, "CREATE", "n", "m", dry_run=False, user=""))
        [span] = collector.spans
    assert attributes(span.attributes)["dpdk.review.uid"] == "u" * 256


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [("{}", "/v1/traces"), ("{}/", "/v1/traces"), ("{}/v1/traces", "/v1/traces"), ("{}/my/own", "/my/own")],
)
def test_a_collector_may_be_given_by_its_address_alone(endpoint: str, path: str) -> None:
    with Collector() as collector:
        with _tracing(endpoint.format(collector.url)) as to:
            _span(to, [])
        assert collector.paths == {path}


def test_spans_are_sent_while_the_server_runs() -> None:
    with Collector() as collector, _tracing(collector.url) as to:
        _span(to, [])
        assert len(collector.wait_for(1)) == 1


def test_a_collector_that_is_down_costs_no_time_and_no_memory_without_end() -> None:
    [port] = throwaway.free_ports(1)
    with _tracing(f"http://127.0.0.1:{port}") as to:
        longest = 0.0
        for _ in range(5000):  # more than may wait
            began = time.monotonic()
            _span(to, [])
            longest = max(longest, time.monotonic() - began)
        assert longest < 1


def test_a_collector_that_never_answers_does_not_hold_up_the_end() -> None:
    with throwaway.listener() as silent:  # it accepts, and says nothing
        to = Tracer(f"http://127.0.0.1:{silent.getsockname()[1]}")
        _span(to, [])
        began = time.monotonic()
        to.close()
        assert time.monotonic() - began < tracing.GOODBYE + 1


def test_without_an_endpoint_there_is_no_tracer_and_the_sdk_is_not_even_imported() -> None:
    assert tracer("") is None
    code = (
        "import sys, webhook.server, webhook.tracing\n"
        "sys.exit(any(name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    """In a process of its own, where Python finds no opentelemetry."""
    files = throwaway.issue(tmp_path)
    tls_port, health_port = throwaway.free_ports(2)
    code = (
        "import sys\n"
        "sys.modules['opentelemetry.exporter'] = None\n"  # what Python itself keeps for a module that is not there
        "from webhook.cli import main\n"
        "sys.exit(main(['serve']))\n"
    )
    environment = throwaway.settings(files, tls_port, health_port) | {"DPDK_WEBHOOK_TRACING_ENDPOINT": "http://127.0.0.1:1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == (
        "dpdk-webhook: settings: tracing_endpoint (DPDK_WEBHOOK_TRACING_ENDPOINT): OpenTelemetry's SDK is not installed; "
        "install dpdk-webhook[tracing], or leave it empty\n"
    )


def test_the_running_server_sends_a_span_for_each_review_that_it_judged(tmp_path: Path) -> None:
    assert POD["metadata"]
    with (
        Collector() as collector,
        serving(throwaway.issue(tmp_path), tmp_path, tracing_endpoint=collector.url, drain_seconds=0) as server,
        server.http() as http,
    ):
        http.post("/mutate", content=REVIEW, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        http.post("/mutate", content=REVIEW, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        http.post("/mutate", content=b"{}", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        [span] = collector.wait_for(1)
        server.process.terminate()
        assert server.process.wait(10) == 0
    assert len(collector.spans) == 1
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(span.attributes)["dpdk.outcome"] == "changed"
