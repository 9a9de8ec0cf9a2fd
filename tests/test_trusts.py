"""What a client trusts: the judgement of webhook.tls.trusts, case by case."""

import base64
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.issue import Pair, issue_ca, issue_leaf
from webhook import tls

SERVICE = "dpdk-webhook.dpdk-webhook.svc"
RSA = rsa.generate_private_key(65537, 2048)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _pem(key: Key) -> bytes:
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption())


def _key(pair: Pair) -> Key:
    key = serialization.load_pem_private_key(pair.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return key


def _signed(
    name: str,
    key: Key,
    ca: Pair | None,
    *names: x509.GeneralName,
    is_ca: bool = False,
    usage: x509.ObjectIdentifier | None = None,
) -> Pair:
    """A certificate of this CA, or without one of itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now, signer = datetime.now(UTC), _key(ca) if ca else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.load_pem_x509_certificate(ca.certificate).subject if ca else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        # without it OpenSSL takes a CA that another one of its name has signed for one that has signed itself
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def _elliptic() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def _leaf(ca: Pair, *names: str) -> Pair:
    return issue_leaf(ca, names=names or ["localhost"], now=datetime.now(UTC), valid=timedelta(days=1))


NOW = datetime.now(UTC)
LAST_YEAR = NOW - timedelta(days=300)
DNS = x509.DNSName(SERVICE)
CA, OTHER = (issue_ca(name=name, now=NOW) for name in ("a CA", "another CA"))
# one name, as two CAs of one webhook may have it, and each signed by the one before
OLD, NEW = (issue_ca(name="a CA", now=NOW) for _ in range(2))
BETWEEN = _signed("between", _elliptic(), CA, is_ca=True)
CROSS = _signed("a CA", _key(NEW), OLD, is_ca=True)
LEAF, OLD_LEAF, NEW_LEAF, BETWEEN_LEAF = (_leaf(ca, SERVICE) for ca in (CA, OLD, NEW, BETWEEN))
EXPIRED = issue_leaf(issue_ca(name="a CA", now=LAST_YEAR), names=[SERVICE], now=LAST_YEAR)
OLD_CA = issue_ca(name="a CA", now=LAST_YEAR, valid=timedelta(days=299))
OF_OLD_CA = _signed("x", _elliptic(), OLD_CA, DNS)
FUTURE = issue_leaf(CA, names=[SERVICE], now=NOW + timedelta(hours=1))
ITSELF = _signed("x", _elliptic(), None, DNS)
RSA_CA = _signed("an RSA CA", RSA, None, is_ca=True)
RSA_LEAF = _signed("x", RSA, RSA_CA, DNS)

CHAINS: dict[str, tuple[bytes, bytes, bytes, str]] = {  # bundle, chain, key, what is wrong
    "the CA": (CA.certificate, LEAF.certificate, LEAF.key, ""),
    "two CAs": (OTHER.certificate + CA.certificate, LEAF.certificate, LEAF.key, ""),
    "another CA": (OTHER.certificate, LEAF.certificate, LEAF.key, "unable to get local issuer certificate"),
    "another CA of its name": (OLD.certificate, NEW_LEAF.certificate, NEW_LEAF.key, "unable to get local issuer certificate"),
    "the root of an intermediate": (CA.certificate, BETWEEN_LEAF.certificate + BETWEEN.certificate, BETWEEN_LEAF.key, ""),
    "the intermediate": (BETWEEN.certificate, BETWEEN_LEAF.certificate, BETWEEN_LEAF.key, ""),
    "no intermediate": (CA.certificate, BETWEEN_LEAF.certificate, BETWEEN_LEAF.key, "unable to get local issuer certificate"),
    "the old CA, crossed": (OLD.certificate, NEW_LEAF.certificate + CROSS.certificate, NEW_LEAF.key, ""),
    "the new CA, crossed": (NEW.certificate, NEW_LEAF.certificate + CROSS.certificate, NEW_LEAF.key, ""),
    "old and new, crossed": (OLD.certificate + NEW.certificate, NEW_LEAF.certificate + CROSS.certificate, NEW_LEAF.key, ""),
    "old and new, the old leaf": (NEW.certificate + OLD.certificate, OLD_LEAF.certificate, OLD_LEAF.key, ""),
    "expired": (EXPIRED.certificate, EXPIRED.certificate, EXPIRED.key, "certificate has expired"),
    "an expired CA": (OLD_CA.certificate, OF_OLD_CA.certificate, OF_OLD_CA.key, "certificate has expired"),
    "not yet valid": (CA.certificate, FUTURE.certificate, FUTURE.key, "certificate is not yet valid"),
    "itself": (ITSELF.certificate, ITSELF.certificate, ITSELF.key, ""),
    "only itself": (CA.certificate, ITSELF.certificate, ITSELF.key, "self-signed certificate"),
    "RSA": (RSA_CA.certificate, RSA_LEAF.certificate, RSA_LEAF.key, ""),
    "no pair": (CA.certificate, LEAF.certificate, OLD.key, "the certificate and its key are not a pair: key values mismatch"),
    "no chain": (CA.certificate, b"", LEAF.key, "the certificate and its key are not a pair: no pem in one of them"),
}


@pytest.mark.parametrize("what", CHAINS)
def test_a_client_trusts_what_its_bundle_vouches_for_and_nothing_else(what: str) -> None:
    bundle, chain, key, problem = CHAINS[what]
    assert tls.trusts(bundle, chain, key, SERVICE) == problem


@pytest.mark.parametrize(
    ("names", "name", "problem"),
    [
        ([x509.DNSName("a.svc"), x509.DNSName("b.svc")], "b.svc", ""),
        ([x509.DNSName("a.svc")], "b.svc", "Hostname mismatch, certificate is not valid for 'b.svc'"),
        ([], "x", "Hostname mismatch, certificate is not valid for 'x'"),  # which is its CN
        ([x509.IPAddress(ip_address("10.0.0.1"))], "x", "Hostname mismatch, certificate is not valid for 'x'"),
        ([DNS], "", "'' is no DNS name: server_hostname cannot be an empty string or start with a leading dot."),
        (
            [DNS],
            "x" * 64,
            f"'{'x' * 64}' is no DNS name: encoding with 'idna' codec failed (UnicodeError: label too long)",
        ),
    ],
)
def test_only_alternative_names_are_names(names: list[x509.GeneralName], name: str, problem: str) -> None:
    pair = _signed("x", _elliptic(), CA, *names)
    assert tls.trusts(CA.certificate, pair.certificate, pair.key, name) == problem


def test_a_certificate_for_clients_serves_nobody() -> None:
    pair = _signed("x", _elliptic(), CA, DNS, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    assert tls.trusts(CA.certificate, pair.certificate, pair.key, SERVICE) == "unsuitable certificate purpose"


PEM = CA.certificate
BROKEN = PEM.replace(b"\nMII", b"\nMI*", 1)
WITH_HEADER = PEM.replace(b"-----\nMII", b"-----\nName: value\n\nMII", 1)
UNPADDED = next(pem for pem in (issue_ca(name="a CA", now=NOW).certificate for _ in count()) if b"=" not in pem)
BODY = PEM.partition(b"-----\n")[2].partition(b"\n-----END")[0]


@pytest.mark.parametrize(
    "bundle",
    [
        pytest.param(b"a CA\n" + PEM + b"and nothing else", id="text around it"),
        pytest.param(PEM.replace(b"\n", b"\r\n"), id="lines as in Windows"),
        pytest.param(PEM.replace(b"\n", b" \t\n"), id="blanks at the ends of lines"),
        pytest.param(PEM.rstrip(), id="no line's end"),
        pytest.param(PEM.replace(BODY, BODY.replace(b"\n", b"")), id="one line"),
        pytest.param(OTHER.key + PEM + OTHER.key, id="a key beside it"),
        pytest.param(BROKEN + PEM, id="a broken one before it"),
        pytest.param(BODY[:100].join([b"-----BEGIN CERTIFICATE-----\n", b"\n"]) + PEM, id="half of one before it"),
        pytest.param(WITH_HEADER + PEM, id="one with a header before it"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n" + PEM, id="an empty one before it"),
        pytest.param(PEM + PEM, id="twice"),
    ],
)
def test_junk_in_a_bundle_is_passed_over(bundle: bytes) -> None:
    assert tls.trusts(bundle, LEAF.certificate, LEAF.key, SERVICE) == ""


@pytest.mark.parametrize(
    "bundle",
    [
        pytest.param(b"\n", id="a line's end"),
        pytest.param(b"\x00\xff" * 100, id="bytes"),
        pytest.param(OTHER.key, id="a key"),
        pytest.param(BROKEN, id="a broken one"),
        pytest.param(PEM[:-10], id="a short one"),
        pytest.param(WITH_HEADER, id="one with a header"),
        pytest.param(b"\xef\xbb\xbf" + PEM, id="one behind a byte order mark"),
        pytest.param(b" " + PEM, id="one that is indented"),
        pytest.param(PEM.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"), id="one of OpenSSL's own kind"),
        pytest.param(PEM.replace(BODY, base64.b64encode(base64.b64decode(BODY) + b"\0")), id="a byte behind it"),
        pytest.param(UNPADDED.replace(b"\n-----END", b"=\n-----END"), id="too much padding"),
        pytest.param(UNPADDED.replace(b"\n-----END", b"====\n-----END"), id="far too much padding"),
        pytest.param(UNPADDED.replace(b"\nMIIB", b"\nMIIB====", 1), id="padding in the middle"),
        pytest.param(PEM.rstrip() + b"x\n", id="text behind its last line"),
        pytest.param(BODY, id="no lines around it"),
    ],
)
def test_a_bundle_without_a_certificate_is_no_bundle(bundle: bytes) -> None:
    assert tls.trusts(bundle, LEAF.certificate, LEAF.key, SERVICE) == "it holds no certificate"


def test_an_empty_bundle_is_no_bundle() -> None:
    assert tls.trusts(b"", LEAF.certificate, LEAF.key, SERVICE) == "it is empty"
