"""The cluster's own certificates: a CA that signs for the API server and for its clients."""

import base64
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class KeyPair(NamedTuple):
    certificate: Path
    key: Path


class Authority:
    """A CA whose files live in one directory, good for a day."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("cluster CA")
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = _builder(self._name, self._key.public_key()).add_extension(constraints, critical=True)
        certificate = builder.issuer_name(self._name).sign(self._key, hashes.SHA256())
        self.certificate = directory / "ca.crt"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str, *, dns: str, address: str) -> KeyPair:
        """Issue for a server that is reached by one DNS name and one IP address."""
        names = x509.SubjectAlternativeName([x509.DNSName(dns), x509.IPAddress(ip_address(address))])
        return self._issue(name, _name(name), ExtendedKeyUsageOID.SERVER_AUTH, names)

    def client(self, user: str, *, group: str) -> KeyPair:
        """Issue for a user: Kubernetes takes the common name as the user and the organization as the group."""
        return self._issue(user, _name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self, stem: str, subject: x509.Name, usage: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, key.public_key()).issuer_name(self._name)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        certificate = self._directory / f"{stem}.crt"
        certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return KeyPair(certificate, _write_key(self._directory / f"{stem}.key", key))


class Keys(NamedTuple):
    """What the API servers of one cluster, and those who speak with them, have in common."""

    authority: Path  # the certificate of the CA
    serving: KeyPair
    admin: KeyPair
    accounts: Path  # signs the tokens of ServiceAccounts

    @classmethod
    def made(cls, directory: Path) -> Self:
        authority = Authority(directory)
        return cls(
            authority.certificate,
            authority.server("kube-apiserver", dns="localhost", address="127.0.0.1"),
            authority.client("admin", group="system:masters"),
            _write_key(directory / "accounts.key", ec.generate_private_key(ec.SECP256R1())),
        )

    def kubeconfig(self, url: str) -> dict[str, Any]:
        """The administrator's, for the API server at this URL."""

        def data(path: Path) -> str:
            return base64.b64encode(path.read_bytes()).decode()

        user = {"client-certificate-data": data(self.admin.certificate), "client-key-data": data(self.admin.key)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": data(self.authority)}}],
            "users": [{"name": "admin", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    """Write a key in the form (SEC 1) from which the API server also takes the public half for its service accounts."""
    sec1 = serialization.PrivateFormat.TraditionalOpenSSL
    pem = key.private_bytes(serialization.Encoding.PEM, sec1, serialization.NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(pem)
    return path


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _builder(subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )
