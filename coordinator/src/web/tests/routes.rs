//! Who may use which route.

use super::*;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    NoOne,
    Viewer,
    Admin,
}

/// All routes with an example of each, and who may use them.
pub(super) const ROUTES: &[(Method, &str, Asks)] = &[
    (Method::GET, "/", Asks::Viewer),
    (Method::GET, "/sweeps/1", Asks::Viewer),
    (Method::GET, "/sweeps/1/jobs/1", Asks::Viewer),
    (Method::GET, "/workers", Asks::Viewer),
    (Method::GET, "/compare", Asks::Viewer),
    (Method::GET, "/login", Asks::NoOne),
    (Method::POST, "/logout", Asks::NoOne),
    (Method::GET, "/assets/VERSION/style.css", Asks::NoOne),
    (Method::GET, "/api/v1/openapi.json", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/jobs", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/jobs/1", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/jobs/1/logs", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/events", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/columns", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/analysis", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/curves?jobs=1&metric=val_accuracy", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/table?sort=objective", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/rungs", Asks::Viewer),
    (Method::GET, "/api/v1/timeline", Asks::Viewer),
    (Method::GET, "/api/v1/compare?sweeps=1,2", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/jobs/1/artifacts", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/jobs/1/artifacts/model.safetensors", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/1/export?format=csv", Asks::Viewer),
    (Method::GET, "/api/v1/sweeps/events", Asks::Viewer),
    (Method::GET, "/api/v1/workers/events", Asks::Viewer),
    (Method::GET, "/api/v1/workers", Asks::Viewer),
    (Method::POST, "/api/v1/sweeps", Asks::Admin),
    (Method::POST, "/api/v1/sweeps/1/pause", Asks::Admin),
    (Method::POST, "/api/v1/sweeps/1/retry", Asks::Admin),
    (Method::POST, "/api/v1/sweeps/1/jobs/1/retry", Asks::Admin),
    (Method::POST, "/api/v1/sweeps/1/jobs/2/cancel", Asks::Admin),
    (Method::POST, "/api/v1/workers/a/drain", Asks::Admin),
];

#[tokio::test]
async fn each_route_is_for_those_who_may_and_for_no_one_else() {
    let served = served(&guarded()).await;
    for (method, path, least) in ROUTES {
        let path = path.replace("VERSION", pages::version());
        for asks in [Asks::NoOne, Asks::Viewer, Asks::Admin] {
            let bearer = match asks {
                Asks::NoOne => vec![],
                Asks::Viewer => vec![("authorization", "Bearer to-look")],
                Asks::Admin => vec![("authorization", "Bearer a-secret")],
            };
            let (status, headers, _) = served.ask(method, &path, &bearer).await;
            let is_in = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => false,
                // To the page that asks for a token.
                StatusCode::SEE_OTHER => {
                    !headers[header::LOCATION].to_str().unwrap().starts_with("/login") || path == "/logout"
                }
                _ => true,
            };
            let may = asks == Asks::Admin || asks == *least || *least == Asks::NoOne;
            assert_eq!(is_in, may, "{method} {path} {asks:?}: {status}");
            assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
            assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        }
    }
}

#[test]
fn each_route_of_a_page_is_in_the_list_of_those_that_are_tried_and_no_other_lacks_a_description() {
    let count = |source: &str| source.matches(".route(").count();
    let of_pages = ROUTES.iter().filter(|(_, path, _)| !path.starts_with("/api/")).count();
    assert_eq!(count(include_str!("../pages.rs")), of_pages, "who may use a route is tested for each");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web");
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let is_of_pages =
            file.ends_with("pages.rs") || file.ends_with("tests.rs") || file.ends_with("listen.rs");
        if file.extension().is_some_and(|extension| extension == "rs") && !is_of_pages {
            let source = std::fs::read_to_string(&file).unwrap();
            assert_eq!(count(&source), 0, "{}: `routes!` describes what it adds", file.display());
        }
    }
}
