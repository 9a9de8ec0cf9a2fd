"""Certificates in PEM, as Go's AppendCertsFromPEM and with it kube-apiserver reads them, and clients that trust them."""

import base64
import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

# at the beginning of a line, without headers, whatever stands around them
_BLOCK: Final = re.compile(
    rb"^-----BEGIN CERTIFICATE-----[ \t]*\r?\n([A-Za-z0-9+/= \t\r\n]*)(?<=\n)-----END CERTIFICATE-----[ \t]*(?=\r?\n|\Z)",
    re.MULTILINE,
)


def certificates(pem: bytes) -> list[x509.Certificate]:
    """Every certificate in there; what else is there, and what nobody can read, is passed over."""
    found = []
    for block in _BLOCK.findall(pem):
        text = block.translate(None, b" \t\r\n")
        if len(text) % 4 or text.endswith(b"==="):  # Python lets too many of them pass
            continue
        with suppress(ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
            certificate = x509.load_der_x509_certificate(base64.b64decode(text, validate=True))  # and nothing behind it
            # these are read only when they are asked for, and would be an error elsewhere
            certificate.public_key(), certificate.subject, certificate.issuer
            found.append(certificate)
    return found


def pem_of(found: Sequence[x509.Certificate]) -> bytes:
    """As a PEM file."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in found)


def fingerprint(pem: bytes) -> str:
    """16 hexadecimal digits of the SHA-256 of the first certificate; "" when there is none."""
    found = certificates(pem)
    return found[0].fingerprint(hashes.SHA256()).hex()[:16] if found else ""


def client(bundle: bytes) -> ssl.SSLContext:
    """For a client that trusts what stands in a caBundle and nothing else; ValueError when it holds no certificate.

    As Go does, it trusts whatever stands there, even an intermediate CA or the leaf, and a CN is no name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    found = certificates(bundle)
    if not found:
        raise ValueError("it holds no certificate" if bundle else "it is empty")
    context.load_verify_locations(cadata=b"".join(each.public_bytes(serialization.Encoding.DER) for each in found))
    return context
