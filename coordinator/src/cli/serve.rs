//! `sweep serve`: a coordinator that runs until it is stopped.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use traces::Traces;

use super::{
    client::{ConnectionOptions, Target, Token},
    ending::{LastSweep, own_target, until_its_end},
    failure::Failure,
    oidc::OidcArguments,
    signals::StopRequests,
    spans,
};
use crate::{
    access::{Authority, AuthorityConfig, Identities, OidcConfig, Secret, TokenFiles},
    server::{HttpConfig, Server, ServerConfig},
    tls::TlsFiles,
};

/// Arguments of `sweep serve`. The token of `--token-file` guards every call.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArguments {
    /// Address for workers and users; port 0 lets the system choose
    #[arg(long, env = "SWEEP_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:7070", value_parser = terminal::listen_address)]
    listen: SocketAddr,
    /// Where results are kept: sqlite:PATH, or postgres://USER@HOST/DATABASE, which several coordinators may share: one
    /// leads, the others stand by
    #[arg(
        long,
        env = "SWEEP_STORE",
        hide_env_values = true,
        value_name = "URL",
        default_value = "sqlite:sweep.db"
    )]
    store: String,
    /// Certificate chain (PEM) of the server; read again when it changes
    #[arg(long, env = "SWEEP_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the server
    #[arg(long, env = "SWEEP_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A folder of `sweep certs init`: its certificate serves TLS, unless --tls-cert names another one of that authority, and workers
    /// join with a token
    #[arg(long, env = "SWEEP_AUTHORITY", value_name = "DIR")]
    authority: Option<PathBuf>,
    /// How long workers' certificates hold; they renew them at two thirds
    #[arg(
        long,
        env = "SWEEP_CERTIFICATES_LAST",
        value_name = "TIME",
        default_value = "24h",
        value_parser = certificates_last,
        requires = "authority"
    )]
    certificates_last: Duration,
    /// Serve the page and the JSON API for browsers on this address too, with the same token and certificate; port 0 lets
    /// the system choose
    #[arg(long, env = "SWEEP_HTTP", value_name = "ADDR", value_parser = terminal::listen_address)]
    http: Option<SocketAddr>,
    /// A file with a token for those who may only look
    #[arg(long, env = "SWEEP_VIEWER_TOKEN_FILE", value_name = "FILE")]
    viewer_token_file: Option<PathBuf>,
    #[command(flatten)]
    oidc: OidcArguments,
    /// Answer probes and scrapers on this address, in plain text and without a token: /livez, /readyz, /leaderz and /metrics;
    /// port 0 lets the system choose
    #[arg(long, env = "SWEEP_ADMIN", value_name = "ADDR", value_parser = terminal::listen_address)]
    admin: Option<SocketAddr>,
    /// How long a worker may be silent before its jobs are given to others
    #[arg(long, env = "SWEEP_LEASE", value_name = "TIME", default_value = "20s", value_parser = lease)]
    lease: Duration,
    /// Where others reach this coordinator, told to clients of one that stands by [default: the address and port of
    /// --listen, or the host's name]
    #[arg(long, env = "SWEEP_ADVERTISE", value_name = "URL")]
    advertise: Option<String>,
    /// Where trained weights are kept: a folder or a URL (file, s3, gs, az), the same for coordinators that share a
    /// store [default: next to the file of an sqlite: store; with postgres:// none are kept]
    #[arg(long, env = "SWEEP_ARTIFACTS", value_name = "URL")]
    artifacts: Option<String>,
    /// End once this sweep has ended: FILE is submitted at the start, unless the store holds its sweep from an earlier start; ID is a
    /// sweep of the store. Workers are told to leave then; the exit status is 0 if every job has a result and one of them is done,
    /// else 1, and 130 if it is stopped before. With TLS it asks itself at the address of --advertise, by --tls-ca or the authority of --authority
    #[arg(long, env = "SWEEP_EXIT_WITH_SWEEP", value_name = "FILE|ID")]
    exit_with_sweep: Option<LastSweep>,
    /// Serve other machines without TLS: whoever is on the way can read tokens and results
    #[arg(long, env = "SWEEP_PLAIN_TEXT", value_parser = clap::builder::BoolishValueParser::new())]
    plain_text: bool,
    /// Serve other machines without a token, and without TLS: anyone who reaches the port may do everything
    #[arg(long, env = "SWEEP_INSECURE", value_parser = clap::builder::BoolishValueParser::new())]
    insecure: bool,
    #[command(flatten)]
    traces: traces::Options,
}

