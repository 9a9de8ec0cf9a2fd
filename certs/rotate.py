"""What is to be done next about the certificates: a pure function of what there is, and of the time.

A rotation of the CA goes through states of which each one alone is recognised, and goes on from, after a crash. A is the CA of
before, B the next one; no API server meets a certificate that it can't verify, however late it learns of a change:

    phase      Secret                                        caBundle
    stable     A; a leaf of A                                A
    issuing    B, and the certificate of A; a leaf of B,
               followed by B's certificate signed by A       A           verifies by A, by B and by both
    trusting                                                 A and B
    spreading  until every replica serves that leaf
    settling   for 150 s more
    dropping   B; the leaf alone                             A and B, then B

A leaf alone is renewed by one write of the Secret. What others broke is mended on the way to the next state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Self, TypeAlias, get_args

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from certs.issue import CLOCK_SKEW, LEAF_VALID, Pair, cross_sign, issue_ca, issue_leaf
from certs.pem import certificates, fingerprint, pem_of

CA_NAME: Final = "dpdk-webhook CA"
# An API server may learn of a caBundle this late, and a replica of the Secret; seen are some seconds.
MARGIN: Final = timedelta(seconds=150)

Phase: TypeAlias = Literal["restoring", "issuing", "trusting", "spreading", "settling", "dropping", "stable"]
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
Entry: TypeAlias = tuple[str, str]  # the kind of the configuration, and the name of the webhook in it
Demand: TypeAlias = Literal["", "ca", "leaf"]

KEYS = CA_CRT, CA_KEY, TLS_CRT, TLS_KEY, OLD_CA_CRT = "ca.crt", "ca.key", "tls.crt", "tls.key", "old-ca.crt"

_UNSIGNED: Final = "it holds no CA that has signed it"
_STRANGE: Final = ("signature does not match", "all candidates exhausted with no interior errors")
_PROBE: Final = "probe.invalid"


class Unusable(Exception):
    """What the Secret holds can't be served; one line says why."""


@dataclass(frozen=True, slots=True)
class Material:
    """What the Secret holds, all PEM: data["ca.crt"], ["ca.key"], ["tls.crt"], ["tls.key"], and ["old-ca.crt"] or b""."""

    ca: Pair
    leaf: Pair  # its certificate is the chain that is served
    old_ca: bytes = b""

    @classmethod
    def read(cls, data: Mapping[str, bytes], *, name: str, now: datetime) -> Self:
        """From the data of a Secret; Unusable unless the leaf can be served for `name`, and the CA sign the next one, now."""
        ca = _signer(data, now)
        leaf = _pair(data, TLS_CRT, TLS_KEY)
        if reason := distrust(leaf.certificate, ca.certificate, name=name, now=now):
            raise Unusable(f"{TLS_CRT} does not come from {CA_CRT}: {reason}")
        return cls(ca, leaf, data.get(OLD_CA_CRT, b""))

    def data(self) -> dict[str, bytes]:
        """As the Secret holds it."""
        data = {CA_CRT: self.ca.certificate, CA_KEY: self.ca.key, TLS_CRT: self.leaf.certificate, TLS_KEY: self.leaf.key}
        return data | ({OLD_CA_CRT: self.old_ca} if self.old_ca else {})

    @property
    def fingerprint(self) -> str:
        """Of the leaf: 16 hexadecimal digits of its SHA-256."""
        return fingerprint(self.leaf.certificate)

    @property
    def until(self) -> datetime:
        """When the leaf ends."""
        return certificates(self.leaf.certificate)[0].not_valid_after_utc


