//! The HTTP interface over a coordinator that leads on a store of its own.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use futures_util::StreamExt;
use serde_json::Value;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::*;
use crate::{
    access::{Secret, TokenFiles},
    api::{Api, Source, Submission, leader},
};

const FILE: &str = "name: <b>x\ndataset: {path: d}\nparameters: {learning_rate: {values: [0.1, 0.01]}, seed: {values: [1, 2, 3]}}\n";
const ADMIN: &str = "a-secret";
const VIEWER: &str = "to-look";
/// Not of this machine alone.
const ELSEWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 80);

mod columns;
mod compared;
mod described;
mod files;
mod filled;
mod made_once;
mod routes;
mod told;

struct Served {
    api: Api,
    routes: Router,
    /// They go with it.
    folders: Vec<tempfile::TempDir>,
}

/// A coordinator with one sweep of six jobs.
async fn served(identities: Identities) -> Served {
    let (store, folder) = leader::store().await;
    let leadership = leader::led_by(&leader::driver(&store).await);
    let api = Api::new(leadership, store, None, TaskTracker::new());
    let source = Source { text: FILE.to_owned(), file_name: "x.yaml".to_owned(), ..Source::default() };
    let submission = Submission { source, request_id: String::new(), extend: None };
    drop(api.submit(engine::Issuer::local(), submission).await.unwrap());
    let api = api.for_those(identities.clone());
    let routes = checked_routes(api.clone(), identities, CancellationToken::new());
    Served { api, routes, folders: vec![folder] }
}

/// All routes, whose answers are compared with their description.
fn checked_routes(api: Api, identities: Identities, stop: CancellationToken) -> Router {
    routes(api, identities, ELSEWHERE, false, stop).layer(middleware::from_fn(described::checked))
}

fn guarded() -> Identities {
    let text = |text: &str| Some(Secret::Text(text.to_owned()));
    Identities::open(TokenFiles { admin: text(ADMIN), viewer: text(VIEWER) }).unwrap()
}

