"""TLS as it is spoken, who may call, and certificates that change while they are served."""

import concurrent.futures
import logging
import os
import re
import socket
import ssl
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.issue import Pair, issue_ca, issue_leaf
from scripts.throwaway import Certificates
from tests.serving import LIVE, REQUEST, Server, answer, eventually, everything, serving
from webhook import tls
from webhook.metrics import Metrics
from webhook.settings import Settings

SIGNING = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
ALLOWED = b"HTTP/1.1 200 OK\r\n"
RELOADED = 4.0  # seconds: two looks, and a slow machine


# --- what is spoken


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(server: Server, version: ssl.TLSVersion) -> None:
    context = server.files.trust
    context.minimum_version = context.maximum_version = version
    with server.connect(context) as connection:
        assert connection.version() == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_1_1_is_refused(server: Server) -> None:
    context = server.files.trust
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with closing(server.tcp()) as raw, pytest.raises(ssl.SSLError, match=r"EOF|PROTOCOL_VERSION"):
        context.wrap_socket(raw, server_hostname="localhost")
    server.counts_to(_failures("no_shared_protocol"), 1)


@pytest.mark.parametrize("oldest", ["1.2", "1.3"])
def test_the_oldest_version_is_a_setting_and_never_what_the_system_would_allow(files: Certificates, oldest: str) -> None:
    context = _served(files, tls_min_version=oldest).context
    assert context.minimum_version is {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[oldest]


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
)
def test_http_2_is_never_chosen(server: Server, offered: list[str], chosen: str | None) -> None:
    context = server.files.trust
    if offered:
        context.set_alpn_protocols(offered)
    with server.connect(context) as connection:
        assert connection.selected_alpn_protocol() == chosen


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_can_be_resumed_by_a_ticket(server: Server, version: ssl.TLSVersion) -> None:
    context = server.files.trust
    context.minimum_version = context.maximum_version = version
    with server.connect(context) as connection:
        connection.sendall(LIVE)
        assert answer(connection).startswith(ALLOWED)  # tickets of 1.3 come with the first answer
        session = connection.session
        assert session is None or not session.has_ticket


def _failures(reason: str) -> str:
    return f'dpdk_webhook_tls_handshake_failures_total{{reason="{reason}"}}'


def test_every_handshake_that_fails_is_counted_by_its_reason(server: Server) -> None:
    with closing(server.tcp()) as silent:
        with pytest.raises(ssl.SSLCertVerificationError), server.connect(ssl.create_default_context()):
            pass
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100):
            with closing(server.tcp()) as raw:
                raw.sendall(garbage)
                assert everything(raw) == b""
        with closing(server.tcp()) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        for reason, count in (("unknown_ca", 1), ("not_tls", 2), ("reset", 1)):
            server.counts_to(_failures(reason), count)
        assert everything(silent) == b""
    server.counts_to(_failures("timeout"), 1)
    assert server.counted(_failures("other")) == 0


# --- who may call


@dataclass(frozen=True)
class Caller:
    """A client certificate, as files."""

    certificate: Path
    key: Path

    def trusting(self, files: Certificates) -> ssl.SSLContext:
        context = files.trust
        context.load_cert_chain(self.certificate, self.key)
        return context


