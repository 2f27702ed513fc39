//! The HTTP interface: a JSON API under `/api/v1`, events of a sweep as they happen, and the page that uses both. An adapter of `api`, as
//! `rpc` is: a request is decoded, one use case is called, and its answer goes out in the one JSON shape that each thing has (`shapes`).
//!
//! Who may do what is decided in one table (`crate::access`), before any route. Bounds on connections and their patience are in `listen`.

mod access;
mod actions;
mod analysis;
mod answers;
mod artifacts;
mod asked;
mod columns;
mod compare;
mod description;
mod events;
mod exports;
mod headers;
mod kept;
mod listen;
mod lists;
mod misled;
mod modules;
mod pages;
mod reader;
mod reading;
mod sending;
mod table;
mod timeline;
mod turns;
mod unheard;
mod wanted;

use std::net::SocketAddr;

use axum::{Router, middleware};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use self::access::Access;
pub use self::listen::{Bound, CONNECTIONS_MAX, Listening};
use crate::{
    access::Identities,
    api::{Api, Snapshots},
};

/// Largest body of a request: the form of a login, or the choice of a retry.
const BODY_BYTES_MAX: usize = 16 << 10;

/// What every route has.
#[derive(Debug, Clone)]
struct Web {
    api: Api,
    snapshots: Snapshots<events::Encoded>,
    access: Access,
    columns: kept::Kept<columns::Columns>,
    /// For the columns as they are sent, with the parameters that are computed for them.
    sent: turns::Turns,
    analyses: kept::Kept<kept::Version>,
    comparisons: kept::Kept<kept::Version>,
    lists: lists::Looked,
    /// For the tables of jobs and the rungs, which are made for each who asks.
    tables: turns::Turns,
    /// What programs read about the JSON API.
    description: kept::Version,
    /// Ends what would go on for as long as a browser listens.
    stop: CancellationToken,
}

/// All routes of the HTTP interface of these use cases for those whom `identities` knows, served on this address, by TLS or without.
pub fn routes(
    api: Api,
    identities: Identities,
    address: SocketAddr,
    is_secure: bool,
    stop: CancellationToken,
) -> Router {
    let access = Access::new(identities, address, is_secure);
    let (json, described) = json_routes().split_for_parts();
    let web = Web {
        api,
        snapshots: Snapshots::new(events::encode),
        access: access.clone(),
        columns: kept::Kept::default(),
        sent: turns::Turns::default(),
        analyses: kept::Kept::default(),
        comparisons: kept::Kept::new(compare::WAITING_MAX),
        lists: lists::Looked::default(),
        tables: turns::Turns::default(),
        description: description::encode(&described),
        stop,
    };
    json.merge(pages::routes())
        .fallback(answers::no_such_place)
        .method_not_allowed_fallback(answers::no_such_method)
        .layer(middleware::from_fn_with_state(access, access::check))
        .layer(middleware::from_fn(answers::in_language))
        .layer(middleware::from_fn_with_state(is_secure, headers::add))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(web)
}

/// The routes of the JSON API with their description.
fn json_routes() -> OpenApiRouter<Web> {
    OpenApiRouter::with_openapi(description::Base::openapi())
        .merge(description::routes())
        .merge(reading::routes())
        .merge(actions::routes())
        .merge(events::routes())
        .merge(columns::routes())
        .merge(analysis::routes())
        .merge(compare::routes())
        .merge(lists::routes())
        .merge(table::routes())
        .merge(timeline::routes())
        .merge(artifacts::routes())
        .merge(exports::routes())
}

#[cfg(test)]
mod tests;
