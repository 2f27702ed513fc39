//! A running coordinator: store, driver and gRPC services put together. `sweep serve` runs one until it is
//! told to stop; `sweep run` runs one on a loopback port beside its workers.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use proto::v1::{sweep_service_server::SweepServiceServer, worker_service_server::WorkerServiceServer};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Identity, ServerTlsConfig, server::TcpIncoming},
};

use crate::{
    core::engine::EngineConfig,
    driver::Driver,
    rpc::{BearerToken, MESSAGE_BYTES_MAX, SweepServer, WorkerServer},
    store::{self, Store},
};

/// How long streams may take to end after the stop; tonic would wait for live ones for ever.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// A connection that does not answer for interval plus timeout is dead.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Calls at a time on one connection; hyper's own bound, which tonic takes away.
const STREAMS_MAX: u32 = 200;

/// Everything a coordinator needs to know before it starts.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to accept gRPC connections; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where results are kept: `sqlite:PATH`.
    pub store_url: String,
    /// The bearer token that every call must carry; none accepts everyone.
    pub token: Option<String>,
    /// PEM files of the server's certificate chain and key; none serves plain text.
    pub tls: Option<TlsFiles>,
    /// How long a worker may be silent before its attempts are given to others.
    pub lease: Duration,
}

/// PEM files of a TLS server.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// A coordinator that accepts calls.
#[derive(Debug)]
pub struct Server {
    /// The address it listens on, with the port that was chosen.
    pub address: SocketAddr,
    stop: CancellationToken,
    streams: TaskTracker,
    driver: JoinHandle<anyhow::Result<()>>,
    driver_stop: CancellationToken,
    transport: JoinHandle<anyhow::Result<()>>,
    store: Arc<dyn Store>,
}

impl Server {
    /// Opens the store, brings the engine to where it was, and begins to accept calls.
    pub async fn start(config: ServerConfig) -> anyhow::Result<Self> {
        let store = store::open(&config.store_url).await?;
        let lease_ms = u64::try_from(config.lease.as_millis()).context("the lease is too long")?;
        let (driver, handle) =
            Driver::restore(Arc::clone(&store), EngineConfig::with_lease_ms(lease_ms)).await?;
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!("cannot listen on {}; choose another address with --listen", config.listen)
        })?;
        let address = listener.local_addr()?;
        let (stop, driver_stop, streams) =
            (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let sweeps = SweepServer::new(handle.clone(), Arc::clone(&store), streams.clone());
        let workers = WorkerServer::new(handle, streams.clone(), stop.clone());
        let transport = transport(&config, sweeps, workers).await?;
        let stopped = stop.clone().cancelled_owned();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let transport = tokio::spawn(async move {
            transport.serve_with_incoming_shutdown(incoming, stopped).await.context("the gRPC server failed")
        });
        let driver_ends = driver_stop.clone();
        let driver = tokio::spawn(async move { Ok(driver.run(driver_ends).await?) });
        tracing::info!(%address, store = config.store_url, tls = config.tls.is_some(), "the coordinator is ready");
        Ok(Self { address, stop, streams, driver, driver_stop, transport, store })
    }

    /// Resolves when the server has stopped by itself, with the reason (a store that failed, say).
    pub async fn stopped(&mut self) -> anyhow::Error {
        let ended = tokio::select! {
            ended = &mut self.driver => ended,
            ended = &mut self.transport => ended,
        };
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) => anyhow::anyhow!("the coordinator stopped"),
            Err(error) => anyhow::anyhow!("the coordinator stopped: {error}"),
        }
    }

    /// Stops accepting, lets replies that wait for a commit leave, and closes the store. Bounded by 5 s.
    pub async fn shut_down(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.streams.close();
        let drained = async {
            self.streams.wait().await;
            if self.transport.is_finished() { Ok(()) } else { (&mut self.transport).await.map(drop) }
        };
        if tokio::time::timeout(DRAIN_DEADLINE, drained).await.is_err() {
            tracing::debug!("some streams did not end in time");
            self.transport.abort();
        }
        self.driver_stop.cancel();
        let ended = if self.driver.is_finished() { Ok(Ok(())) } else { self.driver.await };
        self.store.close().await;
        ended.context("the driver panicked")?
    }
}

/// The gRPC services behind their guard, with the limits that tonic leaves open.
async fn transport(
    config: &ServerConfig,
    sweeps: SweepServer,
    workers: WorkerServer,
) -> anyhow::Result<tonic::transport::server::Router> {
    let guard = BearerToken::new(config.token.as_deref());
    let sweeps = SweepServiceServer::new(sweeps).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let workers = WorkerServiceServer::new(workers).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<SweepServiceServer<SweepServer>>().await;
    reporter.set_serving::<WorkerServiceServer<WorkerServer>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let mut server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(Some(STREAMS_MAX));
    if let Some(files) = &config.tls {
        server = server.tls_config(ServerTlsConfig::new().identity(identity(files)?))?;
    }
    // Probes carry no token, so health and reflection have no guard; they tell nothing about sweeps.
    Ok(server
        .add_service(health)
        .add_service(reflection)
        .add_service(InterceptedService::new(sweeps, guard.clone()))
        .add_service(InterceptedService::new(workers, guard)))
}

fn identity(files: &TlsFiles) -> anyhow::Result<Identity> {
    let read = |path: &PathBuf| {
        std::fs::read(path)
            .with_context(|| format!("cannot read {}; check --tls-cert and --tls-key", path.display()))
    };
    Ok(Identity::from_pem(read(&files.certificate)?, read(&files.key)?))
}
