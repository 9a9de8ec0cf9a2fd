"""What /dry-run and the page answer, from bytes to bytes: a worker process does it, which needs no web framework."""

import jsonpatch
import orjson

from webhook import page, report
from webhook.manifest import read
from webhook.settings import Settings
from webhook.workload import review_all


def record(body: bytes, settings: Settings) -> bytes:
    """The Decision about each pod and workload in a manifest, as JSON; Malformed when it is none."""
    reviewed = review_all(read(body), settings)
    for each in reviewed:
        patch = [operation for decision in each.decisions for operation in decision.patch]
        if jsonpatch.JsonPatch(patch).apply(each.given) != each.after:
            raise AssertionError("the recorded patch does not give the recorded pod")
    return orjson.dumps(report.record(reviewed))


def answer(body: bytes, settings: Settings) -> bytes:
    """The page, with what became of the manifest in its form."""
    return page.answer(body, settings).encode()
