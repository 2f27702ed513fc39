//! What is said to who asks for what cannot be: with what to do, and in the language that they read.

use super::*;

/// Asks with a body that is said to be of this kind, or with none.
async fn post(served: &Served, path: &str, kind: &str, body: &str) -> (u16, Value) {
    let mut request = Request::builder().method(Method::POST).uri(path).header(header::HOST, "localhost");
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let answer = served.routes.clone().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&to_bytes(answer.into_body(), usize::MAX).await.unwrap()).unwrap())
}

const JSON: &str = "application/json";

#[tokio::test]
async fn a_retry_of_a_cancelled_sweep_is_told_which_body_has_it_go_on() {
    let served = served(Identities::default()).await;
    assert_eq!(served.ask(&Method::POST, "/api/v1/sweeps/1/cancel", &[]).await.0, StatusCode::OK);
    for path in ["/api/v1/sweeps/1/retry", "/api/v1/sweeps/1/jobs/3/retry"] {
        let (status, body) = post(&served, path, JSON, "{\"cancelled_too\": false}").await;
        assert_eq!((status, &body["error"]["code"]), (409, &"refused".into()), "{body}");
        let said = body["error"]["message"].as_str().unwrap();
        let advice = "POST /api/v1/sweeps/1/retry with the body {\"cancelled_too\": true}";
        assert!(said.contains(advice) && !said.contains("`sweep retry"), "{said}");
    }
    // What it advises is what has the sweep go on.
    let (status, went_on) = post(&served, "/api/v1/sweeps/1/retry", JSON, "{\"cancelled_too\": true}").await;
    assert_eq!(
        (status, &went_on["retried"], &went_on["sweep"]["state"]),
        (200, &6.into(), &"running".into())
    );
}

#[tokio::test]
async fn a_retry_tries_cancelled_jobs_too_unless_it_is_told_not_to() {
    for (body, retried) in
        [("", 2), ("{}", 2), ("{\"cancelled_too\": true}", 2), ("{\"cancelled_too\": false}", 1)]
    {
        let served = super::filled::served().await;
        assert_eq!(served.ask(&Method::POST, "/api/v1/sweeps/1/jobs/6/cancel", &[]).await.0, StatusCode::OK);
        let (status, answer) = post(&served, "/api/v1/sweeps/1/retry", JSON, body).await;
        assert_eq!((status, &answer["retried"]), (200, &retried.into()), "{body}: {answer}");
    }
    let served = super::filled::served().await;
    let (_, described) = served.json("/api/v1/openapi.json").await;
    assert_eq!(described["components"]["schemas"]["Retry"]["properties"]["cancelled_too"]["default"], true);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_in_words_of_json() {
    let served = served(Identities::default()).await;
    for (kind, body, status, says) in [
        (JSON, "{\"cancelled_too\": 1}", 422, "`cancelled_too` is `true` or `false`, not integer `1`"),
        (JSON, "{\"cancelled_too\": true, \"cancelled_too\": true}", 422, "`cancelled_too` is there twice"),
        (JSON, "{", 400, "this is no JSON: EOF while parsing an object (line 1, character 1)"),
        ("text/plain", "{}", 415, "with the header `Content-Type: application/json`"),
    ] {
        let (found, answer) = post(&served, "/api/v1/sweeps/1/retry", kind, body).await;
        assert_eq!((found, &answer["error"]["code"]), (status, &"invalid".into()), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{answer}");
    }
}

#[tokio::test]
async fn errors_are_said_in_the_language_of_who_reads_them() {
    let served = served(Identities::default()).await;
    for (headers, says) in [
        (&[][..], "there is no sweep 9; `sweep ls` lists the sweeps"),
        (&[("accept-language", "ja")], "スイープ 9 はありません (`sweep ls` で一覧を表示)"),
        (&[("cookie", "sweep-language=ja")], "スイープ 9 はありません (`sweep ls` で一覧を表示)"),
    ] {
        let (status, answered, body) = served.ask(&Method::GET, "/api/v1/sweeps/9", headers).await;
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((status, &body["error"]["code"]), (StatusCode::NOT_FOUND, &"not_found".into()));
        assert_eq!(body["error"]["message"], says, "{headers:?}");
        let length = answered.get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap().to_owned());
        assert!(length.is_none_or(|length| length == bytes.len().to_string()), "{answered:?}");
    }
}

#[tokio::test]
async fn a_page_beyond_the_last_is_the_last_and_says_so() {
    let served = super::filled::served().await;
    let (_, last) = served.json("/api/v1/sweeps/1/table?rows=2&page=99").await;
    assert_eq!((&last["page"], &last["pages"]), (&3.into(), &3.into()), "{last}");
    assert_eq!(last["items"].as_array().unwrap().len(), 1);
}
