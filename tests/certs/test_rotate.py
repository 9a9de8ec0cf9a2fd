"""From what there is to the one next step: its kind, its phase, every word of its reason, and what it writes."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from certs.issue import CLOCK_SKEW, LEAF_VALID, Pair, cross_sign, issue_ca, issue_leaf
from certs.pem import certificates, fingerprint
from certs.rotate import (
    CA_CRT,
    CA_KEY,
    CA_NAME,
    MARGIN,
    OLD_CA_CRT,
    TLS_CRT,
    TLS_KEY,
    Ack,
    Entry,
    Material,
    Seen,
    Settle,
    Step,
    Trust,
    Wait,
    Write,
    distrust,
    due,
    next_step,
)

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
NAME = "dpdk-webhook.dpdk-webhook-system.svc"
ENTRIES: list[Entry] = [
    ("Mutating", "m1"),
    ("Mutating", "m2"),
    ("Validating", "v1"),
    ("Validating", "v2"),
    ("Validating", "v3"),
]
PEM, PLAIN = serialization.Encoding.PEM, (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

OLD = issue_ca(name=CA_NAME, now=NOW - 10 * DAY, valid=12 * DAY)  # due at NOW - 2 days, unless it is being retired
A = issue_ca(name=CA_NAME, now=NOW - 10 * DAY)
B = issue_ca(name=CA_NAME, now=NOW - DAY)
C = issue_ca(name="another CA", now=NOW - DAY)
FOREIGN = issue_ca(name="a foreign CA", now=NOW - DAY).certificate
ENDED = issue_ca(name="an ended CA", now=NOW - 2 * DAY, valid=DAY).certificate


def leaf(ca: Pair, *, name: str = NAME, now: datetime = NOW - DAY, valid: timedelta = LEAF_VALID) -> Pair:
    return issue_leaf(ca, names=[name], now=now, valid=valid)


def rotation(old: Pair, new: Pair) -> tuple[Material, Material]:
    """In the middle of it, and when the old CA was dropped."""
    alone = leaf(new)
    chain = Pair(alone.certificate + cross_sign(new, old=old, now=NOW - DAY), alone.key)
    return Material(new, chain, old.certificate), Material(new, alone)


HELD = Material(A, leaf(A))
ROTATING, ROTATED = rotation(A, B)
FROM_OLD, _ = rotation(OLD, B)  # OLD ends two days after NOW
OTHER = Material(C, leaf(C))
BOTH = B.certificate + A.certificate
LEAF_DUE, CA_DUE = (due(certificates(pair.certificate)[0]) for pair in (HELD.leaf, A))


def everywhere(pem: bytes, but: bytes | None = None) -> dict[Entry, bytes]:
    """The same caBundle in every entry, but in the third."""
    return {entry: pem if but is None or entry != ENTRIES[2] else but for entry in ENTRIES}


def seen(material: Material | None, bundle: bytes | dict[Entry, bytes] = b"", **more: Any) -> Seen:
    bundles = bundle if isinstance(bundle, dict) else everywhere(bundle)
    return Seen(None if material is None else material.data(), bundles, **more)


def acks(**leaves: Material) -> dict[str, Ack]:
    return {replica: Ack(each.fingerprint, each.until) for replica, each in leaves.items()}


def swapped(certificate: bytes, old: str, new: str) -> bytes:
    """The same certificate with other bytes (hexadecimal) in the place of some; its signature is wrong then."""
    der = certificates(certificate)[0].public_bytes(serialization.Encoding.DER)
    return pem("CERTIFICATE", der, old, new)


def pem(kind: str, der: bytes, old: str, new: str) -> bytes:
    assert bytes.fromhex(old) in der
    body = base64.encodebytes(der.replace(bytes.fromhex(old), bytes.fromhex(new)))
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (kind.encode(), body, kind.encode())


UNKNOWN_VERSION = swapped(FOREIGN, "a003020102", "a003020105")
UNKNOWN_CURVE = swapped(FOREIGN, "06082a8648ce3d030107", "06082a8648ce3d030109")
NO_SUBJECT = swapped(FOREIGN, "0c0c6120666f726569676e204341", "0c0cff20666f726569676e204341")  # not UTF-8
UNREADABLE = UNKNOWN_VERSION + UNKNOWN_CURVE + NO_SUBJECT

STABLE = Step("stable", "one CA, trusted everywhere")
LACKING = "the caBundle of v1 lacks our CA"
ALL_LACKING = "the caBundle of m1, m2, v1, v2, v3 lacks our CA"
SETTLING = Settle("settling", "everybody trusts the CA and serves the leaf", NOW)
NEEDLESS = "nobody needs the other CAs of v1 any more"
OVER, RECENT = NOW - MARGIN, NOW - MARGIN + SECOND
LATE = Wait("settling", "waiting for API servers that learn late", NOW + SECOND)
LOST = Settle("trusting", "a caBundle lost our CA", None)
V1 = ENTRIES[2]
LONGEST = NOW + LEAF_VALID + CLOCK_SKEW


def dropping(material: Material) -> Write:
    return Write("dropping", "the new CA stands for the leaf alone", material, settled=OVER)


def trusting(bundle: bytes) -> Trust:
    return Trust("trusting", LACKING, {V1: bundle})


def restoring(problem: str, material: Material = HELD) -> Write:
    return Write("restoring", f"{problem}: what is served is put back", material)


UNTRUSTED = "not every caBundle trusts what was put into the Secret"

STEPS: Mapping[str, tuple[Seen, Step]] = {
    "all is well": (seen(HELD, A.certificate, acks=acks(r0=HELD)), STABLE),
    "nobody calls us": (seen(HELD, {}), STABLE),
    "a mark is left over": (seen(HELD, A.certificate, settled=OVER), Settle("stable", "it is over", None)),
    # caBundles
    "every caBundle is empty": (seen(HELD), Trust("trusting", ALL_LACKING, everywhere(A.certificate))),
    "one of five is empty": (seen(HELD, everywhere(A.certificate, b"")), trusting(A.certificate)),
    "one is junk": (seen(HELD, everywhere(A.certificate, b"junk")), trusting(A.certificate)),
    "one has lost the end of its last line": (
        seen(HELD, everywhere(A.certificate, A.certificate[:-4])),
        trusting(A.certificate),
    ),
    "one holds another CA instead": (seen(HELD, everywhere(A.certificate, FOREIGN)), trusting(A.certificate + FOREIGN)),
    "one holds a CA that has ended": (seen(HELD, everywhere(A.certificate, ENDED)), trusting(A.certificate)),
    "one was joined without a newline": (
        seen(HELD, everywhere(A.certificate, FOREIGN.rstrip() + A.certificate)),
        trusting(A.certificate),
    ),
    "one has other text before ours on the line": (
        seen(HELD, everywhere(A.certificate, b"CA: " + A.certificate)),
        trusting(A.certificate),
    ),
    "one holds what nobody can read": (seen(HELD, everywhere(A.certificate, UNREADABLE)), trusting(A.certificate)),
    "one holds ours behind what nobody can read": (seen(HELD, everywhere(A.certificate, UNREADABLE + A.certificate)), SETTLING),
    "one holds junk around ours": (seen(HELD, everywhere(A.certificate, b"x\n" + A.certificate + b"y")), SETTLING),
    "junk around ours, and the margin is over": (
        seen(HELD, everywhere(A.certificate, b"x\n" + A.certificate + b"y"), settled=OVER),
        Trust("dropping", NEEDLESS, {V1: A.certificate}),
    ),
    "a foreign CA beside ours": (seen(HELD, everywhere(A.certificate, FOREIGN + A.certificate)), SETTLING),
    "a foreign CA, and the margin is not over": (
        seen(HELD, everywhere(A.certificate, FOREIGN + A.certificate), settled=RECENT),
        LATE,
    ),
    "a foreign CA, and the margin is over": (
        seen(HELD, everywhere(A.certificate, FOREIGN + A.certificate), settled=OVER),
        Trust("dropping", NEEDLESS, {V1: A.certificate}),
    ),
    "ours is lost while it settles": (seen(HELD, everywhere(A.certificate, b""), settled=OVER), LOST),
    # a rotation, in its order
    "the next CA is not trusted yet": (seen(ROTATING, A.certificate), Trust("trusting", ALL_LACKING, everywhere(BOTH))),
    "one entry lacks it": (seen(ROTATING, everywhere(BOTH, A.certificate)), trusting(BOTH)),
    "one entry lacks the old one": (seen(ROTATING, everywhere(BOTH, B.certificate)), trusting(BOTH)),
    "two replicas are late": (
        seen(ROTATING, BOTH, acks=acks(r2=HELD, r1=HELD, r0=ROTATING)),
        Wait("spreading", "waiting for r1, r2 to serve the new leaf"),
    ),
    "a replica is late again": (
        seen(ROTATING, BOTH, acks=acks(r1=HELD), settled=OVER),
        Settle("spreading", "r1 serves something else", None),
    ),
    "a dead replica's leaf has ended": (seen(ROTATING, BOTH, acks={"dead": Ack(HELD.fingerprint, NOW)}), SETTLING),
    "a dead replica's leaf has a second left": (
        seen(ROTATING, BOTH, acks={"dead": Ack(HELD.fingerprint, NOW + SECOND)}),
        Wait("spreading", "waiting for dead to serve the new leaf"),
    ),
    "a leaf is said to end when the last one can that is issued now": (
        seen(ROTATING, BOTH, acks={"late": Ack("other", LONGEST)}),
        Wait("spreading", "waiting for late to serve the new leaf"),
    ),
    "a leaf is said to end when none can": (seen(ROTATING, BOTH, acks={"liar": Ack("other", LONGEST + SECOND)}), SETTLING),
    "nobody has said what it serves": (seen(ROTATING, BOTH), SETTLING),
    "everybody serves it": (seen(ROTATING, BOTH, acks=acks(r0=ROTATING, r1=ROTATED)), SETTLING),
    "the mark is from the future": (seen(ROTATING, BOTH, settled=NOW + SECOND), SETTLING),
    "the mark is of this moment": (
        seen(ROTATING, BOTH, settled=NOW),
        Wait("settling", "waiting for API servers that learn late", NOW + MARGIN),
    ),
    "the margin is over in a second": (seen(ROTATING, BOTH, settled=RECENT), LATE),
    "the margin is over": (seen(ROTATING, BOTH, settled=OVER), dropping(ROTATED)),
    "the old CA is out of the Secret": (
        seen(ROTATED, BOTH, settled=OVER),
        Trust("dropping", "nobody needs the other CAs of m1, m2, v1, v2, v3 any more", everywhere(B.certificate)),
    ),
    "the old CA is out of all entries but one": (
        seen(ROTATED, everywhere(B.certificate, BOTH), settled=OVER),
        Trust("dropping", NEEDLESS, {V1: B.certificate}),
    ),
    "the old CA is nowhere any more": (seen(ROTATED, B.certificate, settled=OVER), Settle("stable", "it is over", None)),
    "a CA is lost while the old one is dropped": (seen(ROTATED, everywhere(BOTH, A.certificate), settled=OVER), LOST),
    "another CA is demanded in the middle": (seen(ROTATING, BOTH, demand="ca"), SETTLING),
    "another CA is demanded at the end": (seen(ROTATING, BOTH, demand="ca", settled=OVER), dropping(ROTATED)),
    # memory
    "the Secret was deleted": (seen(None, A.certificate, memory=HELD), restoring("there is no Secret")),
    "the Secret was deleted in the middle": (seen(None, BOTH, memory=ROTATING), restoring("there is no Secret", ROTATING)),
    "the Secret was emptied": (Seen({}, everywhere(A.certificate), memory=HELD), restoring("there is no ca.crt")),
    "another pair was put in": (seen(OTHER, A.certificate, memory=HELD), restoring(UNTRUSTED)),
    "another pair, and one caBundle, were put in": (
        seen(OTHER, everywhere(A.certificate, A.certificate + C.certificate), memory=HELD),
        restoring(UNTRUSTED),
    ),
    "another pair was put in, and no replica knows of ours": (
        seen(OTHER, everywhere(C.certificate, A.certificate)),
        trusting(C.certificate + A.certificate),
    ),
    "another pair was put in, and one caBundle is broken": (
        seen(OTHER, everywhere(C.certificate, b""), memory=HELD),
        trusting(C.certificate),
    ),
    "a replica slept through a rotation": (seen(ROTATED, B.certificate, memory=HELD), STABLE),
    "a replica slept until the margin": (seen(ROTATING, BOTH, memory=HELD, settled=OVER), dropping(ROTATED)),
}


@pytest.mark.parametrize(("found", "step"), STEPS.values(), ids=STEPS)
def test_what_there_is_leads_to_one_step(found: Seen, step: Step) -> None:
    assert next_step(found, name=NAME, now=NOW) == step


@pytest.mark.parametrize("found", [seen(FROM_OLD, OLD.certificate + B.certificate), seen(FROM_OLD, B.certificate)])
def test_an_old_ca_that_ends_in_the_middle_changes_nothing(found: Seen) -> None:
    now = NOW + 3 * DAY
    assert not distrust(FROM_OLD.leaf.certificate, B.certificate, name=NAME, now=now)
    assert distrust(FROM_OLD.leaf.certificate, OLD.certificate, name=NAME, now=now) == "it holds no CA that is valid now"
    done, bundles, settled = [], dict(found.bundles), None
    data = FROM_OLD.data()
    for _ in range(20):
        step = next_step(Seen(data, bundles, settled=settled), name=NAME, now=now)
        done.append(f"{step.phase} {type(step).__name__}")
        match step:
            case Write():
                data, settled = step.material.data(), step.settled
            case Trust():
                bundles |= step.bundles
            case Settle():
                settled = step.at
            case Wait():
                assert step.until is not None
                now = step.until
            case _:
                break
    trusting = ["trusting Trust"] if OLD.certificate not in found.bundles[V1] else []
    end = ["dropping Write", "dropping Trust", "stable Settle", "stable Step"]
    assert done == [*trusting, "settling Settle", "settling Wait", *end]


# --- certificates are issued


def issued(found: Seen, now: datetime = NOW) -> Write:
    """A step that writes a new leaf, which is usable."""
    step = next_step(found, name=NAME, now=now)
    assert type(step) is Write
    assert (step.phase, step.settled) == ("issuing", None)
    assert Material.read(step.material.data(), name=NAME, now=now) == step.material
    known = {each.fingerprint for each in (HELD, ROTATING, FROM_OLD, OTHER)}
    assert step.material.fingerprint not in known
    return step


@pytest.mark.parametrize(("memory"), [None, HELD], ids=["after a start", "while it serves"])
@pytest.mark.parametrize(
    ("demand", "now", "why"),
    [
        ("leaf", NOW, "a new leaf is demanded"),
        ("", LEAF_DUE, "a new leaf is due, as this one ends on 2030-03-01"),
    ],
    ids=["demanded", "at two thirds of its life"],
)
def test_a_leaf_is_renewed_from_the_same_ca(demand: Any, now: datetime, why: str, memory: Material | None) -> None:
    step = issued(seen(HELD, A.certificate, demand=demand, memory=memory), now)
    assert (step.why, step.fulfils) == (why, demand == "leaf")
    assert (step.material.ca, step.material.old_ca) == (A, b"")
    assert len(certificates(step.material.leaf.certificate)) == 1
    assert step.material.until == now + LEAF_VALID


@pytest.mark.parametrize(
    ("demand", "now", "why"),
    [
        ("ca", NOW, "a new CA is demanded"),
        ("", CA_DUE, "a new CA is due, as this one ends on 2031-01-21"),
        ("leaf", CA_DUE, "a new CA is due, as this one ends on 2031-01-21"),
    ],
    ids=["demanded", "at two thirds of its life", "at two thirds of its life, and a leaf is demanded"],
)
def test_a_new_ca_comes_with_a_chain_that_both_cas_stand_for(demand: Any, now: datetime, why: str) -> None:
    held = Material(A, leaf(A, now=now - DAY))
    step = issued(seen(held, A.certificate, demand=demand), now)
    assert (step.why, step.fulfils) == (why, demand == "ca")
    assert step.material.old_ca == A.certificate
    assert step.material.ca.certificate not in (A.certificate, B.certificate)
    for root in (A.certificate, step.material.ca.certificate, A.certificate + step.material.ca.certificate):
        assert distrust(step.material.leaf.certificate, root, name=NAME, now=now) == ""


def test_nothing_is_renewed_a_second_before_its_time() -> None:
    assert next_step(seen(HELD, A.certificate), name=NAME, now=LEAF_DUE - SECOND) == STABLE
    held = Material(A, leaf(A, now=CA_DUE - DAY))
    assert next_step(seen(held, A.certificate), name=NAME, now=CA_DUE - SECOND) == STABLE


def test_a_leaf_that_is_renewed_in_the_middle_is_still_one_of_both_cas_and_the_demand_for_another_ca_stays() -> None:
    step = issued(seen(ROTATING, BOTH, demand="ca", settled=OVER), LEAF_DUE)
    assert (step.why, step.fulfils) == ("a new leaf is due, as this one ends on 2030-03-01", False)
    assert (step.material.ca, step.material.old_ca) == (B, A.certificate)
    for root in (A.certificate, B.certificate):
        assert distrust(step.material.leaf.certificate, root, name=NAME, now=LEAF_DUE) == ""


def test_another_ca_that_was_demanded_in_the_middle_comes_when_the_old_one_is_out_of_the_secret() -> None:
    step = issued(seen(ROTATED, BOTH, demand="ca", settled=OVER))
    assert (step.why, step.fulfils, step.material.old_ca) == ("a new CA is demanded", True, B.certificate)


def test_a_leaf_ends_with_its_ca_at_the_latest() -> None:
    short = issue_ca(name=CA_NAME, now=NOW, valid=20 * DAY)
    held = Material(short, leaf(short, now=NOW, valid=DAY))
    step = issued(seen(held, short.certificate, demand="leaf"), NOW + HOUR)
    assert step.material.until == NOW + 20 * DAY


# --- what can't be used


def a_ca(*extensions: x509.ExtensionType, key: Any = None) -> Pair:
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW - DAY, NOW + 100 * DAY)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return Pair(builder.sign(key, hashes.SHA256()).public_bytes(PEM), key.private_bytes(PEM, *PLAIN))


def of(ca: Pair, served: Pair = HELD.leaf) -> dict[str, bytes]:
    return Material(ca, served).data()


GOOD = HELD.data()
SIGNS = certificates(A.certificate)[0].extensions.get_extension_for_class(x509.KeyUsage).value
LOCKED = serialization.BestAvailableEncryption(b"secret")
KEY = serialization.load_pem_private_key(HELD.leaf.key, password=None)
ENCRYPTED = KEY.private_bytes(PEM, serialization.PrivateFormat.PKCS8, LOCKED)
KEY_DER = KEY.private_bytes(serialization.Encoding.DER, *PLAIN)
OTHER_CURVE = pem("PRIVATE KEY", KEY_DER, "06082a8648ce3d030107", "06082a8648ce3d030109")
NO_WAY = "it holds no CA that has signed it"
NOT_OURS = "leaf certificate has no matching subjectAltName"

NOT_A_CA = "ca.crt can't sign: invalid extension: 2.5.29.19: missing required extension: CA certificate has no basicConstraints"
TOO_SHORT = "ca.crt can't sign: path length constraint violated"
RSA = "ca.crt can't sign: the keys of both CAs are expected to be elliptic-curve keys"

# the data of the Secret, what is wrong with them, and whether the CA can stay
UNUSABLE: Mapping[str, tuple[dict[str, bytes] | None, str, bool]] = {
    "no Secret": (None, "there is no Secret", False),
    "nothing in it": ({}, "there is no ca.crt", False),
    "no ca.crt": (GOOD | {CA_CRT: b""}, "there is no ca.crt", False),
    "no ca.key": (GOOD | {CA_KEY: b""}, "there is no ca.key", False),
    "no tls.crt": (GOOD | {TLS_CRT: b""}, "there is no tls.crt", True),
    "no tls.key": (GOOD | {TLS_KEY: b""}, "there is no tls.key", True),
    "truncated ca.crt": (GOOD | {CA_CRT: A.certificate[:300]}, "ca.crt holds no certificate", False),
    "truncated ca.key": (GOOD | {CA_KEY: A.key[:100]}, "ca.key holds no private key", False),
    "truncated tls.crt": (GOOD | {TLS_CRT: GOOD[TLS_CRT][:300]}, "tls.crt holds no certificate", True),
    "truncated tls.key": (GOOD | {TLS_KEY: GOOD[TLS_KEY][:100]}, "tls.key holds no private key", True),
    "an encrypted tls.key": (GOOD | {TLS_KEY: ENCRYPTED}, "tls.key holds no private key", True),
    "a tls.key on an unknown curve": (GOOD | {TLS_KEY: OTHER_CURVE}, "tls.key holds no private key", True),
    "another CA's key": (GOOD | {CA_KEY: B.key}, "ca.key is not the key of ca.crt", False),
    "another leaf's key": (GOOD | {TLS_KEY: A.key}, "tls.key is not the key of tls.crt", True),
    "another CA's leaf": (of(A, OTHER.leaf), f"tls.crt does not come from ca.crt: {NO_WAY}", True),
    "a leaf for another name": (of(A, leaf(A, name="other.svc")), f"tls.crt does not come from ca.crt: {NOT_OURS}", True),
    "an ended leaf": (
        of(A, leaf(A, valid=HOUR)),
        "tls.crt does not come from ca.crt: cert is not valid at validation time",
        True,
    ),
    "an ended CA": (
        of(issue_ca(name=CA_NAME, now=NOW - 9 * DAY, valid=DAY)),
        "ca.crt is valid from 2030-01-22 to 2030-01-23",
        False,
    ),
    "a CA of tomorrow": (of(issue_ca(name=CA_NAME, now=NOW + DAY)), "ca.crt is valid from 2030-02-01 to 2031-02-01", False),
    "a CA that may not be one": (of(a_ca(SIGNS)), NOT_A_CA, False),
    "a CA that stands for no other CA": (of(a_ca(x509.BasicConstraints(True, 0), SIGNS)), TOO_SHORT, False),
    "an RSA CA": (of(a_ca(key=rsa.generate_private_key(65537, 2048))), RSA, False),
    "a CA of an unknown version": (GOOD | {CA_CRT: UNKNOWN_VERSION}, "ca.crt holds no certificate", False),
}
unusable = pytest.mark.parametrize(("data", "problem", "ca_stays"), UNUSABLE.values(), ids=UNUSABLE)


@unusable
def test_what_cannot_be_used_is_issued_anew_when_no_replica_knows_better(
    data: dict[str, bytes] | None, problem: str, ca_stays: bool
) -> None:
    ended = Material(A, leaf(A, valid=HOUR))
    for memory in (None, ended):
        step = issued(Seen(data, everywhere(A.certificate), memory=memory))
        assert step.why == f"{problem}: a new {'leaf' if ca_stays else 'CA and a new leaf'}"
        assert (step.material.ca == A, step.material.old_ca, step.fulfils) == (ca_stays, b"", not ca_stays)


@unusable
def test_what_cannot_be_used_is_overwritten_with_what_is_served(
    data: dict[str, bytes] | None, problem: str, ca_stays: bool
) -> None:
    assert next_step(Seen(data, everywhere(A.certificate), memory=HELD), name=NAME, now=NOW) == restoring(problem)


@pytest.mark.parametrize(("demand", "fulfils"), [("leaf", True), ("ca", False)])
def test_a_new_leaf_for_a_broken_one_fulfils_the_demand_for_a_leaf_alone(demand: Any, fulfils: bool) -> None:
    assert issued(Seen(GOOD | {TLS_CRT: b""}, {}, demand=demand)).fulfils is fulfils


def test_a_new_leaf_for_a_broken_one_leaves_the_old_ca_trusted() -> None:
    step = issued(Seen(ROTATING.data() | {TLS_CRT: b""}, everywhere(BOTH)))
    assert (step.material.ca, step.material.old_ca) == (B, A.certificate)
    assert next_step(seen(step.material, BOTH), name=NAME, now=NOW) == SETTLING


def test_an_old_ca_that_cannot_be_read_is_dropped_as_any_other() -> None:
    data = HELD.data() | {OLD_CA_CRT: UNREADABLE}
    assert next_step(Seen(data, everywhere(A.certificate)), name=NAME, now=NOW) == SETTLING
    assert next_step(Seen(data, everywhere(A.certificate), settled=OVER), name=NAME, now=NOW) == dropping(HELD)


# --- what it is made of


@pytest.mark.parametrize(
    ("chain", "bundle", "why"),
    [
        (ROTATING.leaf.certificate, A.certificate, ""),
        (ROTATED.leaf.certificate, UNREADABLE + FOREIGN + B.certificate, ""),
        (ROTATED.leaf.certificate, A.certificate, "it holds no CA that has signed it"),
        (HELD.leaf.certificate, b"", "it is empty"),
        (HELD.leaf.certificate, ENDED, "it holds no CA that is valid now"),
        (b"junk", A.certificate, "there is no certificate"),
    ],
)
def test_a_client_says_why_it_refuses_a_chain(chain: bytes, bundle: bytes, why: str) -> None:
    assert distrust(chain, bundle, name=NAME, now=NOW) == why


def test_a_fingerprint_begins_the_sha_256_of_the_first_certificate() -> None:
    served = certificates(ROTATING.leaf.certificate)[0]
    assert fingerprint(ROTATING.leaf.certificate) == ROTATED.fingerprint == served.fingerprint(hashes.SHA256()).hex()[:16]
    assert fingerprint(b"junk") == ""
