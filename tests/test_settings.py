"""Settings from the environment and from a file: every field, and a line for everything that can't be used."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from webhook.settings import PREFIX, Settings, SettingsError, load

# field, as a variable, as a line of YAML, the value that both give
VALUES: list[tuple[str, str, str, Any]] = [
    ("default_cpu", "2", "2", "2"),
    ("default_cpu", "", "''", ""),
    ("default_cpu", "2.5", "2.5", "2.5"),
    ("cpu_step", "2", "'2'", 2),
    ("max_cpu", "64", "64", 64),
    ("other_cpu", "250m", "250m", "250m"),
    ("whole_cpus", "all", "all", "all"),
    ("default_memory", "1Gi", "1Gi", "1Gi"),
    ("default_memory", "1073741824", "1073741824", "1073741824"),
    ("other_memory", "64Mi", "64Mi", "64Mi"),
    ("default_hugepages", '{"2Mi": "1Gi"}', "{2Mi: 1Gi}", {"2Mi": "1Gi"}),
    ("default_hugepages", '{"2Mi": 4194304}', "{2Mi: 4194304}", {"2Mi": "4194304"}),
    ("huge_dir", "/mnt/huge", "/mnt/huge", "/mnt/huge"),
    ("eal_env", "EAL_ARGS", "EAL_ARGS", "EAL_ARGS"),
    ("allow_user_namespaces", "true", "true", True),
    ("pod_security", "baseline", "baseline", "baseline"),
    ("warn_workloads", "false", "false", False),
    ("host", "::1", "'::1'", "::1"),
    ("tls_port", "9443", "9443", 9443),
    ("health_port", "9080", "9080", 9080),
    *(("certificates", mode, mode, mode) for mode in ("cert-manager", "openshift", "files")),
    ("tls_cert", "/c", "/c", "/c"),
    ("tls_key", "/k", "/k", "/k"),
    ("tls_min_version", "1.3", "1.3", "1.3"),
    ("client_ca", "/ca", "/ca", "/ca"),
    ("client_subjects", "kube-apiserver", "kube-apiserver", ("kube-apiserver",)),
    ("client_subjects", " a, b ,", "[a, b]", ("a", "b")),
    ("service", "webhook", "webhook", "webhook"),
    ("service", "0" + 62 * "a", "0" + 62 * "a", "0" + 62 * "a"),
    ("namespace", "dpdk", "dpdk", "dpdk"),
    ("namespace", "", "''", ""),
    ("tls_secret", "webhook.tls", "webhook.tls", "webhook.tls"),
    ("lease", "a", "a", "a"),
    ("webhook_configuration", "dpdk.example.com", "dpdk.example.com", "dpdk.example.com"),
    ("webhook_configuration", 253 * "a", 253 * "a", 253 * "a"),
    ("replica", "dpdk-webhook-7d9f-abcde", "dpdk-webhook-7d9f-abcde", "dpdk-webhook-7d9f-abcde"),
    ("kubeconfig", "/k", "/k", "/k"),
    ("drain_seconds", "7.5", "7.5", 7.5),
    ("max_connections", "64", "64", 64),
    ("shed_after", "0.5", "0.5", 0.5),
    (
        "tracing_endpoint",
        "http://collector:4318/v1/traces",
        "http://collector:4318/v1/traces",
        "http://collector:4318/v1/traces",
    ),
]
# what can't be set alone, with what it is set beside
TOGETHER = [{"tls_cert": "/c", "tls_key": "/k", "certificates": "files"}, {"client_ca": "/ca", "client_subjects": "a"}]


@pytest.fixture(autouse=True)
def _no_settings_of_whoever_runs_this(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)


def _lines(config: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(config)
    assert str(caught.value) == "\n".join(caught.value.lines)
    return list(caught.value.lines)


def test_every_field_is_in_the_table() -> None:
    assert {field for field, *_ in VALUES} == set(Settings.model_fields)


@pytest.mark.parametrize(("field", "variable", "text", "value"), VALUES)
def test_a_field_from_the_environment_and_from_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: str, variable: str, text: str, value: object
) -> None:
    config = tmp_path / "settings.yaml"
    others = {name: other for pair in TOGETHER if field in pair for name, other in pair.items() if name != field}
    config.write_text(f"{field}: {text}\n" + "".join(f"{name}: {other}\n" for name, other in others.items()))
    assert getattr(load(config), field) == value
    for name, other in {field: variable, **others}.items():
        monkeypatch.setenv(PREFIX + name.upper(), other)
    assert getattr(load(), field) == value


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("default_cpu: 2\nother_cpu: 50m\n")
    monkeypatch.setenv("DPDK_WEBHOOK_DEFAULT_CPU", "3")
    settings = load(config)
    assert (settings.default_cpu, settings.other_cpu) == ("3", "50m")


@pytest.mark.parametrize("text", ["", "---\n", "# nothing set\n", "{}"])
def test_an_empty_file_leaves_everything_at_its_default(tmp_path: Path, text: str) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(text)
    assert load(config) == Settings()


@pytest.mark.parametrize("mode", ["cert-manager", "openshift", "files"])
def test_only_a_server_needs_the_files_that_others_write(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("DPDK_WEBHOOK_CERTIFICATES", mode)
    assert (load().certificates, load().tls_cert) == (mode, "")


def test_settings_are_frozen() -> None:
    settings = load()
    with pytest.raises(ValidationError, match="frozen"):
        settings.default_cpu = "2"


def test_page_amounts_are_read_once_smallest_size_first() -> None:
    settings = Settings(default_hugepages={"1Gi": "2Gi", "2Mi": "64Mi"})
    assert [(str(size), str(amount)) for size, amount in settings.default_page_amounts] == [("2Mi", "64Mi"), ("1Gi", "2Gi")]
    assert settings.default_page_amounts is settings.default_page_amounts


@pytest.mark.parametrize(
    "name",
    ["PORT", "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTPS", "PORT_443_TCP", "PORT_443_TCP_PROTO", "PORT_443_TCP_ADDR"],
)
def test_what_kubernetes_sets_beside_a_service_is_no_setting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(PREFIX + name, "tcp://10.96.0.1:443")
    assert load() == Settings()


@pytest.mark.parametrize(
    ("variables", "lines"),
    [
        ({"CPU_STEPS": "2"}, ["DPDK_WEBHOOK_CPU_STEPS: there is no such setting; did you mean DPDK_WEBHOOK_CPU_STEP?"]),
        ({"ZZZZZZZZZZZZZZZZZZZZZZZZZZZZ": "2"}, ["DPDK_WEBHOOK_ZZZZZZZZZZZZZZZZZZZZZZZZZZZZ: there is no such setting"]),
        ({"DEFAULT_CPU": "-1"}, ["default_cpu (DPDK_WEBHOOK_DEFAULT_CPU): -1 is not above 0"]),
        ({"DEFAULT_CPU": "0"}, ["default_cpu (DPDK_WEBHOOK_DEFAULT_CPU): 0 is not above 0"]),
        ({"DEFAULT_CPU": "two"}, ["default_cpu (DPDK_WEBHOOK_DEFAULT_CPU): 'two' is not a quantity"]),
        ({"OTHER_CPU": ""}, ["other_cpu (DPDK_WEBHOOK_OTHER_CPU): an amount is needed"]),
        ({"OTHER_MEMORY": ""}, ["other_memory (DPDK_WEBHOOK_OTHER_MEMORY): an amount is needed"]),
        ({"CPU_STEP": "0"}, ["cpu_step (DPDK_WEBHOOK_CPU_STEP): Input should be greater than or equal to 1"]),
        ({"TLS_PORT": "65536"}, ["tls_port (DPDK_WEBHOOK_TLS_PORT): Input should be less than or equal to 65535"]),
        ({"WHOLE_CPUS": "none"}, ["whole_cpus (DPDK_WEBHOOK_WHOLE_CPUS): Input should be 'dpdk' or 'all'"]),
        (
            {"HUGE_DIR": "mnt"},
            ["huge_dir (DPDK_WEBHOOK_HUGE_DIR): 'mnt' is not an absolute path; write a path such as /dev/hugepages"],
        ),
        (
            {"EAL_ENV": "A-B"},
            ["eal_env (DPDK_WEBHOOK_EAL_ENV): 'A-B' is not a name that a shell can read, such as DPDK_EAL_ARGS"],
        ),
        (
            {"DEFAULT_HUGEPAGES": '{"2MB": "1Gi"}'},
            ["default_hugepages (DPDK_WEBHOOK_DEFAULT_HUGEPAGES): no node advertises '2MB'; write 2Mi"],
        ),
        (
            {"DEFAULT_HUGEPAGES": '{"huge": "1Gi"}'},
            ["default_hugepages (DPDK_WEBHOOK_DEFAULT_HUGEPAGES): no node advertises 'huge'; write a size such as 2Mi"],
        ),
        (
            {"DEFAULT_HUGEPAGES": '{"2Mi": "3Mi"}'},
            ["default_hugepages (DPDK_WEBHOOK_DEFAULT_HUGEPAGES): 3Mi is not a whole number of 2Mi pages; write 4Mi"],
        ),
        ({"DEFAULT_HUGEPAGES": '{"2Mi": "x"}'}, ["default_hugepages (DPDK_WEBHOOK_DEFAULT_HUGEPAGES): 'x' is not a quantity"]),
        (
            {"DEFAULT_HUGEPAGES": "2Mi=1Gi"},
            [
                "default_hugepages (DPDK_WEBHOOK_DEFAULT_HUGEPAGES): not JSON; "
                """write an object such as DPDK_WEBHOOK_DEFAULT_HUGEPAGES='{"2Mi": "1Gi"}'"""
            ],
        ),
        ({"DEFAULT_CPU": "8", "MAX_CPU": "4"}, ["default_cpu 8 is above max_cpu 4; raise max_cpu"]),
        ({"OTHER_CPU": "4001m", "MAX_CPU": "4"}, ["other_cpu 4001m is above max_cpu 4; raise max_cpu"]),
        (
            {"DEFAULT_CPU": "3", "CPU_STEP": "2", "MAX_CPU": "3"},
            ["default_cpu 3 in steps of 2 is 4, above max_cpu 3; raise max_cpu"],
        ),
        ({"CPU_STEP": "8", "MAX_CPU": "4"}, ["cpu_step 8 is above max_cpu 4; raise max_cpu"]),
        ({"TLS_PORT": "8080"}, ["tls_port and health_port are both 8080; give each its own"]),
        *(
            ({"CERTIFICATES": mode, **dict.fromkeys(given, "/x")}, [line])
            for mode, given, line in (
                ("files", ["TLS_CERT"], "tls_cert is set and tls_key is not; set both"),
                ("cert-manager", ["TLS_KEY"], "tls_key is set and tls_cert is not; set both"),
                ("self", ["TLS_CERT"], "tls_cert is set and certificates is self; set certificates=files"),
                ("self", ["TLS_KEY"], "tls_key is set and certificates is self; set certificates=files"),
                ("self", ["TLS_CERT", "TLS_KEY"], "tls_cert is set and certificates is self; set certificates=files"),
            )
        ),
        ({"TLS_CERT": "/c", "TLS_KEY": "/k"}, ["tls_cert is set and certificates is self; set certificates=files"]),
        (
            {"CERTIFICATES": "none"},
            ["certificates (DPDK_WEBHOOK_CERTIFICATES): Input should be 'self', 'cert-manager', 'openshift' or 'files'"],
        ),
        *(
            (
                {name: value},
                [
                    f"{name.lower()} (DPDK_WEBHOOK_{name}): '{value}' is not a DNS label; "
                    "write up to 63 of a-z, 0-9 and -, none of these - at an end"
                ],
            )
            for name in ("SERVICE", "NAMESPACE")
            for value in ("", "A", "a.b", "a_b", "-a", "a-", "a\n", 64 * "a", "é")
            if value or name != "NAMESPACE"
        ),
        *(
            (
                {name: value},
                [
                    f"{name.lower()} (DPDK_WEBHOOK_{name}): '{value}' is not a DNS subdomain; "
                    "write up to 253 of a-z, 0-9, - and ., such as dpdk-webhook"
                ],
            )
            for name in ("TLS_SECRET", "LEASE", "WEBHOOK_CONFIGURATION")
            for value in ("", "A", "a..b", ".a", "a.", "a_b", "-a", "a-.b", "a\n", 254 * "a")
        ),
        ({"SERVICE_NAME": "a"}, ["DPDK_WEBHOOK_SERVICE_NAME: there is no such setting; did you mean DPDK_WEBHOOK_SERVICE?"]),
        (
            {"CLIENT_CA": "/ca"},
            ["client_ca is set and client_subjects is not; name who may call, such as kube-apiserver"],
        ),
        (
            {"CLIENT_SUBJECTS": "a"},
            ["client_subjects is set and client_ca is not; without a CA anybody may call by any name"],
        ),
        ({"TLS_MIN_VERSION": "1.1"}, ["tls_min_version (DPDK_WEBHOOK_TLS_MIN_VERSION): Input should be '1.2' or '1.3'"]),
        (
            {"DRAIN_SECONDS": "-1"},
            ["drain_seconds (DPDK_WEBHOOK_DRAIN_SECONDS): Input should be greater than or equal to 0"],
        ),
        (
            {"MAX_CONNECTIONS": "0"},
            ["max_connections (DPDK_WEBHOOK_MAX_CONNECTIONS): Input should be greater than or equal to 16"],
        ),
        ({"SHED_AFTER": "0"}, ["shed_after (DPDK_WEBHOOK_SHED_AFTER): Input should be greater than 0"]),
        *(
            (
                {"TRACING_ENDPOINT": url},
                [
                    f"tracing_endpoint (DPDK_WEBHOOK_TRACING_ENDPOINT): '{url}' is not a URL of a collector; "
                    "write one such as http://otel-collector:4318/v1/traces"
                ],
            )
            for url in ("collector:4318", "http://", "grpc://collector:4317")
        ),
        (
            {"CPU_STEP": "8", "MAX_CPU": "4", "CERTIFICATES": "files", "TLS_KEY": "/k"},
            ["cpu_step 8 is above max_cpu 4; raise max_cpu", "tls_key is set and tls_cert is not; set both"],
        ),
        (
            {"CPU_STEPS": "2", "OTHER_CPU": "", "TLS_PORT": "0"},
            [
                "DPDK_WEBHOOK_CPU_STEPS: there is no such setting; did you mean DPDK_WEBHOOK_CPU_STEP?",
                "other_cpu (DPDK_WEBHOOK_OTHER_CPU): an amount is needed",
                "tls_port (DPDK_WEBHOOK_TLS_PORT): Input should be greater than or equal to 1",
            ],
        ),
    ],
)
def test_what_can_not_be_used_is_a_line_each(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], lines: list[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(PREFIX + name, value)
    assert _lines() == lines


NO_OBJECT = "an object of settings is expected, such as default_cpu: 2"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cpu_stp: 2", "cpu_stp: there is no such setting; did you mean cpu_step?"),
        ("default_cpu: true", "default_cpu (DPDK_WEBHOOK_DEFAULT_CPU): Input should be a valid string"),
        ("- default_cpu", f"{{file}}: {NO_OBJECT}"),
        ("default_cpu", f"{{file}}: {NO_OBJECT}"),
        ("cpu_step: 2\n---\ncpu_step: 3\n", f"{{file}}: {NO_OBJECT}"),
        ("1: 2", "{file}: not a manifest: Dict key must be str"),
        ("cpu_step: 1\ncpu_step: 2", '{file}: not YAML: key cpu_step stands twice in "<byte string>", line 2, column 1'),
        ("a: &a [*a]", "{file}: nested deeper than 64 levels"),
        ("a: " + "[" * 30_000, "{file}: nested deeper than 64 levels"),
        ("cpu_step: !!int ''", "{file}: not YAML: '' is not a whole number in \"<byte string>\", line 1, column 11"),
    ],
)
def test_what_a_file_can_not_say(tmp_path: Path, text: str, problem: str) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(text)
    assert _lines(config) == [problem.format(file=config)]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert _lines(tmp_path / "none") == [f"{tmp_path}/none: No such file or directory"]
    assert _lines(tmp_path) == [f"{tmp_path}: Is a directory"]
