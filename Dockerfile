# docker build . — or `make image`, which takes whichever builder there is and makes the SBOM as well: docs/image.md.
# Any image with Python 3.11 or newer and its venv module. Two of them where the one that runs has no shell, say: both need the
# same Python at the same path.
ARG PYTHON_IMAGE=python:3.13-slim
ARG BUILD_IMAGE=${PYTHON_IMAGE}
ARG RUNTIME_IMAGE=${PYTHON_IMAGE}

FROM ${BUILD_IMAGE} AS build
# Without PYTHONDONTWRITEBYTECODE pip would leave byte code, with its times in it, of what it happens to import.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements/build.txt requirements/run.txt requirements/
COPY scripts/image/hashes.py scripts/image/bytecode.py /build-scripts/
# No pip goes into the image: that of another environment installs into one without. Where packages come from a mirror of
# yours, its pip.conf and CA are secrets of the build; nobody needs them who has none.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt,target=/etc/pip-ca.crt \
    python3 -m venv /build \
    && /build/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt \
    && python3 -m venv --without-pip /opt/dpdk-webhook \
    && /build/bin/pip --python /opt/dpdk-webhook install --no-compile --require-hashes --only-binary :all: \
       --report /build/report.json -r requirements/run.txt \
    && mkdir /opt/dpdk-webhook/share \
    && python3 /build-scripts/hashes.py </build/report.json >/opt/dpdk-webhook/share/packages.json
COPY pyproject.toml README.md LICENSE ./
COPY certs certs
COPY webhook webhook
# Without isolation, so that the build backend is the locked one. Hashes instead of times in the byte code: a copied
# layer may change times, and nothing could be compiled anew on a read-only root. The asynchronous client of Kubernetes, a third
# of all byte code, is never imported.
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /build/bin/pip --python /opt/dpdk-webhook install --no-compile --no-deps --no-index /wheel/*.whl \
    && /opt/dpdk-webhook/bin/python3 -m compileall -q -x kubernetes/aio --invalidation-mode unchecked-hash /opt/dpdk-webhook/lib \
    && /opt/dpdk-webhook/bin/python3 /build-scripts/bytecode.py /bytecode

# Nothing is run from here on, so it may be an image without a shell.
FROM ${RUNTIME_IMAGE}
COPY --chmod=0644 LICENSE /licenses/dpdk-webhook/LICENSE
COPY --from=build /bytecode/ /
COPY --from=build /opt/dpdk-webhook /opt/dpdk-webhook
ENV PATH=/opt/dpdk-webhook/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 8443 8080
ENTRYPOINT ["/opt/dpdk-webhook/bin/dpdk-webhook"]
CMD ["serve"]
# Last, because they change with every commit.
ARG VERSION=""
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="dpdk-webhook" \
      org.opencontainers.image.description="A Kubernetes admission webhook that makes annotated pods run DPDK properly" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
