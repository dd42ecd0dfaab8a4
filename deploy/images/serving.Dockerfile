# The search service, without Spark and Dagster. Build from the project's root:
#   docker build -f deploy/images/serving.Dockerfile -t creatorlake-serving .
FROM python:3.12-slim-bookworm
RUN useradd --uid 10001 --create-home creatorlake \
    && mkdir -p /var/lib/creatorlake \
    && chown creatorlake /var/lib/creatorlake
WORKDIR /opt/creatorlake
COPY deploy/locks/serving.txt deploy/locks/serving.txt
RUN pip install --no-cache-dir --require-hashes -r deploy/locks/serving.txt
COPY lakehouse/ lakehouse/
COPY index_build/ index_build/
COPY serving/ serving/
ENV CREATORLAKE_HOME=/var/lib/creatorlake PYTHONPATH=/opt/creatorlake
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["uvicorn", "--factory", "serving.asgi:create", "--host", "0.0.0.0", "--port", "8000"]
