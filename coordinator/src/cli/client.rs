//! The connection to the coordinator: its address, credentials, and when to retry.

mod leader;

use std::{
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use proto::{
    client::{self, ClientError},
    secret_file,
    v1::{
        access_service_client::AccessServiceClient, sweep_service_client::SweepServiceClient,
        worker_service_client::WorkerServiceClient,
    },
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use terminal::logging::GLOBAL;

pub(super) use self::leader::{Asked, Stand};
use super::{failure::Failure, settings::Settings};

const COORDINATOR_DEFAULT: &str = "http://127.0.0.1:7070";
/// Longest wait for a connection, including name lookup and TLS.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest wait for the answer of a call that is not a stream.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// A connection that does not answer for interval plus timeout is dead.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// A call is retried this often while the coordinator cannot be reached: it may just be restarting.
const CALL_RETRIES_MAX: usize = 3;
/// Largest answer, in bytes: a page of a thousand jobs has a tenth of it.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Options of every command that asks a coordinator.
#[derive(Debug, clap::Args)]
pub(super) struct ConnectionOptions {
    /// Address of the coordinator, http:// or https://; of several that share a database, all, with commas between
    /// them [default: http://127.0.0.1:7070]
    #[arg(long, global = true, help_heading = GLOBAL, env = "SWEEP_COORDINATOR", value_name = "URL")]
    coordinator: Option<String>,
    /// File that holds the token that the coordinator asks for
    #[arg(long, global = true, help_heading = GLOBAL, env = "SWEEP_TOKEN_FILE", value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust for an https:// coordinator [default: those that this system trusts]
    #[arg(long, global = true, help_heading = GLOBAL, env = "SWEEP_TLS_CA", value_name = "FILE")]
    pub(super) tls_ca: Option<PathBuf>,
}

impl ConnectionOptions {
    /// Whether flags, environment or settings name a coordinator.
    pub(super) fn names_one(&self, settings: &Settings) -> bool {
        self.coordinator.is_some() || settings.coordinator.is_some()
    }

    /// The coordinator that flags, environment or settings name, in this order.
    pub(super) fn target(&self, settings: &Settings) -> Target {
        let coordinator = self.coordinator.clone().or_else(|| settings.coordinator.clone());
        Target {
            url: coordinator.unwrap_or_else(|| COORDINATOR_DEFAULT.to_owned()),
            token: self.token_file.clone().or_else(|| settings.token_file.clone()).map(Token::File),
            tls_ca: self.tls_ca.clone().or_else(|| settings.tls_ca.clone()),
        }
    }
}

/// Where a token comes from.
#[derive(Debug, Clone)]
pub(super) enum Token {
    /// A file, read at every connection.
    File(PathBuf),
    /// Already read.
    Text(String),
}

/// A coordinator and the credentials for it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// `http://…` or `https://…`; several are separated by commas.
    pub(super) url: String,
    /// The bearer token.
    pub(super) token: Option<Token>,
    /// Certificates to trust.
    pub(super) tls_ca: Option<PathBuf>,
}

/// What calls go through.
pub(super) type Called = InterceptedService<Channel, Bearer>;

/// A connected client.
pub(super) type Client = SweepServiceClient<Called>;

/// A client of what workers ask for: the files of programs.
pub(super) type FilesClient = WorkerServiceClient<Called>;

/// Adds the token to every call.
#[derive(Debug, Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Target {
    /// Connects to the coordinator that leads.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        let bearer = Bearer(self.bearer()?);
        let client = SweepServiceClient::with_interceptor(self.channel(CONNECT_WITHIN).await?, bearer);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Connects in the same way to ask for the files of programs.
    pub(super) async fn connect_for_files(&self) -> Result<FilesClient, Failure> {
        let bearer = Bearer(self.bearer()?);
        let client = WorkerServiceClient::with_interceptor(self.channel(CONNECT_WITHIN).await?, bearer);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Connects in the same way to say who may call.
    pub(super) async fn connect_for_access(&self) -> Result<AccessServiceClient<Called>, Failure> {
        let bearer = Bearer(self.bearer()?);
        Ok(AccessServiceClient::with_interceptor(self.channel(CONNECT_WITHIN).await?, bearer))
    }

    /// Connects and makes one call that may be repeated; retries a few times while no one answers.
    pub(super) async fn call<T>(
        &self,
        call: impl AsyncFn(&mut Client) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Failure> {
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_times(CALL_RETRIES_MAX)
            .build();
        loop {
            let failure = match self.call_once(&call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match delays.next() {
                Some(delay) if failure.is_passing() => tokio::time::sleep(delay).await,
                _ => return Err(failure),
            }
        }
    }

    async fn call_once<T>(
        &self,
        call: &impl AsyncFn(&mut Client) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Failure> {
        let mut client = self.connect().await?;
        Ok(self.in_time(call(&mut client)).await?.into_inner())
    }

    /// The answer to one call, or the next message of a stream that must not be silent for long.
    pub(super) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Failure> {
        self.within(ANSWER_WITHIN, answer).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Failure::TimedOut(format!(
                "the coordinator at {} did not answer within {limit:?}",
                self.url
            ))),
        }
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint, Failure> {
        let endpoint = client::endpoint(url, self.tls_ca.as_deref())?;
        if let Some(path) = self.tls_ca.as_ref().filter(|_| endpoint.uri().scheme_str() != Some("https")) {
            return Err(Failure::usage(format!(
                "the certificates of {} are for https://, but the coordinator is {url}; name it with https://, or leave them out (--tls-ca, \
                 SWEEP_TLS_CA, or tls_ca in the settings file)",
                path.display()
            )));
        }
        Ok(endpoint
            .connect_timeout(CONNECT_WITHIN)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true))
    }

    fn bearer(&self) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let token = match &self.token {
            None => return Ok(None),
            Some(Token::Text(text)) => text.clone(),
            Some(Token::File(path)) => {
                warn_if_exposed(path);
                client::read_token(path)?
            }
        };
        Ok(Some(client::bearer(&token)?))
    }
}

/// Warns, once, of a token that others can read.
fn warn_if_exposed(path: &Path) {
    static LOOKED: Once = Once::new();
    LOOKED.call_once(|| {
        if let Some(why) = secret_file::exposed(path) {
            terminal::output::say(&format!("warning: {why}"));
        }
    });
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::usage(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, tls_ca: Option<&str>) -> Target {
        Target { url: url.to_owned(), token: None, tls_ca: tls_ca.map(PathBuf::from) }
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_with_what_would() {
        for (url, tls_ca, expected) in [
            ("ftp://host", None, "http://HOST:PORT"),
            ("http://host:7070", Some("ca.pem"), "the certificates of ca.pem are for https://"),
            ("https://host:7070", Some("/nowhere/ca.pem"), "cannot read /nowhere/ca.pem"),
        ] {
            let error = target(url, tls_ca).endpoint(url).unwrap_err();
            assert!(
                matches!(error, Failure::Usage(_)) && error.to_string().contains(expected),
                "{url}: {error}"
            );
        }
        for url in ["http://[::1]:7070", "127.0.0.1:7070"] {
            assert!(target("", None).endpoint(url).is_ok(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_port_that_says_nothing_is_given_up() {
        const SOON: Duration = Duration::from_millis(100);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let certificate = folder.path().join("ca.pem");
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        let target = Target { tls_ca: Some(certificate), ..target(&url, None) };
        let error = target.channel(SOON).await.unwrap_err();
        assert!(matches!(error, Failure::Unreachable(_)) && error.is_passing(), "{error}");
        let error = target.within(SOON, std::future::pending::<Result<(), Status>>()).await.unwrap_err();
        assert!(matches!(error, Failure::TimedOut(_)), "{error}");
    }

    #[test]
    fn flags_beat_settings_and_settings_beat_the_default() {
        let options = |url: Option<&str>| ConnectionOptions {
            coordinator: url.map(str::to_owned),
            token_file: None,
            tls_ca: None,
        };
        let settings = Settings { coordinator: Some("http://settings:1".into()), ..Settings::default() };
        assert_eq!(options(Some("http://flag:1")).target(&settings).url, "http://flag:1");
        assert_eq!(options(None).target(&settings).url, "http://settings:1");
        assert_eq!(options(None).target(&Settings::default()).url, COORDINATOR_DEFAULT);
    }
}
