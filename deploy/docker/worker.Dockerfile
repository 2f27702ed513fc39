# The worker: `sweep-worker`, and `sweep-trainer` with libtorch 2.11.0. Built from the repository's root:
#
#   docker build -f deploy/docker/worker.Dockerfile --target cpu -t sweep-worker:0.1.0-cpu .
#   docker build -f deploy/docker/worker.Dockerfile --target gpu -t sweep-worker:0.1.0-gpu .
#
# The target `gpu` has CUDA 13.0: it needs NVIDIA's driver 580.65 or newer on the machine, and a GPU of the generation Turing
# (compute capability 7.5) or newer.
#
# With programs that were built before (`make build`), on Debian 12 or older, nothing is compiled:
#
#   docker build -f deploy/docker/worker.Dockerfile --target cpu --build-arg PROGRAMS=built-before -t sweep-worker:0.1.0-cpu .
#
# deploy/docker/README.md says where the digests come from, and how to renew them.

ARG RUST=rust:1.98.1-bookworm@sha256:93ce27a88655056a51dbdd8f5f2d7ddc071c7b0070fb288a37b5a285fc83971e
ARG PYTHON=python:3.12.15-slim-bookworm@sha256:34386ef0cb081344d7ec1c103ba398e6e9f64e9ab3a1509accc92a4e24a07258
ARG DEBIAN=debian:bookworm-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171
ARG PROGRAMS=compiled

# libtorch for the CPU, as deploy/setup/libtorch.py puts it together from PyPI's wheels.
FROM ${PYTHON} AS libtorch
WORKDIR /setup
COPY deploy/setup/libtorch.py .
RUN python3 -c 'import libtorch, shutil; shutil.copytree(libtorch.provide(), "/libtorch")'

FROM ${RUST} AS compiled
RUN apt-get update && apt-get install -y --no-install-recommends nasm && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
COPY --from=libtorch /libtorch .libtorch
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p worker -p trainer \
    && install -D -t /programs target/release/sweep-worker target/release/sweep-trainer

FROM scratch AS built-before
COPY target/release/sweep-worker target/release/sweep-trainer /programs/

FROM ${PROGRAMS} AS programs

# PyTorch's own libraries with CUDA. The same version as the one that the trainer is linked with.
FROM ${PYTHON} AS torch
RUN pip install --no-cache-dir --target /torch torch==2.11.0 \
    && mkdir /libtorch-gpu && find /torch/torch/lib /torch/nvidia -name '*.so*' -exec cp -t /libtorch-gpu {} +

FROM ${DEBIAN} AS base
# Certificates of public authorities: checkpoints in a bucket. The clients of clouds trust what the system trusts.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --gid 0 --no-create-home --home-dir /var/lib/sweep --shell /usr/sbin/nologin sweep \
    && install -d -o sweep -g 0 -m 0775 /var/lib/sweep /var/cache/sweep /data
COPY --from=programs --chmod=0755 /programs/ /usr/local/bin/
# Any other user id works with group 0, or where these folders are volumes that the user may write to.
USER 10001:0
WORKDIR /data
VOLUME ["/var/lib/sweep", "/var/cache/sweep"]
ENV LD_LIBRARY_PATH=/opt/libtorch SWEEP_SPOOL=/var/lib/sweep/spool SWEEP_CACHE_DIR=/var/cache/sweep \
    SWEEP_DATA_ROOT=/data SWEEP_LOG_FORMAT=json
STOPSIGNAL SIGTERM
ENTRYPOINT ["sweep-worker"]
CMD ["start"]

FROM base AS gpu
COPY --from=torch /libtorch-gpu /opt/libtorch
# With an older driver, NVIDIA's container runtime refuses to start it and says why.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility NVIDIA_REQUIRE_CUDA=cuda>=13.0 SWEEP_DEVICE=cuda

FROM base AS cpu
COPY --from=libtorch /libtorch/lib /opt/libtorch
ENV SWEEP_DEVICE=cpu
