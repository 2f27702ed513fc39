//! A running coordinator: store, driver and gRPC services put together. `sweep serve` runs one until it is stopped;
//! `sweep run` runs one on a loopback port next to its workers.
//!
//! If coordinators share a store, each accepts calls, and the one that leads has a driver. A coordinator that loses
//! leadership, or its database for a while, drops its driver with everything that was not durable, and stands by.

mod coordination;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use engine::EngineConfig;
use proto::v1::{
    access_service_server::AccessServiceServer, sweep_service_server::SweepServiceServer,
    worker_service_server::WorkerServiceServer,
};
use store::{self, Store};
use telemetry::admin::Admin;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::Router;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::layer::util::{self as stack, Stack};
use traces::Traces;

use self::coordination::Coordination;
use crate::{
    access::{self, Authority, AuthorityConfig, Identities, OidcConfig, TokenFiles},
    admin::Watched,
    api::Api,
    artifacts::{Artifacts, MaybeArtifacts, default_location},
    descriptors,
    driver::{Leadership, Role},
    rpc::{
        self, AccessServer, Bounded, Bounds, ErrorsLayer, Guarded, MESSAGE_BYTES_MAX, SweepServer,
        WorkerServer, accept, bounded_errors, secure,
    },
    tls::{Tls, TlsFiles},
    traced::Traced,
    web::{self, Bound, Listening},
};

/// How long streams may take to end after the stop; tonic would wait for live ones indefinitely.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
/// A connection that does not answer for interval plus timeout is dead.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Concurrent calls on one connection; hyper's own bound, which tonic removes.
const STREAMS_MAX: u32 = 200;
/// Headers of a call: a token and little else.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// What a peer may send before it is read, on a stream and on a connection: a thousand epochs, and the most that a peer
/// can fill memory with.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// How long a call may wait for its answer, or for the first message of its stream: many commits to a slow disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Everything a coordinator needs to know before it starts.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to accept gRPC connections; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where results are kept: `sqlite:PATH` or `postgres://…`.
    pub store_url: String,
    /// The tokens that let callers in; without the first everyone is let in.
    pub tokens: TokenFiles,
    /// Whose logins let callers in, too.
    pub oidc: Option<OidcConfig>,
    /// PEM files of the server's certificate chain and key; none serves plain text.
    pub tls: Option<TlsFiles>,
    /// What gives workers certificates, if anything does.
    pub authority: Option<AuthorityConfig>,
    /// How long a worker may be silent before its attempts are given to others.
    pub lease: Duration,
    /// Where others reach this coordinator; by default the address that it listens on.
    pub advertise: Option<String>,
    /// Where trained weights are kept, a folder or a URL; by default next to the file of an SQLite store.
    pub artifacts: Option<String>,
    /// Where browsers are answered, if anywhere.
    pub http: Option<HttpConfig>,
    /// Where probes and scrapers are answered, if anywhere.
    pub admin: Option<SocketAddr>,
    /// Where traces go, if anywhere; who starts a server ends them.
    pub traces: Traces,
}

impl ServerConfig {
    /// Where others are told that a coordinator is that listens on this address: one that stands for all of a host's becomes its name.
    pub fn advertised(&self, address: SocketAddr) -> String {
        advertised(self.advertise.as_deref(), address, self.tls.is_some())
    }
}

/// The HTTP interface, with the page. It has the coordinator's token and certificate.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where to accept connections; port 0 lets the system choose.
    pub listen: SocketAddr,
}

/// A coordinator that accepts calls.
#[derive(Debug)]
pub struct Server {
    /// The address it listens on, with the port that was chosen.
    pub address: SocketAddr,
    /// Where others are told that it is.
    pub advertised: String,
    http: Option<Listening>,
    stop: CancellationToken,
    streams: TaskTracker,
    coordination: JoinHandle<anyhow::Result<()>>,
    coordination_stop: CancellationToken,
    transport: JoinHandle<anyhow::Result<()>>,
    store: Arc<dyn Store>,
    /// Answers as long as there is a server.
    _admin: Option<Admin>,
}

