"""Every command of the pages about installing is run, on a real API server with the real helm, kubectl and kustomize."""

import base64
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from certs.cluster import Clock, connect
from scripts import throwaway
from tests.cluster.cluster import Cluster, answers_ok
from tests.cluster.kept import NAMES, account_kubeconfig
from tests.cluster.placed import Place, kept
from tests.cluster.tied import Tied
from tests.cluster.webhook import Webhook, inherited
from tests.deploy.docs import (
    CERTIFICATES,
    DIGEST,
    GITOPS,
    INSTALL,
    OCI,
    OURS,
    REFUSED,
    SECURITY,
    TEXTS,
    UPGRADE,
    Admin,
    administrator,
    block,
    blocks,
)
from tests.deploy.rendered import Installers

# By a part of each: every block of commands in INSTALL, and in UPGRADE.
NAMESPACE, CHECKOUT, REGISTRY, OVERLAY = "kubectl create namespace", "image.tag=0.1.0", "oci://", "mkdir my"
CERT_MANAGER, OPENSHIFT, FILES, ARCHIVE = "mode=cert-manager", "mode=openshift", "mode=files", "helm package"
DRY, CHECK, OFF, BACK, UNINSTALL = (
    "--dry-run=server",
    "certs check",
    "kubectl delete mutating",
    "helm upgrade",
    "helm uninstall",
)
WAYS = (CHECKOUT, REGISTRY, OVERLAY, CERT_MANAGER, OPENSHIFT, FILES, ARCHIVE)
ON_INSTALL = (NAMESPACE, *WAYS, DRY, CHECK, OFF, BACK, UNINSTALL)
BY_HELM, BY_KUSTOMIZE, ROLLBACK = "helm upgrade", "kubectl rollout status", "helm rollback"
LEFTOVERS, ANEW, OLD = "rolebinding/dpdk-webhook", "helm install edge", "kubectl delete deployment"
ISSUING, ISSUED = "kubectl delete certificates", "kubectl delete secret"
ON_UPGRADE = (BY_HELM, BY_KUSTOMIZE, ROLLBACK, LEFTOVERS, ISSUING, ISSUED, ANEW, OLD)
ELSEWHERE = "port-forward"
ON_CERTIFICATES = (DRY, ELSEWHERE)
NAMES_OF_YOUR_OWN = "namePrefix: edge-"

DEPLOYMENT: Final = "/apis/apps/v1/namespaces/dpdk-webhook/deployments/dpdk-webhook"
INJECTED: Final = "service.beta.openshift.io/inject-cabundle"
WIDE: Final = 8  # objects outside of the namespace: two configurations, two policies with bindings, the role and its binding


@pytest.fixture(scope="module")
def cluster(own_cluster: Cluster, definitions: list[Path], installers: Installers) -> Cluster:
    """With the custom resources of others, and the installers built."""
    for file in definitions:
        own_cluster.kubectl("apply", "--server-side", "-f", file)
    return own_cluster


@pytest.fixture
def admin(cluster: Cluster, tmp_path: Path) -> Iterator[Admin]:
    with administrator(cluster, tmp_path) as someone:
        yield someone


def test_no_command_is_left_out() -> None:
    for page, parts in ((INSTALL, ON_INSTALL), (UPGRADE, ON_UPGRADE), (CERTIFICATES, ON_CERTIFICATES)):
        assert sorted(block(page, part) for part in parts) == sorted(blocks(page, "sh"))
    assert blocks(INSTALL, "console") == blocks(UPGRADE, "console") == []
    assert [blocks(page, "sh") for page in (SECURITY, GITOPS, "deploy/README.md")] == [[], [], []]