@dataclass(frozen=True, slots=True)
class Ack:
    """What a replica has said that it serves."""

    leaf: str  # fingerprint
    until: datetime  # when that leaf ends; a replica that went without a word can't be called any more from then on


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the next step depends on, but for the time."""

    data: Mapping[str, bytes] | None  # of the Secret; None: there is none
    bundles: Mapping[Entry, bytes]  # the caBundle of each entry of ours, PEM
    acks: Mapping[str, Ack] = field(default_factory=dict)  # by the replica's name
    demand: Demand = ""
    settled: datetime | None = None  # since when everybody has been seen to trust and to serve what the Secret holds
    memory: Material | None = None  # what this replica serves


@dataclass(frozen=True, slots=True)
class Step:
    """What to do; this one itself: nothing."""

    phase: Phase
    why: str


@dataclass(frozen=True, slots=True)
class Write(Step):
    """Write the Secret, with this mark of when it settled; without the demand, if this `fulfils` it."""

    material: Material
    fulfils: bool = False
    settled: datetime | None = None


@dataclass(frozen=True, slots=True)
class Trust(Step):
    """Set the caBundle of these entries."""

    bundles: Mapping[Entry, bytes]


@dataclass(frozen=True, slots=True)
class Settle(Step):
    """Mark in the Secret since when everybody trusts and serves it; None: not any more."""

    at: datetime | None


@dataclass(frozen=True, slots=True)
class Wait(Step):
    """Nothing to do until others have done something, or until a time."""

    until: datetime | None = None


def next_step(seen: Seen, *, name: str, now: datetime) -> Step:
    """The one next step towards one CA, in the Secret and in every caBundle, and a leaf for the DNS name `name` from it.

    Applying what it says, and asking again, ends with a Step that is nothing else.
    """
    try:
        held = Material.read(seen.data or {}, name=name, now=now)
    except Unusable as error:
        problem = str(error) if seen.data is not None else "there is no Secret"
        return _mended(seen, problem, name, now)
    memory = _usable(seen.memory, name, now)
    if memory is not None and not is_trusted(held, seen, name, now) and is_trusted(memory, seen, name, now):
        # whoever wrote it there, the API servers trust what is served, and don't trust this
        why = "not every caBundle trusts what was put into the Secret: what is served is put back"
        return Write("restoring", why, memory)
    return _renewed(seen, held, name, now) or _trusted(seen, held, now) or _dropped(seen, held, now)


def is_trusted(material: Material, seen: Seen, name: str, now: datetime) -> bool:
    """Whether every caBundle stands for what this material serves."""
    return not any(distrust(material.leaf.certificate, pem, name=name, now=now) for pem in seen.bundles.values())


def distrust(chain: bytes, bundle: bytes, *, name: str, now: datetime) -> str:
    """Why a client that trusts the CAs in `bundle` refuses a server with this chain (PEM, leaf first); "" when it doesn't."""
    roots = [ca for ca in certificates(bundle) if ca.not_valid_before_utc <= now <= ca.not_valid_after_utc]
    if not roots:
        return "it holds no CA that is valid now" if bundle else "it is empty"
    served = certificates(chain)
    if not served:
        return "there is no certificate"
    verifier = PolicyBuilder().store(Store(roots)).time(now).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(served[0], served[1:])
    except VerificationError as error:
        # a root that has not signed it is not worth a word of the library's on each; what else is wrong is
        text, *_ = str(error).split(" (encountered")
        text = text.removeprefix("validation failed: ").removeprefix("candidates exhausted: ")
        return _UNSIGNED if text in _STRANGE else text
    return ""


def due(certificate: x509.Certificate) -> datetime:
    """When two thirds of its life are over: time for the next one."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin + (end - begin) * 2 / 3


def serving(acks: Mapping[str, Ack], now: datetime) -> Mapping[str, Ack]:
    """Those of replicas that may be called.

    Without those whose leaf has ended, and those of one that would end later than any does: whoever wrote that serves none, and
    would be waited for without end.
    """
    return {replica: ack for replica, ack in acks.items() if now < ack.until <= now + LEAF_VALID + CLOCK_SKEW}


def late(seen: Seen, now: datetime) -> Sequence[str]:
    """The replicas that serve something else than the Secret holds."""
    leaf = fingerprint((seen.data or {}).get(TLS_CRT, b""))
    return sorted(replica for replica, ack in serving(seen.acks, now).items() if ack.leaf != leaf)


def _mended(seen: Seen, problem: str, name: str, now: datetime) -> Step:
    """The Secret can't be used as it is."""
    memory = _usable(seen.memory, name, now)
    if memory is not None:
        return Write("restoring", f"{problem}: what is served is put back", memory)
    data = seen.data or {}
    try:
        ca = _signer(data, now)
    except Unusable:
        ca = issue_ca(name=CA_NAME, now=now)
        return Write("issuing", f"{problem}: a new CA and a new leaf", Material(ca, _leaf(ca, name, now)), fulfils=True)
    material = Material(ca, _leaf(ca, name, now), data.get(OLD_CA_CRT, b""))
    return Write("issuing", f"{problem}: a new leaf", material, fulfils=seen.demand == "leaf")


def _renewed(seen: Seen, held: Material, name: str, now: datetime) -> Step | None:
    """A new CA, or a new leaf, for which it is time."""
    [ca], [leaf, *cross] = certificates(held.ca.certificate), certificates(held.leaf.certificate)
    # not while another one is being retired: three CAs at a time would be one more than the chain can stand for
    if not held.old_ca and (seen.demand == "ca" or now >= due(ca)):
        new = issue_ca(name=CA_NAME, now=now)
        leaf_of_new = _leaf(new, name, now)
        chain = Pair(leaf_of_new.certificate + cross_sign(new, old=held.ca, now=now), leaf_of_new.key)
        return _issue("CA", seen, ca, Material(new, chain, held.ca.certificate))
    if seen.demand == "leaf" or now >= due(leaf):
        renewed = _leaf(held.ca, name, now)
        chain = Pair(renewed.certificate + pem_of(cross), renewed.key)
        return _issue("leaf", seen, leaf, Material(held.ca, chain, held.old_ca))
    return None


