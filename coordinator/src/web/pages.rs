//! The page: a frame for each address, and the files that fill it from the JSON API. The files are part of the program; their addresses hold a
//! hash of all of them, so that a browser keeps them and never mixes two versions.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    Extension, Form, Router,
    extract::{FromRequestParts, Path, Query, State, rejection::ExtensionRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use engine::Issuer;
use rust_embed::RustEmbed;
use serde::Deserialize;
use terms::{Role, SweepId};

use super::{
    Web,
    access::{LOGIN, is_of_another_page, is_of_unknown_page},
    answers::{self, Code, Refusal},
    columns, modules,
    reader::Reader,
    wanted,
};

/// How long a browser may keep a file: its address changes with it.
const KEEP: &str = "public, max-age=31536000, immutable";
/// Characters of the hash in addresses.
const VERSION_CHARACTERS: usize = 16;
/// Files of the page.
#[derive(RustEmbed)]
#[folder = "src/web/assets"]
pub(super) struct Files;

/// The hash of all files, which is part of their addresses.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for name in Files::iter() {
        hasher.update(name.as_bytes());
        hasher.update(&Files::get(&name).map(|file| file.metadata.sha256_hash()).unwrap_or_default());
    }
    hasher.finalize().to_hex()[..VERSION_CHARACTERS].to_owned()
});

#[cfg(test)]
pub(super) fn version() -> &'static str {
    &VERSION
}

/// What a page is about; its script fills it.
#[derive(Template)]
#[template(path = "frame.html")]
struct Frame<'a> {
    language: &'a str,
    version: &'a str,
    role: &'a str,
    /// Whose the sweeps are that the reader may change, unless the role says that these are all.
    name: &'a str,
    /// Whether there is a session to end.
    has_session: bool,
    /// What the page asks for first: a browser asks before it has read the script.
    answers: Vec<String>,
    /// The files of its script: all are asked for at once, where each would wait for the one that imports it.
    modules: &'a [String],
}

/// The page that asks for a token.
#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    language: &'a str,
    version: &'a str,
    is_japanese: bool,
    was_wrong: bool,
    /// The token of a link, which the reader is asked about.
    linked: Option<&'a str>,
    /// Where the reader goes on then.
    next: &'a str,
}

/// A token that was typed in, or that stands in the address which `sweep run` prints.
#[derive(Debug, Default, Deserialize)]
struct Shown {
    token: Option<String>,
    /// The page that was wanted.
    next: Option<String>,
}

/// Who asks for a page: it offers what they may do.
struct Asker {
    role: Role,
    issuer: Issuer,
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ExtensionRejection> {
        let Extension(role) = Extension::from_request_parts(parts, state).await?;
        let Extension(issuer) = Extension::from_request_parts(parts, state).await?;
        Ok(Self { role, issuer })
    }
}

/// The routes.
pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/", get(sweeps))
        .route("/sweeps/{sweep}", get(sweep))
        .route("/sweeps/{sweep}/jobs/{job}", get(job))
        .route("/workers", get(workers))
        .route("/compare", get(compare))
        .route(LOGIN, get(ask).post(log_in))
        .route("/logout", post(log_out))
        .route("/assets/{version}/{*name}", get(file))
}

async fn sweeps(State(web): State<Web>, asker: Asker, reader: Reader) -> Response {
    frame(&web, &asker, reader, ("pages/sweeps.js", Vec::new()))
}

async fn sweep(
    State(web): State<Web>,
    asker: Asker,
    method: Method,
    Path(id): Path<String>,
    reader: Reader,
) -> Response {
    let id = number(&id);
    if let Some(id) = id.filter(|_| method == Method::GET) {
        columns::begin(&web, SweepId(id));
    }
    let api = |id: u64| {
        vec![format!("/api/v1/sweeps/{id}/columns?coarse=true&first=true"), format!("/api/v1/sweeps/{id}")]
    };
    frame(&web, &asker, reader, ("pages/sweep.js", id.map(api).unwrap_or_default()))
}

async fn job(
    State(web): State<Web>,
    asker: Asker,
    Path((id, job)): Path<(String, String)>,
    reader: Reader,
) -> Response {
    let api = |(id, job)| vec![format!("/api/v1/sweeps/{id}"), format!("/api/v1/sweeps/{id}/jobs/{job}")];
    frame(&web, &asker, reader, ("pages/job.js", number(&id).zip(number(&job)).map(api).unwrap_or_default()))
}