@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_from_the_installation_by_helm_to_its_end(cluster: Cluster, tmp_path: Path, helm: str) -> None:
    with administrator(cluster, tmp_path, helm) as admin:
        admin.waits_until_created()
        admin.reads(INSTALL, NAMESPACE)
        assert admin.creates("dpdk-webhook") == httpx.codes.FORBIDDEN, "by Pod Security"
        admin.reads(INSTALL, CHECKOUT)
        admin.waits_until_refused()  # there is no replica
        assert [admin.creates("default"), admin.creates("kube-system", dpdk="true")] == [httpx.codes.CREATED] * 2
        admin.reads(UPGRADE, BY_HELM)
        admin.reads(UPGRADE, ROLLBACK)
        assert admin.creates("default", dpdk="true") in REFUSED
        admin.reads(INSTALL, OFF)
        admin.waits_until_created()
        admin.reads(INSTALL, BACK)
        admin.waits_until_refused()
        assert len(admin.left()) == WIDE
        admin.reads(INSTALL, UNINSTALL)
        admin.waits_until_created()
        assert admin.left() == []
        assert not admin.is_there("/api/v1/namespaces/dpdk-webhook")


def test_to_switch_it_off_all_three_kinds_have_to_go(admin: Admin) -> None:
    admin.reads(INSTALL, NAMESPACE)
    admin.reads(INSTALL, CHECKOUT)
    admin.waits_until_refused()
    (kinds,) = re.findall(r"delete (\w+(?:,\w+)+) -l", block(INSTALL, OFF))
    mutating, validating, binding = kinds.split(",")
    for kind in (mutating, validating):
        admin.does(f"kubectl delete {kind} dpdk-webhook")
    admin.waits_until_refused()  # by the policy alone
    admin.does(f"kubectl delete {binding} dpdk-webhook")
    admin.waits_until_created()


def test_it_is_switched_off_by_the_same_line_whatever_it_is_called(admin: Admin) -> None:
    """By somebody with the rights that the page names for it, and no others."""
    ((verbs, wide),) = re.findall(r"called at night \| (.*?) on the (.*?) \|", TEXTS[INSTALL])
    assert wide == "configurations and on the policies' bindings"
    rights = ",".join(re.findall(r"`(\w+)`", verbs))
    (line,) = block(INSTALL, OFF).splitlines()
    (kinds,) = re.findall(r"delete (\w+(?:,\w+)+) -l", line)
    resources = ",".join(f"{kind}s.admissionregistration.k8s.io" for kind in kinds.split(","))
    admin.does(f"kubectl create clusterrole night --verb={rights} --resource={resources}")
    admin.does("kubectl create clusterrolebinding night --clusterrole=night --user=night")
    at_night = line.replace("kubectl", "kubectl --as=night", 1)
    try:
        (admin.directory / "my").mkdir()
        (admin.directory / "my" / "kustomization.yaml").write_text(block(INSTALL, NAMES_OF_YOUR_OWN, "yaml"))
        admin.does("kubectl apply --server-side -k my")
        admin.waits_until_refused()
        printed = admin.does(at_night).splitlines()
        admin.waits_until_created()
    finally:
        admin.does("kubectl delete clusterrole,clusterrolebinding night")
    kind = r"(\w+)\.admissionregistration\.k8s\.io \"edge-dpdk-webhook(?:-account)?\" deleted"
    gone = [found[1] for each in printed if (found := re.fullmatch(kind, each))]
    assert sorted(gone) == sorted([*kinds.split(","), "validatingadmissionpolicybinding"]), printed
    assert "must print `deleted` for a `mutatingwebhookconfiguration` and a `validatingwebhookconfiguration`" in TEXTS[INSTALL]
    again = admin.tries(line)
    assert (again.returncode, again.stdout) == (0, "No resources found\n")
    assert "`No resources found` means" in TEXTS[INSTALL]


@pytest.mark.parametrize("policy", ["true", "false"])
def test_what_the_chart_says_after_an_installation_can_be_done(admin: Admin, policy: str) -> None:
    admin.does("kubectl create namespace dpdk")
    said = admin.does(f"helm install edge deploy/chart --namespace dpdk --set policy.enabled={policy}")
    rollout, check, off = re.findall(r"^  (kubectl .*)$", said, re.MULTILINE)
    admin.waits_until_refused()
    admin.does(rollout)
    assert "there is no Secret dpdk/edge-dpdk-webhook-tls" not in admin.tries(check).stderr
    admin.does(off)
    admin.waits_until_created()


