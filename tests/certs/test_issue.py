"""Certificates judged by those who will read them: a TLS client over loopback, and a second, strict verifier."""

import inspect
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from certs.issue import LEAF_CN, LEAF_VALID, Pair, cross_sign, issue_ca, issue_leaf

DAY = timedelta(days=1)
NOW = datetime(2030, 1, 31, 12, 0, 0, tzinfo=UTC)
SERVICE = "dpdk-webhook.dpdk-webhook-system.svc"

Handshake = Callable[..., None]


def load(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def private_key(pair: Pair) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pair.key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def alternatives(leaf: Pair) -> list[x509.GeneralName]:
    return list(load(leaf.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


def extensions(certificate: x509.Certificate) -> dict[x509.ExtensionType, bool]:
    """Return each extension with whether it is critical."""
    return {extension.value: extension.critical for extension in certificate.extensions}


def key_usage(**wanted: bool) -> x509.KeyUsage:
    usages = {name: wanted.get(name, False) for name in inspect.signature(x509.KeyUsage).parameters}
    return x509.KeyUsage(**usages)


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def verify(chain: Sequence[bytes], *, trusted: bytes, name: str, at: datetime) -> None:
    """Raise VerificationError unless the chain (PEM, leaf first) stands for `name` at that time."""
    try:
        subject: x509.DNSName | x509.IPAddress = x509.IPAddress(ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    leaf, *intermediates = map(load, chain)
    verifier = PolicyBuilder().store(Store([load(trusted)])).time(at).build_server_verifier(subject)
    verifier.verify(leaf, intermediates)


@pytest.fixture
def handshake(tmp_path: Path) -> Handshake:
    """A TLS connection to a server on loopback, by a client that trusts one CA alone and calls the server `name`."""

    def connect(served: Pair, *, trusted: bytes, name: str) -> None:
        (tmp_path / "tls.crt").write_bytes(served.certificate)
        (tmp_path / "tls.key").write_bytes(served.key)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
        client = ssl.create_default_context(cadata=trusted.decode())
        client.verify_flags |= ssl.VERIFY_X509_STRICT

        def serve() -> None:
            with suppress(OSError):  # the client's refusal, which the client reports
                raw, _ = listener.accept()
                raw.settimeout(10)
                with raw, server.wrap_socket(raw, server_side=True) as connection:
                    connection.sendall(b"hello")

        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(10)
            thread = threading.Thread(target=serve)
            thread.start()
            try:
                with (
                    socket.create_connection(listener.getsockname(), timeout=10) as raw,
                    client.wrap_socket(raw, server_hostname=name) as connection,
                ):
                    assert connection.recv(5) == b"hello"
            finally:
                thread.join()

    return connect


@pytest.fixture(scope="module")
def ca() -> Pair:
    return issue_ca(name="a CA", now=NOW)


@pytest.fixture(scope="module")
def live_ca() -> Pair:
    return issue_ca(name="a CA", now=datetime.now(UTC))


@pytest.fixture
def ed25519_ca() -> Pair:
    key = ed25519.Ed25519PrivateKey.generate()
    name, end = common_name("a CA"), NOW + 365 * DAY
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, end).sign(key, algorithm=None)
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(certificate.public_bytes(pem), plain)


class TestHandshake:
    """OpenSSL's client judges by the real clock, so these pairs are issued around today."""

    @pytest.mark.parametrize("name", ["localhost", "LocalHost", SERVICE, "any.example.com", "127.0.0.1", "::1"])
    def test_each_name_of_the_leaf_is_accepted(self, handshake: Handshake, live_ca: Pair, name: str) -> None:
        names = ["localhost", SERVICE, "*.example.com", "127.0.0.1", "::1"]
        leaf = issue_leaf(live_ca, names=names, now=datetime.now(UTC))
        handshake(leaf, trusted=live_ca.certificate, name=name)
        verify([leaf.certificate], trusted=live_ca.certificate, name=name, at=datetime.now(UTC))

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("other.svc", "Hostname mismatch, certificate is not valid for 'other.svc'."),
            ("a.b.example.com", "Hostname mismatch, certificate is not valid for 'a.b.example.com'."),
            ("127.0.0.2", "IP address mismatch, certificate is not valid for '127.0.0.2'."),
            ("::2", "IP address mismatch, certificate is not valid for '::2'."),
        ],
    )
    def test_a_wrong_name_is_refused(self, handshake: Handshake, live_ca: Pair, name: str, message: str) -> None:
        leaf = issue_leaf(live_ca, names=["localhost", "*.example.com", "127.0.0.1", "::1"], now=datetime.now(UTC))
        with pytest.raises(ssl.SSLCertVerificationError) as refusal:
            handshake(leaf, trusted=live_ca.certificate, name=name)
        assert refusal.value.verify_message == message
        with pytest.raises(VerificationError):
            verify([leaf.certificate], trusted=live_ca.certificate, name=name, at=datetime.now(UTC))

    @pytest.mark.parametrize("name", ["another CA", "a CA"], ids=["another name", "the same name, another key"])
    def test_another_ca_is_not_trusted(self, handshake: Handshake, live_ca: Pair, name: str) -> None:
        another = issue_ca(name=name, now=datetime.now(UTC))
        leaf = issue_leaf(live_ca, names=["localhost"], now=datetime.now(UTC))
        with pytest.raises(ssl.SSLCertVerificationError) as refusal:
            handshake(leaf, trusted=another.certificate, name="localhost")
        assert refusal.value.verify_message == "unable to get local issuer certificate"
        with pytest.raises(VerificationError):
            verify([leaf.certificate], trusted=another.certificate, name="localhost", at=datetime.now(UTC))

    def test_an_expired_leaf_is_refused_though_its_ca_is_valid(self, handshake: Handshake) -> None:
        today = datetime.now(UTC)
        ca = issue_ca(name="a CA", now=today - 40 * DAY)
        expired = issue_leaf(ca, names=["localhost"], now=today - LEAF_VALID - DAY)
        with pytest.raises(ssl.SSLCertVerificationError) as refusal:
            handshake(expired, trusted=ca.certificate, name="localhost")
        assert refusal.value.verify_message == "certificate has expired"

        renewed = issue_leaf(ca, names=["localhost"], now=today)
        handshake(renewed, trusted=ca.certificate, name="localhost")

    @pytest.mark.parametrize("new_name", ["new CA", "old CA"], ids=["CAs of different names", "CAs of one name"])
    def test_a_client_that_trusts_only_the_old_ca_accepts_the_cross_signed_chain(
        self, handshake: Handshake, new_name: str
    ) -> None:
        now = datetime.now(UTC)
        old, new = issue_ca(name="old CA", now=now), issue_ca(name=new_name, now=now)
        leaf = issue_leaf(new, names=[SERVICE], now=now)
        cross = cross_sign(new, old=old, now=now)
        chain = Pair(leaf.certificate + cross, leaf.key)
        for trusted in (old.certificate, new.certificate, old.certificate + new.certificate):
            handshake(chain, trusted=trusted, name=SERVICE)
        for root in (old.certificate, new.certificate):
            verify([leaf.certificate, cross], trusted=root, name=SERVICE, at=now)

        with pytest.raises(ssl.SSLCertVerificationError) as refusal:
            handshake(leaf, trusted=old.certificate, name=SERVICE)
        assert refusal.value.verify_message == "unable to get local issuer certificate"

    def test_a_leaf_is_accepted_from_a_ca_that_bears_the_leafs_common_name(self, handshake: Handshake) -> None:
        ca = issue_ca(name=LEAF_CN, now=datetime.now(UTC))
        leaf = issue_leaf(ca, names=["localhost"], now=datetime.now(UTC))
        handshake(leaf, trusted=ca.certificate, name="localhost")


class TestTime:
    @pytest.mark.parametrize(
        ("at", "accepted"),
        [
            pytest.param(NOW - timedelta(minutes=5, seconds=1), False, id="a clock further behind than we allow for"),
            pytest.param(NOW - timedelta(minutes=5), True, id="a clock as far behind as we allow for"),
            pytest.param(NOW, True, id="the moment of issue"),
            pytest.param(NOW + 30 * DAY, True, id="the last second"),
            pytest.param(NOW + 30 * DAY + timedelta(seconds=1), False, id="a second after the end"),
        ],
    )
    def test_a_leaf_is_valid_from_five_minutes_ago_for_thirty_days(self, ca: Pair, at: datetime, accepted: bool) -> None:
        leaf = issue_leaf(ca, names=["localhost"], now=NOW)
        with nullcontext() if accepted else pytest.raises(VerificationError):
            verify([leaf.certificate], trusted=ca.certificate, name="localhost", at=at)

    def test_a_ca_is_valid_from_five_minutes_ago_for_a_year(self, ca: Pair) -> None:
        certificate = load(ca.certificate)
        assert certificate.not_valid_before_utc == NOW - timedelta(minutes=5)
        assert certificate.not_valid_after_utc == NOW + 365 * DAY

    def test_both_lengths_can_be_chosen(self) -> None:
        ca = issue_ca(name="a CA", now=NOW, valid=2 * DAY)
        leaf = issue_leaf(ca, names=["localhost"], now=NOW, valid=DAY)
        assert load(ca.certificate).not_valid_after_utc == NOW + 2 * DAY
        assert load(leaf.certificate).not_valid_after_utc == NOW + DAY

    def test_a_day_has_24_hours_also_where_the_clock_is_put_forward_meanwhile(self) -> None:
        ca = issue_ca(name="a CA", now=NOW.astimezone(ZoneInfo("Europe/Berlin")), valid=100 * DAY)
        assert load(ca.certificate).not_valid_after_utc == NOW + 100 * DAY

    def test_a_leaf_may_end_in_the_same_second_as_its_ca(self) -> None:
        ca = issue_ca(name="a CA", now=NOW, valid=DAY)
        leaf = issue_leaf(ca, names=["localhost"], now=NOW.replace(microsecond=999_999), valid=DAY)
        assert load(leaf.certificate).not_valid_after_utc == load(ca.certificate).not_valid_after_utc

    def test_a_leaf_that_would_outlive_its_ca_is_refused(self) -> None:
        ca = issue_ca(name="a CA", now=NOW, valid=DAY)
        with pytest.raises(ValueError, match="outlive") as refusal:
            issue_leaf(ca, names=["localhost"], now=NOW + timedelta(seconds=1), valid=DAY)
        assert str(refusal.value) == (
            "the leaf would outlive its CA: it would end at 2030-02-01 12:00:01+00:00, the CA ends at 2030-02-01 12:00:00+00:00"
        )

    def test_a_time_without_a_zone_is_refused(self, ca: Pair) -> None:
        naive = NOW.replace(tzinfo=None)
        with pytest.raises(ValueError, match="time zone") as refusal:
            issue_ca(name="a CA", now=naive)
        assert str(refusal.value) == "the time 2030-01-31 12:00:00 has no time zone"
        with pytest.raises(ValueError, match="time zone") as refusal:
            issue_leaf(ca, names=["localhost"], now=naive)
        assert str(refusal.value) == "the time 2030-01-31 12:00:00 has no time zone"


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            pytest.param("a", id="one letter"),
            pytest.param("3com.example", id="a label that begins with a digit"),
            pytest.param("1.2.3.4.example", id="labels of digits before the last one"),
            pytest.param("xn--mnchen-3ya.example", id="an international name in its ASCII form"),
            pytest.param(f"{'a' * 63}.svc", id="a label of 63 characters"),
            pytest.param(f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}", id="253 characters, more than a CN can hold"),
        ],
    )
    def test_a_host_name_is_a_dns_name(self, ca: Pair, name: str) -> None:
        leaf = issue_leaf(ca, names=[name], now=NOW)
        assert alternatives(leaf) == [x509.DNSName(name)]
        verify([leaf.certificate], trusted=ca.certificate, name=name, at=NOW)

    @pytest.mark.parametrize(
        "name",
        ["10.0.0.1", "2001:db8::1", pytest.param("::ffff:10.0.0.1", id="an IPv4 address mapped into IPv6")],
    )
    def test_an_address_is_an_ip_address(self, ca: Pair, name: str) -> None:
        leaf = issue_leaf(ca, names=[name], now=NOW)
        assert alternatives(leaf) == [x509.IPAddress(ip_address(name))]
        verify([leaf.certificate], trusted=ca.certificate, name=name, at=NOW)

    def test_order_is_kept(self, ca: Pair) -> None:
        leaf = issue_leaf(ca, names=["b.svc", "10.0.0.1", "a.svc"], now=NOW)
        assert alternatives(leaf) == [
            x509.DNSName("b.svc"),
            x509.IPAddress(ip_address("10.0.0.1")),
            x509.DNSName("a.svc"),
        ]

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param("", id="nothing"),
            pytest.param(".", id="the root"),
            pytest.param("localhost.", id="a dot at the end, which certificates leave out"),
            pytest.param("a..svc", id="an empty label"),
            pytest.param("-a.svc", id="a hyphen first"),
            pytest.param("a-.svc", id="a hyphen last"),
            pytest.param("a_b.svc", id="an underscore"),
            pytest.param("a b.svc", id="a blank"),
            pytest.param("localhost\n", id="a newline at the end"),
            pytest.param("https://localhost", id="a URL"),
            pytest.param("localhost:8443", id="a host with its port"),
            pytest.param("münchen.example", id="an international name in its Unicode form"),
            pytest.param("\N{KELVIN SIGN}.svc", id="a Kelvin sign, which is a letter k to a careless comparison"),
            pytest.param(f"{'a' * 64}.svc", id="a label of 64 characters"),
            pytest.param(f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 62}", id="254 characters"),
            pytest.param("*", id="a wildcard alone"),
            pytest.param("a.*.svc", id="a wildcard that isn't leftmost"),
            pytest.param("a*.svc", id="a wildcard for a part of a label"),
            pytest.param("*.*.svc", id="two wildcards"),
            pytest.param("*.10.0.0.1", id="a wildcard before an address"),
            pytest.param("10.0.0.256", id="an address with a number too large"),
            pytest.param("10.0.0", id="an address with a number missing"),
            pytest.param("010.0.0.1", id="an address with a leading zero, octal to some"),
            pytest.param("10.0.0.0/8", id="a network"),
            pytest.param("[::1]", id="an address in brackets"),
            pytest.param("fe80::1%eth0", id="an address with a zone, which certificates can't hold"),
        ],
    )
    def test_what_is_neither_is_refused(self, ca: Pair, name: str) -> None:
        with pytest.raises(ValueError, match="neither") as refusal:
            issue_leaf(ca, names=["localhost", name], now=NOW)
        assert str(refusal.value) == f"{name!r} is neither a DNS name nor an IP address"

    def test_a_leaf_without_names_is_refused(self, ca: Pair) -> None:
        with pytest.raises(ValueError, match="name") as refusal:
            issue_leaf(ca, names=[], now=NOW)
        assert str(refusal.value) == "a leaf needs at least one name: a DNS name or an IP address"

    @pytest.mark.parametrize("name", ["x", "x" * 64, "ü" * 32], ids=["1 byte", "64 bytes", "64 bytes of UTF-8"])
    def test_a_ca_is_called_by_its_name(self, name: str) -> None:
        certificate = load(issue_ca(name=name, now=NOW).certificate)
        assert certificate.subject == certificate.issuer == common_name(name)

    @pytest.mark.parametrize(("name", "size"), [("", 0), ("x" * 65, 65), ("ü" * 33, 66)], ids=["empty", "65", "UTF-8"])
    def test_a_ca_name_that_x509_cannot_hold_is_refused(self, name: str, size: int) -> None:
        with pytest.raises(ValueError, match="bytes") as refusal:
            issue_ca(name=name, now=NOW)
        assert str(refusal.value) == f"a CA's name has 1 to 64 bytes (X.509), {name!r} has {size}"


