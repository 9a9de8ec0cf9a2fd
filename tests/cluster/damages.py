"""What an administrator can break with his own hands, one function for each; and whether a single create may suffer from it."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import httpx

from certs.cluster import CONFIGURATIONS, PREFIX
from certs.keeper import SERVING, SETTLED
from certs.rotate import CA_CRT, CA_KEY, KEYS, TLS_CRT, TLS_KEY
from tests.cluster.harmed import COLLECTIONS, MUTATING, SECONDS, Harmed
from tests.cluster.kept import NAMES
from tests.cluster.tied import until

Act: TypeAlias = Callable[[Harmed], object]
GARBAGE: Final = b"this is no certificate\n"


@dataclass(frozen=True, slots=True)
class Damage:
    """`before` is what leads up to it. `costs`: no API server can call us until it is mended.

    `silent`: what is broken serves nobody but the replicas among themselves, and no metric shows it.
    """

    act: Act
    costs: bool = False
    silent: bool = False
    before: Act = lambda _: None


def _bundles(change: Callable[[Harmed, bytes], bytes | None], *, everywhere: bool = False) -> Act:
    """Change the caBundle of one entry, or of each; None takes it away."""

    def act(replicas: Harmed) -> None:
        for kind in CONFIGURATIONS if everywhere else (MUTATING,):
            entries = replicas.send("GET", f"{COLLECTIONS[kind]}/{NAMES.configuration}").body["webhooks"]
            operations: list[dict[str, object]] = []
            for number, entry in enumerate(entries if everywhere else entries[:1]):
                pem = change(replicas, base64.b64decode(entry["clientConfig"]["caBundle"]))
                operation: dict[str, object] = {"op": "remove", "path": f"/webhooks/{number}/clientConfig/caBundle"}
                if pem is not None:
                    operation |= {"op": "replace", "value": base64.b64encode(pem).decode()}
                operations.append(operation)
            replicas.edit(kind, *operations)

    return act


def _another(replicas: Harmed, _: bytes) -> bytes:
    return replicas.foreign().ca.certificate


def _secret(change: Callable[[Harmed, dict[str, bytes]], Mapping[str, bytes | None]]) -> Act:
    """Write into the Secret what `change` makes of its data."""
    return lambda replicas: replicas.give(change(replicas, replicas.material().data()))


def _truncated(key: str) -> Act:
    return _secret(lambda _, data: {key: data[key][: len(data[key]) // 2]})


def _foreign_key(replicas: Harmed, _: object) -> dict[str, bytes]:
    return {TLS_KEY: replicas.foreign().leaf.key}


def _of_another_type(replicas: Harmed) -> None:
    leaf = replicas.foreign().leaf
    data = {TLS_CRT: leaf.certificate, TLS_KEY: leaf.key}
    secret = {
        "metadata": {"name": NAMES.secret},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
    for _ in range(100):  # somebody is fast in making it anew
        replicas.delete("Secret")
        if replicas.send("POST", COLLECTIONS["Secret"], secret).status == httpx.codes.CREATED:
            return
    raise RuntimeError("the replicas were faster a hundred times")


def _settling(replicas: Harmed) -> None:
    replicas.demand("ca")
    until(lambda: replicas.seen().settled is not None, seconds=SECONDS, waiting_for="the rotation to settle")


def _lease(spec: Mapping[str, object] | None = None, marks: Mapping[str, str | None] | None = None) -> Act:
    return lambda replicas: replicas.merge("Lease", {"spec": spec or {}, "metadata": {"annotations": marks or {}}})


def _acks_removed(replicas: Harmed) -> None:
    _lease(marks={SERVING + name: None for name in replicas.seen().acks})(replicas)


def _held(renewed: Callable[[Harmed], str]) -> Act:
    return lambda replicas: _lease({"holderIdentity": "nobody", "renewTime": renewed(replicas)})(replicas)


def _made_anew(replicas: Harmed) -> None:
    """As when somebody applies the manifests after he has deleted what is in them."""
    found: dict[str, Any] = replicas.send("GET", f"{COLLECTIONS[MUTATING]}/{NAMES.configuration}").body
    for entry in found["webhooks"]:
        del entry["clientConfig"]["caBundle"]
    replicas.delete(MUTATING)
    metadata = {"name": NAMES.configuration, "labels": found["metadata"].get("labels", {})}
    replicas.send("POST", COLLECTIONS[MUTATING], found | {"metadata": metadata})


def _microtime(replicas: Harmed) -> str:
    return f"{replicas.administrator.clock.now():%Y-%m-%dT%H:%M:%S.%fZ}"


JUNK: Final = {
    f"{SERVING}replica-0": "junk",
    f"{SERVING}replica-1": "",
    f"{SERVING}replica-77": "0123456789abcdef not-a-time",
    f"{PREFIX}junk": "junk",
}

DAMAGES: Final[Mapping[str, Damage]] = {
    "bundle-garbage": Damage(_bundles(lambda *_: GARBAGE), costs=True),
    "bundle-emptied": Damage(_bundles(lambda *_: b""), costs=True),
    "bundle-removed": Damage(_bundles(lambda *_: None), costs=True),
    "bundle-of-another-ca": Damage(_bundles(_another), costs=True),
    "bundle-between-garbage": Damage(_bundles(lambda _, pem: GARBAGE + pem + GARBAGE)),
    "all-bundles-garbage": Damage(_bundles(lambda *_: GARBAGE, everywhere=True), costs=True),
    "all-bundles-of-another-ca": Damage(_bundles(_another, everywhere=True), costs=True),
    "configuration-made-anew": Damage(_made_anew, costs=True),
    "secret-deleted": Damage(lambda replicas: replicas.delete("Secret")),
    "certificate-truncated": Damage(_truncated(TLS_CRT)),
    "ca-key-truncated": Damage(_truncated(CA_KEY)),
    "ca-truncated": Damage(_truncated(CA_CRT)),
    "key-of-another": Damage(_secret(_foreign_key)),
    "all-of-another": Damage(_secret(lambda replicas, _: replicas.foreign().data())),
    "data-removed": Damage(_secret(lambda *_: dict.fromkeys(KEYS))),
    "secret-of-another-type": Damage(_of_another_type),
    "mark-removed": Damage(
        lambda replicas: replicas.merge("Secret", {"metadata": {"annotations": {SETTLED: None}}}), before=_settling
    ),
    "lease-deleted": Damage(lambda replicas: replicas.delete("Lease"), silent=True),
    "lease-of-the-dead": Damage(_held(_microtime), silent=True),
    "lease-until-2099": Damage(_held(lambda _: "2099-01-01T00:00:00.000000Z"), silent=True),
    "lease-junk": Damage(_lease(marks=JUNK), silent=True),
    "lease-acks-removed": Damage(_acks_removed, silent=True),
}