@pytest.mark.parametrize("mode", ["cert-manager", "openshift", "files"])
def test_the_chart_advises_nothing_that_wants_a_token_where_there_is_none(admin: Admin, mode: str) -> None:
    said = admin.does(f"helm install edge deploy/chart --namespace dpdk --dry-run=client --set certificates.mode={mode}")
    advised = re.findall(r"^  (kubectl .*)$", said.partition("\nNOTES:\n")[2], re.MULTILINE)
    assert [each.split()[1] for each in advised] == ["rollout", "create", "delete"]
    assert "### Without a token" in TEXTS[CERTIFICATES]
    assert '"Without a token"' in said


def test_an_upgrade_by_tag_of_what_was_installed_by_digest_says_so(admin: Admin) -> None:
    admin.reads(INSTALL, NAMESPACE)
    admin.reads(INSTALL, ARCHIVE)
    by_tag = block(UPGRADE, BY_HELM)
    refused = admin.tries(by_tag)
    assert refused.returncode != 0
    assert f"image.tag is 0.1.0 and image.digest is {DIGEST}; leave one of them empty" in refused.stderr
    for part, image in (
        ('--set image.digest="$DIGEST"', f"@{DIGEST}"),
        ("--set image.digest= --set image.tag=0.1.0", ":0.1.0"),
        ('--set image.tag= --set image.digest="$DIGEST"', f"@{DIGEST}"),
    ):
        assert f"`{part}`" in TEXTS[UPGRADE]
        admin.does(by_tag.replace("--set image.tag=0.1.0", part))
        assert _container(admin)["image"] == f"inside.example.com/dpdk-webhook{image}"


def test_from_a_registry_the_same_commands_name_the_chart_there(admin: Admin) -> None:
    admin.reads(INSTALL, NAMESPACE)
    admin.reads(INSTALL, REGISTRY)
    chart = f"{OCI} --version 0.1.0"
    for page, part in ((UPGRADE, BY_HELM), (INSTALL, BACK)):
        assert f"`{chart}`" in TEXTS[page]
        admin.does(block(page, part).replace("deploy/chart", chart))


