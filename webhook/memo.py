"""Decisions remembered: the pods of one controller are asked about one by one, and they are all the same pod.

Rules are pure, so that what they read is the whole key: the spec, and the annotations that matter. A pod that is decided here
is made of just that, so that no rule can come to read what is not in the key.
"""

from collections import OrderedDict
from typing import Final, Literal, TypeAlias

import orjson

from webhook.admission import Answer, Decide, Request
from webhook.envelope import SPEC, TOKEN, Envelope, is_shallow
from webhook.pod import Pod, relevant
from webhook.settings import Settings
from webhook.shape import fits
from webhook.verdict import Asked

MOST: Final = 256  # decisions; with specs of 16 KiB at most, all of them take less than 8 MiB

Result: TypeAlias = Literal["hit", "miss", "evicted"]  # evicted: a miss for which another had to go
_Key: TypeAlias = tuple[bytes, tuple[tuple[str, str], ...]]

_CUT: Final = "…".encode()
_NOBODY: Final = Asked("", "CREATE", "", "", dry_run=False, user="")


class Memo:
    """What one route has decided lately; only the event loop may ask."""

    def __init__(self, decide: Decide, settings: Settings, most: int = MOST) -> None:
        self._decide = decide
        self._settings = settings
        self._most = most
        self._known: OrderedDict[_Key, Answer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def answer(self, envelope: Envelope) -> tuple[Answer | None, Result]:
        """The answer, and whether it was remembered; None when the whole review must be read to say what is wrong."""
        matter = tuple(relevant(envelope.annotations).items())
        key = (envelope.spec, matter)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known, "hit"
        answer = self._answer(envelope.spec, matter)
        if answer is not None and envelope.token and _may_name_it(answer):
            answer = self._answer(envelope.original, matter)
        elif answer is not None:
            self._known[key] = answer
        if len(self._known) > self._most:
            self._known.popitem(last=False)
            return answer, "evicted"
        return answer, "miss"

    def _answer(self, spec: bytes, annotations: tuple[tuple[str, str], ...]) -> Answer | None:
        try:
            if not is_shallow(spec, above=SPEC) or not fits(spec):
                return None
            read = orjson.loads(spec)
        except orjson.JSONDecodeError:
            return None
        pod = Pod({"metadata": {"annotations": dict(annotations)}, "spec": read})
        return self._decide(Request(_NOBODY, pod, {}, is_resize=False), self._settings)


def _may_name_it(answer: Answer) -> bool:
    """Whether the token volume's name, or the beginning of a name that was cut, is in what is answered."""
    return TOKEN in answer.response or _CUT in answer.response or TOKEN in answer.patch
