//! A running coordinator: store, driver and gRPC services put together. `sweep serve` runs one until it is
//! told to stop; `sweep run` runs one on a loopback port beside its workers.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

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
}

impl Server {
    /// Opens the store, brings the engine to where it was, and begins to accept calls.
    pub async fn start(config: ServerConfig) -> anyhow::Result<Self> {
        let _ = config;
        anyhow::bail!("not built yet")
    }

    /// Resolves when the server has stopped by itself, with the reason (a store that failed, say).
    pub async fn stopped(&mut self) -> anyhow::Error {
        std::future::pending().await
    }

    /// Stops accepting, lets replies that wait for a commit leave, and closes the store. Bounded by 5 s.
    pub async fn shut_down(self) -> anyhow::Result<()> {
        Ok(())
    }
}