def _issue(what: str, seen: Seen, old: x509.Certificate, material: Material) -> Write:
    demanded = seen.demand == what.lower()
    reason = "is demanded" if demanded else f"is due, as this one ends on {old.not_valid_after_utc:%F}"
    return Write("issuing", f"a new {what} {reason}", material, fulfils=demanded)


def _trusted(seen: Seen, held: Material, now: datetime) -> Step | None:
    """Every caBundle holds our CAs. What else it trusts stays for now: a replica may still serve something of before."""
    ours = certificates(held.ca.certificate) + certificates(held.old_ca)
    lacking = {}
    for entry, pem in seen.bundles.items():
        there = certificates(pem)
        if any(ca not in there for ca in ours):
            others = [ca for ca in there if ca not in ours and ca.not_valid_after_utc > now]
            lacking[entry] = pem_of([*ours, *others])
    if not lacking:
        return None
    if seen.settled is not None:
        return Settle("trusting", "a caBundle lost our CA", None)
    return Trust("trusting", f"the caBundle of {_names(lacking)} lacks our CA", lacking)


def _dropped(seen: Seen, held: Material, now: datetime) -> Step:
    """Nothing but our CA is trusted, once nobody serves anything else."""
    alone = pem_of(certificates(held.ca.certificate))
    more = {entry: alone for entry, pem in seen.bundles.items() if pem != alone}
    if not more and not held.old_ca:
        return Step("stable", "one CA, trusted everywhere") if seen.settled is None else Settle("stable", "it is over", None)
    if behind := late(seen, now):
        if seen.settled is not None:
            return Settle("spreading", f"{', '.join(behind)} serves something else", None)
        return Wait("spreading", f"waiting for {', '.join(behind)} to serve the new leaf")
    # a mark from the future was made by a clock that went wrong
    if seen.settled is None or seen.settled > now:
        return Settle("settling", "everybody trusts the CA and serves the leaf", now)
    if now < seen.settled + MARGIN:
        return Wait("settling", "waiting for API servers that learn late", seen.settled + MARGIN)
    if held.old_ca:
        leaf, *_ = certificates(held.leaf.certificate)
        alone_too = Material(held.ca, Pair(pem_of([leaf]), held.leaf.key))
        return Write("dropping", "the new CA stands for the leaf alone", alone_too, settled=seen.settled)
    return Trust("dropping", f"nobody needs the other CAs of {_names(more)} any more", more)


def _usable(memory: Material | None, name: str, now: datetime) -> Material | None:
    try:
        return memory and Material.read(memory.data(), name=name, now=now)
    except Unusable:
        return None


def _signer(data: Mapping[str, bytes], now: datetime) -> Pair:
    """The CA, which can sign now."""
    pair = _pair(data, CA_CRT, CA_KEY)
    ca = certificates(pair.certificate)[0]
    if not ca.not_valid_before_utc <= now <= ca.not_valid_after_utc:
        raise Unusable(f"{CA_CRT} is valid from {ca.not_valid_before_utc:%F} to {ca.not_valid_after_utc:%F}")
    signer = Pair(pem_of([ca]), pair.key)
    # refused now, or later and by everybody: what a rotation needs of the old CA is a CA below it, and a leaf below that one
    below = issue_ca(name=CA_NAME, now=now)
    probe = issue_leaf(below, names=[_PROBE], now=now)
    try:
        chain = probe.certificate + cross_sign(below, old=signer, now=now)
    except ValueError as error:
        raise Unusable(f"{CA_CRT} can't sign: {error}") from error
    if reason := distrust(chain, signer.certificate, name=_PROBE, now=now):
        raise Unusable(f"{CA_CRT} can't sign: {reason}")
    return signer


def _pair(data: Mapping[str, bytes], certificate: str, key: str) -> Pair:
    for name in (certificate, key):
        if not data.get(name):
            raise Unusable(f"there is no {name}")
    pair = Pair(data[certificate], data[key])
    found = certificates(pair.certificate)
    if not found:
        raise Unusable(f"{certificate} holds no certificate")
    try:
        public = serialization.load_pem_private_key(pair.key, password=None).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unusable(f"{key} holds no private key") from error
    if public != found[0].public_key():
        raise Unusable(f"{key} is not the key of {certificate}")
    return pair


def _leaf(ca: Pair, name: str, now: datetime) -> Pair:
    rest = certificates(ca.certificate)[0].not_valid_after_utc - now
    return issue_leaf(ca, names=[name], now=now, valid=min(LEAF_VALID, rest))


def _names(entries: Mapping[Entry, bytes]) -> str:
    return ", ".join(sorted(name for _, name in entries))