async fn workers(State(web): State<Web>, asker: Asker, reader: Reader) -> Response {
    frame(&web, &asker, reader, ("pages/workers.js", Vec::new()))
}

async fn compare(State(web): State<Web>, asker: Asker, reader: Reader) -> Response {
    frame(&web, &asker, reader, ("pages/compare.js", Vec::new()))
}

/// A number of an address as the script writes it again in what it asks for; of anything else nothing is asked in advance.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == text)
}

/// A page with its script and what that asks for first.
fn frame(web: &Web, asker: &Asker, reader: Reader, (script, answers): (&str, Vec<String>)) -> Response {
    let role = asker.role.as_str();
    let owner = asker.issuer.owner();
    let name = owner.as_deref().unwrap_or_default();
    let has_session = web.access.wants_token();
    let modules = modules::of(script);
    page(&Frame { language: reader.code(), version: &VERSION, role, name, has_session, answers, modules })
}

async fn ask(
    State(web): State<Web>,
    Extension(issuer): Extension<Issuer>,
    Query(shown): Query<Shown>,
    headers: HeaderMap,
    reader: Reader,
) -> Response {
    match &shown.token {
        // A link of someone else must not log a reader in, as whom they like.
        Some(_) if is_of_another_page(&headers) => {
            let (from, result) = (issuer.place(), "a page of another server asked");
            tracing::info!(target: "audit", from, what = "log in", result, "refused");
            let mut page = login(&shown, reader, None);
            *page.status_mut() = StatusCode::FORBIDDEN;
            page
        }
        // The same where no one can tell whose link it is: the reader can.
        Some(token) if web.access.wants_token() && is_of_unknown_page(&headers) => {
            login(&shown, reader, Some(token))
        }
        Some(token) => enter(&web, issuer.place(), (token, &shown), reader, &headers),
        None => login(&shown, reader, None),
    }
}

async fn log_in(
    State(web): State<Web>,
    Extension(issuer): Extension<Issuer>,
    headers: HeaderMap,
    reader: Reader,
    Form(shown): Form<Shown>,
) -> Response {
    let token = shown.token.as_deref().unwrap_or_default().trim();
    enter(&web, issuer.place(), (token, &shown), reader, &headers)
}

fn enter(
    web: &Web,
    from: &str,
    (token, shown): (&str, &Shown),
    reader: Reader,
    headers: &HeaderMap,
) -> Response {
    let wanted = wanted::path(shown.next.as_deref());
    if !web.access.wants_token() {
        return Redirect::to(wanted).into_response();
    }
    match web.access.log_in(token).map(|session| HeaderValue::from_str(&session.cookie(headers))) {
        Some(Ok(cookie)) => ([(header::SET_COOKIE, cookie)], Redirect::to(wanted)).into_response(),
        Some(Err(_)) => answers::no_page(),
        None => {
            tracing::info!(target: "audit", from, what = "log in", result = "wrong token", "refused");
            wrong_token(shown, reader)
        }
    }
}

async fn log_out(State(web): State<Web>, headers: HeaderMap) -> Response {
    let cookie = HeaderValue::from_str(&web.access.log_out(&headers));
    let Ok(cookie) = cookie else { return answers::no_page() };
    ([(header::SET_COOKIE, cookie)], Redirect::to(LOGIN)).into_response()
}

/// The page that asks for a token, or whether that of a link is the reader's.
fn login(shown: &Shown, reader: Reader, linked: Option<&str>) -> Response {
    login_page(shown, reader, linked, false)
}

fn wrong_token(shown: &Shown, reader: Reader) -> Response {
    let mut page = login_page(shown, reader, None, true);
    *page.status_mut() = StatusCode::UNAUTHORIZED;
    page
}

fn login_page(shown: &Shown, reader: Reader, linked: Option<&str>, was_wrong: bool) -> Response {
    let next = wanted::path(shown.next.as_deref());
    let (language, is_japanese) = (reader.code(), reader.is_japanese());
    page(&Login { language, version: &VERSION, is_japanese, was_wrong, linked, next })
}

fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be made");
            answers::no_page()
        }
    }
}

async fn file(Path((version, name)): Path<(String, String)>) -> Response {
    let found = Files::get(&name).filter(|_| version == *VERSION);
    let Some(found) = found else {
        return Refusal::new(
            StatusCode::NOT_FOUND,
            Code::NotFound,
            "there is no such file in this version; load the page again",
        )
        .into_response();
    };
    let kind = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEEP)], found.data.into_owned()).into_response()
}
