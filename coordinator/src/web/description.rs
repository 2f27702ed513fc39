//! The description of the JSON API for programs (OpenAPI 3.1). It is made of the routes and the types that they answer with: a route that
//! is not described cannot be added. What all of them share is added here: the parameters of paths, errors, and that answers have the keys
//! that they are described with, all of them and no others.

use std::collections::BTreeSet;

use axum::{extract::State, http::HeaderMap, response::Response};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Web, answers::ErrorAnswer, columns, events, kept::Version};

/// What bodies of requests are, in which keys may be absent.
const REQUESTS: [&str; 2] = ["Submit", "Retry"];
/// Keys of answers that may be absent. All others are there, null where there is nothing to say.
const MAY_BE_ABSENT: [&str; 2] = ["proposal", "values"];
/// Before the name of a schema in a reference.
const SCHEMAS: &str = "#/components/schemas/";
/// What an error is.
const ERROR: &str = "#/components/responses/Error";
/// Before the name of what a list is of.
const LIST: &str = "Listed_";
/// Statuses of errors that any route may answer with.
const ERRORS: [(&str, &str); 6] = [
    ("400", "The request is wrong."),
    ("401", "A token is wanted."),
    ("404", "There is no such thing."),
    ("421", "The coordinator serves its own machine alone."),
    ("503", "Another coordinator leads, or something cannot be reached."),
    ("default", "Another error."),
];
/// Those of routes that change something.
const ERRORS_OF_CHANGES: [(&str, &str); 2] = [
    ("403", "The viewers' token only looks, or a page of another server asked."),
    ("409", "It is not possible as things are."),
];
/// The events of each stream: their names, and the schema of their data.
const EVENTS: [(&str, &[(&str, &str)]); 3] = [
    (
        "/api/v1/sweeps/{sweep}/events",
        &[("snapshot", "SweepSnapshot"), ("epoch", "NewEpoch"), ("job", "NewState"), ("end", "NoData")],
    ),
    ("/api/v1/sweeps/events", &[("snapshot", "Listed_Sweep")]),
    ("/api/v1/workers/events", &[("snapshot", "Listed_Worker")]),
];

/// What stands before the routes.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "sweep",
        description = "The JSON API of a coordinator. Times are texts of RFC 3339 in UTC. Measurements that JSON has no numbers for are the \
                       texts `nan`, `inf` and `-inf`. Sentences for people are in the language that the cookie `sweep-language` or \
                       `Accept-Language` names, English or Japanese; messages of errors are in English."
    ),
    components(schemas(ErrorAnswer, columns::Head, events::Seen, events::NewEpoch, events::NewState))
)]
pub(super) struct Base;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(description))
}

/// This description.
///
/// Who has it already is told so by its `ETag`.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    operation_id = "openapi",
    responses(
        (status = 200, body = Object),
        (status = 304, description = "It is the one that `If-None-Match` names."),
    ),
)]
async fn description(State(web): State<Web>, headers: HeaderMap) -> Response {
    web.description.answer(&headers, "application/json")
}

/// The description as it is sent.
pub(super) fn encode(described: &utoipa::openapi::OpenApi) -> Version {
    Version::new(serde_json::to_vec(&whole(described)).unwrap_or_default().into())
}

/// The description of these routes with what all of them share.
pub(super) fn whole(described: &utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(described).unwrap_or_default();
    let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    let mut put_together = Map::new();
    for (name, schema) in &schemas {
        let mut schema = schema.clone();
        if let Some(of) = name.strip_prefix(LIST) {
            // It comes with what it lists.
            let item = schema["properties"]["items"]["items"].take();
            schema["properties"]["items"]["items"] = reference(of);
            put_together.entry(of).or_insert_with(|| merged(&item, &schemas));
        }
        put_together.insert(name.clone(), merged(&schema, &schemas));
    }
    put_together.insert("NoData".to_owned(), json!({"type": "object", "properties": {}}));
    for (name, schema) in &mut put_together {
        close(schema, !REQUESTS.contains(&name.as_str()));
    }
    let error = reference("Error");
    document["components"] = json!({
        "schemas": put_together,
        "responses": {
            "Error": {
                "description": "An error: its kind, and for people where the fault is and what to do. With `busy` comes `Retry-After`, in seconds.",
                "content": {"application/json": {"schema": error}},
            },
        },
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "The coordinator's token, or the viewers' for what is only read."},
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": "sweep-session-PORT",
                "description": "What a browser has from /login, with the port of the coordinator in its name; `__Host-` comes before it with TLS.",
            },
        },
    });
    // A coordinator without a token wants none.
    document["security"] = json!([{"token": []}, {"session": []}, {}]);
    document["servers"] = json!([{"url": "/"}]);
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete(path, method, operation);
        }
    }
    keep_used(&mut document);
    document
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("{SCHEMAS}{schema}")})
}

