"""The image, really built and really run: the same each time, and content with a read-only root, any user, and no shell."""

import json
import shutil
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from scripts import throwaway
from scripts.image.archive import Image, read
from tests.image.base import Store
from tests.image.conftest import ROOT, Builds, Made, Mounted
from tests.image.running import Container
from tests.serving import REVIEW, eventually

ANY_USER = (1000670000, 0)  # what OpenShift gives: a number of the namespace's, and the group root
USERS = [pytest.param((65532, 65532), id="the image's user"), pytest.param(ANY_USER, id="a user of OpenShift's")]
SITE = "opt/dpdk-webhook/lib/python"


def test_another_checkout_gives_the_same_image(builds: Builds, built: Made, image: Image, tmp_path: Path) -> None:
    # other times, other permissions, another path, an empty store; what a build leaves behind and git would ignore
    checkout = tmp_path / "elsewhere"
    for name in ("Dockerfile", ".dockerignore", "LICENSE", "README.md", "pyproject.toml"):
        checkout.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, checkout / name)
    for name in ("certs", "webhook", "requirements", "scripts"):
        shutil.copytree(ROOT / name, checkout / name, copy_function=shutil.copyfile)
    for path in [*checkout.rglob("*"), checkout]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    (checkout / "webhook" / "__pycache__").mkdir(exist_ok=True)
    (checkout / "webhook" / "__pycache__" / "left.pyc").write_bytes(b"left")
    (checkout / "tls.key").write_text("a key that somebody left")
    again = builds("second", checkout, umask=0o077)
    other = read(again.archive)
    assert _difference(image, other) == []
    assert other.digest == image.digest
    assert again.sbom.read_bytes() == built.sbom.read_bytes()


def _difference(one: Image, other: Image) -> list[str]:
    """What would have to be looked at: paths in one only, or that differ in rights."""
    shown = [{path: (file.mode, file.uid, file.gid, file.kind) for path, file in each.files.items()} for each in (one, other)]
    return sorted(path for path in shown[0].keys() | shown[1].keys() if shown[0].get(path) != shown[1].get(path))


def test_an_archive_that_was_carried_elsewhere_is_the_same_image(loaded: Store, image: Image, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    loaded("push", "--quiet", "dpdk-webhook:0.1.0", f"oci-archive:{again}")
    assert read(again).digest == image.digest


def test_what_is_printed(built: Made, image: Image) -> None:
    assert f"digest     {image.digest}\n" in built.printed
    assert f"size       {image.size / 1e6:.1f} MB compressed, by layer:\n" in built.printed
    assert "elsewhere  buildah pull oci-archive:dpdk-webhook.oci.tar\n" in built.printed


def test_the_configuration(image: Image) -> None:
    config = image.config["config"]
    assert config["User"] == "65532:65532"  # a number, or runAsNonRoot would refuse it
    assert config["Entrypoint"] == ["/opt/dpdk-webhook/bin/dpdk-webhook"]
    assert config["Cmd"] == ["serve"]
    assert config["ExposedPorts"].keys() == {"8443/tcp", "8080/tcp"}
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == "dpdk-webhook"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == "0.1.0"
    assert labels["revision"] == "0" * 40


def test_what_is_in_it(image: Image) -> None:
    paths = image.files.keys()
    ours = {path for path in paths if path.startswith(SITE) and "/site-packages/" in path}
    tops = {path.partition("/site-packages/")[2].partition("/")[0] for path in ours}
    assert {"webhook", "certs", "dpdk_webhook-0.1.0.dist-info"} <= tops
    assert tops.isdisjoint({"tests", "scripts", "bench", "pip", "setuptools"})
    assert "licenses/dpdk-webhook/LICENSE" in paths
    sources = {str(path.relative_to(ROOT)) for name in ("webhook", "certs") for path in (ROOT / name).rglob("*.py")}
    assert {path.partition("/site-packages/")[2] for path in ours} >= sources
    assert not any(path.startswith(("src", "build", "wheel", "bytecode")) for path in paths)


def test_nothing_that_we_add_is_writable_or_lifts_rights(image: Image) -> None:
    added = [file for file in image.files.values() if file.layer > 0]
    assert len(added) > 3000
    assert [file.path for file in added if file.mode & 0o6000] == []
    assert [file.path for file in added if file.kind != tarfile.SYMTYPE and file.mode & 0o022] == []
    assert [file.path for file in added if (file.uid, file.gid) != (0, 0)] == []


def test_no_secret_and_nothing_of_the_build(image: Image) -> None:
    added = [file for file in image.files.values() if file.layer > 0]
    assert [file.path for file in added if file.path.startswith("etc/")] == []  # pip's configuration, and a CA
    keys = [file.path for file in added if b"-----BEGIN" in file.content and b"PRIVATE KEY-----\n" in file.content]
    assert keys == []
    assert "tls.key" not in {file.path.rpartition("/")[2] for file in added}


def test_byte_code_is_there_and_told_by_hash(image: Image) -> None:
    compiled = [file for file in image.files.values() if file.layer > 0 and file.path.endswith(".pyc")]
    # PEP 552: bit 0 says by hash, bit 1 that the source is looked at
    assert {file.content[4:8] for file in compiled} == {b"\1\0\0\0"}
    sources = {path for path in image.files if f"{SITE}" in path and "/site-packages/" in path and path.endswith(".py")}
    bare = {file.path.replace("__pycache__/", "").split(".cpython")[0] + ".py" for file in compiled}
    assert {path for path in sources - bare if "/kubernetes/aio/" not in path} == set()


@pytest.mark.parametrize("user", USERS)
def test_it_checks_a_pod(mounted: Mounted, tmp_path: Path, user: tuple[int, int]) -> None:
    container = _container(mounted, tmp_path, user)
    pod = {"kind": "Pod", "metadata": {"name": "plain"}, "spec": {"containers": [{"name": "app"}]}}
    plain = container.run(["check", "-f", "-"], given=json.dumps(pod))
    assert (plain.returncode, plain.stderr) == (0, "")
    pod["metadata"] = {"name": "bad", "annotations": {"dpdk": "true", "dpdk/hugepages-3Mi": "64Mi"}}
    bad = container.run(["check", "-f", "-"], given=json.dumps(pod))
    assert bad.returncode == 1
    assert "hugepages-3Mi" in bad.stdout


@pytest.mark.parametrize("user", USERS)
def test_it_serves(mounted: Mounted, tmp_path: Path, user: tuple[int, int]) -> None:
    files = throwaway.issue(tmp_path)
    keys = tmp_path / "keys"
    keys.mkdir()
    for file in (files.certificate, files.key):
        shutil.copyfile(file, keys / file.name)
        (keys / file.name).chmod(0o644)  # as in a Secret's volume
    inside = replace(files, certificate=Path("/keys/tls.crt"), key=Path("/keys/tls.key"))
    port, health_port = throwaway.free_ports(2)
    container = replace(
        _container(mounted, tmp_path, user),
        mounts=[{"destination": "/keys", "type": "bind", "source": str(keys), "options": ["bind", "ro"]}],
        environment=throwaway.settings(inside, port, health_port),
    )
    (mounted.root / "keys").mkdir(exist_ok=True)  # the runtime can make no directory on a read-only root
    log = tmp_path / "server.log"
    with (
        container.running(["serve"], log) as process,
        httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=files.trust, trust_env=False) as http,
    ):
        start = time.monotonic()
        eventually(lambda: process.poll() is not None or _ready(health_port), 20, "the server is ready")
        assert process.poll() is None, log.read_text()
        assert time.monotonic() - start < 10
        answer = http.post("/mutate", content=REVIEW)
        assert answer.status_code == 200, answer.text
        assert answer.json()["response"]["patch"]
        process.terminate()
        assert process.wait(20) == 0
    assert "Traceback" not in log.read_text()


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_certificates_are_issued_by_it(mounted: Mounted, tmp_path: Path) -> None:
    said = _container(mounted, tmp_path).run(["-m", "certs", "--help"], entrypoint=["python3"])
    assert said.returncode == 0, said.stderr
    assert "issue" in said.stdout
    assert "rotate" in said.stdout


