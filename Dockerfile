# Two images: `longshore` (workers and api; the default) and `longshore-operator`. docs/install.md says how to build them.
# The base needs Python 3.11 or newer as `python3` with its venv module, useradd, time zones and certificates. Name it with its
# digest (…@sha256:…) for a build that comes out the same tomorrow.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

# What runs: the base, its standard library compiled (slim images come without), a user without rights, and no program that would
# give it some (su, mount, passwd, …).
FROM ${PYTHON_IMAGE} AS runtime
RUN useradd --no-log-init --uid 65532 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin longshore \
 && stdlib="$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      -x '/(site-packages|dist-packages|test|idlelib|ensurepip|tkinter|turtledemo|lib2to3|config-[^/]*)/' "$stdlib" \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
# The root is read-only in the chart, so Python must not try to write its caches. /app is for the modules of a user's own image.
ENV PATH=/opt/longshore/bin:$PATH \
    HOME=/tmp \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app
USER 65532:65532

# pip works from here and is in no image.
FROM ${PYTHON_IMAGE} AS pip
ENV PIP_CONFIG_FILE=/run/secrets/pip.conf \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_INPUT=1 \
    PIP_ROOT_USER_ACTION=ignore
# Not /pip: buildah 1.28 removes that when it takes away a mount at /root/.cache/pip.
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/longshore
WORKDIR /src

FROM pip AS build-tools
COPY requirements/build.txt ./
# The secrets are optional: a pip.conf that names an index of your own, and the certificate that it answers with.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/run/secrets/pip.conf \
    --mount=type=secret,id=pip.crt,target=/run/secrets/pip.crt \
    /build/bin/pip install --require-hashes -r build.txt

FROM build-tools AS wheel
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY app app
COPY operator operator
RUN /build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /dist .

# Dependencies apart from the program, so that a new release is a small layer.
FROM pip AS operator-dependencies
COPY requirements/operator.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/run/secrets/pip.conf \
    --mount=type=secret,id=pip.crt,target=/run/secrets/pip.crt \
    /build/bin/pip --python /opt/longshore/bin/python install --no-compile --require-hashes -r operator.txt \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/longshore/lib

FROM pip AS operator-program
COPY --from=wheel /dist /dist
RUN /build/bin/pip --python /opt/longshore/bin/python install --no-compile --no-deps --no-index --root /program /dist/*.whl \
 && rm /program/opt/longshore/bin/longshore \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /program /program

FROM runtime AS longshore-operator
COPY --from=operator-dependencies /opt/longshore /opt/longshore
COPY --from=operator-program /program/opt/longshore /opt/longshore
EXPOSE 8082
ENTRYPOINT ["longshore-operator"]
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
ARG PYTHON_IMAGE
LABEL org.opencontainers.image.title="longshore-operator" \
      org.opencontainers.image.description="Hands Job resources to warm workers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
      org.opencontainers.image.revision="${REVISION}"

FROM pip AS longshore-dependencies
COPY requirements/image.txt ./
# The parts of the Kubernetes client that nothing here imports stay uncompiled: that saves some 50 MB.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip.conf,target=/run/secrets/pip.conf \
    --mount=type=secret,id=pip.crt,target=/run/secrets/pip.crt \
    /build/bin/pip --python /opt/longshore/bin/python install --no-compile --require-hashes -r image.txt \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -x '/kubernetes/(aio|client/api|client/models)/' /opt/longshore/lib

FROM pip AS longshore-program
COPY --from=wheel /dist /dist
RUN /build/bin/pip --python /opt/longshore/bin/python install --no-compile --no-deps --no-index --root /program /dist/*.whl \
 && rm /program/opt/longshore/bin/longshore-operator \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /program /program

FROM runtime AS longshore
COPY --from=longshore-dependencies /opt/longshore /opt/longshore
COPY --from=longshore-program /program/opt/longshore /opt/longshore
EXPOSE 8080 8081
ENTRYPOINT ["longshore"]
CMD ["--help"]
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
ARG PYTHON_IMAGE
LABEL org.opencontainers.image.title="longshore" \
      org.opencontainers.image.description="Background jobs in warm Flask worker pods: worker and api" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}" \
      org.opencontainers.image.revision="${REVISION}"
