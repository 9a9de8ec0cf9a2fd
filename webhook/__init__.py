"""A pod that says `dpdk: "true"` runs DPDK properly on Kubernetes, and whoever wrote it is told why and what was changed."""
