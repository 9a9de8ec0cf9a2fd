"""Spans for whoever follows a request through the API server: one a review, a child of the span that the API server sent along.

OpenTelemetry's SDK is imported only where a collector is set. A thread of its own sends the spans; what can't be sent is lost.
"""

import socket
import threading
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from webhook.settings import PREFIX, SettingsError
from webhook.verdict import Asked, Verdict

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

GOODBYE: Final = 2.0  # seconds for the last spans, at the end
MOST: Final = 2048  # spans that wait to be sent
LONGEST: Final = 256  # characters of an attribute

_CONTEXT: Final = (b"traceparent", b"tracestate")


class Tracer:
    """One a process, for a collector that takes OTLP over HTTP."""

    def __init__(self, endpoint: str) -> None:
        """SettingsError when OpenTelemetry is not installed."""
        try:
            self._provider = _provider(_traces(endpoint))
        except ModuleNotFoundError as error:
            problem = "OpenTelemetry's SDK is not installed; install dpdk-webhook[tracing], or leave it empty"
            raise SettingsError((f"tracing_endpoint ({PREFIX}TRACING_ENDPOINT): {problem}",)) from error
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = self._provider.get_tracer("dpdk-webhook", version("dpdk-webhook"))
        self._extract = TraceContextTextMapPropagator().extract
        self._kind = SpanKind.SERVER

    def span(
        self, headers: Iterable[tuple[bytes, bytes]], webhook: str, started: float, ended: float, asked: Asked, verdict: Verdict
    ) -> None:
        """Record a review that is answered, if the trace in `headers` (of the ASGI scope) is sampled, or if there is none.
        `started` and `ended` are what time.perf_counter() said."""
        carrier = {name.decode(): value.decode("latin-1") for name, value in headers if name in _CONTEXT}
        if carrier.get("traceparent", "").endswith("-00"):
            return  # as the sampler would say, at a tenth of the price
        end = time.time_ns() - int((time.perf_counter() - ended) * 1e9)
        span = self._tracer.start_span(
            f"POST {webhook}",
            context=self._extract(carrier),
            kind=self._kind,
            start_time=end - int((ended - started) * 1e9),
            attributes={
                "http.request.method": "POST",
                "http.response.status_code": 200,
                "http.route": webhook,
                "url.path": webhook,
                "url.scheme": "https",
                "dpdk.review.uid": asked.uid,
                "dpdk.review.operation": asked.operation,
                "dpdk.review.namespace": asked.namespace,
                "dpdk.review.name": asked.name,
                "dpdk.review.dry_run": asked.dry_run,
                "dpdk.outcome": verdict.outcome,
                "dpdk.rules": verdict.rules,
                "dpdk.operations": verdict.operations,
            },
        )
        span.end(end)

    def close(self) -> None:
        """Send what waits, for two seconds at most."""
        # the SDK itself would wait 30 seconds for a collector that doesn't answer
        closing = threading.Thread(target=self._provider.shutdown, name="tracing", daemon=True)
        closing.start()
        closing.join(GOODBYE)


def tracer(endpoint: str) -> Tracer | None:
    """The tracer for an endpoint of the settings; None when there is none."""
    return Tracer(endpoint) if endpoint else None


def _traces(endpoint: str) -> str:
    """The URL for spans; a collector may be given by its address alone."""
    _, _, place = endpoint.rstrip("/").partition("://")
    return endpoint if "/" in place else f"{endpoint.rstrip('/')}/v1/traces"


def _provider(url: str) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

    provider = TracerProvider(
        resource=Resource.create(
            {
                "service.name": "dpdk-webhook",
                "service.version": version("dpdk-webhook"),
                "service.instance.id": socket.gethostname(),
            }
        ),
        sampler=ParentBased(ALWAYS_ON),
        span_limits=SpanLimits(max_span_attribute_length=LONGEST),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url), max_queue_size=MOST, schedule_delay_millis=1000))
    return provider
