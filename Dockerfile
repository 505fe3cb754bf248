# Two images of one file: `longshore` (workers and api; the default) and `longshore-operator`. docs/install.md says how to build them.
# A base is any Debian-like image with Python 3.11 or newer as `python3`, its venv module, useradd and time zones.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

# What runs: the base with its standard library compiled (the slim images come without) and a user without rights.
FROM ${PYTHON_IMAGE} AS runtime
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Longshore" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --no-log-init --uid 65532 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin longshore \
 && stdlib="$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      -x '/(site-packages|dist-packages|test|idlelib|ensurepip|tkinter|turtledemo|lib2to3|config-[^/]*)/' "$stdlib"
# The root is read-only in the chart, so Python must not try to write its caches.
ENV PATH=/opt/longshore/bin:$PATH \
    HOME=/tmp \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# In PYTHONPATH too: a user's own image puts its modules here.
WORKDIR /app
USER 65532:65532

# What both are made from: a pip of the base, which stays in this stage, and our own wheel.
FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_INPUT=1 \
    PIP_ROOT_USER_ACTION=ignore
COPY requirements/build.txt requirements/
# The secrets are optional: a pip.conf that names an index of your own, and the certificate that it is signed by.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/run/secrets/pip.conf \
    --mount=type=secret,id=pip.crt,target=/run/secrets/pip.crt \
    export PIP_CONFIG_FILE=/run/secrets/pip.conf \
 && python3 -m venv /build \
 && /build/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY app app
COPY operator operator
RUN /build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /dist .

FROM build AS build-operator
COPY requirements/operator.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/run/secrets/pip.conf \
    --mount=type=secret,id=pip.crt,target=/run/secrets/pip.crt \
    export PIP_CONFIG_FILE=/run/secrets/pip.conf \
 && python3 -m venv --without-pip /opt/longshore \
 && /build/bin/pip --python /opt/longshore/bin/python install --no-compile --require-hashes -r requirements/operator.txt \
 && /build/bin/pip --python /opt/longshore/bin/python install --no-compile --no-deps --no-index /dist/*.whl \
 && rm /opt/longshore/bin/longshore \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/longshore/lib

FROM build AS build-longshore
COPY requirements/image.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/run/secrets/pip.conf \
    --mount=type=secret,id=pip.crt,target=/run/secrets/pip.crt \
    export PIP_CONFIG_FILE=/run/secrets/pip.conf \
 && python3 -m venv --without-pip /opt/longshore \
 && /build/bin/pip --python /opt/longshore/bin/python install --no-compile --require-hashes -r requirements/image.txt \
 && /build/bin/pip --python /opt/longshore/bin/python install --no-compile --no-deps --no-index /dist/*.whl \
 && rm /opt/longshore/bin/longshore-operator \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/longshore/lib

FROM runtime AS longshore-operator
LABEL org.opencontainers.image.title="longshore-operator" \
      org.opencontainers.image.description="Hands Job resources to warm workers"
COPY --from=build-operator /opt/longshore /opt/longshore
EXPOSE 8082
ENTRYPOINT ["longshore-operator"]

FROM runtime AS longshore
LABEL org.opencontainers.image.title="longshore" \
      org.opencontainers.image.description="Background jobs in warm Flask worker pods: worker and api"
COPY --from=build-longshore /opt/longshore /opt/longshore
EXPOSE 8080 8081
ENTRYPOINT ["longshore"]
CMD ["--help"]