def _caller(
    ca: Pair, directory: Path, name: str, *names: x509.GeneralName, days: int = 1, usage: x509.ObjectIdentifier | None = None
) -> Caller:
    """A certificate of this CA; without `usage`, for a client. With the one for signing it is a CA itself."""
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    signer = serialization.load_pem_private_key(ca.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(now + timedelta(days=days))
    )
    if usage is SIGNING:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    else:
        usages = x509.ExtendedKeyUsage([usage or ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usages, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    stem = f"{name}-{x509.random_serial_number()}"
    caller = Caller(directory / f"{stem}.crt", directory / f"{stem}.key")
    pem = serialization.Encoding.PEM
    caller.certificate.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(pem))
    pkcs8 = serialization.PrivateFormat.PKCS8
    caller.key.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return caller


def _heard(server: Server, context: ssl.SSLContext | None) -> bytes:
    """What a caller hears who asks for a decision; in TLS 1.3 he may learn only then that he is not welcome."""
    try:
        with server.connect(context) as connection:
            connection.sendall(REQUEST.replace(b"Host", b"Connection: close\r\nHost"))
            return everything(connection)
    except (ConnectionError, ssl.SSLError):
        return b""


def test_only_those_who_are_named_are_heard(files: Certificates, tmp_path: Path) -> None:
    root, foreign = (issue_ca(name=name, now=datetime.now(UTC)) for name in ("callers", "others"))
    # one that is not signed by itself will do
    between = _caller(root, tmp_path, "between", usage=SIGNING)
    ca = Pair(between.certificate.read_bytes(), between.key.read_bytes())
    client_ca = tmp_path / "client-ca.crt"
    client_ca.write_bytes(ca.certificate)
    uri = "spiffe://cluster/api"
    welcome = {
        "its CN": _caller(ca, tmp_path, "kube-apiserver"),
        "a DNS name": _caller(ca, tmp_path, "x", x509.DNSName("api.example")),
        "a URI": _caller(ca, tmp_path, "x", x509.UniformResourceIdentifier(uri)),
    }
    unwelcome = {
        "subject": _caller(ca, tmp_path, "somebody", x509.DNSName("other.example")),
        "unknown_ca": _caller(foreign, tmp_path, "kube-apiserver"),
        "certificate_expired": _caller(ca, tmp_path, "kube-apiserver", days=-1),
        "bad_certificate": _caller(ca, tmp_path, "kube-apiserver", usage=ExtendedKeyUsageOID.SERVER_AUTH),
        "certificate_required": None,
    }
    subjects = f"kube-apiserver,api.example,{uri}"
    with serving(files, tmp_path, client_ca=client_ca, client_subjects=subjects) as server:
        for what, caller in welcome.items():
            assert _heard(server, caller.trusting(files)).startswith(ALLOWED), what
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for reason, stranger in unwelcome.items():
                context = stranger.trusting(files) if stranger else files.trust
                context.maximum_version = version
                before = server.counted(_failures(reason))
                assert _heard(server, context) == b"", reason
                server.counts_to(_failures(reason), before + 1)
        assert server.health("/readyz") == (200, "ok\n")


def test_nobody_outlives_his_certificate_by_resuming_a_session(files: Certificates, tmp_path: Path) -> None:
    ca = issue_ca(name="callers", now=datetime.now(UTC))
    client_ca = tmp_path / "client-ca.crt"
    client_ca.write_bytes(ca.certificate)
    context = _caller(ca, tmp_path, "kube-apiserver").trusting(files)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # which resumes by a session's id, without any ticket
    with (
        serving(files, tmp_path, client_ca=client_ca, client_subjects="kube-apiserver") as server,
        server.connect(context) as connection,
    ):
        connection.sendall(REQUEST)
        assert answer(connection).startswith(ALLOWED)
        session = connection.session
        assert session is not None
        with context.wrap_socket(server.tcp(), server_hostname="localhost", session=session) as resumed:
            assert resumed.session_reused
            assert everything(resumed) == b""
        server.counts_to(_failures("resumed"), 1)


def test_who_comes_from_a_ca_that_is_no_longer_trusted_is_cut_off(files: Certificates, tmp_path: Path) -> None:
    old, new = (issue_ca(name=name, now=datetime.now(UTC)) for name in ("old", "new"))
    client_ca = tmp_path / "client-ca.crt"
    client_ca.write_bytes(old.certificate)
    before, after = (_caller(ca, tmp_path, "kube-apiserver").trusting(files) for ca in (old, new))
    with (
        serving(files, tmp_path, client_ca=client_ca, client_subjects="kube-apiserver") as server,
        server.connect(before) as one,
        server.connect(before) as another,
    ):
        # a new CA beside the old one: nobody notices
        client_ca.write_bytes(old.certificate + new.certificate)
        eventually(lambda: _heard(server, after), RELOADED, "the new CA's callers are heard")
        time.sleep(0.6)
        one.sendall(REQUEST)
        assert answer(one).startswith(ALLOWED)
        another.sendall(REQUEST[:-1])
        # without the old one its callers are strangers: who is idle is closed, and what is in flight is the last
        client_ca.write_bytes(new.certificate)
        assert everything(one) == b""
        another.sendall(REQUEST[-1:])
        said = everything(another)
        assert said.startswith(ALLOWED)
        assert b"connection: close\r\n" in said
        assert _heard(server, before) == b""
        assert _heard(server, after).startswith(ALLOWED)


# --- certificates that change


@dataclass(frozen=True)
class Mounted:
    """A pair of files behind links, as Kubernetes mounts a Secret: one rename makes all of it new."""

    root: Path

    def swap(self, pair: Pair) -> None:
        directory = self.root / f"..{time.time_ns()}"
        directory.mkdir()
        (directory / "tls.crt").write_bytes(pair.certificate)
        (directory / "tls.key").write_bytes(pair.key)
        (self.root / "..new").symlink_to(directory.name)
        os.replace(self.root / "..new", self.root / "..data")
        for name in ("tls.crt", "tls.key"):
            if not (self.root / name).is_symlink():
                (self.root / name).symlink_to(f"..data/{name}")


def _serial(server: Server) -> int:
    with server.connect() as connection:
        der = connection.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der).serial_number


