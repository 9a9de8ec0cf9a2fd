"""Whether the objects of an installation fit each other: whatever one says of another must be so.

`problems` returns a sentence for each reference that leads nowhere, or elsewhere. It knows what the webhook reads (the settings
in the Deployment) and what Kubernetes follows; it renders nothing, and knows neither the chart nor kustomize.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.deploy.issued import issued_problems
from tests.deploy.rendered import Object, key

CONFIGURATIONS: Final = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
CLUSTER_WIDE: Final = (
    *CONFIGURATIONS,
    "ClusterRole",
    "ClusterRoleBinding",
    "Namespace",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)
LABELS: Final = ("app.kubernetes.io/name", "app.kubernetes.io/instance")
PATHS: Final = {  # of the server, by the entry that calls them
    "mutate.pods.dpdk-webhook": "/mutate",
    "mutate.pods-under-pod-security.dpdk-webhook": "/mutate/baseline",
    "validate.pods.dpdk-webhook": "/validate",
    "warn.workloads.dpdk-webhook": "/warn",
    "warn.workloads-under-pod-security.dpdk-webhook": "/warn/baseline",
}
GUARD: Final = (
    "object != null && has(object.metadata.annotations) && 'dpdk' in object.metadata.annotations"
    " && object.metadata.annotations['dpdk'] == 'true'"
)


@dataclass(frozen=True, slots=True)
class Installation:
    """Its objects, and what most of them refer to."""

    objects: Sequence[Object]

    def named(self, kind: str, name: str | None = None) -> list[Object]:
        return [each for each in self.objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]

    def one(self, kind: str) -> Object:
        (found,) = self.named(kind)
        return found

    @property
    def namespace(self) -> str:
        name: str = self.one("Deployment")["metadata"]["namespace"]
        return name

    @property
    def template(self) -> Object:
        found: Object = self.one("Deployment")["spec"]["template"]
        return found

    @property
    def pod(self) -> Object:
        found: Object = self.template["spec"]
        return found

    @property
    def container(self) -> Object:
        found: Object = self.pod["containers"][0]
        return found

    @property
    def settings(self) -> dict[str, str]:
        """As the replicas read them: by their names in small letters, those of the pod in place."""
        fields = {"metadata.namespace": self.namespace, "metadata.name": "a-replica"}
        given = {
            each["name"]: each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
            for each in self.container["env"]
        }
        prefix = "DPDK_WEBHOOK_"
        return {name.removeprefix(prefix).lower(): value for name, value in given.items() if name.startswith(prefix)}

    @property
    def ports(self) -> dict[str, int]:
        """Of the container, by name."""
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    def entries(self) -> Iterator[tuple[str, Object]]:
        for kind in CONFIGURATIONS:
            for entry in self.one(kind)["webhooks"]:
                yield entry["name"], entry


def problems(objects: Sequence[Object]) -> list[str]:
    """Every one that is found, a sentence each."""
    here = Installation(objects)
    parts = (_placed, _labelled, _selected, _ported, _called, _spared, _set, _authorized, _mounted, _bound, issued_problems)
    return [sentence for part in parts for sentence in part(here)]


def _placed(here: Installation) -> Iterator[str]:
    keys = [key(each) for each in here.objects]
    yield from (f"{each} is there twice" for each in sorted(set(keys)) if keys.count(each) > 1)
    for each in keys:
        wanted = "" if each.kind in CLUSTER_WIDE else here.namespace
        if each.namespace != wanted:
            yield f"{each.kind} {each.name} is in namespace {each.namespace!r}, not in {wanted!r}"
        if each.kind == "Namespace" and each.name != here.namespace:
            yield f"Namespace {each.name} is made, and everything is in {here.namespace}"


def _labelled(here: Installation) -> Iterator[str]:
    for each in (*here.objects, here.template | {"kind": "Pod"}):
        labels = each["metadata"].get("labels", {})
        yield from (
            f"{each['kind']} {each['metadata'].get('name')} has no label {label}" for label in LABELS if label not in labels
        )


def _selected(here: Installation) -> Iterator[str]:
    pod, service = here.template["metadata"]["labels"], here.one("Service")["metadata"]["labels"]
    selectors = [
        ("Service", here.one("Service")["spec"]["selector"], pod),
        ("Deployment", here.one("Deployment")["spec"]["selector"]["matchLabels"], pod),
    ]
    for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        selectors += [(kind, each["spec"][field]["matchLabels"], pod) for each in here.named(kind)]
    spread = here.pod.get("topologySpreadConstraints", [])
    selectors += [("topologySpreadConstraints", each["labelSelector"]["matchLabels"], pod) for each in spread]
    selectors += [("ServiceMonitor", each["spec"]["selector"]["matchLabels"], service) for each in here.named("ServiceMonitor")]
    for what, selector, labels in selectors:
        if not selector.items() <= labels.items():
            yield f"{what} selects {selector}, and there is only {labels}"
        if set(selector) != set(LABELS) and what != "topologySpreadConstraints":
            yield f"{what} selects by {sorted(selector)}, not by {sorted(LABELS)}"


def _ported(here: Installation) -> Iterator[str]:
    container = here.container
    known = here.ports
    for port in here.one("Service")["spec"]["ports"]:
        if port["targetPort"] not in known:
            yield f"the Service leads to port {port['targetPort']}, which the container doesn't have"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if container[probe]["httpGet"]["port"] not in known:
            yield f"the {probe} asks port {container[probe]['httpGet']['port']}, which the container doesn't have"
    for name, setting, default in (("https", "tls_port", "8443"), ("health", "health_port", "8080")):
        listens = here.settings.get(setting, default)
        if str(known.get(name)) != listens:
            yield f"port {name} of the container is {known.get(name)}, and the webhook listens on {listens}"
    names = [port["name"] for port in here.one("Service")["spec"]["ports"]]
    for monitor in here.named("ServiceMonitor"):
        yield from (
            f"the ServiceMonitor asks port {each['port']}, which the Service doesn't have"
            for each in monitor["spec"]["endpoints"]
            if each["port"] not in names
        )
    for policy in here.named("NetworkPolicy"):
        allowed = {port["port"] for rule in policy["spec"]["ingress"] for port in rule.get("ports", ())}
        if missing := set(known.values()) - allowed:
            yield f"the NetworkPolicy doesn't let anybody to {sorted(missing)}"


def _called(here: Installation) -> Iterator[str]:
    service = here.one("Service")
    ports = [port["port"] for port in service["spec"]["ports"]]
    seen = {}
    for name, entry in here.entries():
        called = entry["clientConfig"]["service"]
        wanted = (service["metadata"]["name"], here.namespace)
        if (called["name"], called["namespace"]) != wanted:
            yield f"{name} calls {called['name']} in {called['namespace']}, not {wanted[0]} in {wanted[1]}"
        if called.get("port", 443) not in ports:
            yield f"{name} calls port {called.get('port', 443)}, which the Service doesn't have"
        seen[name] = called["path"]
    if seen != PATHS:
        yield f"the entries call {seen}"


def _policies(here: Installation) -> list[tuple[str, Object]]:
    return [(each["metadata"]["name"], each["spec"]) for each in here.named("ValidatingAdmissionPolicy")]


def _spared(here: Installation) -> Iterator[str]:
    """The cluster's own pods and the webhook's, and every pod that isn't annotated."""
    policies = [(name, spec) for name, spec in _policies(here) if "paramKind" not in spec]
    selectors = [(name, entry["namespaceSelector"], entry["matchConditions"]) for name, entry in here.entries()]
    selectors += [(name, spec["matchConstraints"]["namespaceSelector"], spec["matchConditions"]) for name, spec in policies]
    for name, selector, conditions in selectors:
        spared = {
            value
            for each in selector["matchExpressions"]
            if (each["key"], each["operator"]) == ("kubernetes.io/metadata.name", "NotIn")
            for value in each["values"]
        }
        if not spared >= {"kube-system", here.namespace}:
            yield f"{name} leaves out {sorted(spared)}, not kube-system and {here.namespace}"
        guards = [" ".join(each["expression"].split()) for each in conditions if each["name"] == "annotated"]
        if not name.startswith("warn.") and guards != [GUARD]:
            yield f"{name} is not only for annotated pods"
        if len({each["name"] for each in conditions}) != len(conditions):
            yield f"{name} has two conditions of one name"
    pods = [conditions for name, _, conditions in selectors if not name.startswith("warn.")]
    further = [[each for each in conditions if each["name"] not in OURS] for conditions in pods]
    if any(each != further[0] for each in further):
        yield "the webhooks and the policy don't have the same further conditions"


