//! Requests to an MLflow server: where it is, who asks, and what is asked again.

use std::{env, fs, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, Url, header, redirect};
use serde_json::Value;

use crate::cli::failure::Failure;

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Tries after the first one: together with the pauses between them, seven minutes, and so less than the coordinator waits for a reader that hands rows on.
const RETRIES_MAX: usize = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Longest answer that is quoted, in characters.
const QUOTED_MAX: usize = 500;
const API: &str = "api/2.0/mlflow";

/// A server and who asks it.
#[derive(Debug)]
pub(super) struct Server {
    client: Client,
    url: Url,
    credentials: Option<Credentials>,
}

/// What MLflow's own client sends, from the variables that it reads.
enum Credentials {
    Token(String),
    User(String, Option<String>),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials")
    }
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The server did not do it, and will not.
    Refused { code: String, message: String },
    /// No one knows whether it was done.
    Unknown(String),
}

/// Whether a request may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It does the same once more.
    May,
    /// Only where the server said that it did nothing.
    MayNot,
}

impl Server {
    /// The server that `url` or MLflow's own variable names.
    pub(super) fn new(url: Option<&str>) -> Result<Self, Failure> {
        let from_environment = variable("MLFLOW_TRACKING_URI");
        let Some(given) = url.map(str::to_owned).or(from_environment) else {
            return Err(Failure::usage(
                "name an MLflow server with --url or MLFLOW_TRACKING_URI, such as http://localhost:5000",
            ));
        };
        let url =
            Url::parse(&given).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        let Some(mut url) = url else {
            return Err(Failure::usage(
                "the address of an MLflow server begins with http:// or https://; for a folder or a database, start \
                 `mlflow server` with it",
            ));
        };
        let (user, password) = (url.username().to_owned(), url.password().map(str::to_owned));
        // Messages name the address without them.
        let is_plain = url.set_username("").is_ok() && url.set_password(None).is_ok();
        let of_url = (is_plain && !user.is_empty()).then_some(Credentials::User(user, password));
        Ok(Self { client: client()?, url, credentials: of_url.or_else(credentials) })
    }

    /// Its address, for people.
    pub(super) fn address(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    pub(super) async fn post(&self, path: &str, body: &Value, repeat: Repeat) -> Result<Value, Refusal> {
        let address = self.endpoint(path)?;
        self.ask(|client| client.post(address.clone()).body(body.to_string()), repeat).await
    }

    pub(super) async fn get(&self, path: &str, query: (&str, &str)) -> Result<Value, Refusal> {
        let mut address = self.endpoint(path)?;
        address.query_pairs_mut().append_pair(query.0, query.1);
        self.ask(|client| client.get(address.clone()), Repeat::May).await
    }

    fn endpoint(&self, path: &str) -> Result<Url, Refusal> {
        let address = format!("{}/{API}/{path}", self.address());
        Url::parse(&address).map_err(|error| Refusal::Unknown(format!("{address}: {error}")))
    }

    async fn ask(
        &self,
        request: impl Fn(&Client) -> RequestBuilder,
        repeat: Repeat,
    ) -> Result<Value, Refusal> {
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(RETRIES_MAX)
            .with_jitter()
            .build();
        loop {
            let failed = match self.try_once(request(&self.client)).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let may_repeat = failed.did_nothing || (repeat == Repeat::May && failed.may_pass);
            match pauses.next().filter(|_| may_repeat) {
                Some(pause) => tokio::time::sleep(pause.max(failed.wait)).await,
                None => return Err(failed.refusal),
            }
        }
    }

    async fn try_once(&self, request: RequestBuilder) -> Result<Value, Failed> {
        let request = match &self.credentials {
            Some(Credentials::Token(token)) => request.bearer_auth(token),
            Some(Credentials::User(user, password)) => request.basic_auth(user, password.as_ref()),
            None => request,
        };
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let answer = request.send().await.map_err(Failed::broken)?;
        let (status, wait) = (answer.status(), wait_asked(answer.headers()));
        let text = answer.text().await.map_err(Failed::broken)?;
        if status.is_success() {
            return serde_json::from_str(&text).map_err(|_| Failed::refused(status, &text, wait));
        }
        Err(Failed::refused(status, &text, wait))
    }
}

/// One try that failed.
struct Failed {
    refusal: Refusal,
    /// Whether the server says that it did nothing, and may do it later.
    did_nothing: bool,
    may_pass: bool,
    /// How long the server asks to wait.
    wait: Duration,
}

impl Failed {
    /// No answer came, or not all of it.
    // Handed to `map_err`, which gives its argument away.
    #[allow(clippy::needless_pass_by_value)]
    fn broken(error: reqwest::Error) -> Self {
        let did_nothing = error.is_connect();
        let reason = terminal::output::with_causes(&anyhow::Error::new(error.without_url()));
        Self { refusal: Refusal::Unknown(reason), did_nothing, may_pass: true, wait: Duration::ZERO }
    }

    fn refused(status: StatusCode, text: &str, wait: Duration) -> Self {
        let said: Value = serde_json::from_str(text).unwrap_or_default();
        let part = |key: &str| said[key].as_str().map(str::to_owned);
        let quoted = || text.chars().take(QUOTED_MAX).collect::<String>();
        let code = part("error_code").unwrap_or_else(|| status.to_string());
        let message =
            part("message").map_or_else(quoted, |message| message.chars().take(QUOTED_MAX).collect());
        let refusal = if status.is_server_error() {
            Refusal::Unknown(format!("{code}: {message}"))
        } else {
            Refusal::Refused { code, message }
        };
        let did_nothing = status == StatusCode::TOO_MANY_REQUESTS;
        Self { refusal, did_nothing, may_pass: status.is_server_error(), wait }
    }
}

fn wait_asked(headers: &header::HeaderMap) -> Duration {
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST_PAUSE)
}

/// A variable of the environment that is not empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn credentials() -> Option<Credentials> {
    if let Some(token) = variable("MLFLOW_TRACKING_TOKEN") {
        return Some(Credentials::Token(token));
    }
    Some(Credentials::User(variable("MLFLOW_TRACKING_USERNAME")?, variable("MLFLOW_TRACKING_PASSWORD")))
}

fn client() -> Result<Client, Failure> {
    // Of two implementations of TLS that could be built in, this is the one. An error says that it is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = Client::builder()
        .timeout(ANSWER_WITHIN)
        // A token goes where the user sends it, and nowhere else.
        .redirect(redirect::Policy::none())
        .user_agent(concat!("sweep/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = variable("MLFLOW_TRACKING_SERVER_CERT_PATH") {
        let unusable = |reason: String| {
            Failure::usage(format!(
                "MLFLOW_TRACKING_SERVER_CERT_PATH names {path}, which cannot be used: {reason}"
            ))
        };
        let pem = fs::read(&path).map_err(|error| unusable(error.to_string()))?;
        let trusted = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
        client = client.tls_certs_only(trusted);
    }
    if variable("MLFLOW_TRACKING_INSECURE_TLS").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        client = client.tls_danger_accept_invalid_certs(true);
    }
    client.build().map_err(|error| Failure::operation(format!("no requests can be made: {error}")))
}