impl Served {
    async fn ask(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (StatusCode, HeaderMap, Body) {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        (parts.status, parts.headers, body)
    }

    async fn json(&self, path: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.ask(&Method::GET, path, &[]).await;
        (status, serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap())
    }
}

#[tokio::test]
async fn what_the_page_of_another_server_asks_is_refused() {
    let mut open = served(Identities::default()).await;
    let here = SocketAddr::from(([127, 0, 0, 1], 80));
    open.routes = routes(open.api.clone(), Identities::default(), here, false, CancellationToken::new());
    let pause = "/api/v1/sweeps/1/pause";
    for (headers, expected) in [
        (vec![("sec-fetch-site", "cross-site")], StatusCode::FORBIDDEN),
        (vec![("origin", "http://evil.example")], StatusCode::FORBIDDEN),
        (vec![("sec-fetch-site", "same-origin")], StatusCode::OK),
        (vec![], StatusCode::OK),
    ] {
        assert_eq!(open.ask(&Method::POST, pause, &headers).await.0, expected, "{headers:?}");
    }
    let elsewhere = Request::builder().uri("/api/v1/sweeps").header(header::HOST, "evil.example:80");
    let answer = open.routes.clone().oneshot(elsewhere.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_browser_that_has_shown_the_token_has_a_cookie_which_lets_it_in() {
    let served = served(guarded()).await;
    let form = |token: &str| {
        Request::builder()
            .method(Method::POST)
            .uri("/login")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .body(Body::from(format!("token={token}")))
            .unwrap()
    };
    let wrong = served.routes.clone().oneshot(form("guess")).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert!(!wrong.headers().contains_key(header::SET_COOKIE));
    let right = served.routes.clone().oneshot(form(ADMIN)).await.unwrap();
    assert_eq!(
        (right.status(), &right.headers()[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/".parse().unwrap())
    );
    let cookie = right.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let (status, ..) = served.ask(&Method::GET, "/api/v1/sweeps", &[("cookie", &cookie)]).await;
    assert_eq!(status, StatusCode::OK);
    let own = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(served.ask(&Method::POST, "/api/v1/sweeps/1/pause", &own).await.0, StatusCode::OK);
    let others = [("cookie", cookie.as_str()), ("sec-fetch-site", "cross-site")];
    assert_eq!(served.ask(&Method::POST, "/api/v1/sweeps/1/resume", &others).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_page_is_kept_apart_from_others_where_browsers_do_so() {
    let mut served = served(guarded()).await;
    for (is_secure, host, is_apart) in
        [(false, "localhost", true), (false, "10.0.0.1:8080", false), (true, "gpu.example", true)]
    {
        served.routes = routes(served.api.clone(), guarded(), ELSEWHERE, is_secure, CancellationToken::new());
        let asked = Request::builder().uri("/login").header(header::HOST, host).body(Body::empty()).unwrap();
        let answer = served.routes.clone().oneshot(asked).await.unwrap();
        assert_eq!(answer.headers().contains_key("cross-origin-opener-policy"), is_apart, "{host}");
        assert!(answer.headers().contains_key("x-frame-options"));
    }
}

#[test]
fn files_of_others_are_as_they_were_published() {
    let file = |name: &str| pages::Files::get(name).unwrap_or_else(|| panic!("{name}"));
    let licenses = String::from_utf8(file("LICENSES.txt").data.into_owned()).unwrap();
    for name in ["uplot.js", "uplot.css"] {
        let hash: String =
            file(name).metadata.sha256_hash().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(licenses.contains(&format!("{hash}  {name}\n")), "{name} has the hash {hash}");
    }
}

#[test]
fn each_kind_of_error_has_its_sentence_on_the_page_in_both_languages() {
    use strum::VariantArray;
    let texts = include_str!("assets/strings.js");
    for code in answers::Code::VARIANTS {
        let key = format!("  kind_{}: ['", serde_json::to_value(code).unwrap().as_str().unwrap());
        let line = texts.lines().find(|line| line.starts_with(&key)).unwrap_or_else(|| panic!("{key}"));
        let (english, japanese) = line[key.len()..].split_once("', '").unwrap();
        assert!(english.is_ascii() && !japanese.is_ascii(), "{line}");
    }
}

#[test]
fn no_text_of_the_page_has_a_plural_for_any_number() {
    let texts = include_str!("assets/strings.js");
    let mut holes = 0;
    for line in texts.lines().filter(|line| line.starts_with("  ") && line.contains(": ['")) {
        let english = line.split("', '").next().unwrap();
        let after = english.split('}').skip(1).filter_map(|rest| rest.strip_prefix(' '));
        for word in
            after.filter_map(|rest| rest.trim_start_matches("more ").split([' ', '.', ',', ';', '\'']).next())
        {
            let is_no_noun = ["is", "was", "has", "across", "less"].contains(&word);
            let is_fine = !word.ends_with('s') || word.starts_with('{') || is_no_noun;
            assert!(is_fine, "write {{name:one|many}} in place of {word:?}: {line}");
        }
        holes += english.matches('|').count();
    }
    assert!(holes > 15, "only {holes} words for one and many were found");
}

#[tokio::test]
async fn what_cannot_be_is_said_with_its_kind() {
    let served = served(Identities::default()).await;
    for (path, status, code, says) in [
        ("/api/v1/sweeps/9", 404, "not_found", "9"),
        ("/api/v1/sweeps/x", 400, "invalid", "a sweep is a number from 1, not \"x\""),
        ("/api/v1/sweeps/1/jobs/7", 404, "not_found", "jobs 1 to 6, not 7"),
        ("/api/v1/sweeps?rows=1001", 400, "invalid", "1 to 1000 rows"),
        ("/api/v1/sweeps?rowz=1", 400, "invalid", "rowz"),
        ("/api/v1/sweeps?state=done", 400, "invalid", "there is no `state` here: it takes `rows` or `after`"),
        ("/api/v1/sweeps?rows=0", 400, "invalid", "1 to 1000 rows, not 0"),
        ("/api/v1/sweeps?rows=x", 400, "invalid", "`rows` is a whole number"),
        ("/api/v1/workers?rows=0", 400, "invalid", "1 to 1000 rows, not 0"),
        ("/api/v1/sweeps/1/jobs?rows=0", 400, "invalid", "1 to 1000 rows, not 0"),
        ("/api/v1/sweeps/1/table?rows=0", 400, "invalid", "1 to 200 `rows`, not 0"),
        ("/api/v1/sweeps/1/table?page=0", 400, "invalid", "a number from 1, not 0"),
        (
            "/api/v1/sweeps/1/jobs?state=odd",
            400,
            "invalid",
            "no job is \"odd\"; jobs are pending, running, paused, done, diverged, stopped, failed, cancelled",
        ),
        ("/api/v1/sweeps/1/jobs?jobs=1,,2", 400, "invalid", "not \"\""),
        ("/api/v1/sweeps/1/curves?jobs=1", 400, "invalid", "`metric` is missing"),
        (
            "/api/v1/sweeps/1/curves?jobs=1&metric=foo",
            400,
            "invalid",
            "no `metric` \"foo\": so far there are `val_accuracy`",
        ),
        (
            "/api/v1/sweeps/1/export?format=xml",
            400,
            "invalid",
            "`format` is one of `csv`, `json`, `parquet`, not `xml`",
        ),
        (
            "/api/v1/sweeps/1/export",
            400,
            "invalid",
            "`format` is missing: it is one of `csv`, `json`, `parquet`",
        ),
        ("/api/v1/nothing", 404, "not_found", "there is nothing at this address"),
    ] {
        let (found, body) = served.json(path).await;
        assert_eq!((found.as_u16(), body["error"]["code"].as_str()), (status, Some(code)), "{path}: {body}");
        assert!(body["error"]["message"].as_str().unwrap().contains(says), "{path}: {body}");
    }
    for (method, path, taken) in [
        (Method::DELETE, "/api/v1/sweeps/1", "GET"),
        (Method::PUT, "/api/v1/sweeps", "GET and POST"),
        (Method::POST, "/api/v1/workers", "GET"),
    ] {
        let (status, headers, body) = served.ask(&method, path, &[]).await;
        let body: Value = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
        assert_eq!((status, &body["error"]["code"]), (StatusCode::METHOD_NOT_ALLOWED, &"invalid".into()));
        assert_eq!(body["error"]["message"], format!("this address takes {taken}, not {method}"));
        assert!(headers[header::ALLOW].to_str().unwrap().starts_with("GET"), "{headers:?}");
    }
    let (status, _, body) = served.ask(&Method::POST, "/api/v1/sweeps/1/explode", &[]).await;
    let body = to_bytes(body, usize::MAX).await.unwrap();
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(&body).contains("there are pause, resume, stop, cancel and retry"));
}

#[tokio::test]
async fn a_missing_token_is_told_from_a_wrong_one() {
    let served = served(guarded()).await;
    let wrong: [(&str, &str); 1] = [("authorization", "Bearer other")];
    for (headers, code, says) in
        [(&[][..], "no_token", "wants a token"), (&wrong, "wrong_token", "the token is wrong")]
    {
        let (status, _, body) = served.ask(&Method::GET, "/api/v1/sweeps", headers).await;
        let body: Value = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
        assert_eq!((status, body["error"]["code"].as_str()), (StatusCode::UNAUTHORIZED, Some(code)));
        assert!(body["error"]["message"].as_str().unwrap().contains(says), "{body}");
    }
}

#[tokio::test]
async fn sweeps_and_jobs_are_read_and_changed() {
    let served = served(Identities::default()).await;
    let (_, listed) = served.json("/api/v1/sweeps").await;
    assert_eq!((&listed["items"][0]["name"], &listed["next"]), (&"<b>x".into(), &Value::Null));
    let (_, sweep) = served.json("/api/v1/sweeps/1").await;
    assert!(sweep["specification"].as_str().unwrap().contains("learning_rate"));
    let (_, page) = served.json("/api/v1/sweeps/1/jobs?rows=4").await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (4, &"5".into()));
    let (_, page) = served.json("/api/v1/sweeps/1/jobs?rows=4&after=5").await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (2, &Value::Null));
    let (_, some) = served.json("/api/v1/sweeps/1/jobs?jobs=6,2").await;
    let numbers: Vec<_> = some["items"].as_array().unwrap().iter().map(|job| job["job"].as_u64()).collect();
    assert_eq!(numbers, [Some(6), Some(2)]);
    let paused = served.ask(&Method::POST, "/api/v1/sweeps/1/pause", &[]).await;
    let paused: Value = serde_json::from_slice(&to_bytes(paused.2, usize::MAX).await.unwrap()).unwrap();
    assert_eq!(paused["state"], "paused");
    let (status, ..) = served.ask(&Method::POST, "/api/v1/sweeps/1/jobs/3/cancel", &[]).await;
    assert_eq!(status, StatusCode::OK);
    let (_, job) = served.json("/api/v1/sweeps/1/jobs/3").await;
    assert_eq!(job["state"], "cancelled");
    let (_, cancelled) = served.json("/api/v1/sweeps/1/jobs?state=cancelled,failed").await;
    assert_eq!(cancelled["items"][0]["job"], 3);
}

#[tokio::test]
async fn a_sweep_is_submitted_once_and_a_wrong_file_is_refused_with_its_place() {
    let served = served(Identities::default()).await;
    let submit = async |body: Value| {
        let request = Request::builder().method(Method::POST).uri("/api/v1/sweeps");
        let request =
            request.header(header::HOST, "localhost").header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        let answer = served.routes.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice::<Value>(&bytes).unwrap())
    };
    let asked = serde_json::json!({"file": FILE, "overrides": ["name=other"], "request_id": "a"});
    let (status, made) = submit(asked.clone()).await;
    assert_eq!(
        (status, &made["created"], &made["sweep"]["name"]),
        (200, &true.into(), &"other".into()),
        "{made}"
    );
    let (_, again) = submit(asked).await;
    assert_eq!((&again["created"], &again["sweep"]["id"]), (&false.into(), &made["sweep"]["id"]));
    let more = FILE.replace("[1, 2, 3]", "[1, 2, 3, 4]");
    let (_, extended) = submit(serde_json::json!({"file": more, "extend": 1})).await;
    assert_eq!((&extended["added_jobs"], &extended["sweep"]["jobs"]), (&2.into(), &8.into()), "{extended}");
    let long = format!("{FILE}#{}\n", " ".repeat(BODY_BYTES_MAX));
    assert_eq!(
        submit(serde_json::json!({"file": long})).await.0,
        200,
        "a file may be longer than other bodies"
    );
    for (body, status, says) in [
        (serde_json::json!({"file": "name: a\nparameter: {}\n", "file_name": "a.yaml"}), 400, "a.yaml:2"),
        (serde_json::json!({"file": FILE, "extend": 0}), 400, "a sweep is a number from 1"),
        (
            serde_json::json!({"files": FILE}),
            422,
            "there is no `files` here: the body takes one of `file`, `file_name`",
        ),
        (
            serde_json::json!({"file": FILE, "extend": "x"}),
            422,
            "`extend` is a whole number from 0 on, not string \"x\"",
        ),
        (serde_json::json!({"file": " ".repeat(5 << 20)}), 413, "the body has more than"),
        (
            serde_json::json!({"file": FILE, "dataset_path": "a\u{1}"}),
            400,
            "`dataset_path` has the control character",
        ),
        (
            serde_json::json!({"file": "program: a.py\nmetric: {name: loss, goal: minimize}\nparameters: {x: {values: [1]}}\n"}),
            400,
            "`sweep submit`",
        ),
    ] {
        let (found, answer) = submit(body).await;
        assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{answer}");
        assert_eq!(found, status, "{answer}");
    }
}

#[tokio::test]
async fn an_analysis_is_sent_once_and_has_the_keys_that_pages_read() {
    let served = served(Identities::default()).await;
    let path = "/api/v1/sweeps/1/analysis";
    let (status, headers, body) = served.ask(&Method::GET, path, &[]).await;
    assert_eq!(
        (status, &headers[header::CONTENT_TYPE]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    let analysis: Value = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
    let keys: Vec<&str> = analysis.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "best",
            "best_of",
            "bounds",
            "effects",
            "importance",
            "interactions",
            "jobs",
            "metric",
            "points",
            "repeats"
        ]
    );
    assert_eq!(analysis["jobs"]["unfinished"], 6);
    assert_eq!(analysis["importance"]["method"], "nothing_varies");
    let tag = headers[header::ETAG].to_str().unwrap();
    let again = served.ask(&Method::GET, path, &[("if-none-match", tag)]).await;
    assert_eq!(again.0, StatusCode::NOT_MODIFIED);
    assert_eq!(served.json("/api/v1/sweeps/7/analysis").await.0, StatusCode::NOT_FOUND);
}

/// The events of a stream as they come: name, id and data.
async fn next_event(
    body: &mut axum::body::BodyDataStream,
    text: &mut String,
) -> Option<(String, String, Value)> {
    while !text.contains("\n\n") {
        text.push_str(std::str::from_utf8(&body.next().await?.unwrap()).unwrap());
    }
    let (event, rest) =
        text.split_once("\n\n").map(|(event, rest)| (event.to_owned(), rest.to_owned())).unwrap();
    *text = rest;
    let of = |key: &str| {
        event.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim_start().to_owned()
    };
    Some((of("event:"), of("id:"), serde_json::from_str(&of("data:")).unwrap_or(Value::Null)))
}

#[tokio::test]
async fn a_page_that_comes_back_is_told_what_is_new_to_the_end() {
    let served = served(Identities::default()).await;
    let path = "/api/v1/sweeps/1/events";
    let (_, headers, body) = served.ask(&Method::GET, path, &[]).await;
    assert_eq!(headers[header::CONTENT_TYPE], "text/event-stream");
    let (mut body, mut text) = (body.into_data_stream(), String::new());
    let (event, id, first) = next_event(&mut body, &mut text).await.unwrap();
    assert_eq!((event.as_str(), &first["sweep"]["state"]), ("snapshot", &"running".into()));
    assert_eq!(first["waiting"].as_str().map(str::is_empty), Some(false), "{first}");
    drop(body);
    // What it has seen is not told again: the first event is of what changes then.
    let (_, _, body) = served.ask(&Method::GET, path, &[("last-event-id", &id)]).await;
    let (mut body, mut text) = (body.into_data_stream(), String::new());
    drop(served.api.cancel(engine::Issuer::local(), terms::SweepId(1), None).await.unwrap());
    let mut told = Vec::new();
    while let Some(event) = next_event(&mut body, &mut text).await {
        told.push(event);
    }
    assert!(told.iter().all(|(_, seen, _)| *seen != id), "{told:?}");
    let names: Vec<&str> = told.iter().map(|(name, ..)| name.as_str()).collect();
    assert!(names.ends_with(&["snapshot", "end"]), "{names:?}");
    assert_eq!(told[told.len() - 2].2["sweep"]["state"], "cancelled");
}

#[tokio::test]
async fn a_stream_ends_with_its_coordinator() {
    let (store, _folder) = leader::store().await;
    let api = Api::new(leader::led_by(&leader::driver(&store).await), store, None, TaskTracker::new());
    let source = Source { text: FILE.to_owned(), file_name: "x.yaml".to_owned(), ..Source::default() };
    let submission = Submission { source, request_id: String::new(), extend: None };
    drop(api.submit(engine::Issuer::local(), submission).await.unwrap());
    let stop = CancellationToken::new();
    let routes = checked_routes(api, Identities::default(), stop.clone());
    let request = Request::builder().uri("/api/v1/sweeps/1/events").body(Body::empty()).unwrap();
    let (mut body, mut text) =
        (routes.oneshot(request).await.unwrap().into_body().into_data_stream(), String::new());
    assert!(next_event(&mut body, &mut text).await.is_some());
    stop.cancel();
    while next_event(&mut body, &mut text).await.is_some() {}
}
