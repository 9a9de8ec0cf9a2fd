"""The golden files, judged by a real API server: what it says itself, and what it makes of our answers."""

import re
import ssl
from collections.abc import Iterator
from typing import Any, Final

import httpx
import orjson
import pytest

from tests.cluster.cluster import Answer, Cluster
from tests.cluster.webhook import Webhook
from tests.golden import ACCEPTS, Case, Pod, answered, by_name, cases, kubernetes_says, said
from tests.oracle import qos, violations

WITHOUT: Final = "kube-system"  # the namespace that no webhook of ours is called for
CASES: Final = sorted(cases(), key=lambda case: orjson.dumps(case.settings))  # a change of settings is a restart
CREATED: Final = [case for case in CASES if case.is_creation]
SENT: Final = [case for case in CASES if case.pod or case.old or case.review]

# Rows of which it is said that Kubernetes refuses the pod as well, and the words with which it does: whatever we refuse by
# those in ALWAYS, and of the others at least one case.
CLAIMS: Final = {
    4: r"capabilities: Forbidden: cannot be set for a windows pod",
    15: r"must be (less than or equal|equal) to .* limit of",
    18: r"must be greater than or equal to 0|quantities must match|unable to parse quantity",
    23: r"Limit must be set for non overcommitable resources",
    24: r"must be equal to hugepages-2Mi limit of",
    25: r"is not positive integer multiple of hugepages-",
    36: r"mountPath: Invalid value: .*: must be unique",
}
ALWAYS: Final = (15, 18, 24, 25)

# Rules whose field is dropped by older versions before they call a webhook.
SINCE: Final = {"pod_resources": (1, 34)}


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@pytest.fixture(scope="module")
def borrowed(webhook: Webhook) -> Iterator[Webhook]:
    """The server of the whole run, which gets its own settings back."""
    yield webhook
    webhook.use({})


@pytest.fixture
def served(borrowed: Webhook, case: Case) -> Webhook:
    """The server, with the settings of the case."""
    borrowed.use(case.settings)
    return borrowed


def created(cluster: Cluster, namespace: str, pod: Pod) -> Answer:
    return cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Ignore", pod)


def settled(pod: Pod) -> Pod:
    """What two creations of one manifest have in common.

    Left out: of the metadata, all but labels and annotations (uid, creationTimestamp, resourceVersion, managedFields and
    generation, the namespace, and what generateName ends in); and the volume of the service account's token with its mounts,
    which comes before the webhook's volumes or behind those of the manifest.
    """
    spec = {**pod["spec"], "volumes": _without_token(pod["spec"].get("volumes"))}
    for key in ("containers", "initContainers"):
        if key in spec:
            spec[key] = [{**each, "volumeMounts": _without_token(each.get("volumeMounts"))} for each in spec[key]]
    metadata = {key: pod["metadata"].get(key) or {} for key in ("labels", "annotations")}
    return {"metadata": metadata, "spec": spec, "status": pod["status"]}


def _without_token(named: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return [each for each in named or () if not re.fullmatch(r"kube-api-access-\w+", each["name"])]


@pytest.mark.parametrize("case", CREATED, ids=by_name)
def test_kubernetes_alone_says_what_the_file_says(cluster: Cluster, case: Case) -> None:
    assert case.pod is not None
    assert kubernetes_says(cluster, case.pod) == case.said(cluster.version)


@pytest.mark.parametrize("row", CLAIMS)
def test_what_is_claimed_of_kubernetes_is_true(cluster: Cluster, row: int) -> None:
    answers = {case.name: kubernetes_says(cluster, case.pod or {}) for case in CREATED if row in case.rows}
    assert [name for name, answer in answers.items() if re.search(CLAIMS[row], str(answer))] != []
    refused = [case.name for case in CREATED if row in case.rows and not case.is_allowed]
    assert row not in ALWAYS or [name for name in refused if answers[name] == ACCEPTS] == []


@pytest.mark.parametrize("case", [case for case in CREATED if case.folder == "pod_resources" and case.is_allowed], ids=by_name)
def test_empty_pod_resources_are_as_bad_as_is_claimed(cluster: Cluster, case: Case) -> None:
    alone = created(cluster, WITHOUT, case.pod or {}).body
    is_bad = case.found["patch"] != [] and SINCE["pod_resources"] <= cluster.version < (1, 37)
    assert alone["status"]["qosClass"] == ("BestEffort" if is_bad else "Guaranteed")


@pytest.mark.parametrize("case", [case for case in CREATED if case.is_allowed], ids=by_name)
def test_a_pod_is_stored_as_the_file_says(cluster: Cluster, served: Webhook, namespace: str, case: Case) -> None:
    expected, stored = created(cluster, WITHOUT, case.pod_out), created(cluster, namespace, case.pod or {})
    assert (said(expected), said(stored)) == (ACCEPTS, ACCEPTS)
    assert settled(stored.body) == settled(expected.body)
    ours = case.found.get("warnings", []) if case.is_opted_in else []  # of others the server is not even asked
    assert stored.warnings == ours + expected.warnings
    if case.is_opted_in:
        alone = created(cluster, WITHOUT, case.pod or {})
        before = alone.body if said(alone) == ACCEPTS else case.pod
        assert violations(stored.body, settings=case.site, before=before) == []
        assert stored.body["status"]["qosClass"] == qos(stored.body)


@pytest.mark.parametrize("case", [case for case in CREATED if not case.is_allowed], ids=by_name)
def test_a_refusal_is_shown_as_the_file_says(cluster: Cluster, served: Webhook, namespace: str, case: Case) -> None:
    alone, refused = created(cluster, WITHOUT, case.pod or {}), created(cluster, namespace, case.pod or {})
    if alone.status == httpx.codes.BAD_REQUEST:  # not even decoded, so that no webhook is asked
        assert (refused.status, said(refused)) == (alone.status, said(alone))
        return
    blind = tuple(f"{rule}:" for rule, since in SINCE.items() if cluster.version < since)
    expected = [reason for reason in case.found["reasons"] if not reason.startswith(blind)]
    if not expected:
        assert said(refused) == ACCEPTS
        return
    head, *reasons = refused.body["message"].splitlines()
    assert head.startswith('admission webhook "mutate.pods.dpdk-webhook" denied the request: this pod can\'t run DPDK as it is')
    assert reasons == expected
    assert refused.status == httpx.codes.UNPROCESSABLE_ENTITY
    assert refused.warnings == case.found.get("warnings", [])


@pytest.mark.parametrize("case", [case for case in SENT if not case.is_creation], ids=by_name)
def test_the_server_answers_a_review_as_the_file_says(served: Webhook, case: Case) -> None:
    trust = ssl.create_default_context(cadata=served.ca_pem.decode())
    with httpx.Client(verify=trust, trust_env=False) as http:
        answer = answered(http.post(f"{served.url}/{case.to}", content=case.body))
    written_only = ("reasons", "pod_out") if case.found.get("patch") else ()  # which no answer holds beside a patch
    assert answer == {key: value for key, value in case.found.items() if key not in written_only}