OURS: Final = ("annotated", "new-resized-or-annotated-just-now", "no-mirror")


def _set(here: Installation) -> Iterator[str]:
    settings = here.settings
    wanted = {"service": ["Service"], "webhook_configuration": list(CONFIGURATIONS)}
    if settings["certificates"] == "self":
        wanted |= {"tls_secret": ["Secret"], "lease": ["Lease"]}
    for setting, kinds in wanted.items():
        name = settings.get(setting)
        yield from (
            f"the setting {setting} is {name}, and there is no such {kind}" for kind in kinds if not here.named(kind, name)
        )
    if settings.get("namespace") != here.namespace:
        yield f"the setting namespace is {settings.get('namespace')}, not {here.namespace}"
    names = [each["name"] for each in here.container["env"]]
    yield from (f"{name} is set twice" for name in sorted(set(names)) if names.count(name) > 1)


def _authorized(here: Installation) -> Iterator[str]:
    account = here.pod["serviceAccountName"]
    bindings = [*here.named("RoleBinding"), *here.named("ClusterRoleBinding")]
    roles = [*here.named("Role"), *here.named("ClusterRole")]
    if here.settings["certificates"] != "self":
        yield from (f"{each['kind']} {each['metadata']['name']} isn't needed" for each in (*bindings, *roles))
        yield from (f"{kind} isn't needed" for kind in ("Secret", "Lease") if here.named(kind))
        if here.pod["automountServiceAccountToken"] is not False:
            yield "the replicas have a token that they don't need"
        return
    if here.pod["automountServiceAccountToken"] is not True:
        yield "the replicas have no token"
    for binding in bindings:
        role = binding["roleRef"]
        if not here.named(role["kind"], role["name"]):
            yield f"{binding['kind']} {binding['metadata']['name']} is of {role['kind']} {role['name']}, which isn't there"
        subjects = [{"kind": "ServiceAccount", "name": account, "namespace": here.namespace}]
        if binding["subjects"] != subjects:
            yield f"{binding['kind']} {binding['metadata']['name']} is for {binding['subjects']}, not for {account}"
    bound = {(each["roleRef"]["kind"], each["roleRef"]["name"]) for each in bindings}
    yield from (
        f"{each['kind']} {each['metadata']['name']} is bound to nobody"
        for each in roles
        if (each["kind"], each["metadata"]["name"]) not in bound
    )
    yield from _by_name(here, roles)