def test_a_registry_with_a_password_by_helm_and_by_kustomize(admin: Admin) -> None:
    admin.reads(INSTALL, NAMESPACE)
    (value,) = re.findall(r"`(--set 'imagePullSecrets.*?)`", TEXTS[INSTALL])
    admin.does(block(INSTALL, CHECKOUT).replace("--wait", value))
    named = [{"name": "registry"}]
    assert admin.cluster.api("GET", DEPLOYMENT).body["spec"]["template"]["spec"]["imagePullSecrets"] == named
    admin.does(block(INSTALL, OVERLAY).partition("kubectl")[0])
    with (admin.directory / "my" / "kustomization.yaml").open("a") as file:
        file.write(block(INSTALL, "imagePullSecrets", "yaml"))
    (deployment,) = (each for each in yaml.safe_load_all(admin.does("kustomize build my")) if each["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["imagePullSecrets"] == named


def _container(admin: Admin) -> dict[str, Any]:
    (container,) = admin.cluster.api("GET", DEPLOYMENT).body["spec"]["template"]["spec"]["containers"]
    return dict(container)


@pytest.mark.parametrize(
    ("part", "mode", "image"),
    [
        (REGISTRY, "self", "registry.example.com/owner/dpdk-webhook:0.1.0"),
        (OPENSHIFT, "openshift", "registry.example.com/owner/dpdk-webhook:0.1.0"),
        (ARCHIVE, "self", f"inside.example.com/dpdk-webhook@{DIGEST}"),
    ],
)
def test_the_other_ways_by_helm(admin: Admin, part: str, mode: str, image: str) -> None:
    admin.reads(INSTALL, NAMESPACE)
    admin.reads(INSTALL, part)
    assert _container(admin)["image"] == image
    assert {"name": "DPDK_WEBHOOK_CERTIFICATES", "value": mode} in _container(admin)["env"]


def test_files_of_your_own(admin: Admin) -> None:
    admin.reads(INSTALL, NAMESPACE)
    admin.reads(INSTALL, FILES)
    (volume,) = admin.cluster.api("GET", DEPLOYMENT).body["spec"]["template"]["spec"]["volumes"]
    secret = admin.cluster.api("GET", f"/api/v1/namespaces/dpdk-webhook/secrets/{volume['secret']['secretName']}").body
    assert set(secret["data"]) == {"tls.crt", "tls.key"}
    configuration = json.loads(admin.does("kubectl get mutatingwebhookconfiguration dpdk-webhook -o json"))
    (bundle,) = {webhook["clientConfig"]["caBundle"] for webhook in configuration["webhooks"]}
    tls = admin.directory / "tls"
    assert base64.b64decode(bundle) == (tls / "ca.crt").read_bytes()
    # a replica has no token, so that it can't check; whoever reads the page can, from a checkout
    without = admin.tries(block(INSTALL, CHECK))
    assert without.returncode == 2
    assert "--kubeconfig FILE" in without.stderr
    ports = throwaway.free_ports(2)
    served = throwaway.settings(throwaway.Certificates(tls / "ca.crt", tls / "tls.crt", tls / "tls.key"), *ports)
    server = Tied([sys.executable, "-m", "webhook", "serve"], log=admin.directory / "log", environment=inherited() | served)
    elsewhere = block(CERTIFICATES, ELSEWHERE).replace("localhost:8443", f"127.0.0.1:{ports[0]}")
    try:
        with httpx.Client(trust_env=False) as http:
            server.wait_ready(lambda: answers_ok(http, f"http://127.0.0.1:{ports[1]}/readyz"), seconds=30)
        assert admin.does(elsewhere) == "caBundle    all 5 entries trust what is served\n"
        admin.does("kubectl delete validatingwebhookconfiguration dpdk-webhook")
        wrong = admin.tries(elsewhere)
        assert wrong.returncode == 1
        assert "there is no ValidatingWebhookConfiguration dpdk-webhook" in wrong.stdout
    finally:
        server.stop(seconds=30)


def test_with_cert_manager_of_which_only_the_resources_are_here(admin: Admin) -> None:
    admin.reads(INSTALL, NAMESPACE)
    admin.reads(INSTALL, CERT_MANAGER)
    certificate = json.loads(admin.does("kubectl get certificate dpdk-webhook-serving --namespace dpdk-webhook -o json"))
    assert certificate["spec"]["dnsNames"] == ["dpdk-webhook.dpdk-webhook.svc"]
    (volume,) = admin.cluster.api("GET", DEPLOYMENT).body["spec"]["template"]["spec"]["volumes"]
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]


def test_two_installations_beside_each_other_and_then_the_new_one_alone(admin: Admin) -> None:
    admin.reads(INSTALL, NAMESPACE)
    admin.reads(INSTALL, CHECKOUT)
    admin.reads(UPGRADE, ANEW)
    assert len(admin.left()) == WIDE
    assert all("/edge-dpdk-webhook" in name for name in admin.left())


def test_from_the_installation_by_kustomize_to_its_end(admin: Admin) -> None:
    admin.reads(INSTALL, OVERLAY)
    admin.waits_until_refused()
    # what a replica does, with its account
    account = admin.directory / "account.kubeconfig"
    account_kubeconfig(admin.cluster, account)
    objects = connect(NAMES, Clock(), kubeconfig=str(admin.cluster.kubeconfig))
    place = Place(admin.cluster, NAMES, objects, admin.directory)
    with kept(place, Clock(), account):
        assert all(place.bundles())
        shown = admin.reads(INSTALL, CHECK)
        assert re.findall(r"^(?:caBundle|replicas|phase) +(.*)$", shown, re.MULTILINE) == [
            "all 5 entries trust what is served",
            "1 of 1 serve it",
            "stable: one CA, trusted everywhere",
        ]
    assert place.held().ca.key
    bundles = place.bundles()
    # as GitOps tools apply it and compare it: nothing has changed
    for options in ("", "--server-side --force-conflicts --field-manager=argocd-controller"):
        admin.does(f"kubectl diff {options} -k my")
    admin.reads(UPGRADE, BY_KUSTOMIZE)
    assert place.bundles() == bundles
    # another mode, what is left of the one before, and back
    kustomization = admin.directory / "my" / "kustomization.yaml"
    text = kustomization.read_text()
    kustomization.write_text(text.replace("overlays/self", "overlays/openshift"))
    admin.reads(UPGRADE, BY_KUSTOMIZE)
    assert INJECTED in admin.does(f"kubectl get {OURS} -o yaml")
    admin.reads(UPGRADE, LEFTOVERS)
    assert len(admin.left()) == WIDE - 4
    kustomization.write_text(text)
    admin.reads(UPGRADE, BY_KUSTOMIZE)
    assert INJECTED not in admin.does(f"kubectl get {OURS} -o yaml")
    assert len(admin.left()) == WIDE
    admin.does("kubectl delete -k my")
    objects.close()
    admin.waits_until_created()
    assert admin.left() == []
    assert "`kubectl delete -k my`" in TEXTS[INSTALL]


@pytest.mark.parametrize("installer", ["helm", "kustomize"])
def test_what_stays_of_cert_manager_is_what_the_page_deletes(admin: Admin, installer: str) -> None:
    certificate_manager = "certificates.cert-manager.io,issuers.cert-manager.io"
    kustomization = admin.directory / "my" / "kustomization.yaml"
    if installer == "helm":
        admin.reads(INSTALL, NAMESPACE)
        admin.reads(INSTALL, CERT_MANAGER)
    else:
        admin.does(block(INSTALL, OVERLAY).partition("kubectl")[0])
        kustomization.write_text(kustomization.read_text().replace("overlays/self", "overlays/cert-manager"))
        admin.reads(UPGRADE, BY_KUSTOMIZE)
    # cert-manager itself isn't here: it would fill these
    named = admin.does("kubectl get certificates.cert-manager.io -n dpdk-webhook -o jsonpath='{.items[*].spec.secretName}'")
    assert len(named.split()) == 2
    admin.does("".join(f"kubectl create secret generic {name} -n dpdk-webhook\n" for name in named.split()))
    if installer == "helm":
        admin.does(block(UPGRADE, BY_HELM).replace("--wait", "--set certificates.mode=self"))
    else:
        kustomization.write_text(kustomization.read_text().replace("overlays/cert-manager", "overlays/self"))
        admin.reads(UPGRADE, BY_KUSTOMIZE)
    stayed = admin.does(f"kubectl get {certificate_manager} -n dpdk-webhook -o name").split()
    assert len(stayed) == (4 if installer == "kustomize" else 0)
    admin.reads(UPGRADE, ISSUING)
    assert admin.does(f"kubectl get {certificate_manager} -n dpdk-webhook -o name") == ""
    kept = "kubectl get secret -n dpdk-webhook --field-selector type=Opaque -o name"
    assert set(admin.does(kept).split()) >= {f"secret/{name}" for name in named.split()}
    admin.reads(UPGRADE, ISSUED)
    assert admin.does(kept).split() == ["secret/dpdk-webhook-tls"]


def test_a_deployment_of_before_the_chart_is_in_the_way_until_it_is_deleted(admin: Admin) -> None:
    admin.does("kubectl create namespace dpdk-webhook")
    labels = {"app.kubernetes.io/name": "dpdk-webhook"}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "dpdk-webhook", "image": "dpdk-webhook"}]},
        },
    }
    old = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "dpdk-webhook"}, "spec": spec}
    admin.cluster.kubectl("apply", "--server-side", "--namespace=dpdk-webhook", "-f", "-", input=json.dumps(old))
    failed = admin.tries(block(INSTALL, OVERLAY))
    assert failed.returncode != 0
    assert "field is immutable" in failed.stderr
    admin.reads(UPGRADE, OLD)
    assert _container(admin)["image"] == "registry.example.com/owner/dpdk-webhook:0.1.0"


