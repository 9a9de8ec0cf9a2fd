"""Decisions remembered: the pods of one controller are asked about one by one, and they are all the same pod.

Rules are pure, so that what they read is the whole key: the spec, and the annotations that matter. A pod that is decided here
is made of just that, so that no rule can come to read what is not in the key.
"""

from collections import OrderedDict
from typing import Final, Literal, TypeAlias

from webhook.admission import Answer, Decide, Request
from webhook.envelope import SPEC, TOKEN, Envelope, is_shallow
from webhook.pod import Pod, relevant
from webhook.settings import Settings
from webhook.shape import read_spec
from webhook.verdict import Asked

ROOM: Final = 2 * 1024 * 1024  # bytes of decisions; one of an ordinary pod takes 8 KiB
_BESIDE: Final = 2 * 1024  # bytes of each that are not counted one by one: the objects around its texts

Result: TypeAlias = Literal["hit", "miss", "evicted"]  # evicted: a miss for which another had to go
_Key: TypeAlias = tuple[bytes, tuple[tuple[str, str], ...]]

_TOKEN: Final = TOKEN.decode()
_CUT: Final = "…".encode()
_NOBODY: Final = Asked("", "CREATE", "", "", dry_run=False, user="")


class Memo:
    """What one route has decided lately; only the event loop may ask."""

    def __init__(self, decide: Decide, settings: Settings, room: int = ROOM) -> None:
        self._decide = decide
        self._settings = settings
        self._room = room  # bytes that are left
        self._largest = room // 16  # of one decision: a pod that nobody else has must not push out all others
        self._known: OrderedDict[_Key, tuple[Answer, int]] = OrderedDict()  # and how many bytes it takes

    def __len__(self) -> int:
        return len(self._known)

    def answer(self, envelope: Envelope) -> tuple[Answer | None, Result]:
        """The answer, and whether it was remembered; None when the whole review must be read to say what is wrong."""
        matter = tuple(relevant(envelope.annotations).items())
        spec, token = envelope.spec, envelope.token
        if token and any(_TOKEN in value for _, value in matter):
            spec, token = envelope.original, b""  # an annotation may name a container, and say STAND_IN itself
        key = (spec, matter)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known[0], "hit"
        answer = self._answer(spec, matter)
        if answer is None:
            return None, "miss"
        if token and _may_name_it(answer):
            return self._answer(envelope.original, matter), "miss"
        size = _size(key, answer)
        if size > self._largest:
            return answer, "miss"
        self._known[key] = answer, size
        self._room -= size
        if self._room >= 0:
            return answer, "miss"
        while self._room < 0:
            _, (_, freed) = self._known.popitem(last=False)
            self._room += freed
        return answer, "evicted"

    def _answer(self, spec: bytes, annotations: tuple[tuple[str, str], ...]) -> Answer | None:
        if not is_shallow(spec, above=SPEC) or (read := read_spec(spec)) is None:
            return None
        pod = Pod({"metadata": {"annotations": dict(annotations)}, "spec": read})
        return self._decide(Request(_NOBODY, pod, {}, is_resize=False), self._settings)


def _size(key: _Key, answer: Answer) -> int:
    spec, matter = key
    annotations = sum([len(name) + len(value) for name, value in matter])
    return len(spec) + 4 * annotations + len(answer.response) + len(answer.patch) + _BESIDE


def _may_name_it(answer: Answer) -> bool:
    """Whether the token volume's name, or the beginning of a name that was cut, is in what is answered."""
    return TOKEN in answer.response or _CUT in answer.response or TOKEN in answer.patch