def _by_name(here: Installation, roles: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The rights are for the objects that the settings name, and for no others."""
    settings = here.settings
    wanted = {
        "secrets": settings.get("tls_secret"),
        "leases": settings.get("lease"),
        "mutatingwebhookconfigurations": settings["webhook_configuration"],
        "validatingwebhookconfigurations": settings["webhook_configuration"],
    }
    given: dict[str, list[str]] = {}
    for role in roles:
        for rule in role["rules"]:
            if rule["verbs"] != ["create"]:  # of which RBAC can't say the name
                for resource in rule["resources"]:
                    given.setdefault(resource, []).extend(rule.get("resourceNames", ["anything"]))
    for resource in sorted(given.keys() | wanted.keys()):
        if given.get(resource) != [wanted.get(resource)]:
            yield f"the rights are for {resource} {given.get(resource)}, and the settings name {wanted.get(resource)}"


def _mounted(here: Installation) -> Iterator[str]:
    mounts = here.container.get("volumeMounts", [])
    volumes = [each["name"] for each in here.pod.get("volumes", [])]
    yield from (f"{each['name']} is mounted, and there is no such volume" for each in mounts if each["name"] not in volumes)
    yield from (f"volume {name} is mounted nowhere" for name in volumes if name not in [each["name"] for each in mounts])
    paths = [each["mountPath"].rstrip("/") for each in mounts]
    for setting in ("tls_cert", "tls_key", "client_ca"):
        file = here.settings.get(setting, "")
        if file and not any(file.startswith(f"{path}/") for path in paths):
            yield f"the setting {setting} is {file}, where nothing is mounted"
    yield from (f"two things are mounted on {path}" for path in sorted(set(paths)) if paths.count(path) > 1)


def _bound(here: Installation) -> Iterator[str]:
    """What is left: the policy with its binding, the account, the budget."""
    for binding in here.named("ValidatingAdmissionPolicyBinding"):
        if not here.named("ValidatingAdmissionPolicy", binding["spec"]["policyName"]):
            yield f"the binding is of policy {binding['spec']['policyName']}, which isn't there"
    if len(here.named("ValidatingAdmissionPolicyBinding")) != len(here.named("ValidatingAdmissionPolicy")):
        yield "the policy has no binding, or the binding no policy"
    account = {"name": here.pod["serviceAccountName"], "namespace": here.namespace}
    rules = [spec["matchConstraints"]["resourceRules"][0] for _, spec in _policies(here) if "paramKind" in spec]
    held, names = [rule["resources"] for rule in rules], [rule["resourceNames"] for rule in rules]
    if any(each != [here.one(CONFIGURATIONS[0])["metadata"]["name"]] for each in names):
        yield f"the account is held to the caBundle in {names}"
    bound = [each["spec"]["paramRef"] for each in here.named("ValidatingAdmissionPolicyBinding") if "paramRef" in each["spec"]]
    if held != ([[f"{kind.lower()}s" for kind in CONFIGURATIONS]] if here.named("ClusterRole") else []):
        yield f"the account may write what no policy looks at: {held}"
    for matched in (spec["matchConstraints"] for _, spec in _policies(here) if "paramKind" in spec):
        places = [each["values"] for each in matched["namespaceSelector"]["matchExpressions"]]
        if places != [[here.namespace]] or matched["resourceRules"][1]["resources"] != ["secrets"]:
            yield f"the account may write any Secret: only those in {places} are looked at"
    if [{key: ref[key] for key in account} for ref in bound] != [account] * len(held):
        yield f"the account is {account}, and held is {bound}"
    for account in here.named("ServiceAccount"):
        if account["metadata"]["name"] != here.pod["serviceAccountName"]:
            yield f"account {account['metadata']['name']} is made, and the replicas run as {here.pod['serviceAccountName']}"
    for budget in here.named("PodDisruptionBudget"):
        spec, replicas = budget["spec"], here.one("Deployment")["spec"]["replicas"]
        if ("minAvailable" in spec) == ("maxUnavailable" in spec):
            yield "the budget has not one of minAvailable and maxUnavailable"
        if isinstance(least := spec.get("minAvailable"), int) and least >= replicas:
            yield f"of {replicas} replicas {least} must stay: no node can be drained"