class TestUse:
    """What each certificate may be used for."""

    def test_a_ca_signs_certificates_and_nothing_else(self, ca: Pair) -> None:
        certificate = load(ca.certificate)
        certificate.verify_directly_issued_by(certificate)
        assert extensions(certificate) == {
            x509.SubjectKeyIdentifier.from_public_key(private_key(ca).public_key()): False,
            x509.BasicConstraints(ca=True, path_length=1): True,
            key_usage(key_cert_sign=True, crl_sign=True): True,
        }

    def test_a_leaf_serves_tls_and_nothing_else(self, ca: Pair) -> None:
        leaf = issue_leaf(ca, names=["localhost"], now=NOW)
        certificate = load(leaf.certificate)
        assert certificate.subject == common_name(LEAF_CN)
        assert certificate.issuer == load(ca.certificate).subject
        assert extensions(certificate) == {
            x509.SubjectKeyIdentifier.from_public_key(private_key(leaf).public_key()): False,
            x509.AuthorityKeyIdentifier.from_issuer_public_key(private_key(ca).public_key()): False,
            x509.SubjectAlternativeName([x509.DNSName("localhost")]): False,
            x509.BasicConstraints(ca=False, path_length=None): True,
            key_usage(digital_signature=True): True,
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]): False,
        }

    def test_a_leaf_is_no_client_certificate(self, ca: Pair) -> None:
        leaf = issue_leaf(ca, names=["localhost"], now=NOW)
        verifier = PolicyBuilder().store(Store([load(ca.certificate)])).time(NOW).build_client_verifier()
        with pytest.raises(VerificationError):
            verifier.verify(load(leaf.certificate), [])

    def test_a_leaf_is_no_ca(self, ca: Pair) -> None:
        leaf = issue_leaf(ca, names=["localhost"], now=NOW)
        below = issue_leaf(leaf, names=["localhost"], now=NOW)
        with pytest.raises(VerificationError):
            verify([below.certificate, leaf.certificate], trusted=ca.certificate, name="localhost", at=NOW)

    def test_a_common_name_is_no_host_name(self, ca: Pair) -> None:
        with pytest.raises(ValueError, match="neither"):
            issue_leaf(ca, names=[LEAF_CN], now=NOW)


