"""Run a mounted image as Kubernetes would with the manifests' security context: by an OCI runtime, on a root that is read-only.

No capabilities, no new privileges, the seccomp profile that container engines have by default, nothing mounted that can be
written to. Its network is the machine's, so that it can be met on loopback.
"""

import json
import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

PROFILE = Path("/usr/share/containers/seccomp.json")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
# Kubernetes mounts no more of what could be written to than /dev/shm, and the server needs not even that.
MOUNTS: list[dict[str, Any]] = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "ro"]},
]


@dataclass(frozen=True)
class Container:
    root: Path  # the mounted image
    config: dict[str, Any]  # of the image
    directory: Path  # for what the runtime wants
    user: tuple[int, int] = (65532, 65532)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def run(
        self, arguments: Sequence[str], entrypoint: Sequence[str] = (), given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; without `entrypoint` the image's own."""
        command = self._command(arguments, entrypoint)
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)

    @contextmanager
    def running(self, arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """It runs beside the block; the runtime passes signals on."""
        with log.open("wb") as file, subprocess.Popen(self._command(arguments), stdout=file, stderr=file) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.terminate()

    def _command(self, arguments: Sequence[str], entrypoint: Sequence[str] = ()) -> list[str]:
        name = f"image-{uuid4().hex[:12]}"
        bundle = self.directory / name
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(self._bundle([*(entrypoint or self.config["Entrypoint"]), *arguments])))
        return ["runc", "--root", str(self.directory / "runc"), "run", "--bundle", str(bundle), name]

    def _bundle(self, arguments: list[str]) -> dict[str, Any]:
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.root), "readonly": True},
            "mounts": [*MOUNTS, *self.mounts],
            "process": {
                "user": {"uid": self.user[0], "gid": self.user[1]},
                "args": arguments,
                "env": [*self.config["Env"], *(f"{key}={value}" for key, value in self.environment.items())],
                "cwd": self.config.get("WorkingDir") or "/",
                "capabilities": {kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")},
                "noNewPrivileges": True,
            },
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")], "seccomp": seccomp()},
        }


def seccomp() -> dict[str, Any]:
    """The engines' default profile for a process without capabilities, in the runtime's own form."""
    profile = json.loads(PROFILE.read_text())
    calls = [
        {key: call[key] for key in ("names", "action", "errnoRet", "args") if call.get(key) not in (None, [])}
        for call in profile["syscalls"]
        if not call.get("includes", {}).get("caps") and ARCHITECTURE in call.get("includes", {}).get("arches", [ARCHITECTURE])
    ]
    return {"defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"], "syscalls": calls}
