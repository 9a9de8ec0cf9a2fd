# Any image with Python 3.11 or newer and pip: docker build --build-arg PYTHON_IMAGE=… .
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.txt requirements/run.txt requirements/
# No pip goes into the image: the one of this stage installs into an environment without.
RUN python -m venv --without-pip /opt/dpdk-webhook \
    && pip --python /opt/dpdk-webhook install --no-compile --require-hashes --only-binary :all: -r requirements/run.txt \
    && pip install --require-hashes --only-binary :all: -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY certs certs
COPY webhook webhook
# Without isolation, so that the build backend is the locked one. Hashes instead of times in the byte code: a copied
# layer may change times, and nothing could be compiled anew on a read-only root.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && pip --python /opt/dpdk-webhook install --no-compile --no-deps --no-index /wheel/*.whl \
    && /opt/dpdk-webhook/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/dpdk-webhook/lib

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/dpdk-webhook /opt/dpdk-webhook
ENV PATH=/opt/dpdk-webhook/bin:$PATH
# Official images come without byte code of the standard library: importing the server once leaves what it needs.
RUN python -c 'import webhook.cli, webhook.server, certs.keeper, uvicorn.protocols.http.httptools_impl, uvloop'
ENV PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 8443 8080
ENTRYPOINT ["dpdk-webhook"]
CMD ["serve"]
