"""The site's settings: frozen, from DPDK_WEBHOOK_* and a YAML file, contradictions refused at start."""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import pydantic_settings
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from webhook.manifest import read_yaml
from webhook.options import chosen_path_problem, env_name_problem, whole_pages_problem
from webhook.pagesize import PageSize, PageSizeError, page_size
from webhook.quantity import Quantity, QuantityError, parse
from webhook.shape import Malformed

PREFIX: Final = "DPDK_WEBHOOK_"
_HUGEPAGES: Final = PREFIX + "DEFAULT_HUGEPAGES"
# RFC 1123, as Kubernetes reads it
_LABEL: Final = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN: Final = r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"


class SettingsError(ValueError):
    """The settings can't be used; each line names one and says what to write."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def _above_zero(text: str) -> str:
    if text:
        try:
            amount = parse(text)
        except QuantityError as error:
            raise ValueError(error.problem) from error
        if amount.millis <= 0:
            raise ValueError(f"{text} is not above 0")
    return text


def _needed(text: str) -> str:
    if not text:
        raise ValueError("an amount is needed")
    return text


def _mount_path(path: str) -> str:
    problem = chosen_path_problem(path)
    if problem:
        raise ValueError(f"'{path}' {problem}; write a path such as /dev/hugepages")
    return path


def _env_name(name: str) -> str:
    problem = env_name_problem(name)
    if problem:
        raise ValueError(f"'{name}' {problem}")
    return name


def _amounts(amounts: Mapping[str, str]) -> Mapping[str, str]:
    for name, text in amounts.items():
        try:
            problem = whole_pages_problem(page_size(name), parse(text))
        except PageSizeError as error:
            raise ValueError(f"no node advertises '{name}'; write {error.canonical or 'a size such as 2Mi'}") from error
        except QuantityError as error:
            raise ValueError(error.problem) from error
        if problem:
            raise ValueError(problem)
    return amounts


def _listed(value: object) -> object:
    """In the environment there are no lists."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _collector(url: str) -> str:
    if url and not (url.startswith(("http://", "https://")) and url.partition("://")[2].strip("/")):
        raise ValueError(f"'{url}' is not a URL of a collector; write one such as http://otel-collector:4318/v1/traces")
    return url


def _label(name: str) -> str:
    if not re.fullmatch(_LABEL, name):
        raise ValueError(f"'{name}' is not a DNS label; write up to 63 of a-z, 0-9 and -, none of these - at an end")
    return name


def _label_or_nothing(name: str) -> str:
    return name and _label(name)


def _subdomain(name: str) -> str:
    if not re.fullmatch(_SUBDOMAIN, name):
        raise ValueError(f"'{name}' is not a DNS subdomain; write up to 253 of a-z, 0-9, - and ., such as dpdk-webhook")
    return name


Amount = Annotated[str, AfterValidator(_above_zero), AfterValidator(_needed)]
OptionalAmount = Annotated[str, AfterValidator(_above_zero)]
Port = Annotated[int, Field(ge=1, le=65535)]
Label = Annotated[str, AfterValidator(_label)]
OptionalLabel = Annotated[str, AfterValidator(_label_or_nothing)]
Subdomain = Annotated[str, AfterValidator(_subdomain)]