def test_the_root_is_read_only_and_the_user_has_no_rights(mounted: Mounted, tmp_path: Path) -> None:
    program = (
        "import os, json; from pathlib import Path\n"
        "def writes(place):\n"
        "    try: Path(place, 'x').write_text('x'); return True\n"
        "    except OSError: return False\n"
        "status = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())\n"
        "rights = [status[key].strip() for key in ('CapEff', 'CapBnd', 'NoNewPrivs', 'Seccomp')]\n"
        "places = ['/', '/tmp', '/dev', '/dev/shm', '/opt/dpdk-webhook', '/var/tmp', '/run']\n"
        "print(json.dumps([os.getuid(), rights, [place for place in places if writes(place)]]))\n"
    )
    said = _container(mounted, tmp_path).run(["-c", program], entrypoint=["python3"])
    assert json.loads(said.stdout or said.stderr) == [65532, ["0" * 16, "0" * 16, "1", "2"], []]


def test_no_shell_is_needed(builds: Builds, loaded: Store, image: Image, tmp_path: Path) -> None:
    name = loaded("from", "--pull-never", "dpdk-webhook:0.1.0")
    root = Path(loaded("mount", name))
    try:
        gone = [
            path for place in ("bin", "usr/bin") for shell in ("sh", "dash", "bash", "rbash") for path in [root / place / shell]
        ]
        for path in gone:
            path.unlink(missing_ok=True)
        container = _container(Mounted(root, image), tmp_path)
        shell = container.run(["-c", "true"], entrypoint=["/bin/sh"])
        assert shell.returncode != 0
        assert "/bin/sh" in shell.stderr
        pod = {"kind": "Pod", "spec": {"containers": [{"name": "app"}]}}
        said = container.run(["check", "-f", "-"], given=json.dumps(pod))
        assert (said.returncode, said.stderr) == (0, "")
        assert container.run(["-m", "certs", "--help"], entrypoint=["python3"]).returncode == 0
    finally:
        loaded("rm", name)


def _container(mounted: Mounted, directory: Path, user: tuple[int, int] = (65532, 65532)) -> Container:
    return Container(mounted.root, mounted.image.config["config"], directory, user)
