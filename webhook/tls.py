"""TLS: the certificate that is served, who may call, and both anew when their files change."""

import logging
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from webhook.metrics import Metrics
from webhook.settings import Settings

_log = logging.getLogger("dpdk-webhook")


class Unusable(Exception):
    """The files can't be served; one line says why. `result` is how metrics count it."""

    def __init__(self, result: str, problem: str) -> None:
        super().__init__(problem)
        self.result = result


@dataclass(frozen=True, slots=True)
class Files:
    """What was read. The paths stay the same, and so does what they hold until somebody writes there."""

    certificate: bytes
    key: bytes = field(repr=False)
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
    """The certificate and key of settings, and the client CA. Raises Unusable when they can't be served from the start."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._files = self._read()
        self._refused: Files | str | None = None  # seen at the last look, and not served
        self._told: Files | str | None = None  # and said so
        self.served: Served = self._load(self._files)
        self._tell_expiry()

    def look(self) -> None:
        """Serve what the files hold now, to those who connect from now on; keep what is served when it can't be."""
        found: Files | str
        try:
            found = self._read()
            if found == self._files or found == self._told:
                self._refused = None
                return
            self.served = self._load(found)
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
        self._files, self._refused, self._told = found, None, None
        self._metrics.certificate_reloaded("ok")
        self._tell_expiry()
        _log.info("the certificates are reloaded: tls_cert ends on %s", self._ends() or "an unknown day")

    def _read(self) -> Files:
        settings, found = self._settings, []
        for setting in ("tls_cert", "tls_key", "client_ca"):
            path = getattr(settings, setting)
            try:
                with open(path or "/dev/null", "rb") as file:
                    found.append(file.read(_LARGEST))
            except OSError as error:
                problem = (error.strerror or str(error)).lower()
                raise Unusable("unreadable", f"{setting} {path} can't be read: {problem}") from error
        return Files(*found)

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
        pair = f"tls_cert {settings.tls_cert} and tls_key {settings.tls_key}"
        try:
            # without a function OpenSSL would ask a terminal for the passphrase, and wait
            context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_passphrase)
        except ssl.SSLError as error:
            problem = (error.reason or "no PEM in one of them").replace("_", " ").lower()
            raise Unusable("mismatch", f"{pair} are not a pair: {problem}") from error
        except OSError as error:
            raise Unusable("unreadable", f"{pair} can't be read: {(error.strerror or str(error)).lower()}") from error
        callers = self._client_ca(context, files.client_ca) if settings.client_ca else ()
        # OpenSSL reads a pair from its files only: what it has read must be what we have
        if self._read() != files:
            raise Unusable("mismatch", f"{pair} are being written")
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
                _log.warning("tls_cert %s ended on %s: nobody will trust it", self._settings.tls_cert, ends)

    def _ends(self) -> datetime | None:
        try:
            return x509.load_pem_x509_certificates(self._files.certificate)[0].not_valid_after_utc
        except ValueError:  # stricter than OpenSSL, which serves it
            return None


_LARGEST: Final = 1024 * 1024  # bytes of a file; a bundle of a hundred CAs has a fifth of it
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def _no_passphrase() -> str:
    raise Unusable("unreadable", "tls_key is encrypted; give a key without a passphrase")
