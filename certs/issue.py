"""CA and leaf certificates as bytes: no disk, no clock, no network.

The clock is an argument (`now`), so that rotation can be played through at any date.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_VALID = timedelta(days=365)
LEAF_VALID = timedelta(days=30)

# Clocks of nodes differ by a little: a client whose clock is behind must not see a certificate from the future.
CLOCK_SKEW = timedelta(minutes=5)

# Clients read only the subjectAltName. A first name as CN would have to fit into 64 characters, which a Service's DNS
# name need not, and some clients still take a CN for a host name: this text can't be one.
LEAF_CN = "dpdk-webhook server"

# RFC 1123, 2.1: the last label is never all digits, so a mistyped IPv4 address isn't taken for a host.
# RFC 6125, 6.4.3: a wildcard stands for the whole leftmost label.
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:\*\.)?(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")

_NO_USAGE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One certificate and its private key, both PEM; the key is PKCS#8 and not encrypted."""

    certificate: bytes
    key: bytes = field(repr=False)  # a pair in a log line or traceback must not give its key away


def issue_ca(*, name: str, now: datetime, valid: timedelta = CA_VALID) -> Pair:
    """Return a new self-signed CA whose common name is `name`, valid until `now + valid`.

    ValueError: the name hasn't 1 to 64 bytes of UTF-8, or `now` is naive.
    """
    if not 1 <= len(name.encode()) <= 64:
        raise ValueError(f"a CA's name has 1 to 64 bytes (X.509), {name!r} has {len(name.encode())}")
    now = _utc_second(now)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _common_name(name)
    # pathlen 1: during a rotation the served chain holds the next CA, signed by this one, between this one and the
    # leaf. With pathlen 0 clients would refuse it: "too many intermediates for path length constraint".
    builder = (
        _builder(subject, subject, key, now, now + valid)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
    )
    return _pair(builder, key, key)


def issue_leaf(ca: Pair, *, names: Sequence[str], now: datetime, valid: timedelta = LEAF_VALID) -> Pair:
    """Return a new server certificate signed by `ca`, valid until `now + valid`; the certificate is the leaf alone.

    `names` are DNS names (a wildcard as leftmost label is allowed) and IP addresses.
    ValueError: no names, a name that is neither, a naive `now`, a CA with a foreign key or a shorter life.
    """
    if not names:
        raise ValueError("a leaf needs at least one name: a DNS name or an IP address")
    alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
    now = _utc_second(now)
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    issuer_key = serialization.load_pem_private_key(ca.key, password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey) or issuer_key.public_key() != issuer.public_key():
        raise ValueError("the CA's key is not the elliptic-curve key of its certificate")
    end, ca_end = now + valid, issuer.not_valid_after_utc
    if end > ca_end:
        raise ValueError(f"the leaf would outlive its CA: it would end at {end}, the CA ends at {ca_end}")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_common_name(LEAF_CN), issuer.subject, key, now, end)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return _pair(builder, key, issuer_key)


def cross_sign(new: Pair, *, old: Pair, now: datetime) -> bytes:
    """Return the certificate of the CA `new` once more, signed by the CA `old`, good for as long as both are.

    A server that sends it behind its leaf is trusted by whoever knows either of the two, and nobody has to learn of the new
    one at a certain moment.
    ValueError: a naive `now`, or a certificate or key that is none.
    """
    subject, issuer = (x509.load_pem_x509_certificate(ca.certificate) for ca in (new, old))
    key, issuer_key = (serialization.load_pem_private_key(ca.key, password=None) for ca in (new, old))
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise ValueError("the keys of both CAs are expected to be elliptic-curve keys")
    end = min(subject.not_valid_after_utc, issuer.not_valid_after_utc)
    builder = (
        _builder(subject.subject, issuer.subject, key, _utc_second(now), end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _pair(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey) -> Pair:
    pem = serialization.Encoding.PEM
    return Pair(
        certificate=builder.sign(issuer_key, hashes.SHA256()).public_bytes(pem),
        key=key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _utc_second(now: datetime) -> datetime:
    if now.utcoffset() is None:
        raise ValueError(f"the time {now} has no time zone")
    # UTC: a local time plus 30 days is an hour off when the clocks change meanwhile. Whole seconds: X.509 knows no
    # fractions, and with them a leaf would seem to outlive a CA that was issued in the same second.
    return now.astimezone(UTC).replace(microsecond=0)


def _alternative(name: str) -> x509.GeneralName:
    try:
        address = ip_address(name)
    except ValueError:
        if _DNS_NAME.fullmatch(name):
            return x509.DNSName(name)
    else:
        if "%" not in name:  # a zone (fe80::1%eth0) means something on one host only, and a certificate can't hold it
            return x509.IPAddress(address)
    raise ValueError(f"{name!r} is neither a DNS name nor an IP address")


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*wanted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**_NO_USAGE | dict.fromkeys(wanted, True))
