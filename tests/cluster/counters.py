"""What the API server counts of the webhooks that it calls."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

MUTATE, VALIDATE = "mutate.pods.dpdk-webhook", "validate.pods.dpdk-webhook"
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_PREFIX = "apiserver_admission_webhook_"


def samples(metrics: str, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """The samples of one metric, from Prometheus' text format: the labels of each, and its value."""
    for match in re.finditer(rf"^{name}(?:\{{(.*)\}})? (\S+)$", metrics, re.MULTILINE):
        yield dict(_LABEL.findall(match[1] or "")), float(match[2])


@dataclass(frozen=True, slots=True)
class Counted:
    """Calls by webhook and code, and requests that were refused, or let through, for want of an answer."""

    calls: Counter[tuple[str, str]]
    rejections: int
    failed_open: int

    @classmethod
    def of(cls, metrics: str) -> Self:
        """The counters in the metrics of an API server."""
        calls: Counter[tuple[str, str]] = Counter()
        for labels, count in samples(metrics, f"{_PREFIX}request_total"):
            calls[labels["name"], labels["code"]] += int(count)
        rejections, failed_open = (
            sum(int(count) for _, count in samples(metrics, f"{_PREFIX}{name}"))
            for name in ("rejection_count", "fail_open_count")
        )
        return cls(calls, rejections, failed_open)

    def since(self, before: Self) -> dict[str, Any]:
        """What came since, as JSON has it: {"calls": {webhook: {code: number}}, …}."""
        calls: dict[str, dict[str, int]] = {}
        for (name, code), count in sorted((self.calls - before.calls).items()):
            calls.setdefault(name, {})[code] = count
        rejections, failed_open = self.rejections - before.rejections, self.failed_open - before.failed_open
        return {"calls": calls, "rejections": rejections, "failed_open": failed_open}
