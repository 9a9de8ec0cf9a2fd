"""`python -m certs check` and `rotate`: how the certificates of an installation stand, for whoever is awake at night."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from certs import rotate
from certs.cluster import CONFIGURATIONS, Cluster, ClusterError, Kind, Object
from certs.issue import CLOCK_SKEW
from certs.keeper import DEMAND, KINDS, seen
from certs.pem import certificates, client, fingerprint
from certs.rotate import Demand, Material, Seen, Step, Unusable, Wait

DAY: Final = timedelta(days=1)
CONNECT: Final = 5.0  # seconds
ASK: Final = 0.5  # seconds between two looks at a rotation
NOBODY: Final = 30.0  # seconds in which a replica should have done what is to be done
TRIES: Final = 10  # to write what others write as well

_MENDED: Final = "a running replica mends it within seconds; if none does, their logs say why"
# what to do when a caBundle is wrong, by mode
_MEND: Final[Mapping[str, str]] = {
    "self": _MENDED,
    "cert-manager": "annotate the configuration with cert-manager.io/inject-ca-from: NAMESPACE/CERTIFICATE",
    "openshift": 'annotate the configuration with service.beta.openshift.io/inject-cabundle: "true"',
    "files": "write the CA of tls_cert there",
}
# and when a certificate should have been renewed
_RENEW: Final[Mapping[str, str]] = {
    "self": "the logs of the replicas say why they don't",
    "cert-manager": "kubectl describe certificate says why cert-manager doesn't",
    "openshift": "delete the Secret, and the service CA operator fills a new one",
    "files": "write a new pair to tls_cert and tls_key, of a CA that every caBundle holds",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One fact; `remedy` is what to do about it, empty when it is as it should be."""

    subject: str
    text: str
    remedy: str = ""


def check(cluster: Cluster, mode: str, *, chain: bytes = b"", address: tuple[str, int] | None = None) -> list[Line]:
    """Everything that there is to say. ClusterError when it can't be read, ValueError when `chain` holds no certificate.

    What is served is what a server at `address` shows, or else the chain of the Secret in mode `self`, or else `chain` (PEM).
    """
    kinds = KINDS if mode == "self" else CONFIGURATIONS
    objects: dict[Kind, Object | None] = {kind: cluster.read(kind) if kind in kinds else None for kind in KINDS}
    now, name = cluster.clock.now(), cluster.names.dns
    found = seen(cluster, objects)
    lines = [_missing(kind, cluster.names.configuration) for kind in CONFIGURATIONS if objects[kind] is None]
    if mode == "self":
        held, told = _secret(cluster, found, now)
        chain = held.leaf.certificate if held else b""
        lines += told
    elif chain:
        lines += [_life("certificate", chain, now, _RENEW[mode])]
    if address or chain:
        lines += _bundles(found, mode, lambda pem: _asked(pem, *address, name) if address else _read(chain, pem, name, now))
    if not found.bundles:
        remedy = "compare the settings service and namespace with clientConfig.service of the configurations"
        lines.append(Line("caBundle", f"no entry calls the Service {cluster.names.namespace}/{cluster.names.service}", remedy))
    if mode == "self":
        lines += _progress(found, name, now)
    if cluster.clock.skew is not None and abs(cluster.clock.skew) > CLOCK_SKEW.total_seconds():
        text = f"{abs(cluster.clock.skew):.0f} s {'ahead of' if cluster.clock.skew > 0 else 'behind'} the API server's"
        lines.append(Line("clock", text, "set this machine's clock; certificates are judged by the API server's"))
    return lines


def demand(cluster: Cluster, what: Demand, *, seconds: float, nobody: float = NOBODY) -> Iterator[Line]:
    """Ask the replica that holds the Lease for a new CA or a new leaf, and tell how it goes until every replica serves it.

    TimeoutError when that takes more than so many seconds, or when for `nobody` seconds nobody does what is to be done.
    """
    before = _demand(cluster, what)
    yield Line("asked", f"for a new {'CA' if what == 'ca' else what}")
    began = changed = time.monotonic()
    told: Line | None = None
    while True:
        found = seen(cluster, {kind: cluster.read(kind) for kind in KINDS})
        now = cluster.clock.now()
        step = rotate.next_step(found, name=cluster.names.dns, now=now)
        late = rotate.late(found, now)
        is_over = type(step) is Step and _fingerprints(found)[what] != before
        if is_over and late:
            step = Wait("spreading", f"waiting for {', '.join(late)} to serve the new leaf")
        if told != (told := Line(step.phase, step.why)):
            changed = time.monotonic()
            yield told
        if is_over and not late:
            return
        if not isinstance(step, Wait) and time.monotonic() - changed > nobody:
            raise TimeoutError(f"no replica has done it in {nobody:g} s; is one running with certificates=self?")
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not over in {seconds:g} s; the replicas go on with it")
        time.sleep(ASK)


