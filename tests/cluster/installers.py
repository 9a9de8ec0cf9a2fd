"""Those who install the webhook, with the real tools: what each does in install, upgrade, rollback and uninstall.

The upgrade is to another image, another setting, another annotation and one more replica.
"""

import argparse
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cluster.binaries import BuildError, GoUnavailableError, installers
from tests.cluster.cluster import Cluster
from tests.cluster.play import say
from tests.cluster.tied import until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NAME = NAMESPACE = "dpdk-webhook"
LABELS = {"pod-security.kubernetes.io/enforce": "restricted"}
PATIENCE = 50  # seconds; a promise is always less
TAG = "0.2.0"
REPLICAS = (2, 3)  # as written, and after the upgrade
GITOPS = "argocd-controller"  # another field manager than the one that installs


class InstallerError(Exception):
    """A tool failed; with what it said."""


class Installer(ABC):
    """One way to install."""

    def __init__(self, cluster: Cluster, directory: Path, deploy: Path = DEPLOY) -> None:
        self.cluster, self._directory = cluster, directory
        self._chart, self._overlay = deploy / "chart", deploy / "overlays" / "self"

    @abstractmethod
    def prepare(self) -> None:
        """What is there before the webhook is."""

    @abstractmethod
    def install(self) -> None:
        """As from the second step on, return when the tool says that all is ready."""

    @abstractmethod
    def upgrade(self) -> None: ...

    @abstractmethod
    def rollback(self) -> None: ...

    @abstractmethod
    def uninstall(self) -> None: ...

    @abstractmethod
    def rendered(self) -> list[dict[str, Any]]:
        """The objects that are installed at first."""

    @abstractmethod
    def again(self) -> None:
        """Install what is installed."""

    def deployed(self) -> dict[str, Any]:
        """How many replicas are ready, and of which image."""
        found = self.cluster.api("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}").body
        return {
            "ready": found["status"].get("readyReplicas", 0),
            "image": found["spec"]["template"]["spec"]["containers"][0]["image"].partition(":")[2],
        }

    def _in_namespace(self, *, wanted: bool) -> None:
        path = f"/api/v1/namespaces/{NAMESPACE}"
        if wanted and not self.cluster.heard_of(path):
            self.cluster.api("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": LABELS}})
            self.cluster.wait_for_namespace(NAMESPACE)
            root = f"{path}/configmaps/kube-root-ca.crt"
            until(lambda: self.cluster.heard_of(root), seconds=PATIENCE, waiting_for="the CA in the namespace")
        elif not wanted:
            self.cluster.api("DELETE", path)

            def is_gone() -> bool:
                return self.cluster.api("GET", path).status == httpx.codes.NOT_FOUND

            until(is_gone, seconds=PATIENCE, waiting_for="the namespace to go")


class Helm(Installer):
    """`helm --wait`; the namespace was there before, as Helm doesn't remove one."""

    program = "helm"
    changed = (
        *("--set", f"replicaCount={REPLICAS[1]}"),
        *("--set-string", f"image.tag={TAG}"),
        *("--set-string", "podAnnotations.upgraded=yes"),
        *("--set-string", "settings.default_memory=1Gi"),
    )

    def prepare(self) -> None:
        self._in_namespace(wanted=True)

    def install(self) -> None:
        self._helm("install", NAME, self._chart, *self._waiting)

    def upgrade(self) -> None:
        self._helm("upgrade", NAME, self._chart, *self._waiting, *self.changed)

    def rollback(self) -> None:
        self._helm("rollback", NAME, *self._waiting)

    def uninstall(self) -> None:
        self._helm("uninstall", NAME, *self._waiting)

    def rendered(self) -> list[dict[str, Any]]:
        major, minor = self.cluster.version  # it asks no API server which one this will be for
        return _documents(self._helm("template", NAME, self._chart, f"--kube-version={major}.{minor}.0"))

    def again(self) -> None:
        self._helm("upgrade", NAME, self._chart, *self._waiting)

    _waiting: Sequence[str] = ("--wait", f"--timeout={PATIENCE}s")

    def _helm(self, *arguments: str | Path) -> str:
        own = {f"HELM_{name}_HOME": str(self._directory / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        environment = os.environ | own | {"KUBECONFIG": str(self.cluster.kubeconfig)}
        command = [installers() / self.program, *arguments, "--namespace", NAMESPACE]
        return _run(command, environment)


class Helm3(Helm):
    """The major version before."""

    program = "helm3"


class Kustomize(Installer):
    """`kubectl apply --server-side -k`, and `kubectl rollout status`. The namespace comes and goes with the rest."""

    def prepare(self) -> None:
        self._in_namespace(wanted=False)

    def install(self) -> None:
        self._apply(self._overlay)

    def upgrade(self) -> None:
        self._apply(self._upgraded())

    def rollback(self) -> None:
        self._apply(self._overlay)

    def uninstall(self) -> None:
        self.cluster.kubectl("delete", "-k", self._overlay, f"--timeout={PATIENCE}s")

    def rendered(self) -> list[dict[str, Any]]:
        return _documents(self.cluster.kubectl("kustomize", self._overlay).stdout)

    def again(self) -> None:
        self._apply(self._overlay)

    def _apply(self, place: Path) -> None:
        self.cluster.kubectl("apply", "--server-side", "-k", place)
        wait = ("rollout", "status", f"deployment/{NAME}", f"--namespace={NAMESPACE}", f"--timeout={PATIENCE}s")
        self.cluster.kubectl(*wait)

    def _upgraded(self) -> Path:
        """An overlay over it, as users write one."""
        place = self._directory / "upgraded"
        place.mkdir(exist_ok=True)
        template = {
            "metadata": {"annotations": {"upgraded": "yes"}},
            "spec": {"containers": [{"name": NAME, "env": [{"name": "DPDK_WEBHOOK_DEFAULT_MEMORY", "value": "1Gi"}]}]},
        }
        patch = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"template": template},
        }
        kustomization = {
            "resources": [os.path.relpath(self._overlay, place.resolve())],
            "images": [{"name": NAME, "newTag": TAG}],
            "replicas": [{"name": NAME, "count": REPLICAS[1]}],
            "patches": [{"patch": yaml.safe_dump(patch)}],
        }
        (place / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return place


BY: Mapping[str, type[Installer]] = {"helm": Helm, "helm3": Helm3, "kustomize": Kustomize}


def parser(module: str, description: str | None, ways: Iterable[str], **by: Any) -> argparse.ArgumentParser:
    """For a scenario in which somebody installs: `options.by` is one of these ways, or several, as `by` says of `--by`."""
    found = argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--by", choices=tuple(ways), **by)
    found.add_argument("--deploy", type=Path, default=DEPLOY, help="where chart and overlays are (default: %(default)s)")
    found.add_argument("--rate", type=float, default=20, help="creates a second, a third of them plain (default: %(default)s)")
    return found


def are_built() -> bool:
    """Build the tools where they can be had, which is outside of a network of one's own; tell why not on stderr."""
    try:
        installers()
    except (GoUnavailableError, BuildError) as error:
        say(str(error))
        return False
    return True


def _documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def _run(command: Sequence[str | Path], environment: Mapping[str, str]) -> str:
    timeout = PATIENCE + 30  # what the tool itself does not notice
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    if run.returncode:
        raise InstallerError(f"{' '.join(map(str, command))}: {run.stderr}")
    return run.stdout