/// A type that takes in the keys of another is of two parts, and one object in JSON.
fn merged(schema: &Value, all: &Map<String, Value>) -> Value {
    let Some(parts) = schema["allOf"].as_array() else { return schema.clone() };
    let mut properties = Map::new();
    let mut whole = Map::from_iter([("type".to_owned(), "object".into())]);
    for part in parts {
        let named = part["$ref"].as_str().and_then(|name| all.get(name.strip_prefix(SCHEMAS)?));
        let part = merged(named.unwrap_or(part), all);
        for key in ["description", "additionalProperties"] {
            if let Some(value) = part.get(key) {
                whole.insert(key.to_owned(), value.clone());
            }
        }
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
    }
    if let Some(description) = schema.get("description") {
        whole.insert("description".to_owned(), description.clone());
    }
    whole.insert("properties".to_owned(), properties.into());
    whole.into()
}

/// An object has the keys that it is described with; an answer has all of them.
fn close(schema: &mut Value, is_answer: bool) {
    match schema {
        Value::Object(schema) => {
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                let always = properties.keys().filter(|name| !MAY_BE_ABSENT.contains(&name.as_str()));
                let always: Vec<Value> = always.map(|name| name.as_str().into()).collect();
                if is_answer {
                    schema.insert("required".to_owned(), always.into());
                }
                schema.entry("additionalProperties").or_insert(false.into());
            }
            schema.values_mut().for_each(|inner| close(inner, is_answer));
        }
        Value::Array(all) => all.iter_mut().for_each(|inner| close(inner, is_answer)),
        _ => {}
    }
}

/// Adds to the description of a route what follows from its path and its method.
fn complete(path: &str, method: &str, operation: &mut Value) {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": path_parameter(name, path)}))
        .collect();
    parameters.extend(operation["parameters"].as_array().cloned().unwrap_or_default());
    operation["parameters"] = parameters.into();
    for (status, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
        if status.starts_with(['4', '5']) {
            answer["$ref"] = ERROR.into();
        } else if answer["description"].as_str().is_none_or(str::is_empty) {
            answer["description"] = "What was asked for.".into();
        }
    }
    let of_changes = (method == "post").then_some(ERRORS_OF_CHANGES).into_iter().flatten();
    for (status, description) in ERRORS.into_iter().chain(of_changes) {
        operation["responses"][status] = json!({"$ref": ERROR, "description": description});
    }
    for (_, events) in EVENTS.iter().filter(|(stream, _)| *stream == path) {
        let of = |(name, schema): &(&str, &str)| ((*name).to_owned(), reference(schema));
        operation["x-events"] = events.iter().map(of).collect::<Map<_, _>>().into();
    }
}

fn path_parameter(name: &str, path: &str) -> Value {
    match name {
        "action" if path.contains("{job}") => json!({"enum": ["stop", "cancel"]}),
        "action" => json!({"enum": ["pause", "resume", "stop", "cancel"]}),
        "sweep" | "job" => json!({"type": "integer", "minimum": 1}),
        _ => json!({"type": "string"}),
    }
}

/// Drops the schemas that were parts of others and are nothing by themselves.
fn keep_used(document: &mut Value) {
    loop {
        let mut used = BTreeSet::new();
        references(document, &mut used);
        let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
        let before = schemas.len();
        schemas.retain(|name, _| used.contains(name) || name == "ColumnsHead");
        if schemas.len() == before {
            return;
        }
    }
}

fn references(value: &Value, used: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            let name = map.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(SCHEMAS));
            used.extend(name.map(str::to_owned));
            map.values().for_each(|inner| references(inner, used));
        }
        Value::Array(all) => all.iter().for_each(|inner| references(inner, used)),
        _ => {}
    }
}