def _number(pair: Pair) -> int:
    return x509.load_pem_x509_certificate(pair.certificate).serial_number


def _reloads(result: str) -> str:
    return f'dpdk_webhook_certificate_reloads_total{{result="{result}"}}'


def test_a_new_pair_is_served_at_once_and_a_bad_one_never(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ca = issue_ca(name="a CA", now=now)
    first, second, third = (
        issue_leaf(ca, names=["127.0.0.1", "localhost"], now=now, valid=timedelta(days=days)) for days in (1, 2, 3)
    )
    mounted = Mounted(tmp_path / "secret")
    mounted.root.mkdir()
    mounted.swap(first)
    (tmp_path / "ca.crt").write_bytes(ca.certificate)
    files = Certificates(tmp_path / "ca.crt", mounted.root / "tls.crt", mounted.root / "tls.key")
    with serving(files, tmp_path) as server, server.connect() as kept:
        assert _serial(server) == _number(first)
        mounted.swap(second)
        eventually(lambda: _serial(server) == _number(second), RELOADED, "the new certificate is served")
        assert server.counted(_reloads("ok")) == 1
        expiry = server.counted("dpdk_webhook_certificate_expiry_timestamp_seconds")
        assert abs(expiry - (now + timedelta(days=2)).timestamp()) < 2
        kept.sendall(REQUEST)
        assert answer(kept).startswith(ALLOWED), "open connections live on"

        for result, bad in (
            ("mismatch", Pair(third.certificate, second.key)),
            ("mismatch", Pair(b"", third.key)),
        ):
            count = server.counted(_reloads(result))
            mounted.swap(bad)
            server.counts_to(_reloads(result), count + 1, RELOADED)
            assert _serial(server) == _number(second)
        (mounted.root / "..data").unlink()
        server.counts_to(_reloads("unreadable"), 1, RELOADED)
        time.sleep(1.5)
        assert [server.counted(_reloads(each)) for each in ("ok", "mismatch", "unreadable")] == [1, 2, 1], "each once"
        assert server.log.read_text().count("the certificates are not reloaded") == 3
        assert _serial(server) == _number(second)
        mounted.swap(third)
        eventually(lambda: _serial(server) == _number(third), RELOADED, "it is served once it is good")
        kept.sendall(REQUEST)
        assert answer(kept).startswith(ALLOWED)


def _certificates(files: Certificates, **more: Any) -> tls.Certificates:
    paths: dict[str, Any] = {"tls_cert": str(files.certificate), "tls_key": str(files.key)}
    return tls.Certificates(Settings(certificates="files", **paths, **more), Metrics())


def _served(files: Certificates, **more: Any) -> tls.Served:
    return _certificates(files, **more).served


def test_half_of_a_new_pair_is_waited_out(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ca = issue_ca(name="a CA", now=now)
    first, second = (issue_leaf(ca, names=["localhost"], now=now) for _ in range(2))
    files = Certificates(tmp_path / "ca", tmp_path / "crt", tmp_path / "key")
    files.certificate.write_bytes(first.certificate)
    files.key.write_bytes(first.key)
    certificates = _certificates(files)
    served = certificates.served
    files.certificate.write_bytes(second.certificate)
    certificates.look()
    files.key.write_bytes(second.key)
    assert certificates.served is served
    certificates.look()
    assert certificates.served is not served
    assert certificates._metrics._reloads == {"ok": 1, "unreadable": 0, "mismatch": 0}, "nobody is told of the half"


def test_what_can_not_be_served_says_why(files: Certificates, tmp_path: Path) -> None:
    other = issue_ca(name="another", now=datetime.now(UTC))
    certificate, key, encrypted, nothing, none = (tmp_path / name for name in ("c", "k", "e", "n", "x"))
    certificate.write_bytes(other.certificate)
    key.write_bytes(other.key)
    nothing.write_bytes(b"")
    private = serialization.load_pem_private_key(other.key, None)
    secret = serialization.BestAvailableEncryption(b"secret")
    encrypted.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    table = [
        (files.certificate, key, f"tls_cert {files.certificate} and tls_key {key} are not a pair: key values mismatch"),
        (certificate, nothing, f"tls_cert {certificate} and tls_key {nothing} are not a pair: no pem in one of them"),
        (nothing, key, f"tls_cert {nothing} and tls_key {key} are not a pair: no pem in one of them"),
        (none, key, f"tls_cert {none} can't be read: no such file or directory"),
        (certificate, none, f"tls_key {none} can't be read: no such file or directory"),
        (tmp_path, key, f"tls_cert {tmp_path} can't be read: is a directory"),
        (certificate, encrypted, "the private key is encrypted; give one without a passphrase"),
    ]
    for cert, private_key, problem in table:
        with pytest.raises(tls.Unusable) as caught:
            _served(Certificates(files.ca, cert, private_key))
        assert str(caught.value) == problem
    for path, problem in (
        (none, f"client_ca {none} can't be read: no such file or directory"),
        (nothing, f"client_ca {nothing} holds no certificate in PEM"),
        (key, f"client_ca {key} holds no certificate in PEM"),
    ):
        with pytest.raises(tls.Unusable) as caught:
            _served(files, client_ca=str(path), client_subjects=["a"])
        assert str(caught.value) == problem


@pytest.mark.timeout(20)
def test_what_is_loaded_is_what_was_read_as_each_file_is_read_once(tmp_path: Path) -> None:
    pair = _leaf(issue_ca(name="a CA", now=datetime.now(UTC)))
    files = Certificates(tmp_path / "ca", tmp_path / "crt", tmp_path / "key")
    for path, content in ((files.certificate, pair.certificate), (files.key, pair.key)):
        os.mkfifo(path)  # whoever opens it again waits for another writer, and there is none
        threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    assert _certificates(files).chain == pair.certificate


@pytest.mark.parametrize("has_memory", [True, False])
def test_a_pair_is_loaded_from_memory_or_where_there_is_none_from_files_that_do_not_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_memory: bool
) -> None:
    directory = tmp_path / "temporary"
    if has_memory:
        monkeypatch.setattr(tempfile, "tempdir", str(directory))  # where nothing can be written
    else:
        directory.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(directory))
        monkeypatch.delattr(os, "memfd_create")
    pair = _leaf(issue_ca(name="a CA", now=datetime.now(UTC)))
    certificates = tls.Certificates(Settings(), Metrics())
    opened = len(os.listdir("/proc/self/fd"))
    assert certificates.give(pair)
    assert not certificates.give(Pair(pair.certificate, b""))
    assert len(os.listdir("/proc/self/fd")) == opened
    assert has_memory or os.listdir(directory) == []


