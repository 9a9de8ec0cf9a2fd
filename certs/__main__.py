"""`python -m certs issue | rotate | check`: certificates as files, and those of an installation."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from certs.issue import CA_VALID, LEAF_VALID, Pair, issue_ca, issue_leaf
from webhook.settings import Settings, load

if TYPE_CHECKING:  # the Kubernetes client takes 35 MiB: only for those who ask an API server
    from certs.cluster import Cluster

NAMES = ("localhost", "127.0.0.1", "::1")
CA_NAME = "dpdk-webhook CA"

PUBLIC, PRIVATE = 0o644, 0o600
WELL, ILL, REFUSED = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done and well, 1 something needs a human, 2 refused with lines on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except (OSError, ValueError) as error:
        print(*(f"error: {line}" for line in str(error).splitlines()), sep="\n", file=sys.stderr)
        return REFUSED
    return code


def _issue(arguments: argparse.Namespace) -> int:
    lines = issue(arguments.dir, names=arguments.name or NAMES, ca_name=arguments.ca_name, now=datetime.now(UTC))
    print(*lines, sep="\n")
    return WELL


def _check(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    address = _address(arguments.connect) if arguments.connect else None
    if settings.certificates != "self" and not settings.tls_cert and not address:
        problem = f"certificates is {settings.certificates} and tls_cert is not set"
        raise ValueError(f"{problem}: there is nothing to compare the caBundles with; set it, or write --connect HOST:PORT")
    chain = Path(settings.tls_cert).read_bytes() if settings.tls_cert else b""
    with _asking(settings) as cluster:
        from certs.check import check

        lines = check(cluster, settings.certificates, chain=chain, address=address)
    for line in lines:
        print(f"{line.subject:<12}{line.text}{f' -> {line.remedy}' if line.remedy else ''}")
    return ILL if any(line.remedy for line in lines) else WELL


def _rotate(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    if settings.certificates != "self":
        raise ValueError(f"certificates is {settings.certificates}: whoever issues them renews them, not the webhook")
    with _asking(settings) as cluster:
        from certs.check import demand

        try:
            for line in demand(cluster, "leaf" if arguments.leaf else "ca", seconds=arguments.timeout):
                print(f"{datetime.now(UTC):%T} {line.subject:<11}{line.text}", flush=True)
        except TimeoutError as error:
            print(f"error: {error}", file=sys.stderr)
            return ILL
    return WELL


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {name: value for name in ("kubeconfig", "namespace") if (value := getattr(arguments, name))}
    return load(arguments.config).model_copy(update=given)


@contextmanager
def _asking(settings: Settings) -> "Iterator[Cluster]":
    """The API server; ValueError for all that may go wrong with it."""
    from certs.cluster import Clock, ClusterError, connect
    from webhook.trust import NoClusterError, names

    try:
        cluster = connect(names(settings), Clock(), kubeconfig=settings.kubeconfig)
    except NoClusterError as error:
        raise ValueError(f"{error} or --namespace NAME") from error
    except ClusterError as error:
        raise ValueError(f"{error}; write --kubeconfig FILE, which says how to reach the API server") from error
    try:
        yield cluster
    except ClusterError as error:
        raise ValueError(str(error)) from error
    finally:
        cluster.close()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"--connect {text} is no HOST:PORT")
    return host.strip("[]"), int(port)


def issue(directory: Path, *, names: Sequence[str], ca_name: str, now: datetime) -> list[str]:
    """Write a new CA and a leaf for `names` into `directory`, and return one line about each file.

    All four files are written or none. ValueError: one of them exists already, or certs.issue refuses the names.
    OSError: the directory can't be made or written to.
    """
    ca = issue_ca(name=ca_name, now=now)
    leaf = issue_leaf(ca, names=names, now=now)
    _write(
        directory,
        {
            "ca.crt": (ca.certificate, PUBLIC),
            "ca.key": (ca.key, PRIVATE),
            "tls.crt": (leaf.certificate, PUBLIC),
            "tls.key": (leaf.key, PRIVATE),
        },
    )
    return [
        f"{directory / 'ca.crt'}: CA certificate (the caBundle), expires {_expiry(ca)}",
        f"{directory / 'ca.key'}: private key of the CA, of use until {_expiry(ca)}",
        f"{directory / 'tls.crt'}: server certificate for {', '.join(names)}, expires {_expiry(leaf)}",
        f"{directory / 'tls.key'}: private key of the server, of use until {_expiry(leaf)}",
    ]


def _write(directory: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    existing = [name for name in files if os.path.lexists(directory / name)]
    if existing:
        raise ValueError(f"nothing written, since {directory} already holds {', '.join(existing)}")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as undo:
        for name, (content, mode) in files.items():
            # O_EXCL: another writer's file survives a race. The mode from the start: a chmod afterwards leaves a moment
            # in which others can open the key.
            descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            undo.callback(os.unlink, directory / name)
            with open(descriptor, "wb") as file:
                file.write(content)
        undo.pop_all()


def _expiry(pair: Pair) -> str:
    return f"{x509.load_pem_x509_certificate(pair.certificate).not_valid_after_utc:%Y-%m-%d}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m certs", description="Certificates of the webhook.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser(
        "issue",
        help="write a new CA and a server certificate into a directory",
        description=f"Write ca.crt and ca.key (a new CA, {CA_VALID.days} days) and tls.crt and tls.key (a server "
        f"certificate signed by it, {LEAF_VALID.days} days). Existing files are never overwritten.",
    )
    command.add_argument(
        "--dir", required=True, type=Path, metavar="DIR", help="where to write; made for its owner alone if missing"
    )
    command.add_argument(
        "--name",
        action="extend",
        nargs="+",
        metavar="NAME",
        help=f"DNS name (*.example.com too) or IP address of the server; repeatable (default: {', '.join(NAMES)})",
    )
    command.add_argument("--ca-name", default=CA_NAME, metavar="TEXT", help="name of the CA (default: %(default)s)")
    command.set_defaults(run=_issue)

    command = commands.add_parser(
        "check",
        help="say how the certificates of an installation stand",
        description="Print a line for each fact, with what to do where something is wrong. Exit status 1 when anything is, 2 "
        "when it can't be found out. In a pod of the webhook it needs no option.",
    )
    _add_connection(command)
    command.add_argument(
        "--connect", metavar="HOST:PORT", help="ask a running server what it serves; without, what it was given is looked at"
    )
    command.set_defaults(run=_check)

    command = commands.add_parser(
        "rotate",
        help="have the running replicas replace the CA and the server certificate now",
        description="Ask for a new CA and a server certificate from it, and tell how it goes. The replicas do it, without a "
        "failed call, and without this command too once it has asked. Exit status 1 when it takes longer than --timeout.",
    )
    _add_connection(command)
    command.add_argument("--leaf", action="store_true", help="replace the server certificate only")
    command.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="how long to look on (default: %(default)g)"
    )
    command.set_defaults(run=_rotate)
    return parser


def _add_connection(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, metavar="FILE", help="the server's settings as YAML; variables win over it")
    command.add_argument("--kubeconfig", metavar="FILE", help="how to reach the API server (without: as a pod does)")
    command.add_argument("--namespace", metavar="NAME", help="where the webhook is installed (without: that of the pod)")


if __name__ == "__main__":
    sys.exit(main())
