# syntax=docker/dockerfile:1
# Everything: service, watcher and retrain job, supervised by `ringside up`, which restarts what dies.
#   docker build -t ringside .
#   docker run -p 3000:3000 -v "$PWD":/problem -e RINGSIDE_SERVE__HOST=0.0.0.0 ringside
# /problem holds ringside.toml and must be writable by user 1034; on an address other than loopback, ringside.toml
# must name tokens.

FROM python:3.11-slim AS build
COPY requirements-run.lock /build/
RUN python -m venv /opt/ringside \
    && awk '/^uv==/ {p = 1} p {print} p && !/\\$/ {exit}' /build/requirements-run.lock > /build/uv.lock \
    && pip install --no-cache-dir --require-hashes -r /build/uv.lock \
    && uv pip install --python /opt/ringside/bin/python --no-cache --require-hashes -r /build/requirements-run.lock

FROM python:3.11-slim
# LightGBM wants the system's OpenMP library.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1034 --create-home ringside && mkdir /problem && chown ringside /problem
COPY --from=build /opt/ringside /opt/ringside
COPY record /app/record
COPY service /app/service
COPY retrain /app/retrain
COPY monitoring /app/monitoring
COPY examples /app/examples
COPY ringside /app/ringside
COPY bentofile.yaml /app/
ENV PATH=/opt/ringside/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    ORT_DISABLE_TELEMETRY=1 \
    DO_NOT_TRACK=1 \
    ITERATIVE_DO_NOT_TRACK=1 \
    BENTOML_DO_NOT_TRACK=True \
    RINGSIDE_CONFIG=/problem/ringside.toml
USER ringside
WORKDIR /problem
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import *; build_opener(ProxyHandler({})).open('http://127.0.0.1:3000/livez', timeout=2)"]
CMD ["python", "-m", "ringside", "up"]
