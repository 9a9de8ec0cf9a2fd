"""The policy as the chart renders it: the settings that it follows, and the registration that it shares with the webhook."""

import subprocess
from typing import Any

import pytest
import yaml

from tests.cluster.binaries import installers
from tests.cluster.policy import CHART, ROOT, rendered


def variables(settings: dict[str, Any]) -> list[tuple[str, str]]:
    policy, _ = rendered(settings)
    return [(each["name"], each["expression"]) for each in policy["spec"]["variables"][:3]]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["1", "'dpdk'", "false"]),
        ({"cpu_step": 2, "whole_cpus": "all", "allow_user_namespaces": True}, ["2", "'all'", "true"]),
        ({"whole_cpus": "dpdk", "allow_user_namespaces": False}, ["1", "'dpdk'", "false"]),
    ],
)
def test_the_first_variables_are_the_settings(settings: dict[str, Any], expected: list[str]) -> None:
    names = ["cpuStep", "wholeCpus", "allowUserNamespaces"]
    assert variables(settings) == list(zip(names, expected, strict=True))


def test_the_patch_of_the_documentation_names_the_variables_in_their_order() -> None:
    policy = (ROOT / "docs" / "policy.md").read_text()
    patch = yaml.safe_load(policy.partition("```yaml\n")[2].partition("```")[0])["patches"][0]
    wanted = {"cpu_step": 2, "whole_cpus": "all", "allow_user_namespaces": True}
    settings = [expression for _, expression in variables(wanted)]
    operations = yaml.safe_load(patch["patch"])
    assert [operation["path"] for operation in operations] == [f"/spec/variables/{index}/expression" for index in range(3)]
    assert [operation["value"] for operation in operations] == settings
    assert patch["target"] == {"kind": rendered()[0]["kind"], "name": rendered()[0]["metadata"]["name"]}


@pytest.mark.parametrize("setting", ["CPU_STEP", "WHOLE_CPUS", "ALLOW_USER_NAMESPACES"])
def test_a_setting_that_the_policy_would_not_hear_of_is_an_error(setting: str) -> None:
    given = ("--set", f"extraEnv[0].name=DPDK_WEBHOOK_{setting}", "--set-string", "extraEnv[0].value=2")
    with pytest.raises(ValueError, match=f"DPDK_WEBHOOK_{setting} is a setting; write it under settings"):
        rendered(None, *given)


def test_without_it_nothing_of_it_is_rendered() -> None:
    with pytest.raises(ValueError, match=r"could not find template templates/policy\.yaml"):
        rendered(None, "--set", "policy.enabled=false")


@pytest.mark.parametrize("arguments", [(), ("--set", "webhook.namespaceSelector.matchLabels.dpdk=yes")])
def test_it_is_asked_for_the_pods_that_the_validating_webhook_is_asked_for(arguments: tuple[str, ...]) -> None:
    policy, binding = rendered(None, *arguments)
    command = [installers() / "helm", "template", "dpdk-webhook", CHART, "--namespace", "dpdk-webhook", *arguments]
    run = subprocess.run(
        [*map(str, command), "--show-only", "templates/webhooks.yaml"], capture_output=True, text=True, timeout=60, check=True
    )
    (webhook,) = [
        webhook
        for document in yaml.safe_load_all(run.stdout)
        for webhook in document["webhooks"]
        if webhook["name"] == "validate.pods.dpdk-webhook"
    ]
    constraints = policy["spec"]["matchConstraints"]
    assert constraints["resourceRules"] == webhook["rules"]
    assert constraints["namespaceSelector"] == webhook["namespaceSelector"]
    *shared, mirror = policy["spec"]["matchConditions"]
    assert shared == webhook["matchConditions"]
    assert mirror["name"] == "no-mirror"
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}


@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_both_majors_of_helm_render_the_same(helm: str) -> None:
    assert rendered(helm=helm) == rendered()
