//! Log lines go to standard error; standard output is for what a command prints.

use std::io::{self, IsTerminal, Write, stderr};

use tracing_subscriber::EnvFilter;

use crate::text;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line, for machines.
    Json,
}

/// Under which options of every command stand in its help, after its own.
pub const GLOBAL: &str = "Global options";

/// Options of every command.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Form of the log lines on standard error
    #[arg(long, global = true, help_heading = GLOBAL, env = "SWEEP_LOG_FORMAT", value_enum, default_value_t = Format::Text)]
    log_format: Format,
    /// Which log lines are written: error, warn, info, debug, trace, or tracing's filter language
    #[arg(long, global = true, help_heading = GLOBAL, env = "SWEEP_LOG", value_name = "FILTER", value_parser = valid_filter)]
    log: Option<String>,
}

impl Options {
    /// Starts logging with `default` as the filter where none is given.
    pub fn start(&self, default: &str) {
        let filter = EnvFilter::new(self.log.as_deref().unwrap_or(default));
        let colours =
            stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let kind = match self.log_format {
            Format::Text if colours => Kind::Coloured,
            Format::Text => Kind::Plain,
            Format::Json => Kind::Json,
        };
        // Reporting a closed pipe on the same pipe would panic.
        let lines = tracing_subscriber::fmt().log_internal_errors(false);
        let lines = lines.with_env_filter(filter).with_target(false).with_writer(move || LogWriter(kind));
        match self.log_format {
            Format::Text => lines.with_ansi(colours).init(),
            Format::Json => lines.json().init(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// With the formatter's own colours; the formatter escapes those of foreign text.
    Coloured,
    Plain,
    Json,
}

/// Standard error, which receives only safe text. The formatter writes a whole record at a time.
struct LogWriter(Kind);

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let safe = match self.0 {
            Kind::Coloured => text::record(&text, true).into(),
            Kind::Plain => text::record(&text, false).into(),
            Kind::Json => text::json(&text),
        };
        stderr().lock().write_all(safe.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

fn valid_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
