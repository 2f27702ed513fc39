//! Logs go to standard error; standard output belongs to what a command prints.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line, for machines.
    Json,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Form of the log lines on standard error
    #[arg(long, global = true, env = "SWEEP_LOG_FORMAT", value_enum, default_value_t = Format::Text)]
    log_format: Format,
    /// Which log lines are written: error, warn, info, debug, trace, or tracing's filter language
    #[arg(long, global = true, env = "SWEEP_LOG", value_name = "FILTER", value_parser = valid_filter)]
    log: Option<String>,
}

impl Options {
    /// Starts logging with `default` as the filter where none is given.
    pub fn start(&self, default: &str) {
        let filter = EnvFilter::new(self.log.as_deref().unwrap_or(default));
        let colours =
            stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        // A reader that is gone is no reason to panic, which telling of it on the same pipe would be.
        let lines = tracing_subscriber::fmt().log_internal_errors(false);
        let lines = lines.with_env_filter(filter).with_writer(stderr).with_target(false);
        match self.log_format {
            Format::Text => lines.with_ansi(colours).init(),
            Format::Json => lines.json().init(),
        }
    }
}

fn valid_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
