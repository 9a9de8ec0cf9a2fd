"""`make cluster`: it starts, says how to use it, and ends with Ctrl-C without leaving anything."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_cluster_to_try_things_by_hand(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith("Ctrl-C"):
            break
    export, command = (next(line for line in lines if word in line) for word in ("export", "kubectl"))
    environment = os.environ | {"KUBECONFIG": export.partition("=")[2], "KUBECACHEDIR": str(tmp_path / "kubectl")}
    shown = subprocess.run(command.split(), cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest, errors) == (0, "\nended\n", "")
    assert "IPC_LOCK" in shown.stdout, shown.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["kubectl"]