impl Server {
    /// Opens the store, restores the engine or finds that another coordinator leads, and begins to accept calls.
    pub async fn start(config: ServerConfig) -> anyhow::Result<Self> {
        descriptors::claim(rpc::DESCRIPTORS_MIN, rpc::DESCRIPTORS_MIN)?;
        let lease_ms = u64::try_from(config.lease.as_millis()).context("the lease is too long")?;
        // Checks that may fail come before the store, which creates files.
        let listener = listen(config.listen).await?;
        let address = listener.local_addr()?;
        let authority = config.authority.as_ref().map(Authority::open).transpose()?.map(Arc::new);
        let tls = config.tls.clone().map(|files| Tls::open(files, authority.clone())).transpose()?;
        let identities = Identities::with_logins(config.tokens.clone(), config.oidc.clone())?;
        let http = bound(config.http.as_ref()).await?;
        let (stop, leadership) = (CancellationToken::new(), Leadership::default());
        // Before the store is opened, which may take long: probes are told so.
        let watched = Watched::new(leadership.clone(), stop.clone(), &config.traces).serving(tls.clone());
        let watched = Arc::new(watched);
        let admin = admin(&config, &watched).await?;
        let store = store::open(&config.store_url).await?;
        let browsers_max = http.as_ref().map_or(0, |_| web::CONNECTIONS_MAX);
        let page = http.as_ref().map(|bound| bound.address);
        let (connections, browsers) = accept(listener, browsers_max, page)?;
        // Last, so that a failed start creates no folder.
        let artifacts = open_artifacts(&config)?;
        let advertised = config.advertised(address);
        let traced = Traced::new(config.traces.clone());
        let (coordination_stop, streams) = (CancellationToken::new(), TaskTracker::new());
        let (reporter, health) = tonic_health::server::health_reporter();
        let coordinate = Coordination {
            store: Arc::clone(&store),
            engine: EngineConfig::with_lease_ms(lease_ms).keeping_weights(artifacts.is_some()),
            artifacts: artifacts.clone(),
            address: advertised.clone(),
            leadership: leadership.clone(),
            identities: identities.clone(),
            health: reporter,
            counted: watched.counted(),
            traced: traced.clone(),
        };
        let api = Api::new(leadership.clone(), Arc::clone(&store), artifacts, streams.clone())
            .for_those(identities.clone())
            .giving_certificates(authority);
        watched.opened(Arc::clone(&store), api.clone());
        let http = http.map(|bound| {
            let (api, identities) = (api.clone(), identities.clone());
            let routes = web::routes(api, identities, bound.address, tls.is_some(), stop.clone());
            bound.serve(routes, (tls.clone(), address), browsers, stop.clone())
        });
        access::follow(&identities, tls.as_ref(), (&store, &leadership), &stop);
        let access = AccessServer::new(api.clone());
        let sweeps = SweepServer::new(api.clone(), streams.clone()).traced(traced.clone());
        let workers =
            WorkerServer::new(api, leadership.clone(), streams.clone(), stop.clone()).traced(traced);
        let transport = transport((&identities, &leadership), health, access, sweeps, workers)?;
        let mut coordination = tokio::spawn(coordinate.run(coordination_stop.clone()));
        tokio::select! {
            () = leadership.decided() => {}
            ended = &mut coordination => return Err(why(ended)),
        }
        let (stopped, connections) = (stop.clone().cancelled_owned(), secure(connections, tls));
        let answering = transport.serve_with_incoming_shutdown(connections, stopped);
        let transport = tokio::spawn(async move { answering.await.context("the gRPC server failed") });
        say_ready(&config, (address, page), &leadership.role());
        Ok(Self {
            address,
            advertised,
            http,
            stop,
            streams,
            coordination,
            coordination_stop,
            transport,
            store,
            _admin: admin,
        })
    }

    /// Where browsers are answered, with the port that was chosen.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|http| http.address)
    }

    /// Resolves when the server has stopped by itself, with the reason (a store that failed, say).
    pub async fn stopped(&mut self) -> anyhow::Error {
        why(tokio::select! {
            ended = &mut self.coordination => ended,
            ended = &mut self.transport => ended,
        })
    }

    /// Stops accepting, commits and answers what came in, gives up leadership for a standby, sends the answers, and
    /// closes the store. Answers have 5 s.
    pub async fn shut_down(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.streams.close();
        // Before the streams have ended, which may take long and needs no leadership.
        self.coordination_stop.cancel();
        let ended = if self.coordination.is_finished() { Ok(Ok(())) } else { (&mut self.coordination).await };
        let drained = async {
            self.streams.wait().await;
            if let Some(http) = self.http.take() {
                http.ended().await;
            }
            if self.transport.is_finished() { Ok(()) } else { (&mut self.transport).await.map(drop) }
        };
        if tokio::time::timeout(DRAIN_DEADLINE, drained).await.is_err() {
            tracing::debug!("some streams did not end in time");
            self.transport.abort();
        }
        tracing::info!("the last answers have left");
        self.store.close().await;
        ended.context("the driver panicked")?
    }
}

async fn listen(on: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(on).await;
    listener.with_context(|| format!("cannot listen on {on}; choose another address with --listen"))
}

