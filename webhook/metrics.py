"""What is counted, and how Prometheus reads it.

Only the event loop writes here and only the event loop reads, so that a plain integer is enough: a review costs about a
microsecond. prometheus-client renders what is counted when somebody scrapes.
"""

import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import accumulate
from typing import Final, TypeVar, get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from certs.rotate import PHASES
from webhook.rules import OPT_IN, RULES
from webhook.verdict import Outcome, Verdict

WEBHOOKS: Final = ("/mutate", "/mutate/baseline", "/validate", "/warn", "/warn/baseline")
CODES: Final = (200, 400, 405, 413, 499, 500, 503)  # 499: nobody waited for the answer
# seconds; a review takes a fraction of a millisecond, and the API server waits 10 s by default
BUCKETS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SHED: Final = ("late", "memory", "connections", "aside")
HANDSHAKE_FAILURES: Final = (
    "unknown_ca",
    "certificate_expired",
    "bad_certificate",
    "certificate_required",
    "subject",
    "resumed",
    "no_shared_protocol",
    "not_tls",
    "timeout",
    "reset",
    "other",
)
RELOADS: Final = ("ok", "unreadable", "mismatch")
CERTIFICATE_ERRORS: Final = ("forbidden", "conflict", "unreachable", "invalid", "other")
MEMO: Final = ("hit", "miss", "evicted")

_T = TypeVar("_T")
_RULES: Final = (OPT_IN.id, *(rule.id for rule in RULES))


class _Answers:
    """What one webhook answered."""

    __slots__ = ("buckets", "codes", "outcomes", "seconds")

    def __init__(self) -> None:
        self.codes = _zeros(CODES)
        self.outcomes = _zeros(get_args(Outcome))
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0


