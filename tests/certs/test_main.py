"""The command as a user runs it: files, modes, words and exit codes."""

import os
import re
import resource
import ssl
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from certs.__main__ import issue, main

ROOT = Path(__file__).parents[2]
FILES = ["ca.crt", "ca.key", "tls.crt", "tls.key"]


def certs(*arguments: str | Path, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "certs", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, umask=umask, capture_output=True, text=True, check=False)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(path: Path) -> list[str]:
    leaf = x509.load_pem_x509_certificate(path.read_bytes())
    alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in alternatives]


def test_four_files_are_written_and_each_is_named_with_its_expiry(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    result = certs("issue", "--dir", tmp_path / "new" / "certs")
    after = datetime.now(UTC)

    assert (result.returncode, result.stderr) == (0, "")
    directory = tmp_path / "new" / "certs"
    assert sorted(path.name for path in directory.iterdir()) == FILES
    # The command may run over midnight.
    assert result.stdout in [
        f"{directory}/ca.crt: CA certificate (the caBundle), expires {now + timedelta(days=365):%Y-%m-%d}\n"
        f"{directory}/ca.key: private key of the CA, of use until {now + timedelta(days=365):%Y-%m-%d}\n"
        f"{directory}/tls.crt: server certificate for localhost, 127.0.0.1, ::1, "
        f"expires {now + timedelta(days=30):%Y-%m-%d}\n"
        f"{directory}/tls.key: private key of the server, of use until {now + timedelta(days=30):%Y-%m-%d}\n"
        for now in (before, after)
    ]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=["a lax umask", "the usual umask", "a strict umask"])
def test_keys_and_a_new_directory_are_for_the_owner_alone(tmp_path: Path, umask: int) -> None:
    directory = tmp_path / "certs"
    assert certs("issue", "--dir", directory, umask=umask).returncode == 0
    assert mode(directory) == 0o700
    assert {name: mode(directory / name) for name in FILES} == {
        "ca.crt": 0o644 & ~umask,
        "ca.key": 0o600,
        "tls.crt": 0o644 & ~umask,
        "tls.key": 0o600,
    }


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert certs("issue", "--dir", tmp_path).returncode == 0
    assert mode(tmp_path) == 0o755


def test_the_files_are_a_chain_that_a_server_can_load(tmp_path: Path) -> None:
    assert certs("issue", "--dir", tmp_path).returncode == 0
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "ca.crt", tmp_path / "ca.key")
    ca, leaf = (x509.load_pem_x509_certificate((tmp_path / name).read_bytes()) for name in ("ca.crt", "tls.crt"))
    leaf.verify_directly_issued_by(ca)
    assert ca.subject.rfc4514_string() == "CN=dpdk-webhook CA"
    assert names(tmp_path / "tls.crt") == ["localhost", "127.0.0.1", "::1"]


def test_own_names_replace_the_default_ones(tmp_path: Path) -> None:
    own = ["--name", "dpdk-webhook.ns.svc", "10.0.0.1", "--name", "*.example.com", "--ca-name", "my CA"]
    result = certs("issue", "--dir", tmp_path, *own)
    assert (result.returncode, result.stderr) == (0, "")
    assert names(tmp_path / "tls.crt") == ["dpdk-webhook.ns.svc", "10.0.0.1", "*.example.com"]
    assert "server certificate for dpdk-webhook.ns.svc, 10.0.0.1, *.example.com, expires" in result.stdout
    ca = x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
    assert ca.subject.rfc4514_string() == "CN=my CA"


