//! Sending a message: a few tries, each within a limit.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::{Client, Response, StatusCode, header, redirect};

use super::address::Address;
use crate::cli::failure::Failure;

/// Longest wait for a receiver's answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Tries after the first one: with the pauses between them, a receiver may be away for a minute.
const RETRIES_MAX: usize = 6;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Pauses between tries.
pub(super) fn pauses() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(RETRIES_MAX)
        .with_jitter()
        .build()
}

/// What sends messages.
pub(super) fn client() -> Result<Client, Failure> {
    // Of two implementations of TLS that could be built in, this is the one. An error says that it is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .timeout(ANSWER_WITHIN)
        // A message goes where the user sends it, and nowhere else.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("sweep/", env!("CARGO_PKG_VERSION")))
        .build();
    client.map_err(|error| Failure::operation(format!("no messages can be sent: {}", error.without_url())))
}

/// Sends `body` until the receiver has taken it; the reason, without the address's secrets, where it has not.
pub(super) async fn deliver(
    client: &Client,
    address: &Address,
    body: Vec<u8>,
    mut pauses: impl Iterator<Item = Duration> + Send,
) -> Result<(), String> {
    loop {
        let refused = match attempt(client, address, body.clone()).await {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let pause = pauses.next().filter(|_| refused.may_pass);
        let Some(pause) = pause else { return Err(format!("{address}: {}", refused.reason)) };
        tokio::time::sleep(pause.max(refused.wait)).await;
    }
}

/// Why a receiver has not taken a message.
struct Refused {
    reason: String,
    may_pass: bool,
    /// How long it asks to wait.
    wait: Duration,
}

async fn attempt(client: &Client, address: &Address, body: Vec<u8>) -> Result<(), Refused> {
    let request =
        client.post(address.url.clone()).header(header::CONTENT_TYPE, "application/json").body(body);
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(refusal(&answer)),
        Err(error) => Err(Refused {
            reason: terminal::output::with_causes(&anyhow::Error::new(error.without_url())),
            may_pass: true,
            wait: Duration::ZERO,
        }),
    }
}

fn refusal(answer: &Response) -> Refused {
    let status = answer.status();
    let seconds =
        answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let hint =
        if status.is_redirection() { " (redirections are not followed: name the last address)" } else { "" };
    Refused {
        reason: format!("answered {status}{hint}"),
        may_pass: status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT),
        wait: seconds.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::{Router, extract::State, http::HeaderMap, routing::post};

    use super::*;

    type Heard = Arc<Mutex<Vec<(String, String)>>>;

    /// A receiver that answers with these, one after the other, and then with 200.
    async fn receiver(answers: &[u16]) -> (String, Heard) {
        async fn take(
            State((answers, heard)): State<(Arc<Mutex<Vec<u16>>>, Heard)>,
            headers: HeaderMap,
            body: String,
        ) -> (StatusCode, [(header::HeaderName, &'static str); 1]) {
            let kind = headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
            heard.lock().unwrap().push((kind, body));
            let answer = answers.lock().unwrap().pop().unwrap_or(200);
            (StatusCode::from_u16(answer).unwrap(), [(header::LOCATION, "/elsewhere")])
        }
        let heard = Heard::default();
        let answers = Arc::new(Mutex::new(answers.iter().rev().copied().collect()));
        let routes = Router::new().route("/{*path}", post(take)).with_state((answers, heard.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/secret", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, routes).await });
        (url, heard)
    }

    async fn sent(url: &str, pauses: usize) -> Result<(), String> {
        let address = Address::parse(url).unwrap();
        let pauses = std::iter::repeat_n(Duration::ZERO, pauses);
        deliver(&client().unwrap(), &address, b"{}".to_vec(), pauses).await
    }

    #[tokio::test]
    async fn a_receiver_that_is_busy_is_asked_again_with_the_same() {
        let (url, heard) = receiver(&[503, 429, 500]).await;
        sent(&url, 3).await.unwrap();
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 4);
        assert!(
            heard.iter().all(|one| *one == ("application/json".to_owned(), "{}".to_owned())),
            "{heard:?}"
        );
    }

    #[tokio::test]
    async fn tries_have_an_end_and_a_refusal_is_not_tried_again() {
        for (answers, pauses, tries, says) in [
            (&[503, 503, 503][..], 2, 3, "answered 503"),
            (&[404], 2, 1, "answered 404"),
            (&[302], 2, 1, "redirections are not followed"),
        ] {
            let (url, heard) = receiver(answers).await;
            let error = sent(&url, pauses).await.unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{error}");
            assert_eq!(heard.lock().unwrap().len(), tries);
        }
    }

    #[tokio::test]
    async fn a_receiver_that_is_not_there_is_named_without_its_secret() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/secret", listener.local_addr().unwrap());
        drop(listener);
        let error = sent(&url, 1).await.unwrap_err();
        assert!(error.starts_with("http://127.0.0.1:") && !error.contains("secret"), "{error}");
        assert!(error.contains("refused"), "{error}");
    }
}
