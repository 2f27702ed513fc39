//! Whether traces are sent, and where to: the option `--otlp`, and the variables of the OpenTelemetry standard.

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig,
    tonic_types::transport::ClientTlsConfig,
};
use opentelemetry_sdk::{Resource, trace::SpanExporter as _};
use tonic::transport::Uri;

use super::{queue::EXPORTED_WITHIN, sampling::Sampling};

/// Options of programs and commands that make spans.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// Send traces to this collector, by OTLP over gRPC: http://HOST:4317 or https:// [default: none are made]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp: Option<String>,
}

impl Options {
    /// Those that name a collector.
    pub fn to(url: impl Into<String>) -> Self {
        Self { otlp: Some(url.into()) }
    }

    /// The same as arguments of another program; what the environment says is handed on by itself.
    pub fn arguments(&self) -> Vec<String> {
        let url = self.otlp.as_deref().filter(|url| !url.is_empty());
        url.map(|url| vec!["--otlp".to_owned(), url.to_owned()]).unwrap_or_default()
    }
}

/// What is wrong with them.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "traces cannot go to {0:?}: give the gRPC port of an OpenTelemetry collector with --otlp or OTEL_EXPORTER_OTLP_ENDPOINT, as in \
         http://HOST:4317 or https://HOST:4317"
    )]
    Url(String),
    #[error(
        "OTEL_EXPORTER_OTLP_PROTOCOL is {0:?}, but traces are sent by grpc alone: unset it here and give the collector's gRPC port \
         (4317 where 4318 is the one for HTTP), or send none with OTEL_TRACES_EXPORTER=none"
    )]
    Protocol(String),
    #[error(
        "OTEL_TRACES_SAMPLER is {0:?}; there are always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off and \
         parentbased_traceidratio"
    )]
    Sampler(String),
    #[error("OTEL_TRACES_SAMPLER_ARG is {0:?}; give the share of the traces to keep, from 0 to 1, as in 0.1")]
    Ratio(String),
    #[error("traces cannot be sent: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    url: String,
    /// Whether the environment names the service.
    is_named: bool,
    pub(crate) sampling: Sampling,
}

impl Settings {
    /// Reads options and environment; none where no traces are to be sent.
    pub(crate) fn read(
        options: &Options,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsError> {
        let set = |name: &str| {
            variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let is_off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let general = set("OTEL_EXPORTER_OTLP_ENDPOINT");
        let given = options.otlp.as_deref().map(str::trim).filter(|url| !url.is_empty());
        // The one for traces is before the general one, which the option has where the command line does not say otherwise.
        let flag = given.filter(|url| general.as_deref() != Some(*url)).map(str::to_owned);
        let url = flag.or_else(|| set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")).or(given.map(str::to_owned));
        let Some(url) = url.filter(|_| !is_off) else { return Ok(None) };
        let protocol =
            set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if let Some(other) = protocol.filter(|protocol| protocol != "grpc") {
            return Err(SettingsError::Protocol(other));
        }
        let (sampler, argument) = (set("OTEL_TRACES_SAMPLER"), set("OTEL_TRACES_SAMPLER_ARG"));
        let sampling = Sampling::read(sampler.as_deref(), argument.as_deref())?;
        let is_right = url.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !is_right {
            return Err(SettingsError::Url(url));
        }
        let is_named = set("OTEL_SERVICE_NAME").is_some()
            || set("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|attributes| attributes.contains("service.name="));
        Ok(Some(Self { url, is_named, sampling }))
    }

    /// What sends spans there. Headers, the timeout and further attributes come from the standard's variables.
    pub(crate) fn exporter(self, service: &'static str) -> Result<SpanExporter, SettingsError> {
        let mut resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if !self.is_named {
            resource = resource.with_service_name(service);
        }
        // What could not be sent is counted: trying again would only hold up what comes after it.
        let exporter = SpanExporter::builder().with_tonic().with_retry_policy(RetryPolicy::disabled());
        let exporter = exporter.with_timeout(EXPORTED_WITHIN);
        let exporter = match self.url.starts_with("https") {
            true => exporter.with_tls_config(ClientTlsConfig::new().with_enabled_roots()),
            false => exporter,
        };
        let mut exporter = exporter.with_endpoint(self.url).build()?;
        exporter.set_resource(&resource.build());
        Ok(exporter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(otlp: Option<&str>, set: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable =
            |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let options = Options { otlp: otlp.map(str::to_owned) };
        let read = Settings::read(&options, &variable).map_err(|error| error.to_string())?;
        Ok(read.map(|settings| settings.url))
    }

    #[test]
    fn nothing_is_sent_unless_a_collector_is_named_and_the_command_line_comes_first() {
        const GENERAL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4317");
        const TRACES: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4317");
        let url = |url: &str| Ok(Some(url.to_owned()));
        assert_eq!(read(None, &[]), Ok(None));
        assert_eq!(read(Some(""), &[]), Ok(None));
        assert_eq!(read(Some("http://a:1"), &[]), url("http://a:1"));
        assert_eq!(read(Some("http://a:1"), &[GENERAL, TRACES]), url("http://a:1"));
        // As clap reads the variable.
        assert_eq!(read(Some(GENERAL.1), &[GENERAL]), url(GENERAL.1));
        assert_eq!(read(Some(GENERAL.1), &[GENERAL, TRACES]), url(TRACES.1));
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(read(Some("http://a:1"), &[off]), Ok(None));
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_what_can() {
        for url in ["collector:4317", "ftp://a:1", "http://", "http://a b", "4317"] {
            let told = read(Some(url), &[]).unwrap_err();
            assert!(told.contains("http://HOST:4317"), "{url}: {told}");
        }
        let told = read(Some("http://a:1"), &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]).unwrap_err();
        assert!(told.contains("grpc alone") && told.contains("OTEL_TRACES_EXPORTER=none"), "{told}");
        assert!(
            read(Some("http://a:1"), &[("OTEL_TRACES_SAMPLER", "xray")]).unwrap_err().contains("always_on")
        );
    }

    #[tokio::test]
    async fn a_collector_under_tls_needs_no_more_than_its_url() {
        for url in ["https://localhost:4317", "http://localhost:4317"] {
            let options = Options { otlp: Some(url.to_owned()) };
            let settings = Settings::read(&options, &|_| None).unwrap().unwrap();
            assert!(settings.exporter("test").is_ok(), "{url}");
        }
    }
}
