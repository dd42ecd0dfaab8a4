# The pipeline: driver and executors alike. Build from the project's root:
#   docker build -f deploy/images/pipeline.Dockerfile -t creatorlake-pipeline .
FROM python:3.12-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless maven make git \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/creatorlake
ENV CREATORLAKE_CACHE=/opt/creatorlake/.cache UV_LINK_MODE=copy UV_NO_CACHE=1 PIP_NO_CACHE_DIR=1
COPY deploy/ deploy/
COPY pyproject.toml README.md Makefile ./
COPY assets/ assets/
COPY jobs/ jobs/
COPY lakehouse/ lakehouse/
COPY index_build/ index_build/
COPY serving/ serving/
RUN deploy/bootstrap.sh run

FROM python:3.12-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless tini procps \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home creatorlake \
    && mkdir -p /var/lib/creatorlake \
    && chown creatorlake /var/lib/creatorlake
COPY --from=build /opt/creatorlake /opt/creatorlake
WORKDIR /opt/creatorlake
ENV PATH=/opt/creatorlake/.venv/bin:$PATH \
    SPARK_HOME=/opt/creatorlake/.venv/lib/python3.12/site-packages/pyspark \
    CREATORLAKE_HOME=/var/lib/creatorlake
USER 10001
HEALTHCHECK NONE
# Spark starts executors with the argument "executor"; anything else is a command of creatorlake.
ENTRYPOINT ["/usr/bin/tini", "--", "deploy/images/entrypoint.sh"]
CMD ["run", "--no-serve"]