# --- a pair that is given


def _leaf(ca: Pair, *names: str, days: int = 1) -> Pair:
    return issue_leaf(ca, names=names or ["localhost"], now=datetime.now(UTC), valid=timedelta(days=days))


def _rsa_key() -> bytes:
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return rsa.generate_private_key(65537, 2048).private_bytes(pem, pkcs8, serialization.NoEncryption())


def _shown(certificates: tls.Certificates, ca: Pair) -> int:
    """The number of the certificate that a client who trusts this CA gets to see."""
    client = ssl.create_default_context(cadata=ca.certificate.decode())
    with concurrent.futures.ThreadPoolExecutor() as pool, closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def called() -> None:
            with listening.accept()[0] as raw, certificates.served.context.wrap_socket(raw, server_side=True) as served:
                served.recv(1)

        calling = pool.submit(called)
        try:
            with (
                socket.create_connection(listening.getsockname()) as raw,
                client.wrap_socket(raw, server_hostname="localhost") as seen,
            ):
                der = seen.getpeercert(binary_form=True)
        finally:
            calling.exception()
    assert der
    return x509.load_der_x509_certificate(der).serial_number


def _counted(metrics: Metrics) -> dict[str, float]:
    """Reloads by result, and the end of the certificate."""
    text = metrics.expose()[0].decode()
    found = re.findall(r'^dpdk_webhook_certificate_(?:reloads_total{result="(\w+)"}|(expiry)\S+) (\S+)$', text, re.MULTILINE)
    return {result or expiry: float(value) for result, expiry, value in found}


