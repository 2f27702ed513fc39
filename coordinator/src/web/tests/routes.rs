//! Who may use which route: each of the table, tried as each role.

use std::collections::BTreeSet;

use domain::record::Token;
use terms::{Role, VariantArray};

use super::*;
use crate::access::table;

/// An address of each route that takes something.
const EXAMPLES: &[(&str, &str)] = &[
    ("{sweep}", "1"),
    ("{job}", "1"),
    ("{worker}", "a"),
    ("{action}", "cancel"),
    ("{name}", "model.safetensors"),
    ("{*name}", "style.css"),
];
/// What some routes are asked with.
const QUERIES: &[(&str, &str)] = &[
    ("/curves", "?jobs=1&metric=val_accuracy"),
    ("/table", "?sort=objective"),
    ("/compare", "?sweeps=1,2"),
    ("/export", "?format=csv"),
];

/// Everyone who may ask, with what they show: no one, each role, and someone with a wrong token.
fn everyone() -> Vec<(Option<Role>, String)> {
    let of = |role: &Role| (Some(*role), format!("Bearer {}.hers", role.as_str()));
    let mut all: Vec<_> = Role::VARIANTS.iter().map(of).collect();
    all.extend([(None, String::new()), (None, "Bearer admin.his".to_owned())]);
    all
}

/// Tokens of each role, besides those of files.
fn with_roles() -> Identities {
    let identities = guarded();
    let token = |role: &Role| Token {
        id: role.as_str().to_owned(),
        name: format!("some-{}", role.as_str()),
        role: *role,
        secret_hash: *blake3::hash(b"hers").as_bytes(),
        created_unix_ms: 1,
        created_by: "admin".to_owned(),
        expires_unix_ms: None,
        revoked_unix_ms: None,
    };
    identities.take(Role::VARIANTS.iter().map(token).collect(), true);
    identities
}

fn example(route: &str) -> String {
    let mut path = route.replace("{version}", pages::version());
    for (name, value) in EXAMPLES {
        path = path.replace(name, value);
    }
    let query = QUERIES.iter().find(|(end, _)| route.ends_with(end) && route.starts_with("/api/"));
    path + query.map_or("", |(_, query)| query)
}

#[tokio::test]
async fn each_route_is_for_those_who_may_and_for_no_one_else() {
    let served = served(with_roles()).await;
    for (method, route, who) in table::ROUTES {
        let (method, path) = (method.parse::<Method>().unwrap(), example(route));
        for (role, shown) in everyone() {
            let bearer = [("authorization", shown.as_str())];
            let bearer = if shown.is_empty() { &[][..] } else { &bearer[..] };
            let (status, headers, _) = served.ask(&method, &path, bearer).await;
            let is_in = match status {
                StatusCode::UNAUTHORIZED => *route == "/login",
                // Someone else's sweep is for others, but its route was.
                StatusCode::FORBIDDEN => role == Some(Role::Submitter) && who.has(role),
                // To the page that asks for a token.
                StatusCode::SEE_OTHER => {
                    !headers[header::LOCATION].to_str().unwrap().starts_with("/login") || path == "/logout"
                }
                _ => true,
            };
            assert_eq!(is_in, who.has(role), "{method} {path} {role:?} {shown:?}: {status}");
            assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
            assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        }
    }
}

#[test]
fn each_route_is_in_the_table_and_the_table_has_no_other() {
    let described = serde_json::to_value(json_routes().get_openapi()).unwrap();
    let paths = described["paths"].as_object().unwrap();
    let mut routes: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, item) in paths {
        routes.extend(item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    let of_pages = |path: &str| !path.starts_with("/api/");
    let in_table: BTreeSet<_> =
        table::ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    let of_api = in_table.iter().filter(|(_, path)| !of_pages(path)).cloned().collect();
    assert_eq!(routes, of_api);
    // Routes of pages are no part of the description; `/login` is one with two methods.
    let of_pages = in_table
        .iter()
        .filter(|(method, path)| of_pages(path) && (method, path.as_str()) != (&"POST".to_owned(), "/login"));
    let count = |source: &str| source.matches(".route(").count();
    assert_eq!(count(include_str!("../pages.rs")), of_pages.count(), "who may use a route is in the table");
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

#[tokio::test]
async fn a_submitter_changes_its_own_sweeps_and_no_others() {
    let served = served(with_roles()).await;
    let submitter = ("authorization", "Bearer submitter.hers");
    let others = served.ask(&Method::POST, "/api/v1/sweeps/1/pause", &[submitter]).await;
    assert_eq!(others.0, StatusCode::FORBIDDEN);
    let body: Value = serde_json::from_slice(&to_bytes(others.2, usize::MAX).await.unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "forbidden");
    assert!(body["error"]["message"].as_str().unwrap().contains("sweep 1 belongs to no one"), "{body}");
    let request =
        Request::builder().method(Method::POST).uri("/api/v1/sweeps").header(submitter.0, submitter.1);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let body = Body::from(serde_json::json!({"file": FILE}).to_string());
    let made = served.routes.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let made: Value = serde_json::from_slice(&to_bytes(made.into_body(), usize::MAX).await.unwrap()).unwrap();
    assert_eq!(
        (&made["sweep"]["id"], &made["sweep"]["owner"]),
        (&2.into(), &"some-submitter".into()),
        "{made}"
    );
    for (asks, status) in [
        ("Bearer submitter.hers", StatusCode::OK),
        ("Bearer admin.hers", StatusCode::OK),
        ("Bearer viewer.hers", StatusCode::FORBIDDEN),
    ] {
        let asked = served.ask(&Method::POST, "/api/v1/sweeps/2/pause", &[("authorization", asks)]).await;
        assert_eq!(asked.0, status, "{asks}");
    }
}
