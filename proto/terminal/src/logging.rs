//! Log lines go to standard error; standard output is for what a command prints.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write, stderr},
};

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
            // Some lines are told by it, such as those of the account of changes.
            Format::Json => lines.with_target(true).json().init(),
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
        let safe: Cow<'_, str> = match self.0 {
            Kind::Coloured => text::record(&text, true).into(),
            Kind::Plain => text::record(&text, false).into(),
            Kind::Json => Cow::Owned(text::json(&identified(&text)).into_owned()),
        };
        stderr().lock().write_all(safe.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

/// A line of JSON in which an attempt is three numbers, `sweep`, `job` and `attempt`, where the text has one word for it, `1/2#3`: machines
/// select by each. Any other line is as it was.
fn identified(line: &str) -> Cow<'_, str> {
    let replaced = || {
        let mut record: serde_json::Value = serde_json::from_str(line).ok()?;
        let fields = record.get_mut("fields")?.as_object_mut()?;
        let (sweep, rest) = fields.get("attempt")?.as_str()?.split_once('/')?;
        let (job, attempt) = rest.split_once('#')?;
        let ids: [u64; 3] = [sweep.parse().ok()?, job.parse().ok()?, attempt.parse().ok()?];
        fields.extend(["sweep", "job", "attempt"].map(str::to_owned).into_iter().zip(ids.map(Into::into)));
        Some(format!("{record}\n"))
    };
    // Most lines are about none.
    let may_be = line.contains("\"attempt\":\"");
    may_be.then(replaced).flatten().map_or(Cow::Borrowed(line), Cow::Owned)
}

fn valid_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_three_numbers_for_machines() {
        let line = r#"{"level":"INFO","fields":{"message":"done","attempt":"12/345#6","slot":0}}"#;
        let record: serde_json::Value = serde_json::from_str(&identified(line)).unwrap();
        let expected =
            serde_json::json!({"message": "done", "slot": 0, "sweep": 12, "job": 345, "attempt": 6});
        assert_eq!(record["fields"], expected);
        for other in [
            r#"{"level":"INFO","fields":{"message":"attempt","attempt":"no key"}}"#,
            r#"{"fields":{"attempt":"1/2#x"}}"#,
            r#"{"fields":{"attempt":7}}"#,
            "no JSON with \"attempt\":\"1/2#3\"",
        ] {
            assert_eq!(identified(other), other);
        }
    }
}
