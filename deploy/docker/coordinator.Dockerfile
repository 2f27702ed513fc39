# The coordinator: `sweep`. Built from the repository's root:
#
#   docker build -f deploy/docker/coordinator.Dockerfile -t sweep-coordinator:0.1.0 .
#
# With programs that were built before (`make build`), on Debian 12 or older, nothing is compiled:
#
#   docker build -f deploy/docker/coordinator.Dockerfile --build-arg PROGRAMS=built-before -t sweep-coordinator:0.1.0 .
#
# deploy/docker/README.md says where the digests come from, and how to renew them.

ARG RUST=rust:1.98.1-bookworm@sha256:93ce27a88655056a51dbdd8f5f2d7ddc071c7b0070fb288a37b5a285fc83971e
ARG DEBIAN=debian:bookworm-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171
ARG PROGRAMS=compiled

FROM ${RUST} AS compiled
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p coordinator && install -D -t /programs target/release/sweep

FROM scratch AS built-before
COPY target/release/sweep /programs/

FROM ${PROGRAMS} AS programs

FROM ${DEBIAN}
# Certificates of public authorities: for buckets, a PostgreSQL with TLS, and messages over https.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --gid 0 --no-create-home --home-dir /var/lib/sweep --shell /usr/sbin/nologin sweep \
    && install -d -o sweep -g 0 -m 0775 /var/lib/sweep
COPY --from=programs --chmod=0755 /programs/ /usr/local/bin/
# Any other user id works with group 0, or where the folder is a volume that the user may write to.
USER 10001:0
WORKDIR /var/lib/sweep
VOLUME /var/lib/sweep
EXPOSE 7070
ENV SWEEP_LISTEN=0.0.0.0:7070 SWEEP_STORE=sqlite:/var/lib/sweep/sweep.db SWEEP_LOG_FORMAT=json
STOPSIGNAL SIGTERM
ENTRYPOINT ["sweep"]
CMD ["serve"]
