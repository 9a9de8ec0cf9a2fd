"""TLS: the certificate that is served, who may call, and both anew when there are others; whether a client would trust it."""

import logging
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from tempfile import NamedTemporaryFile
from typing import IO, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from certs.issue import Pair
from certs.pem import client
from webhook.metrics import Metrics
from webhook.settings import Settings

_log = logging.getLogger("dpdk-webhook")


class Unusable(Exception):
    """Such files, or such a pair, can't be served; one line says why. `result` is how metrics count it."""

    def __init__(self, result: str, problem: str) -> None:
        super().__init__(problem)
        self.result = result


@dataclass(frozen=True, slots=True)
class Files:
    """What was read, or given. The paths stay the same, and so does what they hold until somebody writes there."""

    pair: Pair | None  # None: the webhook issues its own, and has not done so yet
    client_ca: bytes


@dataclass(frozen=True, slots=True)
class Served:
    """What a new connection gets, and who may have one."""

    context: ssl.SSLContext
    subjects: frozenset[str]
    client_ca: tuple[x509.Certificate, ...] = ()

    def admits(self, peer: dict[str, object] | None) -> bool:
        """Whether this caller, as ssl.getpeercert has him, is one of `subjects`. OpenSSL has verified him against the CA."""
        return not self.client_ca or not self.subjects.isdisjoint(_names(peer or {}))

    def still_admits(self, certificate: bytes | None) -> bool:
        """Whether a caller whom an earlier CA admitted (his certificate in DER) comes from one of the CAs of now.

        Only a signature by the CA itself is looked for: whoever has an intermediate one between them connects again.
        """
        if not self.client_ca:
            return True
        leaf = x509.load_der_x509_certificate(certificate or b"")
        return any(_is_issued(leaf, ca) for ca in self.client_ca)


def _names(peer: dict[str, object]) -> set[str]:
    """The CN, and what an alternative name that a caller can have says: DNS names and URIs."""
    subject: tuple[tuple[tuple[str, str], ...], ...] = peer.get("subject", ())  # type: ignore[assignment]
    alternatives: tuple[tuple[str, str], ...] = peer.get("subjectAltName", ())  # type: ignore[assignment]
    return {value for part in subject for name, value in part if name == "commonName"} | {
        value for kind, value in alternatives if kind in ("DNS", "URI")
    }