class TestKeys:
    def test_every_key_is_a_new_p256_key_in_plain_pkcs8(self, ca: Pair) -> None:
        pairs = [ca, issue_ca(name="a CA", now=NOW), *(issue_leaf(ca, names=["localhost"], now=NOW) for _ in range(2))]
        for pair in pairs:
            assert pair.key.startswith(b"-----BEGIN PRIVATE KEY-----\n")
            assert isinstance(private_key(pair).curve, ec.SECP256R1)
            assert private_key(pair).public_key() == load(pair.certificate).public_key()
        assert len({pair.key for pair in pairs}) == 4
        assert len({load(pair.certificate).serial_number for pair in pairs}) == 4

    def test_a_pair_is_two_pem_blocks_one_each(self, ca: Pair) -> None:
        leaf = issue_leaf(ca, names=["localhost"], now=NOW)
        for pair in (ca, leaf):
            assert pair.certificate.count(b"-----BEGIN") == 1
            assert pair.key.count(b"-----BEGIN") == 1

    def test_the_key_is_not_shown_where_a_pair_is_printed(self) -> None:
        assert repr(Pair(certificate=b"public", key=b"secret")) == "Pair(certificate=b'public')"

    def test_the_key_of_another_ca_is_refused(self, ca: Pair) -> None:
        mixed = Pair(ca.certificate, issue_ca(name="a CA", now=NOW).key)
        with pytest.raises(ValueError, match="key") as refusal:
            issue_leaf(mixed, names=["localhost"], now=NOW)
        assert str(refusal.value) == "the CA's key is not the elliptic-curve key of its certificate"

    def test_a_ca_with_a_key_of_another_kind_is_refused(self, ed25519_ca: Pair) -> None:
        with pytest.raises(ValueError, match="key") as refusal:
            issue_leaf(ed25519_ca, names=["localhost"], now=NOW)
        assert str(refusal.value) == "the CA's key is not the elliptic-curve key of its certificate"


