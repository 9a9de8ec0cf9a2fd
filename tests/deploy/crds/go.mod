// The custom resources of others that the chart makes objects of: their definitions are in these modules (crds.py).
module dpdk-webhook/tests/deploy/crds

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
