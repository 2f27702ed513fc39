//! Commands and workers that came to the port for browsers: they are told which port they mean.

use std::net::SocketAddr;

/// What they are told, where the coordinator speaks TLS or not.
pub(super) fn message(grpc: SocketAddr, has_tls: bool) -> String {
    let scheme = if has_tls { " with https://" } else { "" };
    format!(
        "this port of the coordinator is for its page and its JSON API (HTTP); `sweep --coordinator` and workers use port {}{scheme}",
        grpc.port()
    )
}