class Settings(BaseSettings):
    """Each field is a key of the YAML file, and with the prefix DPDK_WEBHOOK_ a variable of the environment, which wins."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", coerce_numbers_to_str=True, env_ignore_empty=False
    )

    # the rules
    default_cpu: OptionalAmount = Field(default="1", description="CPUs for a DPDK container that names none; empty: refuse it")
    cpu_step: int = Field(
        default=1, ge=1, le=1024, description="whole CPUs come in multiples of this; 2 for full-pcpus-only with SMT"
    )
    max_cpu: int = Field(default=1024, ge=1, description="more CPUs than this in one container are taken for a mistake")
    other_cpu: Amount = Field(default="100m", description="CPUs for any other container that names none")
    whole_cpus: Literal["dpdk", "all"] = Field(default="dpdk", description="which containers get whole CPUs")
    default_memory: OptionalAmount = Field(
        default="", description="memory for a DPDK container that names none; empty: refuse it"
    )
    other_memory: Amount = Field(default="128Mi", description="memory for any other container that names none")
    default_hugepages: Annotated[Mapping[str, str], AfterValidator(_amounts)] = Field(
        default={},
        description='page size to amount, such as {"2Mi": "1Gi"}, for a DPDK container that asks for none; empty: refuse it',
    )
    huge_dir: Annotated[str, AfterValidator(_mount_path)] = Field(
        default="/dev/hugepages", description="where hugepages are mounted; -<size> is added where a pod has several sizes"
    )
    eal_env: Annotated[str, AfterValidator(_env_name)] = Field(
        default="DPDK_EAL_ARGS", description="the environment variable that carries --huge-dir"
    )
    allow_user_namespaces: bool = Field(default=False, description="let pods with hostUsers: false through")
    pod_security: Literal["privileged", "baseline", "restricted"] = Field(
        default="privileged", description="the Pod Security level of namespaces without a label; a stricter one is warned of"
    )
    warn_workloads: bool = Field(default=True, description="warn whoever applies a workload of what its pods are refused for")

    # the server; no field may be called `port`: a Service named dpdk-webhook makes Kubernetes set DPDK_WEBHOOK_PORT
    host: str = Field(default="0.0.0.0", description="the address to listen on")  # noqa: S104 - a pod listens on all of its own
    tls_port: Port = Field(default=8443, description="TLS: /mutate, /validate, /dry-run and the page")
    health_port: Port = Field(default=8080, description="plain HTTP: /livez, /readyz, /metrics")
    shed_after: float = Field(
        default=1.0, gt=0, le=30, description="seconds; a review that waited longer for its turn is answered 503: ask again"
    )
    certificates: Literal["self", "cert-manager", "openshift", "files"] = Field(
        default="self",
        description="who issues and renews the certificate: the webhook itself, cert-manager, OpenShift's service CA, or "
        "whoever writes the files",
    )
    tls_cert: str = Field(default="", description="path of the served certificate chain, PEM")
    tls_key: str = Field(default="", description="path of its private key, PEM")
    # str: to YAML 1.3 is a number
    tls_min_version: Annotated[Literal["1.2", "1.3"], BeforeValidator(str)] = Field(
        default="1.2", description="the oldest version of TLS that is spoken"
    )
    client_ca: str = Field(
        default="", description="path of the CA, PEM, that callers' certificates must come from; empty: anybody may call"
    )
    client_subjects: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default=(),
        description="who of them may call: a CN, DNS name or URI of the certificate; a list, or commas between them",
    )
    service: Label = Field(
        default="dpdk-webhook", description="name of the Service: with the namespace the name in the certificate"
    )
    namespace: OptionalLabel = Field(default="", description="of Service, Secret and Lease; empty: the pod's own")
    tls_secret: Subdomain = Field(
        default="dpdk-webhook-tls", description="name of the Secret that holds the certificates which the webhook issues"
    )
    lease: Subdomain = Field(default="dpdk-webhook", description="name of the Lease: which replica renews")
    webhook_configuration: Subdomain = Field(
        default="dpdk-webhook", description="name of the mutating and of the validating configuration"
    )
    replica: str = Field(default="", description="this replica's name among its peers; empty: the host name")
    kubeconfig: str = Field(default="", description="path: how to reach the API server outside of a pod")
    drain_seconds: float = Field(
        default=5.0, ge=0, le=300, description="seconds in which endpoints forget a replica that is about to end"
    )
    max_connections: int = Field(
        default=2048, ge=16, le=65536, description="connections on tls_port; beyond it those that say nothing give way"
    )
    tracing_endpoint: Annotated[str, AfterValidator(_collector)] = Field(
        default="", description="URL to which traces go, OTLP over HTTP; empty: there are none"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which `load` hands in as arguments; nothing else is read."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        problems = [
            f"{name} {amount} is above max_cpu {self.max_cpu}; raise max_cpu"
            for name, amount in (("default_cpu", self.default_cpu), ("other_cpu", self.other_cpu))
            if amount and parse(amount).millis > self.max_cpu * 1000
        ]
        if self.cpu_step > self.max_cpu:
            problems.append(f"cpu_step {self.cpu_step} is above max_cpu {self.max_cpu}; raise max_cpu")
        elif self.default_cpu and not problems:
            whole = parse(self.default_cpu).round_up(self.cpu_step)
            if whole.millis > self.max_cpu * 1000:
                steps = f"default_cpu {self.default_cpu} in steps of {self.cpu_step}"
                problems.append(f"{steps} is {whole}, above max_cpu {self.max_cpu}; raise max_cpu")
        if self.tls_port == self.health_port:
            problems.append(f"tls_port and health_port are both {self.tls_port}; give each its own")
        # that neither is set where both are needed is for `serve` to say: all other commands need no certificate
        if self.tls_cert or self.tls_key:
            given, other = ("tls_cert", "tls_key") if self.tls_cert else ("tls_key", "tls_cert")
            if self.certificates == "self":
                problems.append(f"{given} is set and certificates is self; set certificates=files")
            elif not (self.tls_cert and self.tls_key):
                problems.append(f"{given} is set and {other} is not; set both")
        if self.client_ca and not self.client_subjects:
            problems.append("client_ca is set and client_subjects is not; name who may call, such as kube-apiserver")
        if self.client_subjects and not self.client_ca:
            problems.append("client_subjects is set and client_ca is not; without a CA anybody may call by any name")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @cached_property
    def default_page_amounts(self) -> tuple[tuple[PageSize, Quantity], ...]:
        """default_hugepages, smallest size first."""
        return tuple(sorted((page_size(name), parse(text)) for name, text in self.default_hugepages.items()))


def load(config: Path | None = None) -> Settings:
    """The settings from a YAML file and the environment; SettingsError with a line for every problem."""
    unknown = [name for name in os.environ if name.startswith(PREFIX) and _is_unknown(name)]
    lines = [_unknown_line(name, [PREFIX + field.upper() for field in Settings.model_fields]) for name in unknown]
    try:
        settings = Settings(**_file(config))
    except ValidationError as error:
        for problem in error.errors():
            field = ".".join(str(part) for part in problem["loc"][:1])
            if problem["type"] == "extra_forbidden":
                lines.append(_unknown_line(field, list(Settings.model_fields)))
            else:
                message = problem["msg"].removeprefix("Value error, ")
                lines += [f"{field} ({PREFIX}{field.upper()}): {message}"] if field else message.splitlines()
    except pydantic_settings.SettingsError:
        # raised before validation, and for the only variable that holds JSON
        lines.append(f'default_hugepages ({_HUGEPAGES}): not JSON; write an object such as {_HUGEPAGES}=\'{{"2Mi": "1Gi"}}\'')
    if lines:
        raise SettingsError(tuple(lines))
    return settings


def _file(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        documents = read_yaml(config.read_bytes())
    except OSError as error:
        raise SettingsError((f"{config}: {error.strerror}",)) from error
    except Malformed as error:
        raise SettingsError((f"{config}: {error}",)) from error
    values = documents[0] if len(documents) == 1 else {} if not documents else None
    if not isinstance(values, dict):
        raise SettingsError((f"{config}: an object of settings is expected, such as default_cpu: 2",))
    return values


def _is_unknown(name: str) -> bool:
    field = name.removeprefix(PREFIX)
    # set by Kubernetes in every pod beside a Service that is called dpdk-webhook, unless enableServiceLinks is false
    if field in ("PORT", "SERVICE_HOST", "SERVICE_PORT") or field.startswith(("PORT_", "SERVICE_PORT_")):
        return False
    return field.lower() not in Settings.model_fields


def _unknown_line(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"{name}: there is no such setting" + (f"; did you mean {near[0]}?" if near else "")