/// Shortest and longest lease: below, a busy machine loses its jobs; above, a dead one keeps them for hours.
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(3600);

fn lease(text: &str) -> Result<Duration, String> {
    let lease = super::time(text)?;
    if (LEASE_MIN..=LEASE_MAX).contains(&lease) {
        Ok(lease)
    } else {
        Err("a lease lasts from 1s to 1h".to_owned())
    }
}

/// Shortest and longest time of a worker's certificate: below, workers would do little else than renew; above, one that was stolen would be
/// of use for long.
const CERTIFICATES_LAST_MIN: Duration = Duration::from_secs(5);
const CERTIFICATES_LAST_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

fn certificates_last(text: &str) -> Result<Duration, String> {
    let lasts = super::time(text)?;
    if (CERTIFICATES_LAST_MIN..=CERTIFICATES_LAST_MAX).contains(&lasts) {
        Ok(lasts)
    } else {
        Err("a worker's certificate holds from 5s to 30days".to_owned())
    }
}

/// The authority that gives workers certificates.
fn authority(arguments: &ServeArguments, has_token: bool) -> Result<Option<AuthorityConfig>, Failure> {
    let Some(folder) = arguments.authority.clone() else { return Ok(None) };
    if !has_token {
        return Err(Failure::usage(
            "--authority is for a coordinator with a token: without --token-file no worker needs a certificate",
        ));
    }
    let config = AuthorityConfig { folder, workers_last: arguments.certificates_last };
    // What is wrong with it is wrong usage.
    Authority::open(&config).map_err(|error| Failure::usage(format!("{error:#}; check --authority")))?;
    Ok(Some(config))
}

/// The files of TLS: those that are named, or those of the authority.
fn tls(arguments: &ServeArguments, authority: Option<&AuthorityConfig>) -> Option<TlsFiles> {
    let named = arguments.tls_cert.clone().zip(arguments.tls_key.clone());
    let (certificate, key) = named.or_else(|| authority.map(AuthorityConfig::coordinator_files))?;
    Some(TlsFiles { certificate, key })
}

/// Refuses to serve other machines without a token or without TLS, unless that is wanted.
fn refuse_open(
    address: SocketAddr,
    (has_token, has_tls): (bool, bool),
    arguments: &ServeArguments,
) -> Result<(), Failure> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    match (has_token, arguments.insecure) {
        (false, false) => {
            return Err(Failure::usage(format!(
                "{address} can be reached from other machines: give a token with --token-file, or --insecure to serve everyone"
            )));
        }
        (false, true) => {
            tracing::warn!(%address, "served without a token: anyone who reaches this port may do everything");
        }
        (true, _) => {}
    }
    match (has_tls, arguments.plain_text || arguments.insecure) {
        (false, false) => Err(Failure::usage(format!(
            "{address} can be reached from other machines, and without TLS tokens can be read on the way: give --authority, of \
             `sweep certs init`, or --tls-cert and --tls-key, or --plain-text where the network is trusted or something before this coordinator speaks TLS"
        ))),
        (false, true) => {
            tracing::warn!(%address, "served without TLS: whoever is on the way can read tokens and results");
            Ok(())
        }
        (true, _) => Ok(()),
    }
}