class TestCross:
    """The new CA's certificate, signed by the old one."""

    def test_it_is_the_new_ca_by_name_and_key_and_signs_leaves_and_nothing_else(self, ca: Pair) -> None:
        new = issue_ca(name="new CA", now=NOW)
        cross, subject, issuer = load(cross_sign(new, old=ca, now=NOW)), load(new.certificate), load(ca.certificate)
        cross.verify_directly_issued_by(issuer)
        assert (cross.subject, cross.public_key()) == (subject.subject, subject.public_key())
        assert cross.serial_number not in (subject.serial_number, issuer.serial_number)
        assert extensions(cross) == {
            x509.SubjectKeyIdentifier.from_public_key(private_key(new).public_key()): False,
            x509.AuthorityKeyIdentifier.from_issuer_public_key(private_key(ca).public_key()): False,
            x509.BasicConstraints(ca=True, path_length=0): True,
            key_usage(key_cert_sign=True, crl_sign=True): True,
        }

    @pytest.mark.parametrize(("old_days", "new_days", "days"), [(10, 365, 10), (365, 20, 20)], ids=["the old", "the new"])
    def test_it_begins_five_minutes_ago_and_ends_with_whichever_ends_first(
        self, old_days: int, new_days: int, days: int
    ) -> None:
        old = issue_ca(name="old CA", now=NOW - DAY, valid=DAY + old_days * DAY)
        new = issue_ca(name="new CA", now=NOW, valid=new_days * DAY)
        cross = load(cross_sign(new, old=old, now=NOW.replace(microsecond=999_999)))
        assert cross.not_valid_before_utc == NOW - timedelta(minutes=5)
        assert cross.not_valid_after_utc == NOW + days * DAY

    def test_a_time_without_a_zone_is_refused(self, ca: Pair) -> None:
        with pytest.raises(ValueError, match="time zone") as refusal:
            cross_sign(ca, old=ca, now=NOW.replace(tzinfo=None))
        assert str(refusal.value) == "the time 2030-01-31 12:00:00 has no time zone"

    def test_a_key_of_another_kind_is_refused_on_either_side(self, ca: Pair, ed25519_ca: Pair) -> None:
        for new, old in ((ca, ed25519_ca), (ed25519_ca, ca)):
            with pytest.raises(ValueError, match="key") as refusal:
                cross_sign(new, old=old, now=NOW)
            assert str(refusal.value) == "the keys of both CAs are expected to be elliptic-curve keys"

    @pytest.mark.parametrize("part", ["certificate", "key"])
    def test_what_is_no_certificate_or_no_key_is_refused_on_either_side(self, ca: Pair, part: str) -> None:
        broken = replace(ca, **{part: b"junk"})
        for new, old in ((ca, broken), (broken, ca)):
            with pytest.raises(ValueError, match="PEM"):
                cross_sign(new, old=old, now=NOW)
