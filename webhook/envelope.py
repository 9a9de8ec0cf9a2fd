"""What the fast lane reads of a review: who asks for what, the annotations, and the spec as the bytes that it is.

The rest of the review (managed fields, labels, status) is skipped without being built. Whatever is out of the ordinary is no
matter for this lane: `glance` says nothing then, and `webhook.admission.parse` reads the whole review and knows what to say.
"""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from webhook.shape import DEPTH
from webhook.verdict import Asked

LARGEST: Final = 16 * 1024  # bytes of a spec; larger ones are rare, and as a key each would take a place in memory

# The ServiceAccount plugin gives each pod's token volume a name that ends in five random characters; but for these the
# replicas of a Deployment are the same to the byte. The plugin never takes a 0.
TOKEN: Final = b"kube-api-access-"
STAND_IN: Final = TOKEN + b"00000"
_RANDOM: Final = 5
SPEC: Final = 3  # levels above it: the review, its request, the pod

_BEGINNING: Final = 48  # bytes by which a spec is found in its review
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))


# Unknown fields are skipped; a field of another type than the rules rely on leaves the fast lane.
class _Kind(msgspec.Struct, frozen=True, gc=False):
    kind: Literal["Pod"]
    version: Literal["v1"]
    group: Literal[""] | None = None


class _Metadata(msgspec.Struct, frozen=True, gc=False):
    annotations: dict[str, str] | None = None
    name: str | None = None
    generateName: str | None = None  # noqa: N815 - as Kubernetes spells it
    namespace: str | None = None


class _Object(msgspec.Struct, frozen=True, gc=False):
    spec: msgspec.Raw
    metadata: _Metadata
    apiVersion: Literal["v1"] | None = None  # noqa: N815
    kind: Literal["Pod"] | None = None


class _User(msgspec.Struct, frozen=True, gc=False):
    username: str = ""


class _Request(msgspec.Struct, frozen=True, gc=False):
    uid: str
    kind: _Kind
    operation: Literal["CREATE"]
    object: _Object
    subResource: Literal[""] | None = None  # noqa: N815
    namespace: str = ""
    name: str = ""
    dryRun: bool = False  # noqa: N815
    userInfo: _User = _User()  # noqa: N815


class _Review(msgspec.Struct, frozen=True, gc=False):
    apiVersion: Literal["admission.k8s.io/v1"]  # noqa: N815
    kind: Literal["AdmissionReview"]
    request: _Request


_DECODER: Final = msgspec.json.Decoder(_Review)


class Envelope(Struct, frozen=True):
    """A review of a pod that is to be created. `spec` has STAND_IN where the token volume's name is `token`; how deep it is
    nested is yet to be seen, once for all that are the same."""

    asked: Asked
    annotations: dict[str, str]
    spec: bytes
    token: bytes  # empty: nothing stands in for anything

    @property
    def original(self) -> bytes:
        """The spec to the byte as it came."""
        return self.spec.replace(STAND_IN, self.token) if self.token else self.spec


def glance(body: bytes) -> Envelope | None:
    """The envelope of an ordinary review; None for everything else, right or wrong."""
    if len(body) > 4 * LARGEST:
        return None
    try:
        request = _DECODER.decode(body).request
        if not body.isascii():
            body.decode()  # what is skipped above is not looked at
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    given = request.object
    spec = bytes(given.spec)
    if not request.uid or len(spec) > LARGEST or not is_shallow(_without(body, spec)):
        return None
    metadata = given.metadata
    name = metadata.name or metadata.generateName or request.name
    asked = Asked(request.uid, "CREATE", request.namespace, name, request.dryRun, request.userInfo.username)
    spec, token = _normal(spec)
    return Envelope(asked, metadata.annotations or {}, spec, token)


def _without(body: bytes, spec: bytes) -> bytes:
    """The body around the spec; all of it where the spec's beginning is not the first of its kind. To search for the whole spec
    would cost as much as to read it."""
    start = body.find(spec[:_BEGINNING])
    return body[:start] + body[start + len(spec) :] if body.startswith(spec, start) else body


def is_shallow(json: bytes, above: int = 0) -> bool:
    """Whether nothing in it, which stands so deep `above` itself, is nested deeper than DEPTH, as far as that is cheaply known:
    of its brackets the innermost pairs are taken away, round by round, until those that are left can't be more. What strings
    hold may look like more, or hide what the parser has skipped; it has a limit of its own."""
    rounds, brackets = above, json.translate(None, _NO_BRACKETS)
    while rounds + len(brackets) > DEPTH:
        fewer = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(fewer) == len(brackets):
            return False
        rounds, brackets = rounds + 1, fewer
    return True


def _normal(spec: bytes) -> tuple[bytes, bytes]:
    """(the spec with STAND_IN for the token volume's name, that name); as it is where there are several names of that kind."""
    first, *others = spec.split(TOKEN)
    endings = {other[:_RANDOM] for other in others}
    if len(endings) != 1 or not (ending := endings.pop()).isalnum() or len(ending) < _RANDOM:
        return spec, b""
    return STAND_IN.join([first, *(other[_RANDOM:] for other in others)]), TOKEN + ending