def test_nothing_is_served_until_a_pair_is_given() -> None:
    metrics = Metrics()
    certificates = tls.Certificates(Settings(), metrics)
    ca = issue_ca(name="a CA", now=datetime.now(UTC))
    for _ in range(2):
        assert (certificates.pair, certificates.chain) == (None, b"")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _shown(certificates, ca)
        certificates.look()
    assert _counted(metrics) == {"ok": 0, "unreadable": 0, "mismatch": 0}
    pair = _leaf(ca)
    assert certificates.give(pair)
    assert (certificates.pair, certificates.chain) == (pair, pair.certificate)
    assert _shown(certificates, ca) == _number(pair)


def test_a_pair_that_is_given_is_served_and_a_bad_one_never(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dpdk-webhook")
    metrics = Metrics()
    certificates = tls.Certificates(Settings(), metrics)
    ca = issue_ca(name="a CA", now=datetime.now(UTC))
    first, second = _leaf(ca, days=1), _leaf(ca, days=2)
    assert certificates.give(first)
    served = certificates.served
    assert certificates.give(first)
    assert certificates.served is served, "nothing is new"
    private = serialization.load_pem_private_key(second.key, None)
    secret = serialization.BestAvailableEncryption(b"secret")
    encrypted = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    bad = [
        ("mismatch", Pair(second.certificate, first.key), "the certificate and its key are not a pair: key values mismatch"),
        (
            "mismatch",
            Pair(second.certificate, _rsa_key()),
            "the certificate and its key are not a pair: no certificate assigned",
        ),
        ("mismatch", Pair(b"", second.key), "the certificate and its key are not a pair: no pem in one of them"),
        ("mismatch", Pair(second.certificate, b"\x00"), "the certificate and its key are not a pair: no pem in one of them"),
        ("unreadable", Pair(second.certificate, encrypted), "the private key is encrypted; give one without a passphrase"),
    ]
    for result, pair, problem in bad:
        before = _counted(metrics)
        caplog.clear()
        for _ in range(3):
            assert not certificates.give(pair)
        assert _counted(metrics) == before | {result: before[result] + 1}, "once"
        assert caplog.messages == [f"a new certificate is not served, what is served stays: {problem}"]
        assert certificates.served is served
        assert certificates.chain == first.certificate
    assert _shown(certificates, ca) == _number(first)
    caplog.clear()
    assert certificates.give(second)
    assert _shown(certificates, ca) == _number(second)
    ends = x509.load_pem_x509_certificate(second.certificate).not_valid_after_utc
    assert _counted(metrics) == {"ok": 2, "mismatch": 4, "unreadable": 1, "expiry": ends.timestamp()}
    assert caplog.messages == [f"the certificates are reloaded: the certificate ends on {ends}"]


def test_the_client_ca_changes_with_its_file_beside_a_pair_that_is_given(tmp_path: Path) -> None:
    old, new, ca = (issue_ca(name=name, now=datetime.now(UTC)) for name in ("old", "new", "a CA"))
    client_ca = tmp_path / "client-ca.crt"
    client_ca.write_bytes(old.certificate)
    certificates = tls.Certificates(Settings(client_ca=str(client_ca), client_subjects=("a",)), Metrics())
    for written, trusted in ((old, old), (new, new)):
        client_ca.write_bytes(written.certificate)
        certificates.look()
        pair = _leaf(ca)
        assert certificates.give(pair)
        certificates.look()
        assert certificates.chain == pair.certificate
        assert certificates.served.client_ca == (x509.load_pem_x509_certificate(trusted.certificate),)
        assert certificates.served.context.verify_mode is ssl.CERT_REQUIRED
    client_ca.write_bytes(b"")
    certificates.look()
    certificates.look()
    assert certificates.give(_leaf(ca)), "what is wrong with one keeps out no other"
    assert certificates.served.client_ca == (x509.load_pem_x509_certificate(new.certificate),)