def _is_issued(leaf: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


class Certificates:
    """A certificate with its key, and the client CA. Raises Unusable when what settings name can't be served from the start.

    The pair stands in the files of settings; where the webhook issues its own, it is given. Until then `served` has none, and
    every handshake fails.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._is_own = settings.certificates == "self"
        self._name = "the certificate" if self._is_own else f"tls_cert {settings.tls_cert}"
        self._both = "the certificate and its key" if self._is_own else f"{self._name} and tls_key {settings.tls_key}"
        self._files = Files(None, b"")
        self._files = self._read()
        self._refused: Files | str | None = None  # seen at the last look, and not served
        self._told: Files | str | None = None  # and said so
        self._unfit: Pair | None = None  # given last, not served, and said so
        self.served: Served = self._load(self._files)
        self._tell_expiry()

    @property
    def pair(self) -> Pair | None:
        """What is served; None while nothing is."""
        return self._files.pair

    @property
    def chain(self) -> bytes:
        """Its certificates in PEM, the leaf first; empty while nothing is served."""
        return self.pair.certificate if self.pair else b""

    def give(self, pair: Pair) -> bool:
        """Serve this pair to those who connect from now on; keep what is served, and return False, when it can't be."""
        if pair == self._files.pair:
            self._unfit = None
            return True
        files = replace(self._files, pair=pair)
        try:
            served = self._load(files)
        except Unusable as error:
            if pair != self._unfit:
                self._metrics.certificate_reloaded(error.result)
                _log.error("a new certificate is not served, what is served stays: %s", error)
            self._unfit = pair
            return False
        self._unfit = None
        self._serve(files, served)
        return True

    def look(self) -> None:
        """Serve what the files hold now, to those who connect from now on; keep what is served when it can't be."""
        found: Files | str
        try:
            found = self._read()
            if found == self._files or found == self._told:
                self._refused = None
                return
            served = self._load(found)
        except Unusable as error:
            if error.result == "unreadable":
                found = str(error)
            # twice the same: by then nobody is writing, or halfway between two links, any more
            if found == self._refused and found != self._told:
                self._told = found
                self._metrics.certificate_reloaded(error.result)
                _log.error("the certificates are not reloaded, those of before are served: %s", error)
            self._refused = found
            return
        self._refused = self._told = None
        self._serve(found, served)

    def _serve(self, files: Files, served: Served) -> None:
        self._files, self.served = files, served
        self._metrics.certificate_reloaded("ok")
        self._tell_expiry()
        _log.info("the certificates are reloaded: %s ends on %s", self._name, self._ends() or "an unknown day")

    def _read(self) -> Files:
        settings, pair = self._settings, self._files.pair
        if not self._is_own:
            pair = Pair(_read("tls_cert", settings.tls_cert), _read("tls_key", settings.tls_key))
        return Files(pair, _read("client_ca", settings.client_ca) if settings.client_ca else b"")

    def _load(self, files: Files) -> Served:
        settings = self._settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[settings.tls_min_version]
        # HTTP/2 is used as soon as it is offered, and the API server spreads no load over it
        context.set_alpn_protocols(["http/1.1"])
        # a client could ask for one key exchange after the other
        context.options |= ssl.OP_NO_RENEGOTIATION
        # the API server never resumes a session, so that a ticket is work for nothing; and a caller who resumes one shows no
        # certificate, which would outlive its end by that
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        if files.pair is not None:
            _load_pair(context, files.pair, self._both)
        callers = self._client_ca(context, files.client_ca) if settings.client_ca else ()
        return Served(context, frozenset(settings.client_subjects), callers)

    def _client_ca(self, context: ssl.SSLContext, pem: bytes) -> tuple[x509.Certificate, ...]:
        try:
            context.load_verify_locations(cadata=pem.decode("ascii", "replace"))
            callers = tuple(x509.load_pem_x509_certificates(pem))
        except (ssl.SSLError, ValueError) as error:
            raise Unusable("unreadable", f"client_ca {self._settings.client_ca} holds no certificate in PEM") from error
        context.verify_mode = ssl.CERT_REQUIRED
        # an intermediate CA may stand there alone, as in Go
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return callers

    def _tell_expiry(self) -> None:
        ends = self._ends()
        if ends is not None:
            self._metrics.set_certificate_expiry(ends.timestamp())
            if ends < datetime.now(UTC):
                _log.warning("%s ended on %s: nobody will trust it", self._name, ends)

    def _ends(self) -> datetime | None:
        try:
            return x509.load_pem_x509_certificates(self.chain)[0].not_valid_after_utc
        except ValueError:  # stricter than OpenSSL, which serves it
            return None


_LARGEST: Final = 1024 * 1024  # bytes of a file; a bundle of a hundred CAs has a fifth of it
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def _read(setting: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise Unusable("unreadable", f"{setting} {path} can't be read: {(error.strerror or str(error)).lower()}") from error


def _load_pair(context: ssl.SSLContext, pair: Pair, both: str) -> None:
    try:
        with _file(pair.certificate) as certificate, _file(pair.key) as key:
            # without a function OpenSSL would ask a terminal for the passphrase, and wait
            context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError as error:
        problem = (error.reason or "no PEM in one of them").replace("_", " ").lower()
        raise Unusable("mismatch", f"{both} are not a pair: {problem}") from error
    except OSError as error:
        raise Unusable("unreadable", f"{both} can't be loaded: {(error.strerror or str(error)).lower()}") from error


def _no_passphrase() -> str:
    raise Unusable("unreadable", "the private key is encrypted; give one without a passphrase")


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """The path of a file that holds this. OpenSSL reads a pair from files only, and those of settings may change meanwhile."""
    with _scratch() as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.name}" if isinstance(file.name, int) else file.name


def _scratch() -> IO[bytes]:
    try:
        return open(os.memfd_create("pem"), "wb")  # never on a disk, and a read-only one will do
    except (AttributeError, OSError):  # not Linux, or one that allows none (vm.memfd_noexec)
        return NamedTemporaryFile()


def trusts(bundle: bytes, chain: bytes, key: bytes, name: str) -> str:
    """Why a client that trusts the CAs in `bundle` and no others refuses a server of this name with this pair; "": it accepts.

    All in PEM, and one line. Both shake hands, as kube-apiserver would with us.
    """
    try:
        trusting, server = client(bundle), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    except ValueError as error:
        return str(error)
    try:
        _load_pair(server, Pair(chain, key), "the certificate and its key")
        _shake_hands(trusting, server, name)
    except Unusable as error:
        return str(error)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message.rstrip(".")
    except ssl.SSLError as error:
        return (error.reason or str(error)).replace("_", " ").lower()
    except (TypeError, ValueError) as error:
        return f"{name!r} is no DNS name: {error}"
    return ""


def _shake_hands(trusting: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Return once the client is content."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    calling = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    called = server.wrap_bio(to_server, to_client, server_side=True)
    while True:
        for side in (calling, called):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            if side is calling:
                return
