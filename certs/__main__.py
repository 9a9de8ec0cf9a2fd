"""`python -m certs issue`: a CA and a server certificate as files."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from certs.issue import CA_VALID, LEAF_VALID, Pair, issue_ca, issue_leaf

NAMES = ("localhost", "127.0.0.1", "::1")
CA_NAME = "dpdk-webhook CA"

PUBLIC, PRIVATE = 0o644, 0o600


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done, 2 refused with one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        lines = issue(arguments.dir, names=arguments.name or NAMES, ca_name=arguments.ca_name, now=datetime.now(UTC))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(*lines, sep="\n")
    return 0


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
    return parser


if __name__ == "__main__":
    sys.exit(main())
