"""`make run` as whoever clones this meets it: a process of its own, on a free port."""

import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from scripts import run, throwaway

ROOT = Path(__file__).parent.parent


def _environment(port: object, **more: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DPDK_WEBHOOK_")}
    return inherited | {"PORT": str(port)} | more


@contextmanager
def _run(port: int, **more: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The running script and what it printed until it only waits for Ctrl-C."""
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.run"],
        cwd=ROOT,
        env=_environment(port, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if line.startswith("end it"):
                    break
            yield process, lines
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


def _refused(port: object, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.run"]
    return subprocess.run(
        command, cwd=ROOT, env=_environment(port, **more), capture_output=True, text=True, timeout=30, check=False
    )


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_pod_is_shown_before_and_after_with_a_reason_behind_each_line() -> None:
    [port] = throwaway.free_ports(1)
    with _run(port) as (_, lines):
        url = f"https://127.0.0.1:{port}/mutate"
        assert lines[0] == f"POST {url} an AdmissionReview of testpmd.yaml, as kube-apiserver sends it"
        assert lines[1] == "allowed, with a patch of 9 operations; applied to the pod:"
        assert "-          cpu: 1500m" in lines
        assert "+          cpu: '2'  # resources: a polling core cannot be shared; rounded up to whole CPUs" in lines
        assert "+            - IPC_LOCK  # ipc_lock: pages are locked so that devices can reach them" in lines
        assert " kind: Pod" in lines
        assert not any("\x1b" in line for line in lines)


def test_the_printed_page_and_the_printed_command_work_as_they_are_printed() -> None:
    [port] = throwaway.free_ports(1)
    with _run(port) as (_, lines):
        page = next(line.split()[-1] for line in lines if line.startswith("page"))
        curl = next(line.removeprefix("try it").split() for line in lines if line.startswith("try it"))
        trust = ssl.create_default_context(cafile=curl[2])
        answer = httpx.get(page, verify=trust, trust_env=False)
        assert answer.status_code == 200
        assert "What would become of this pod?" in answer.text
        dry_run = subprocess.run(curl, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
        assert '"allowed":true' in dry_run.stdout


def _directory(lines: list[str]) -> Path:
    """Where the throwaway certificates are, from the curl line."""
    [found] = re.findall(r"--cacert (\S+)/ca\.crt", "\n".join(lines))
    return Path(found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing_behind(number: signal.Signals) -> None:
    [port] = throwaway.free_ports(1)
    with _run(port) as (process, lines):
        children = _children(process.pid)
        directory = _directory(lines)
        assert [path.name for path in sorted(directory.iterdir())] == ["ca.crt", "tls.crt", "tls.key"]
        assert (directory / "tls.key").stat().st_mode & 0o777 == 0o600
        assert directory.parent == Path(tempfile.gettempdir())
        assert len(children) == 1
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in stderr
    assert not directory.exists()
    assert not Path(f"/proc/{children[0]}").exists()
    with closing(throwaway.listener(port)):
        pass


def test_further_signals_do_not_cut_the_end_short() -> None:
    [port] = throwaway.free_ports(1)
    with _run(port) as (process, lines):
        directory = _directory(lines)
        child = _children(process.pid)[0]
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.005)
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in stderr, directory.exists()) == (0, False, False)
    assert not Path(f"/proc/{child}").exists()


def test_a_taken_port_is_one_line() -> None:
    with closing(throwaway.listener()) as taken:
        port = taken.getsockname()[1]
        result = _refused(port)
    expected = f"make run: port {port} can't be used: address already in use; choose another: PORT=9443 make run\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", expected)


@pytest.mark.parametrize("port", ["", "https", "0", "65536", "-1", "8443x", "1e4", "٨٤٤٣", "9" * 5000])
def test_what_is_no_port_number_is_one_line(port: str) -> None:
    result = _refused(port)
    expected = f"make run: PORT={port} is not a port number (1 to 65535); choose one: PORT=9443 make run\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", expected)


def test_another_port_than_the_taken_one_is_named() -> None:
    with closing(throwaway.listener(9443)):
        result = _refused(9443)
    assert result.stderr == "make run: port 9443 can't be used: address already in use; choose another: PORT=9444 make run\n"


def test_settings_from_the_environment_hold_and_wrong_ones_are_one_line() -> None:
    [port] = throwaway.free_ports(1)
    with _run(port, DPDK_WEBHOOK_CPU_STEP="4") as (_, lines):
        why = "a polling core cannot be shared; rounded up to whole CPUs, in steps of 4"
        assert f"+          cpu: '4'  # resources: {why}" in lines
    wrong = _refused(port, DPDK_WEBHOOK_CPU_STEPS="4")
    expected = "make run: DPDK_WEBHOOK_CPU_STEPS: there is no such setting; did you mean DPDK_WEBHOOK_CPU_STEP?\n"
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", expected)


def test_a_refusal_is_shown_with_its_reasons() -> None:
    [port] = throwaway.free_ports(1)
    with _run(port, DPDK_WEBHOOK_MAX_CPU="1") as (_, lines):
        assert lines[1:4] == [
            "refused:",
            "this pod can't run DPDK as it is (1 reason):",
            "resources: too many CPUs (container testpmd, spec.containers[0].resources.limits.cpu): "
            "2 is above this site's max_cpu 1; write fewer",
        ]


def test_a_server_that_dies_ends_it_with_a_line() -> None:
    [port] = throwaway.free_ports(1)
    with _run(port) as (process, _):
        os.kill(_children(process.pid)[0], signal.SIGKILL)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert stderr.splitlines()[-1] == "make run: the server ended with status -9"


def test_a_server_that_never_gets_ready_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log"
    trust = throwaway.issue(tmp_path).trust
    failing = ["webhook", "serve", "--config", str(tmp_path / "none.yaml")]
    with (
        log.open("wb") as file,
        pytest.raises(throwaway.StartError, match=r"^the server ended with status 2 before it was ready$"),
        throwaway.running(failing, os.environ, "https://127.0.0.1:1/readyz", trust, file),
    ):
        pass
    assert log.read_text() == f"dpdk-webhook: settings: {tmp_path}/none.yaml: No such file or directory\n"


def test_only_a_terminal_is_given_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [" same", "+new", "-old", ""]
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run._coloured(lines) == [" same", "\x1b[32m+new\x1b[0m", "\x1b[31m-old\x1b[0m", ""]
    monkeypatch.setenv("NO_COLOR", "1")
    assert run._coloured(lines) == lines


def test_ctrl_c_on_make_run_ends_it_without_a_complaint() -> None:
    """Ctrl-C reaches make and all that it runs; a shell in between would die of it and be reported."""
    [port] = throwaway.free_ports(1)
    command = ["make", "-o", ".venv/ready", f"PORT={port}", "run"]  # -o: the environment is the one that we run in
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as make:
        assert make.stdout is not None
        printed = next((line for line in make.stdout if line.startswith("end it")), None)
        os.killpg(make.pid, signal.SIGINT)
        rest, complaints = make.communicate(timeout=30)
    assert printed == "end it   Ctrl-C\n"
    assert rest == ""
    assert "***" not in complaints
    assert "Traceback" not in complaints
