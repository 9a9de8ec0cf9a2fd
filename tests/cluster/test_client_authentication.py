"""With a client CA, the API server is answered and nobody else; docs/client-authentication.md says how."""

from collections.abc import Callable

from tests.cluster.play import Figures


def test_only_the_api_server_is_answered(scenario: Callable[..., Figures]) -> None:
    figures = scenario("callers")
    assert figures["broken"] == []
    assert figures["settings"] == {"client_ca": "/etc/dpdk-webhook/callers/ca.crt", "client_subjects": "kube-apiserver"}
    assert figures["kube-apiserver"] == "201 []"
