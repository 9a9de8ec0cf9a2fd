"""The pages about security and installing, and somebody who does what they say.

There is no kubelet here: where a command waits for replicas, it is seen that what it names is there; what it runs in one is run
here, with the environment that the Deployment gives it, and with the account's token if it has one.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.cluster.binaries import installers
from tests.cluster.cluster import Cluster
from tests.cluster.tied import until

ROOT: Final = Path(__file__).resolve().parents[2]
SECURITY, INSTALL, UPGRADE, GITOPS = "SECURITY.md", "docs/install.md", "docs/upgrade.md", "docs/gitops.md"
CERTIFICATES: Final = "docs/certificates.md"
PAGES: Final = (SECURITY, INSTALL, UPGRADE, GITOPS, CERTIFICATES, "deploy/README.md")
TEXTS: Final = {page: (ROOT / page).read_text() for page in PAGES}
OURS: Final = (
    "mutatingwebhookconfiguration,validatingwebhookconfiguration,validatingadmissionpolicy,validatingadmissionpolicybinding"
)
REFUSED: Final = (httpx.codes.UNPROCESSABLE_ENTITY, httpx.codes.INTERNAL_SERVER_ERROR)  # by the policy; for want of a replica
DIGEST: Final = f"sha256:{'0' * 64}"
OCI: Final = "oci://registry.example.com/OWNER/dpdk-webhook/charts/dpdk-webhook"
# What stands between the commands of the pages and a machine without nodes and without a registry.
PRELUDE: Final = r"""
set -euo pipefail
kubectl() {
  case "$1" in
    rollout)
      shift 2
      command kubectl get "$@" ;;
    exec)
      local target=()
      while [ "$1" != -- ]; do target+=("$1"); shift; done
      shift
      inside "$@" ;;
    port-forward)
      shift
      command kubectl get "${@:1:$#-1}" >/dev/null ;;
    *) command kubectl "$@" ;;
  esac
}
replica() { command kubectl get "${target[@]:1}" --output "jsonpath=$1"; }
inside() {
  local namespace variables
  namespace=$(replica '{.metadata.namespace}')
  variables=$(replica '{range .spec.template.spec.containers[0].env[*]}{.name}={.value}{"\n"}{end}')
  variables=${variables//\/var\/run\/secrets\/dpdk-webhook/$HOME/tls}
  if [ "$(replica '{.spec.template.spec.automountServiceAccountToken}')" = true ]; then
    token "$namespace" "$(replica '{.spec.template.spec.serviceAccountName}')"
    variables+=$'\n'DPDK_WEBHOOK_KUBECONFIG=$HOME/inside
  fi
  (
    unset KUBECONFIG
    while IFS= read -r variable; do export "$variable"; done <<<"$variables"
    DPDK_WEBHOOK_NAMESPACE=$namespace "$@"
  )
}
token() {
  command kubectl config view --raw --flatten --minify >"$HOME/inside"
  command kubectl config set-credentials replica --token "$(command kubectl create token "$2" --namespace "$1")" \
    --kubeconfig "$HOME/inside" >/dev/null
  command kubectl config set-context --current --user replica --kubeconfig "$HOME/inside" >/dev/null
}
make() { command make --directory "$CHECKOUT" --dry-run "$@" >/dev/null; }
helm() {
  local argument arguments=()
  for argument in "$@"; do
    case "$argument" in
      --wait) ;;
      "$OCI") arguments+=("$CHART") ;;
      *) arguments+=("$argument") ;;
    esac
  done
  command "$HELM" "${arguments[@]}"
}
"""


def blocks(page: str, language: str) -> list[str]:
    """What stands between ```language and ```, from the top."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXTS[page], re.DOTALL | re.MULTILINE)


def block(page: str, part: str, language: str = "sh") -> str:
    """The one in which this stands."""
    (found,) = (each for each in blocks(page, language) if part in each)
    return found