def test_all_is_well_where_a_server_answers(admin: Admin, tmp_path_factory: pytest.TempPathFactory) -> None:
    with Webhook(tmp_path_factory.mktemp("webhook")) as webhook:
        admin.cluster.register(webhook.url, webhook.ca_pem)
        shown = admin.reads(INSTALL, DRY)
    assert block(CERTIFICATES, DRY) == block(INSTALL, DRY)
    pod = yaml.safe_load(shown[shown.index("apiVersion:") :])
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"] == "2"
    assert container["securityContext"]["capabilities"]["add"] == ["IPC_LOCK"]
    assert {"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"} in container["env"]


def test_other_names_reach_every_place(admin: Admin) -> None:
    directory = admin.directory / "my"
    directory.mkdir()
    (directory / "kustomization.yaml").write_text(block(INSTALL, NAMES_OF_YOUR_OWN, "yaml"))
    text = admin.does("kustomize build my")
    objects = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text)}
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        for webhook in objects[kind, "edge-dpdk-webhook"]["webhooks"]:
            assert webhook["clientConfig"]["service"] | {"path": ""} == {
                "namespace": "dpdk",
                "name": "edge-dpdk-webhook",
                "path": "",
            }
            assert "dpdk" in webhook["namespaceSelector"]["matchExpressions"][0]["values"]
    assert objects["ClusterRole", "edge-dpdk-webhook"]["rules"][0]["resourceNames"] == ["edge-dpdk-webhook"]
    assert objects["ValidatingAdmissionPolicyBinding", "edge-dpdk-webhook"]["spec"]["policyName"] == "edge-dpdk-webhook"
    (container,) = objects["Deployment", "edge-dpdk-webhook"]["spec"]["template"]["spec"]["containers"]
    told = {variable["name"].removeprefix("DPDK_WEBHOOK_"): variable.get("value") for variable in container["env"]}
    names = ("SERVICE", "WEBHOOK_CONFIGURATION", "LEASE", "TLS_SECRET")
    assert [told[name] for name in names] == ["edge-dpdk-webhook"] * 3 + ["edge-dpdk-webhook-tls"]
    assert ("Namespace", "dpdk") in objects


