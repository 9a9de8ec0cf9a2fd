"""The ValidatingAdmissionPolicy of the chart on a real API server that knows no webhook, and what it makes of the golden cases.

`python -m tests.cluster.policy` judges each pod of tests/cases, as it is sent and as it comes out of the webhook, and writes
docs/policy.json.
"""

import copy
import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import httpx
import yaml

from tests.cluster.binaries import installers
from tests.cluster.cluster import Answer, Cluster
from tests.cluster.tied import Tied, until
from tests.golden import Case, Pod, cases
from tests.oracle import violations

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "deploy" / "chart"
FIGURES: Final = ROOT / "docs" / "policy.json"
FOLLOWED: Final = ("cpu_step", "whole_cpus", "allow_user_namespaces")  # the settings that are the policy's as well
POLICIES: Final = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS: Final = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
POLICY: Final = "dpdk-webhook"  # as the chart names it
LABEL: Final = "policy"
DENIED: Final = " denied request: "
ALONE: Final = "Kubernetes refuses"
REFUSED: Final = "outputs that Kubernetes refuses"
Judgement: TypeAlias = Literal["both accept", "both refuse", "policy accepts", "policy refuses"]
Documents: TypeAlias = list[dict[str, Any]]


def rendered(settings: Mapping[str, Any] | None = None, *arguments: str, helm: str = "helm") -> Documents:
    """The policy and its binding, with these settings of the site."""
    values = json.dumps({"settings": dict(settings or {})})
    command = [str(installers() / helm), "template", "dpdk-webhook", str(CHART), "--namespace", "dpdk-webhook", "--values", "-"]
    run = subprocess.run(
        [*command, "--kube-version", "1.30.0", "--show-only", "templates/policy.yaml", *arguments],
        input=values,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if run.returncode:
        raise ValueError(run.stderr)
    return list(yaml.safe_load_all(run.stdout))


@cache
def _rendered(settings: str) -> Documents:
    return rendered(json.loads(settings))


def followed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a case that the policy follows."""
    return {key: settings[key] for key in FOLLOWED if key in settings}


class Guarded(NamedTuple):
    """A namespace for which a policy is in force, and one for which none is."""

    cluster: Cluster
    name: str
    free: str

    def create(self, pod: Pod) -> Answer:
        """By a dry run."""
        return creation(self.cluster, self.name, pod)

    def stored(self, pod: Pod) -> Pod | str:
        """The pod as the API server has it before the policy is asked: its own words where it refuses the pod by itself."""
        answer = creation(self.cluster, self.free, pod)
        if answer.status == httpx.codes.CREATED:
            return answer.body
        if answer.status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise AssertionError(answer)
        message: str = answer.body["message"]
        return message.partition(": ")[2]  # behind 'Pod "fwd" is invalid: '


def creation(cluster: Cluster, namespace: str, pod: Pod) -> Answer:
    return cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Ignore", pod)


def reason(answer: Answer) -> str | None:
    """The policy's own words; None where it did not refuse. Whoever else refuses is an error."""
    if answer.status < httpx.codes.BAD_REQUEST:
        return None
    message: str = answer.body["message"]
    if answer.status != httpx.codes.UNPROCESSABLE_ENTITY or "ValidatingAdmissionPolicy" not in message:
        raise AssertionError(answer)
    return message.partition(DENIED)[2]


@contextmanager
def guarded(cluster: Cluster, documents: Documents, name: str) -> Iterator[Guarded]:
    """The policy under another name, bound to a namespace of its own, and in force."""
    policy, binding = copy.deepcopy(documents)
    policy["metadata"]["name"] = binding["metadata"]["name"] = binding["spec"]["policyName"] = name
    binding["spec"]["matchResources"] = {"namespaceSelector": {"matchLabels": {LABEL: name}}}
    with cluster.namespace({LABEL: name}) as bound, cluster.namespace() as free:
        for path, document in ((POLICIES, policy), (BINDINGS, binding)):
            made = cluster.api("POST", f"{path}?fieldValidation=Strict", document)
            if made.status != httpx.codes.CREATED:
                raise RuntimeError(f"{made.body['message']}")
        try:
            found = Guarded(cluster, bound, free)
            until(lambda: found.create(HOLLOW).status != httpx.codes.CREATED, seconds=30, waiting_for=f"{name} in force")
            yield found
        finally:
            for path in (BINDINGS, POLICIES):
                cluster.api("DELETE", f"{path}/{name}")


HOLLOW: Final[Pod] = {
    "metadata": {"name": "hollow", "annotations": {"dpdk": "true"}},
    "spec": {"containers": [{"name": "app", "image": "app"}]},
}


@contextmanager
def type_checked(cluster: Cluster) -> Iterator[None]:
    """With the controller that checks the types of policies; the cluster's own has only what pods need."""
    command = (
        cluster.programs / "kube-controller-manager",
        f"--kubeconfig={cluster.kubeconfig}",
        "--controllers=validatingadmissionpolicy-status-controller",
        "--leader-elect=false",
        "--secure-port=0",
    )
    controller = Tied(command, log=cluster.directory / "type-checking.log")
    try:
        yield
    finally:
        controller.kill()


class Judged(NamedTuple):
    """One pod, by the oracle and by the policy."""

    broken: list[str]  # the oracle's sentences
    refusal: str | None  # the policy's

    @property
    def judgement(self) -> Judgement:
        if self.broken:
            return "policy accepts" if self.refusal is None else "both refuse"
        return "both accept" if self.refusal is None else "policy refuses"


Results: TypeAlias = dict[str, Judged | str]  # by the case's name; its own words where Kubernetes itself refuses


def judged(case: Case, pod: Pod, guard: Guarded) -> Judged | str:
    stored = guard.stored(pod)
    if isinstance(stored, str):
        return stored
    return Judged(violations(stored, settings=case.site), reason(guard.create(pod)))


def annotated_cases() -> list[Case]:
    """Those of pods that are created and opted in, as they are sent to either webhook."""
    return [case for case in cases() if case.pod and case.old is None and case.is_opted_in]


def measured(cluster: Cluster) -> tuple[Results, Results]:
    """Each case as it is sent, and as it comes out of the webhook where that accepts it."""
    sent: Results = {}
    came_out: Results = {}
    by_settings: dict[str, list[Case]] = {}
    for case in annotated_cases():
        by_settings.setdefault(json.dumps(followed(case.settings), sort_keys=True), []).append(case)
    for number, (settings, found) in enumerate(by_settings.items()):
        with guarded(cluster, _rendered(settings), f"policy-{number}") as guard:
            for case in found:
                sent[case.name] = judged(case, case.pod or {}, guard)
                if case.is_allowed:
                    came_out[case.name] = judged(case, case.pod_out, guard)
    return sent, came_out


def left(broken: list[str]) -> list[str]:
    """What the policy does not say, of the oracle's sentences: their codes."""
    return sorted({"C4 over" if "one over the other" in line else line.partition(":")[0] for line in broken})


def figures(sent: Results, came_out: Results) -> dict[str, Any]:
    """Counts by the cases' folder, each case in which policy and oracle differ, and each output that is no pod here."""
    table: dict[str, Counter[str]] = {}
    differing: dict[str, list[str]] = {}
    for name, each in sent.items():
        verdict = _verdict(each)
        table.setdefault(name.partition("/")[0], Counter())[verdict] += 1
        if isinstance(each, Judged) and verdict == "policy accepts":
            differing.setdefault("; ".join(left(each.broken)), []).append(name)
    outputs = Counter(map(_verdict, came_out.values()))
    return {
        "rules": {folder: dict(sorted(counts.items())) for folder, counts in sorted(table.items())},
        "outputs": dict(sorted(outputs.items())),
        REFUSED: {name: each for name, each in sorted(came_out.items()) if isinstance(each, str)},
        "policy accepts": {codes: sorted(names) for codes, names in sorted(differing.items())},
        "policy refuses": refused_for_nothing(sent) + refused_for_nothing(came_out),
    }


def _verdict(each: Judged | str) -> str:
    return each.judgement if isinstance(each, Judged) else ALONE


def refused_for_nothing(results: Results) -> list[str]:
    """The cases that keep the promise, and that the policy refuses."""
    return sorted(name for name, each in results.items() if isinstance(each, Judged) and each.judgement == "policy refuses")


def main() -> None:
    with Cluster() as cluster:
        found = figures(*measured(cluster))
        about = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "kubernetes": cluster.api("GET", "/version").body["gitVersion"]}
    FIGURES.write_text(json.dumps(about | found, indent=2) + "\n")


if __name__ == "__main__":
    main()
