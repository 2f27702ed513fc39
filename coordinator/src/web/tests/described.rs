//! Every answer of every test here is as the description says: with its status, with all keys and no others.

use std::sync::LazyLock;

use axum::{extract::Request, middleware::Next, response::Response};
use boon::{Compiler, Schemas};

use super::*;
use crate::api::TABLE_COLUMNS;

/// Where the validator finds the description.
const PLACE: &str = "file:///openapi.json";

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| description::whole(json_routes().get_openapi()));

/// The operation that a request is of, with its path as the description has it.
fn operation(method: &Method, path: &str) -> Option<(&'static str, &'static Value)> {
    let parts: Vec<&str> = path.split('/').collect();
    let is_it = |template: &str| {
        let wanted: Vec<&str> = template.split('/').collect();
        wanted.len() == parts.len()
            && wanted.iter().zip(&parts).all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let all = paths.iter().filter(|(template, _)| is_it(template));
    let with_method = all
        .filter_map(|(template, item)| Some((template.as_str(), item.get(method.as_str().to_lowercase())?)));
    // What is named comes before what is anything.
    with_method.min_by_key(|(template, _)| template.matches('{').count())
}

/// Whether a value is as the schema says that lies at this place of the description.
fn fault(pointer: &str, value: &Value) -> Option<String> {
    let mut compiler = Compiler::new();
    compiler.add_resource(PLACE, DOCUMENT.clone()).unwrap();
    let mut schemas = Schemas::new();
    let pointer = pointer.replace('{', "%7B").replace('}', "%7D");
    let schema = compiler.compile(&format!("{PLACE}#{pointer}"), &mut schemas).unwrap();
    schemas.validate(value, schema).err().map(|error| format!("{error:#}"))
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn check(method: &Method, path: &str, query: Option<&str>, status: StatusCode, answer: &Value) {
    let Some((template, operation)) = operation(method, path) else {
        // There is nothing at this address, which is an error like others.
        assert_eq!(fault("/components/schemas/Error", answer), None, "{path}: {answer}");
        return;
    };
    let status = status.as_u16().to_string();
    let described = operation["responses"].get(&status).map_or("default", |_| status.as_str());
    let pointer = match operation["responses"][described].get("$ref") {
        Some(_) => "/components/schemas/Error".to_owned(),
        None => {
            let (path, method) = (escaped(template), method.as_str().to_lowercase());
            format!("/paths/{path}/{method}/responses/{described}/content/application~1json/schema")
        }
    };
    assert_eq!(fault(&pointer, answer), None, "{method} {path} {status}: {answer:#}");
    if status == "200" {
        let known = |name: &str| {
            operation["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == name)
        };
        let names = query.unwrap_or_default().split('&').filter_map(|pair| pair.split('=').next());
        for name in names.filter(|name| !name.is_empty()) {
            assert!(known(name), "{template} does not describe the parameter {name}");
        }
    }
}

/// Checks the events of a stream as they come.
fn check_events(path: &str, chunk: &[u8]) {
    let text = std::str::from_utf8(chunk).unwrap();
    let of = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim_start);
    let (Some(event), Some(data)) = (of("event:"), of("data:")) else { return };
    let (template, operation) = operation(&Method::GET, path).unwrap();
    assert!(operation["x-events"].get(event).is_some(), "{template} does not describe the event {event}");
    let pointer = format!("/paths/{}/get/x-events/{event}", escaped(template));
    assert_eq!(fault(&pointer, &serde_json::from_str(data).unwrap()), None, "{path} {event}: {data}");
}

/// A body that was taken is one that is described.
fn check_body(method: &Method, path: &str, body: &[u8]) {
    let (template, operation) = operation(method, path).unwrap();
    if body.is_empty() || operation.get("requestBody").is_none() {
        return;
    }
    let pointer = format!("/paths/{}/post/requestBody/content/application~1json/schema", escaped(template));
    let body = serde_json::from_slice(body).unwrap();
    assert_eq!(fault(&pointer, &body), None, "{method} {path}: {body}");
}

/// Checks what goes out, and what came in where it was taken.
pub(super) async fn checked(request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let answer = next.run(Request::from_parts(parts, Body::from(body.clone()))).await;
    if uri.path().starts_with("/api/") && answer.status() == StatusCode::OK {
        check_body(&method, uri.path(), &body);
    }
    let kind = answer.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
    if !uri.path().starts_with("/api/") {
        return answer;
    }
    let (parts, body) = answer.into_parts();
    match kind.as_deref() {
        Some("application/json") => {
            let bytes = to_bytes(body, usize::MAX).await.unwrap();
            let answer = serde_json::from_slice(&bytes).unwrap();
            check(&method, uri.path(), uri.query(), parts.status, &answer);
            Response::from_parts(parts, Body::from(bytes))
        }
        Some("text/event-stream") => {
            let path = uri.path().to_owned();
            let events = body.into_data_stream().inspect(move |chunk| {
                check_events(&path, chunk.as_ref().unwrap());
            });
            Response::from_parts(parts, Body::from_stream(events))
        }
        _ => Response::from_parts(parts, body),
    }
}

#[tokio::test]
async fn the_description_is_one_of_openapi_and_is_sent_once() {
    let served = served(Identities::default()).await;
    let path = "/api/v1/openapi.json";
    let (_, headers, body) = served.ask(&Method::GET, path, &[]).await;
    let document: Value = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
    assert_eq!(document, *DOCUMENT);
    let tag = headers[header::ETAG].to_str().unwrap();
    let again = served.ask(&Method::GET, path, &[("if-none-match", tag)]).await;
    assert_eq!(again.0, StatusCode::NOT_MODIFIED);
    // By the schema of the OpenAPI Initiative (Apache-2.0), https://spec.openapis.org/oas/3.1/schema/2022-10-07.
    let schema: Value = serde_json::from_str(include_str!("openapi-3.1.json")).unwrap();
    let mut compiler = Compiler::new();
    compiler.add_resource("file:///schema.json", schema).unwrap();
    let mut schemas = Schemas::new();
    let index = compiler.compile("file:///schema.json", &mut schemas).unwrap();
    if let Err(error) = schemas.validate(&document, index) {
        panic!("{error:#}");
    }
}

#[test]
fn each_schema_of_the_description_is_one_and_each_route_has_its_name() {
    for name in DOCUMENT["components"]["schemas"].as_object().unwrap().keys() {
        // Compiles it with all that it refers to.
        fault(&format!("/components/schemas/{name}"), &Value::Null);
    }
    let mut names: Vec<&str> =
        operations().map(|(.., operation)| operation["operationId"].as_str().unwrap()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
    for (method, path, operation) in operations() {
        assert!(
            operation["summary"].as_str().is_some_and(|text| text.len() > 5),
            "{method} {path} says what it does"
        );
    }
}

fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    })
}

#[test]
fn what_differs_from_the_description_is_found() {
    let error = serde_json::json!({"error": {"code": "invalid", "message": "x"}});
    assert_eq!(fault("/components/schemas/Error", &error), None);
    for wrong in [
        serde_json::json!({"error": {"code": "odd", "message": "x"}}),
        serde_json::json!({"error": {"code": "invalid"}}),
        serde_json::json!({"error": {"code": "invalid", "message": "x", "more": 1}}),
        serde_json::json!({"error": {"code": "invalid", "message": "x"}, "more": 1}),
    ] {
        assert!(fault("/components/schemas/Error", &wrong).is_some(), "{wrong}");
    }
}

#[test]
fn the_columns_that_a_table_is_sorted_by_are_those_that_there_are() {
    let parameters =
        DOCUMENT["paths"]["/api/v1/sweeps/{sweep}/table"]["get"]["parameters"].as_array().unwrap();
    let sort = parameters.iter().find(|parameter| parameter["name"] == "sort").unwrap();
    let said = sort["description"].as_str().unwrap();
    let columns: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
    let all: Vec<&str> = TABLE_COLUMNS.into_iter().chain(["parameter:NAME", "metric:NAME"]).collect();
    assert_eq!(columns, all, "{said}");
}