async fn bound(http: Option<&HttpConfig>) -> anyhow::Result<Option<Bound>> {
    match http {
        Some(http) => Ok(Some(Bound::to(http.listen).await?)),
        None => Ok(None),
    }
}

/// The port for probes, if one is wanted.
async fn admin(config: &ServerConfig, watched: &Arc<Watched>) -> anyhow::Result<Option<Admin>> {
    let Some(address) = config.admin else { return Ok(None) };
    Ok(Some(Admin::start(address, Arc::clone(watched) as _).await?))
}

/// The place for weights, if there is one.
fn open_artifacts(config: &ServerConfig) -> anyhow::Result<MaybeArtifacts> {
    let Some(location) = config.artifacts.clone().or_else(|| default_location(&config.store_url)) else {
        tracing::warn!(
            "trained weights are not kept, nor checkpoints that workers hand over as they leave: a database on a server has no folder next to it; name a folder or a URL that all \
             coordinators reach with --artifacts, such as s3://bucket/folder"
        );
        return Ok(None);
    };
    Ok(Some(Arc::new(Artifacts::open(&location)?)))
}

/// Says that calls are accepted, whether this coordinator leads, and where the page is.
fn say_ready(config: &ServerConfig, (address, page): (SocketAddr, Option<SocketAddr>), role: &Role) {
    let (store, tls) = (store::without_secrets(&config.store_url), config.tls.is_some());
    match role {
        Role::Leading(_) => tracing::info!(%address, store, tls, "the coordinator is ready"),
        Role::Following(leader) => {
            tracing::info!(%address, store, tls, leader, "the coordinator stands by");
        }
    }
    if let Some(address) = page {
        tracing::info!(%address, "the page is served");
    }
}

/// Why a part of the server ended by itself.
fn why(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(())) => anyhow::anyhow!("the coordinator stopped"),
        Err(error) => anyhow::anyhow!("the coordinator stopped: {error}"),
    }
}

/// The address for others: the given one, whose scheme follows from how calls are served where it has none; or that of the port, where an
/// address that stands for all of a host's becomes its name.
fn advertised(given: Option<&str>, address: SocketAddr, secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    match given {
        Some(given) if given.contains("://") => given.to_owned(),
        Some(given) => format!("{scheme}://{given}"),
        None if address.ip().is_unspecified() => {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            format!("{scheme}://{name}:{}", address.port())
        }
        None => format!("{scheme}://{address}"),
    }
}

/// The gRPC services behind authentication, with the limits that tonic leaves open.
fn transport(
    (identities, leadership): (&Identities, &Leadership),
    health: HealthServer<impl Health>,
    access: AccessServer,
    sweeps: SweepServer,
    workers: WorkerServer,
) -> anyhow::Result<Router<Stack<ErrorsLayer, stack::Identity>>> {
    let access = AccessServiceServer::new(access);
    let sweeps = SweepServiceServer::new(sweeps).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let workers =
        WorkerServiceServer::new(workers).max_decoding_message_size(terms::WORKER_MESSAGE_BYTES_MAX);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(Some(STREAMS_MAX))
        .http2_max_header_list_size(Some(HEADER_BYTES_MAX))
        .initial_stream_window_size(Some(STREAM_WINDOW_BYTES))
        .initial_connection_window_size(Some(CONNECTION_WINDOW_BYTES))
        .timeout(ANSWER_WITHIN);
    let mut server = server.layer(bounded_errors());
    let bounds = Bounds::default();
    // Probes carry no token, so health needs none; it reveals nothing about sweeps. If there is a token, a client that
    // only asks for health has not shown it.
    let health = Bounded::new(health, bounds.clone(), !identities.wants_token());
    let one = Guarded::new(health, identities.clone(), leadership.clone());
    Ok(server
        .add_service(one.of(Bounded::new(reflection, bounds.clone(), true)))
        .add_service(one.of(Bounded::new(access, bounds.clone(), true)))
        .add_service(one.of(Bounded::new(sweeps, bounds.clone(), true)))
        .add_service(one.of(Bounded::new(workers, bounds, true)))
        .add_service(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_are_told_has_a_scheme_also_where_none_was_given() {
        let address: SocketAddr = "127.0.0.1:7070".parse().unwrap();
        for (given, secure, expected) in [
            (Some("one.example:71"), true, "https://one.example:71"),
            (Some("one.example:71"), false, "http://one.example:71"),
            (Some("http://proxy:80"), true, "http://proxy:80"),
            (None, true, "https://127.0.0.1:7070"),
        ] {
            assert_eq!(advertised(given, address, secure), expected);
        }
    }
}