class Metrics(Collector):
    """One a process. Label values are known beforehand and stand at 0 from the start: a rate needs something to begin from."""

    def __init__(self, log_lines_dropped: Callable[[], int] = lambda: 0) -> None:
        self.in_flight = _zeros(WEBHOOKS)  # reviews that ASGI asks for, from their head on: += 1 and -= 1
        self.memo_entries: Callable[[], int] = lambda: 0  # decisions that are remembered now
        self._answers = {webhook: _Answers() for webhook in WEBHOOKS}
        self._edits = _zeros(_RULES)
        self._rejections = _zeros(_RULES)
        self._warnings = _zeros(_RULES)
        self._shed = _zeros(SHED)
        self._memo = _zeros(MEMO)
        self._handshakes = _zeros(HANDSHAKE_FAILURES)
        self._reloads = _zeros(RELOADS)
        self._certificate_errors = _zeros(CERTIFICATE_ERRORS)
        self._rotation_steps: Counter[str] = _zeros(PHASES)
        self._draining = False
        self._expiry: float | None = None
        self._ca_bundle_matches: bool | None = None
        self._phase: str | None = None
        self._clock_skew: float | None = None
        self._log_lines_dropped = log_lines_dropped
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def answered(self, webhook: str, code: int, seconds: float, verdict: Verdict | None) -> None:
        """A review was answered, `seconds` after its last byte came; without a verdict it could not be judged."""
        answers = self._answers[webhook]
        answers.codes[code] += 1
        answers.seconds += seconds
        answers.buckets[bisect_left(BUCKETS, seconds)] += 1
        if verdict is not None:
            answers.outcomes[verdict.outcome] += 1
            for rule, count in verdict.edits:
                self._edits[rule] += count
            for rule, count in verdict.rejections:
                self._rejections[rule] += count
            for rule, count in verdict.warnings:
                self._warnings[rule] += count

    def shed(self, reason: str) -> None:
        """Work was turned away unjudged; `reason` is one of SHED."""
        self._shed[reason] += 1

    def memo(self, result: str) -> None:
        """The memory of decisions was asked; `result` is one of MEMO, and evicted is a miss for which another had to go."""
        self._memo[result] += 1

    def handshake_failed(self, reason: str) -> None:
        """A connection ended before TLS was agreed on; what is not in HANDSHAKE_FAILURES is counted as other."""
        self._handshakes[reason if reason in self._handshakes else "other"] += 1

    def certificate_reloaded(self, result: str) -> None:
        """Another certificate, or another client CA, was found or issued; `result` is one of RELOADS."""
        self._reloads[result] += 1

    def certificate_error(self, reason: str) -> None:
        """A step of the certificate's renewal failed; what is not in CERTIFICATE_ERRORS is counted as other."""
        self._certificate_errors[reason if reason in self._certificate_errors else "other"] += 1

    def rotation_step(self, phase: str) -> None:
        """A step of a rotation, or of mending, was done by this replica; `phase` is one of PHASES."""
        self._rotation_steps[phase] += 1

    def set_draining(self, draining: bool) -> None:
        """The server is going away and says so."""
        self._draining = draining

    def set_certificate_expiry(self, timestamp: float) -> None:
        """When the served certificate ends, in seconds since the epoch."""
        self._expiry = timestamp

    def set_ca_bundle_matches(self, matches: bool | None) -> None:
        """Whether the caBundle that was read back trusts what is served; None: nobody has looked."""
        self._ca_bundle_matches = matches

    def set_rotation_phase(self, phase: str | None) -> None:
        """How far the rotation is, one of PHASES; None: somebody else rotates, or nobody knows yet."""
        self._phase = phase

    def set_clock_skew(self, seconds: float | None) -> None:
        """This machine's clock minus the API server's; None: nobody has compared them."""
        self._clock_skew = seconds

    def expose(self) -> tuple[bytes, str]:
        """(body, content type) of /metrics."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def collect(self) -> Iterator[Metric]:
        """Every metric as it stands, for the registry."""
        yield from self._reviews()
        yield from self._rules()
        yield from self._server()
        yield from self._certificate()

    def _reviews(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "controller_runtime_webhook_requests", "Reviews answered, by HTTP status code.", labels=("webhook", "code")
        )
        latency = HistogramMetricFamily(
            "controller_runtime_webhook_latency_seconds",
            "Seconds from a review's last byte to its answer.",
            labels=("webhook",),
        )
        decisions = CounterMetricFamily(
            "dpdk_webhook_decisions", "Reviews judged, by what became of them.", labels=("webhook", "outcome")
        )
        bounds = (*(str(bound) for bound in BUCKETS), "+Inf")
        for webhook, answers in self._answers.items():
            for code, count in answers.codes.items():
                requests.add_metric((webhook, str(code)), count)
            latency.add_metric((webhook,), list(zip(bounds, accumulate(answers.buckets), strict=True)), answers.seconds)
            for outcome, count in answers.outcomes.items():
                decisions.add_metric((webhook, outcome), count)
        yield requests
        yield latency
        yield _gauge("controller_runtime_webhook_requests_in_flight", "Reviews being answered.", "webhook", self.in_flight)
        yield decisions

    def _rules(self) -> Iterator[Metric]:
        yield _counter("dpdk_webhook_edits", "Patch operations, by the rule that asked for them.", "rule", self._edits)
        yield _counter("dpdk_webhook_rejections", "Reasons given to refuse a pod, by rule.", "rule", self._rejections)
        yield _counter("dpdk_webhook_warnings", "Warnings given to authors of pods, by rule.", "rule", self._warnings)
        memo = self._memo
        for name, count, text in (
            ("hits", memo["hit"], "Decisions that were remembered."),
            ("misses", memo["miss"] + memo["evicted"], "Decisions that had to be made."),
            ("evictions", memo["evicted"], "Remembered decisions that had to go to make room."),
        ):
            yield CounterMetricFamily(f"dpdk_webhook_decision_memo_{name}", text, count)
        yield GaugeMetricFamily("dpdk_webhook_decision_memo_entries", "Decisions remembered now.", self.memo_entries())

    def _server(self) -> Iterator[Metric]:
        yield _counter("dpdk_webhook_shed", "Requests and connections turned away unjudged.", "reason", self._shed)
        yield GaugeMetricFamily("dpdk_webhook_draining", "1 while the server is going away.", self._draining)
        yield _counter(
            "dpdk_webhook_tls_handshake_failures",
            "Connections that ended before TLS was agreed on.",
            "reason",
            self._handshakes,
        )
        dropped = self._log_lines_dropped()
        yield CounterMetricFamily("dpdk_webhook_log_lines_dropped", "Log lines lost, nobody reading fast enough.", dropped)
        python = ".".join(str(part) for part in sys.version_info[:3])
        yield InfoMetricFamily("dpdk_webhook_build", "What is running.", {"version": version("dpdk-webhook"), "python": python})

    def _certificate(self) -> Iterator[Metric]:
        yield _counter("dpdk_webhook_certificate_reloads", "Other certificates found or issued.", "result", self._reloads)
        yield _counter(
            "dpdk_webhook_certificate_errors", "Steps of the renewal that failed.", "reason", self._certificate_errors
        )
        yield _counter("dpdk_webhook_rotation_steps", "Steps of rotations done here.", "phase", self._rotation_steps)
        for name, text, value in (
            ("certificate_expiry_timestamp_seconds", "When the served certificate ends.", self._expiry),
            ("ca_bundle_matches", "1 while the caBundle trusts what is served.", self._ca_bundle_matches),
            ("clock_skew_seconds", "This machine's clock minus the API server's.", self._clock_skew),
        ):
            if value is not None:
                yield GaugeMetricFamily(f"dpdk_webhook_{name}", text, value)
        if self._phase is not None:
            phases: dict[str, int] = {phase: int(phase == self._phase) for phase in PHASES}
            yield _gauge("dpdk_webhook_rotation_phase", "1 at the phase in which the rotation is.", "phase", phases)


def _zeros(labels: Iterable[_T]) -> Counter[_T]:
    return Counter(dict.fromkeys(labels, 0))


def _counter(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in counts.items():
        family.add_metric((value,), count)
    return family


def _gauge(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value, now in values.items():
        family.add_metric((value,), now)
    return family
