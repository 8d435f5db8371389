# Copperplate over a Supabase project, or a Postgres of your own: docs/containers.md.
# Not built where it was written, for want of a Docker engine: tests/e2e/test_container.py runs its instructions without one.
ARG BASE=python:3.13.7-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
ENV UV_PROJECT_ENVIRONMENT=/opt/copperplate \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv==0.13.8
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY supabase/migrations ./supabase/migrations
COPY src ./src
RUN uv sync --frozen --no-default-groups --no-editable \
    --extra server --extra images --extra supabase --extra postgres --extra fal --extra openai

FROM ${BASE}
RUN useradd --system --uid 10001 --home-dir /var/lib/copperplate --create-home copperplate
COPY --from=build /opt/copperplate /opt/copperplate
ENV PATH=/opt/copperplate/bin:$PATH \
    COPPERPLATE_DATA_DIR=/var/lib/copperplate \
    PORT=8000
USER 10001
WORKDIR /var/lib/copperplate
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=3)"]
ENTRYPOINT ["copperplate"]
CMD ["serve"]
