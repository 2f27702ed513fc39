# The worker: `sweep-worker`, and `sweep-trainer` with libtorch 2.11.0. Built from the repository's root:
#
#   docker build -f deploy/docker/worker.Dockerfile --target cpu -t sweep-worker:cpu .
#   docker build -f deploy/docker/worker.Dockerfile --target gpu -t sweep-worker:gpu .

FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends nasm python3 python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY deploy/setup deploy/setup
RUN python3 deploy/setup/libtorch.py
COPY . .
# libtorch.py links the folder it made as .libtorch, which the copy above has no part of.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    python3 deploy/setup/libtorch.py && cargo build --release --locked -p worker -p trainer \
    && install -D -t /programs target/release/sweep-worker target/release/sweep-trainer && cp -rL .libtorch/lib /libtorch-cpu

# PyTorch's own libraries with CUDA. The same version as the one that the trainer is linked with.
FROM python:3.12-slim-bookworm AS torch
RUN pip install --no-cache-dir --target /torch torch==2.11.0 \
    && mkdir /libtorch-gpu && find /torch/torch/lib /torch/nvidia -name '*.so*' -exec cp -t /libtorch-gpu {} +

FROM debian:bookworm-slim AS base
RUN apt-get update && apt-get install -y --no-install-recommends libstdc++6 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin sweep \
    && install -d -o sweep -g sweep /var/lib/sweep /var/cache/sweep /data
COPY --from=build /programs/ /usr/local/bin/
USER 10001:10001
WORKDIR /data
ENV LD_LIBRARY_PATH=/opt/libtorch SWEEP_SPOOL=/var/lib/sweep/spool SWEEP_CACHE_DIR=/var/cache/sweep \
    SWEEP_DATA_ROOT=/data SWEEP_LOG_FORMAT=json
STOPSIGNAL SIGTERM
ENTRYPOINT ["sweep-worker"]
CMD ["start"]

FROM base AS gpu
COPY --from=torch /libtorch-gpu /opt/libtorch
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility SWEEP_DEVICE=cuda

FROM base AS cpu
COPY --from=build /libtorch-cpu /opt/libtorch
ENV SWEEP_DEVICE=cpu
