"""Whether the certificate that somebody else issues is the one that is served, by the name by which it is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.deploy.consistent import Installation

INJECTED: Final = {
    "cert-manager": "cert-manager.io/inject-ca-from",
    "openshift": "service.beta.openshift.io/inject-cabundle",
}
SERVING: Final = "service.beta.openshift.io/serving-cert-secret-name"


def issued_problems(here: Installation) -> Iterator[str]:
    """For every mode but self."""
    mode = here.settings["certificates"]
    annotated = [
        (each["kind"], each["metadata"].get("annotations", {}))
        for each in here.objects
        if each["kind"].endswith("WebhookConfiguration")
    ]
    for other, annotation in INJECTED.items():
        yield from (
            f"{kind} asks {other} for its caBundle, and the mode is {mode}"
            for kind, annotations in annotated
            if annotation in annotations and other != mode
        )
    if mode == "self":
        return
    if here.settings.get("tls_cert") is None or here.settings.get("tls_key") is None:
        yield "the webhook isn't told where its certificate is"
    secrets = [each["secret"]["secretName"] for each in here.pod.get("volumes", []) if each["name"] == "tls"]
    if len(secrets) != 1:
        yield "the certificate's Secret isn't mounted"
        return
    (secret,) = secrets
    wanted = None
    if mode == "cert-manager":
        yield from _by_cert_manager(here, secret)
        serving = [each for each in here.named("Certificate") if each["spec"]["secretName"] == secret]
        wanted = "/".join([here.namespace, serving[0]["metadata"]["name"]]) if serving else None
    elif mode == "openshift":
        asked = here.one("Service")["metadata"].get("annotations", {}).get(SERVING)
        if asked != secret:
            yield f"OpenShift writes Secret {asked}, and {secret} is mounted"
        wanted = "true"
    if wanted is not None:
        yield from (
            f"{kind} is given a caBundle by {annotations.get(INJECTED[mode])}, not by {wanted}"
            for kind, annotations in annotated
            if annotations.get(INJECTED[mode]) != wanted
        )


def _by_cert_manager(here: Installation, secret: str) -> Iterator[str]:
    certificates = here.named("Certificate")
    serving = [each for each in certificates if each["spec"]["secretName"] == secret]
    if len(serving) != 1:
        yield f"{len(serving)} Certificates are for Secret {secret}, which is mounted"
    names = [f"{here.one('Service')['metadata']['name']}.{here.namespace}.svc"]
    for each in serving:
        if each["spec"]["dnsNames"] != names:
            yield f"the certificate is for {each['spec']['dnsNames']}, and called by {names}"
    issuers = {each["metadata"]["name"]: each for each in here.named("Issuer")}
    for each in certificates:
        reference = each["spec"]["issuerRef"]
        if issuers and (reference["kind"], reference["name"]) not in {("Issuer", name) for name in issuers}:
            yield f"Certificate {each['metadata']['name']} is of {reference['kind']} {reference['name']}, which isn't there"
    authorities = [each["spec"]["secretName"] for each in certificates if each["spec"].get("isCA")]
    for name, issuer in issuers.items():
        if "ca" in issuer["spec"] and issuer["spec"]["ca"]["secretName"] not in authorities:
            yield f"Issuer {name} signs with {issuer['spec']['ca']['secretName']}, which no CA is in"
