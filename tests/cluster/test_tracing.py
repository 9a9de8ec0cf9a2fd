"""An API server that traces its requests, and the spans of ours that it gets to see below its own."""

from pathlib import Path

import httpx
import pytest

from scripts.throwaway import free_ports
from tests.cluster.cluster import Cluster
from tests.cluster.webhook import Webhook
from tests.collector import Collector, attributes
from tests.serving import eventually

POD = {
    "metadata": {"name": "traced", "annotations": {"dpdk": "true", "dpdk/hugepages-2Mi": "64Mi"}},
    "spec": {"containers": [{"name": "app", "image": "app", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}]},
}


@pytest.mark.usefixtures("cluster")  # builds the programs beforehand; this one needs a cluster of its own
def test_the_reviews_of_one_creation_are_spans_of_the_api_servers_trace(tmp_path: Path) -> None:
    [nobody] = free_ports(1)
    config = tmp_path / "tracing.yaml"
    config.write_text(
        "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: TracingConfiguration\n"
        f"endpoint: 127.0.0.1:{nobody}\nsamplingRatePerMillion: 1000000\n"
    )
    with (
        Collector() as collector,
        Cluster(flags=[f"--tracing-config-file={config}"]) as cluster,
        Webhook(tmp_path, settings={"tracing_endpoint": collector.url}) as webhook,
    ):
        cluster.register(webhook.url, webhook.ca_pem)
        with cluster.namespace() as namespace:
            made = cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods", POD)
            assert made.status == httpx.codes.CREATED

            def ours() -> dict[str, list[bytes]]:
                spans = [span for span in collector.spans if attributes(span.attributes)["dpdk.review.name"] == "traced"]
                return {span.name: [span.trace_id, span.parent_span_id] for span in spans}

            eventually(lambda: len(ours()) >= 2, 15, "the spans of both webhooks did not come")
        webhook.kill()  # nothing is in flight, and a drain takes its time
    spans = ours()
    assert set(spans) == {"POST /mutate", "POST /validate"}
    assert spans["POST /mutate"][0] == spans["POST /validate"][0], "one creation is one trace"
    parents = {spans[name][1] for name in spans}
    assert len(parents) == 2, "the API server has a span of its own around each call"
    assert b"" not in parents