def _demand(cluster: Cluster, what: Demand, tries: int = TRIES) -> str:
    """Write it into the Secret, as a replica may; the fingerprint of what is to be replaced."""
    secret = cluster.read("Secret")
    if secret is None:
        raise ClusterError("other", f"there is no {_secret_name(cluster)}: nothing to be replaced")
    metadata = secret["metadata"] | {"annotations": (secret["metadata"].get("annotations") or {}) | {DEMAND: what}}
    try:
        cluster.replace("Secret", secret | {"metadata": metadata})
    except ClusterError as error:
        if error.reason != "conflict" or tries == 1:
            raise
        return _demand(cluster, what, tries - 1)
    return _fingerprints(seen(cluster, {kind: secret if kind == "Secret" else None for kind in KINDS}))[what]


def _fingerprints(found: Seen) -> Mapping[str, str]:
    data = found.data or {}
    return {"ca": fingerprint(data.get(rotate.CA_CRT, b"")), "leaf": fingerprint(data.get(rotate.TLS_CRT, b""))}


def _missing(kind: Kind, name: str) -> Line:
    return Line("webhooks", f"there is no {kind} {name}", "apply the manifests; until then it is not called")


def _secret_name(cluster: Cluster) -> str:
    return f"Secret {cluster.names.namespace}/{cluster.names.secret}"


def _secret(cluster: Cluster, found: Seen, now: datetime) -> tuple[Material | None, Sequence[Line]]:
    if found.data is None:
        return None, [Line("Secret", f"there is no {_secret_name(cluster)}", _MENDED)]
    try:
        held = Material.read(found.data, name=cluster.names.dns, now=now)
    except Unusable as error:
        return None, [Line("Secret", f"{_secret_name(cluster)} can't be used: {error}", _MENDED)]
    pems = {"certificate": held.leaf.certificate, "CA": held.ca.certificate}
    return held, [_life(subject, pem, now, _RENEW["self"]) for subject, pem in pems.items()]


def _life(subject: str, pem: bytes, now: datetime, remedy: str) -> Line:
    found = certificates(pem)
    if not found:
        raise ValueError("tls_cert holds no certificate in PEM")
    end, due = found[0].not_valid_after_utc, rotate.due(found[0])
    if end <= now:
        return Line(subject, f"ended on {end:%F %T}", remedy)
    text = f"{(end - now) // DAY} days left, until {end:%F}"
    if due + DAY < now:
        return Line(subject, f"{text}; should have been renewed on {due:%F}", remedy)
    return Line(subject, f"{text}; to be renewed on {due:%F}")


def _bundles(found: Seen, mode: str, distrust: Callable[[bytes], str]) -> Sequence[Line]:
    wrong = {entry: why for entry, pem in found.bundles.items() if (why := distrust(pem))}
    if found.bundles and not wrong:
        return [Line("caBundle", f"all {len(found.bundles)} entries trust what is served")]
    return [
        Line("caBundle", f"of {entry} in the {kind} does not stand for what is served: {why}", _MEND[mode])
        for (kind, entry), why in wrong.items()
    ]


def _progress(found: Seen, name: str, now: datetime) -> Sequence[Line]:
    step = rotate.next_step(found, name=name, now=now)
    until = f", until {step.until:%T} UTC" if isinstance(step, Wait) and step.until else ""
    phase = Line("phase", f"{step.phase}: {step.why}{until}")
    there = rotate.serving(found.acks, now)
    if not there:
        return [Line("replicas", "none has said that it serves anything", "start one; if one runs, its log says why"), phase]
    late = rotate.late(found, now)
    if not late:
        return [Line("replicas", f"{len(there)} of {len(there)} serve it"), phase]
    forgotten = max(there[replica].until for replica in late)
    return [
        Line(
            "replicas",
            f"{len(there) - len(late)} of {len(there)} serve it, {', '.join(late)} another one",
            f"if that lasts longer than a minute, restart it; if it is no more, it is waited for until {forgotten:%F %T} UTC",
        ),
        phase,
    ]


def _read(chain: bytes, bundle: bytes, name: str, now: datetime) -> str:
    return rotate.distrust(chain, bundle, name=name, now=now)


def _asked(bundle: bytes, host: str, port: int, name: str) -> str:
    """Why a TLS client that trusts this caBundle refuses the server there; "" when it doesn't."""
    try:
        context = client(bundle)
    except ValueError as error:
        return str(error)
    try:
        with (
            socket.create_connection((host, port), timeout=CONNECT) as plain,
            context.wrap_socket(plain, server_hostname=name),
        ):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message.rstrip(".")
    except OSError as error:
        raise ClusterError("unreachable", f"{host}:{port} can't be asked: {error}") from error
