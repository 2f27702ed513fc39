# The coordinator: `sweep`. Built from the repository's root:
#
#   docker build -f deploy/docker/coordinator.Dockerfile -t sweep-coordinator .

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p coordinator && cp target/release/sweep /sweep

FROM debian:bookworm-slim
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin sweep \
    && install -d -o sweep -g sweep /var/lib/sweep
COPY --from=build /sweep /usr/local/bin/sweep
USER 10001:10001
WORKDIR /var/lib/sweep
VOLUME /var/lib/sweep
EXPOSE 7070
ENV SWEEP_LISTEN=0.0.0.0:7070 SWEEP_STORE=sqlite:/var/lib/sweep/sweep.db SWEEP_LOG_FORMAT=json
STOPSIGNAL SIGTERM
ENTRYPOINT ["sweep"]
CMD ["serve"]