@pytest.mark.parametrize("existing", [*([name] for name in FILES), FILES], ids=", ".join)
def test_existing_files_are_never_overwritten(tmp_path: Path, existing: list[str]) -> None:
    for name in existing:
        (tmp_path / name).write_text("precious")
    result = certs("issue", "--dir", tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: nothing written, since {tmp_path} already holds {', '.join(existing)}\n"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(existing, "precious")


def test_a_link_to_nowhere_counts_as_an_existing_file(tmp_path: Path) -> None:
    (tmp_path / "tls.key").symlink_to(tmp_path / "elsewhere")
    result = certs("issue", "--dir", tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: nothing written, since {tmp_path} already holds tls.key\n"
    assert [path.name for path in tmp_path.iterdir()] == ["tls.key"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--name", "localhost", "no_host"], "'no_host' is neither a DNS name nor an IP address"),
        (["--name", ""], "'' is neither a DNS name nor an IP address"),
        (["--ca-name", ""], "a CA's name has 1 to 64 bytes (X.509), '' has 0"),
    ],
    ids=["a bad name", "an empty name", "an empty CA name"],
)
def test_what_cannot_be_issued_is_refused_before_anything_is_made(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    result = certs("issue", "--dir", tmp_path / "certs", *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"error: {sentence}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "certs").write_text("precious")
    result = certs("issue", "--dir", tmp_path / "certs")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: [Errno 17] File exists: '{tmp_path / 'certs'}'\n"
    assert (tmp_path / "certs").read_text() == "precious"


def test_a_write_that_fails_midway_leaves_no_file_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many_names = [f"host-{number}.example.com" for number in range(100)]
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, unlimited[1]))  # bytes a file: the CA fits, the leaf doesn't
    try:
        code = main(["issue", "--dir", str(tmp_path), "--name", *many_names])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    output = capsys.readouterr()
    assert (code, output.out, output.err) == (2, "", "error: [Errno 27] File too large\n")
    assert list(tmp_path.iterdir()) == []


def test_of_several_writers_at_once_one_wins_and_its_files_fit_together(tmp_path: Path) -> None:
    writers = 8

    def write(directory: Path) -> bool:
        start.wait()
        try:
            issue(directory, names=["localhost"], ca_name="a CA", now=datetime.now(UTC))
        except (FileExistsError, ValueError):
            return False
        return True

    with ThreadPoolExecutor(writers) as pool:
        for attempt in range(20):
            directory = tmp_path / str(attempt)
            start = threading.Barrier(writers)
            assert sum(pool.map(write, [directory] * writers)) == 1
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(directory / "tls.crt", directory / "tls.key")


@pytest.mark.parametrize("arguments", [[], ["issue"], ["renew"]], ids=["no command", "no directory", "an unknown one"])
def test_an_incomplete_command_shows_the_usage(arguments: list[str]) -> None:
    result = certs(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: python -m certs")


def test_help_tells_what_is_written_and_for_how_long() -> None:
    text = re.sub(r"\s+", " ", certs("issue", "--help").stdout)
    assert "a new CA, 365 days" in text
    assert "30 days" in text
    assert "(default: localhost, 127.0.0.1, ::1)" in text
    assert "(default: dpdk-webhook CA)" in text


# --- what asks an API server


def test_it_starts_within_a_second() -> None:
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    # of a CPU, since others may be busy on this machine
    before = spent()
    assert certs("check", "--namespace", "somewhere", "--kubeconfig", "/Nowhere").returncode == 2
    assert spent() - before < 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["certs", "--help"],
        ["certs", "issue", "--dir", "DIR"],
        ["webhook", "--help"],
        ["webhook", "check", "-f", "POD"],
        ["webhook", "mutate", "-f", "POD"],
        ["webhook", "explain"],
    ],
    ids=" ".join,
)
def test_only_who_asks_an_api_server_pays_for_its_client(tmp_path: Path, arguments: list[str]) -> None:
    """The client takes 35 MiB and a third of a second."""
    pod = tmp_path / "pod.yaml"
    pod.write_text("kind: Pod\nspec: {containers: [{name: app}]}\n")
    package, *rest = [{"DIR": str(tmp_path / "new"), "POD": str(pod)}.get(argument, argument) for argument in arguments]
    program = f"""
import runpy, sys
sys.argv = {[package, *rest]!r}
try:
    runpy.run_module({package!r}, run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
print([name for name in sys.modules if name.partition(".")[0] == "kubernetes"], file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "[]\n")


@pytest.mark.parametrize(
    ("arguments", "settings", "lines"),
    [
        (
            [],
            {},
            ["namespace is not set, and this is no pod that has one; write DPDK_WEBHOOK_NAMESPACE or --namespace NAME"],
        ),
        (
            ["--namespace", "somewhere"],
            {},
            [
                "this is no pod with a service account's token: Service host/port is not set; "
                "write --kubeconfig FILE, which says how to reach the API server"
            ],
        ),
        (
            ["--namespace", "somewhere", "--kubeconfig", "/Nowhere"],
            {},
            [
                "kubeconfig /Nowhere: Invalid kube-config file. No configuration found; "
                "write --kubeconfig FILE, which says how to reach the API server"
            ],
        ),
        (["--connect", "8443"], {}, ["--connect 8443 is no HOST:PORT"]),
        (["--connect", "[::1]:0"], {}, ["--connect [::1]:0 is no HOST:PORT"]),
        (["--connect", "host:65536"], {}, ["--connect host:65536 is no HOST:PORT"]),
        (
            [],
            {"certificates": "files", "tls_cert": "/Nowhere", "tls_key": "x"},
            ["[Errno 2] No such file or directory: '/Nowhere'"],
        ),
        (
            [],
            {"namespace": "A", "service": "B"},
            [
                f"{name} (DPDK_WEBHOOK_{name.upper()}): '{value}' is not a DNS label; write up to 63 of a-z, 0-9 and -, "
                "none of these - at an end"
                for name, value in (("service", "B"), ("namespace", "A"))
            ],
        ),
    ],
    ids=[
        "no namespace",
        "no pod",
        "no kubeconfig",
        "no host",
        "no port",
        "no such port",
        "no file",
        "settings that can't be used",
    ],
)
def test_what_cannot_be_found_out_says_what_to_write(arguments: list[str], settings: dict[str, str], lines: list[str]) -> None:
    given = {f"DPDK_WEBHOOK_{name.upper()}": value for name, value in settings.items()}
    hidden = ("DPDK_WEBHOOK_", "KUBERNETES_SERVICE_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)} | given
    command = [sys.executable, "-m", "certs", "check", *arguments]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [f"error: {line}" for line in lines]