/// The tokens that let callers in.
fn tokens(arguments: &ServeArguments, token_file: Option<PathBuf>) -> Result<TokenFiles, Failure> {
    if arguments.viewer_token_file.is_some() && token_file.is_none() {
        return Err(Failure::usage(
            "--viewer-token-file is for a coordinator with a token: without --token-file everyone may do everything",
        ));
    }
    Ok(TokenFiles {
        admin: token_file.map(Secret::File),
        viewer: arguments.viewer_token_file.clone().map(Secret::File),
    })
}

/// `sweep serve`.
pub(super) async fn serve(arguments: ServeArguments, connection: &ConnectionOptions) -> Result<(), Failure> {
    let tokens = tokens(&arguments, connection.token_file.clone())?;
    // What is wrong with them is wrong usage.
    let oidc = arguments.oidc.clone().config(tokens.admin.is_some())?;
    Identities::with_logins(tokens.clone(), oidc.clone())
        .map_err(|error| Failure::usage(format!("{error:#}")))?;
    let authority = authority(&arguments, tokens.admin.is_some())?;
    let tls = tls(&arguments, authority.as_ref());
    let has = (tokens.admin.is_some(), tls.is_some());
    for address in [Some(arguments.listen), arguments.http].into_iter().flatten() {
        refuse_open(address, has, &arguments)?;
    }
    let traces = spans::start(&arguments.traces, spans::COORDINATOR)?;
    let doors = Doors { tokens, oidc, tls, authority };
    let served = serve_traced(arguments, connection, doors, &traces).await;
    traces.end().await;
    served
}

/// Who is let in, and by what.
struct Doors {
    tokens: TokenFiles,
    oidc: Option<OidcConfig>,
    tls: Option<TlsFiles>,
    authority: Option<AuthorityConfig>,
}

async fn serve_traced(
    arguments: ServeArguments,
    connection: &ConnectionOptions,
    Doors { tokens, oidc, tls, authority }: Doors,
    traces: &Traces,
) -> Result<(), Failure> {
    let mut stop = StopRequests::new()?;
    let ServeArguments { listen, http, store, lease, advertise, artifacts, admin, .. } = arguments;
    let last = arguments.exit_with_sweep;
    let trusted =
        connection.tls_ca.clone().or_else(|| authority.as_ref().map(AuthorityConfig::certificate_file));
    let config = ServerConfig {
        listen,
        store_url: store,
        tokens,
        oidc,
        tls,
        authority,
        lease,
        advertise,
        artifacts,
        http: http.map(|listen| HttpConfig { listen }),
        admin,
        traces: traces.clone(),
    };
    if let Some(last) = &last {
        last.check(&config)?;
    }
    let is_secure = config.tls.is_some();
    let mut server = Server::start(config).await?;
    let own = own_target((server.address, &server.advertised), is_secure);
    let own = Target {
        token: connection.token_file.clone().map(Token::File),
        tls_ca: trusted.filter(|_| is_secure),
        ..own
    };
    let ended = async {
        match &last {
            Some(last) => until_its_end(last, &own).await,
            None => std::future::pending().await,
        }
    };
    let mut outcome = Ok(());
    tokio::select! {
        error = server.stopped() => {
            if let Err(error) = server.shut_down().await {
                tracing::debug!(%error, "after the failure");
            }
            return Err(error.into());
        }
        () = stop.asked() => {
            tracing::info!(
                "stopping; workers keep training and reconnect to the next coordinator on this store (a second signal after a \
                 moment: at once)"
            );
            // Whoever started it for its sweep must not take the sweep for ended.
            if last.is_some() {
                tracing::warn!("stopped before its sweep has ended: the exit status is 130; started again on this store, it goes on with it");
                outcome = Err(Failure::Interrupted);
            }
        }
        ended = ended => outcome = ended,
    }
    tokio::select! {
        ended = server.shut_down() => outcome.and(Ok(ended?)),
        () = stop.asked() => {
            tracing::warn!("stopped at once: repeat the requests that were not answered");
            Err(Failure::Interrupted)
        }
    }
}