def prose(page: str) -> str:
    """The page without its blocks."""
    return re.sub(r"^```.*?^```", "", TEXTS[page], flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Admin:
    """Who reads the pages, in a directory beside a checkout's deploy/ and examples/."""

    cluster: Cluster
    directory: Path
    environment: Mapping[str, str]

    def does(self, commands: str) -> str:
        """What these print; each must succeed."""
        run = self.tries(commands)
        assert run.returncode == 0, f"{commands}\n{run.stdout}{run.stderr}"
        return run.stdout

    def tries(self, commands: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", PRELUDE + commands.replace("OWNER", "owner")],
            cwd=self.directory,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def reads(self, page: str, part: str) -> str:
        """Do as the page says there."""
        return self.does(block(page, part))

    def left(self) -> list[str]:
        """What there is of it outside of namespaces: kind.group/name."""
        selector = "app.kubernetes.io/name=dpdk-webhook"
        return self.does(f"kubectl get {OURS},clusterrole,clusterrolebinding -l {selector} -o name").split()

    def creates(self, namespace: str, **annotations: str) -> int:
        """The status of a pod that can't run DPDK, in a dry run."""
        pod = {
            "metadata": {"name": "wrong", "annotations": annotations},
            "spec": {"containers": [{"name": "app", "image": "example.com/app"}]},
        }
        return self.cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod).status

    def waits_until_refused(self) -> None:
        until(lambda: self.creates("default", dpdk="true") in REFUSED, seconds=20, waiting_for="a refusal")

    def waits_until_created(self) -> None:
        until(lambda: self.creates("default", dpdk="true") == httpx.codes.CREATED, seconds=20, waiting_for="a pod")

    def is_there(self, path: str) -> bool:
        return self.cluster.api("GET", path).status == httpx.codes.OK

    def clears(self) -> None:
        """Take everything away, whatever it was."""
        for release, namespace in (("dpdk-webhook", "dpdk-webhook"), ("edge", "dpdk")):
            self.does(f"helm uninstall {release} --namespace {namespace} --ignore-not-found")
        self.does("".join(f"kubectl delete {name} --ignore-not-found\n" for name in self.left()))
        for namespace in ("dpdk-webhook", "dpdk"):
            if self.is_there(f"/api/v1/namespaces/{namespace}"):
                self._empties(namespace)

    def _empties(self, namespace: str) -> None:
        """Delete it at once, with all that is in it: the controller that does so waits for five seconds first."""
        path = f"/api/v1/namespaces/{namespace}"
        self.cluster.api("DELETE", path)  # from here on nothing is made in it
        kinds = ",".join(self.does("kubectl api-resources --namespaced --verbs delete,list --output name").split())
        self.does(f"kubectl delete {kinds} --all --namespace {namespace} --grace-period 0 --force")
        self.cluster.api("PUT", f"{path}/finalize", {"metadata": {"name": namespace}, "spec": {"finalizers": []}})
        assert not self.is_there(path)


@contextmanager
def administrator(cluster: Cluster, directory: Path, helm: str = "helm") -> Iterator[Admin]:
    """One with this helm, on a cluster on which nothing is installed, neither before nor afterwards."""
    for name in ("deploy", "examples"):
        shutil.copytree(ROOT / name, directory / name)
    (directory / ".venv").symlink_to(sys.prefix)
    paths = (installers(), cluster.programs, Path(sys.executable).parent)
    admin = Admin(
        cluster,
        directory,
        {
            "PATH": ":".join([*map(str, paths), os.environ["PATH"]]),
            "HOME": str(directory),
            "KUBECONFIG": str(cluster.kubeconfig),
            "KUBECACHEDIR": str(cluster.directory / "kubectl"),
            "KUBERC": "off",
            "HELM": helm,
            "CHECKOUT": str(ROOT),
            "OCI": OCI.replace("OWNER", "owner"),
            "CHART": str(directory / "registry" / "dpdk-webhook-0.1.0.tgz"),
            "DIGEST": DIGEST,
        },
    )
    admin.does("helm package deploy/chart --destination registry")
    try:
        yield admin
    finally:
        admin.clears()