def test_the_constraints_for_authors_on_openshift_are_whole_and_let_one_capability_through() -> None:
    """There is no OpenShift here: these are the fields that its API demands."""
    constraints = yaml.safe_load(block(INSTALL, "SecurityContextConstraints", "yaml"))
    demanded = ("HostDirVolumePlugin", "HostIPC", "HostNetwork", "HostPID", "HostPorts", "PrivilegedContainer")
    assert [constraints[f"allow{each}"] for each in demanded] == [False] * len(demanded)
    assert {"defaultAddCapabilities", "priority", "readOnlyRootFilesystem"} <= set(constraints)
    assert constraints["allowedCapabilities"] == ["IPC_LOCK"]
    assert "IPC_LOCK" not in constraints["requiredDropCapabilities"]
    assert "emptyDir" in constraints["volumes"], "in which hugepages are"


def test_what_stops_a_gitops_tool_is_in_the_object_that_it_is_given() -> None:
    application, kustomization = (yaml.safe_load(text) for text in blocks(GITOPS, "yaml"))
    (commands,) = blocks(GITOPS, "console")
    first, second = re.findall(r"kubectl patch (\S+) (\S+) --namespace (\S+) --type merge --patch '(.*)'", commands)
    for given, (kind, name, namespace, patch) in ((application, first), (kustomization, second)):
        group = given["apiVersion"].partition("/")[0]
        assert f"{given['kind'].lower()}s.{group}" == kind
        assert given["metadata"] == {"name": name, "namespace": namespace}
        assert json.loads(patch).keys() == {"spec"}
    assert json.loads(first[-1])["spec"]["syncPolicy"].keys() <= application["spec"]["syncPolicy"].keys()
    assert json.loads(second[-1])["spec"] == {"suspend": True}
    assert {application["spec"]["source"]["path"], kustomization["spec"]["path"].removeprefix("./")} == {"my"}
