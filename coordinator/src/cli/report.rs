//! `sweep report`: the rows of a sweep, streamed into a report directory.

use std::{
    fmt::Formatter,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context;
use proto::v1;
use report::{Language, ReportError, ReportWriter};
use serde::de::{Deserializer, MapAccess, Visitor};
use traces::{Traces, number};

use super::{
    client::Target, failure::Failure, folder::Named, identity::Identity, output::print, rows::SweepRows,
    signals::StopRequests, spans,
};

/// Arguments of `sweep report`.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArguments {
    /// Sweep's number, or the folder of a `sweep run`
    #[arg(value_name = "SWEEP|FOLDER")]
    sweep: Named,
    /// Folder to write into [default: sweep-results/NAME-SWEEP, or the run's own]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Language of headings and labels
    #[arg(long, value_enum, default_value_t = Lang::En)]
    lang: Lang,
    #[command(flatten)]
    traces: traces::Options,
}

/// A language on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Lang {
    /// English
    En,
    /// Japanese
    Ja,
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::En => Self::English,
            Lang::Ja => Self::Japanese,
        }
    }
}

/// `sweep report`.
pub(super) async fn report(arguments: &ReportArguments, target: &Target) -> Result<(), Failure> {
    let place = |name: &str| match (&arguments.output, &arguments.sweep) {
        (Some(folder), _) | (None, Named::Folder(folder)) => folder.clone(),
        (None, Named::Sweep(sweep)) => default_folder(&format!("{name}-{sweep}")),
    };
    // When interrupted, it removes what it has begun; after a kill, the next command does.
    let mut stop = StopRequests::new()?;
    let traces = spans::start(&arguments.traces, spans::COMMAND)?;
    let written = write(target, &arguments.sweep, place, arguments.lang.into(), &traces);
    let page = stop.unless_asked(written).await;
    traces.end().await;
    print(&format!("report written: {}\n", page?.display()))
}

/// Refuses a folder that holds the report of another sweep, which would be overwritten.
pub(super) async fn refuse_other(folder: &Path, sweep: &v1::Sweep) -> Result<(), Failure> {
    let results = folder.join("results.json");
    let held = tokio::task::spawn_blocking(move || sweep_of(BufReader::new(File::open(results).ok()?)));
    match held.await.context("cannot look for an earlier report")? {
        Some(held) => held.refuse_other(sweep, folder, "the report"),
        None => Ok(()),
    }
}

/// The sweep of a report's `results.json`: only its first value is read. A file that is not ours is not another sweep's
/// either.
fn sweep_of(results: impl Read) -> Option<Identity> {
    struct First<'a>(&'a mut Option<Identity>);
    impl<'de> Visitor<'de> for First<'_> {
        type Value = ();

        fn expecting(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a report")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            if map.next_key::<String>()?.as_deref() == Some("sweep") {
                *self.0 = Some(map.next_value()?);
            }
            Ok(())
        }
    }
    let mut found = None;
    // It fails if more follows.
    let _ = serde_json::Deserializer::from_reader(results).deserialize_map(First(&mut found));
    found
}

/// Longest name of a folder, in bytes: file systems take 255, some that encrypt 143, and a suffix may follow.
const FOLDER_BYTES_MAX: usize = 120;

/// The path from the root of a folder that is there. Only one that goes back up is resolved: what people are told is as they wrote
/// it.
pub(super) fn whole_path(folder: &Path) -> std::io::Result<PathBuf> {
    let goes_up = folder.components().any(|part| part == std::path::Component::ParentDir);
    if goes_up { folder.canonicalize() } else { std::path::absolute(folder) }
}

/// Where results go if no folder is given.
pub(super) fn default_folder(name: &str) -> PathBuf {
    let place = Path::new("sweep-results");
    let whole = safe_name(name);
    // A folder that an earlier version made is still the sweep's.
    let is_there = !whole.is_empty() && place.join(&whole).is_dir();
    place.join(if is_there { whole } else { default_name(name) })
}

/// What a file or folder that is named for a sweep is called, up to an ending.
pub(super) fn default_name(name: &str) -> String {
    let safe = safe_name(name);
    if safe.len() <= FOLDER_BYTES_MAX {
        return if safe.is_empty() { "sweep".to_owned() } else { safe };
    }
    // A hash of what was cut off distinguishes it from others that begin alike.
    let end = (0..=FOLDER_BYTES_MAX - 9).rev().find(|end| safe.is_char_boundary(*end)).unwrap_or(0);
    format!("{}-{:08x}", &safe[..end], crc32fast::hash(name.as_bytes()))
}

/// A sweep's name may contain anything; a folder's name must not lead elsewhere.
fn safe_name(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
    name.trim_start_matches('.').chars().map(safe).collect()
}

/// Writes the report of a sweep into the folder that `place` gives for its name; returns the path of its page.
pub(super) async fn write(
    target: &Target,
    sweep: &Named,
    place: impl Fn(&str) -> PathBuf,
    language: Language,
    traces: &Traces,
) -> Result<PathBuf, Failure> {
    let begun = SystemTime::now();
    let rows = SweepRows::open(target, sweep, false).await?;
    let span = spans::about(traces, "sweep report", begun, rows.first_span)
        .with("sweep.id", number(rows.message.sweep_id));
    let written = write_rows(rows, place, language).await;
    spans::end(span, &written);
    written
}

async fn write_rows(
    mut rows: SweepRows<'_>,
    place: impl Fn(&str) -> PathBuf,
    language: Language,
) -> Result<PathBuf, Failure> {
    let folder = place(&rows.sweep.name);
    refuse_other(&folder, &rows.message).await?;
    let failed = |error: ReportError| Failure::operation(error.to_string());
    let mut writer = ReportWriter::create(&folder, rows.sweep.clone(), language).map_err(failed)?;
    while let Some((job, epochs)) = rows.next().await? {
        writer.job(&job, &epochs).map_err(failed)?;
    }
    rows.warn_of_later("the report");
    let finished =
        tokio::task::spawn_blocking(|| writer.finish()).await.context("the report is incomplete")?;
    finished.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_goes_back_up_is_named_by_where_it_leads_and_others_as_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(real.join("a/b")).unwrap();
        std::os::unix::fs::symlink(real.join("a/b"), real.join("link")).unwrap();
        assert_eq!(whole_path(&real.join("a/b/../../a")).unwrap(), real.join("a"));
        assert_eq!(whole_path(&real.join("link")).unwrap(), real.join("link"));
        // Where a link leads away, `..` is not the folder that it stands in.
        assert_eq!(whole_path(&real.join("link/..")).unwrap(), real.join("a"));
    }

    /// Of which nothing may be read.
    struct Rest;

    impl Read for Rest {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("the jobs are read")
        }
    }

    #[test]
    fn whose_report_it_is_is_known_from_its_first_value_alone() {
        let begin = br#"{
"sweep": {"state": "finished", "created_unix_ms": 9, "id": 7, "name": "a", "more": [1, {}]},"#;
        let found = sweep_of(begin.chain(Rest)).unwrap();
        let sweep =
            |sweep_id, created_unix_ms| v1::Sweep { sweep_id, created_unix_ms, ..v1::Sweep::default() };
        let refuse = |sweep| found.refuse_other(&sweep, Path::new("place"), "the report");
        assert!(refuse(sweep(7, 9)).is_ok());
        for other in [sweep(7, 8), sweep(8, 9)] {
            let told = refuse(other).unwrap_err().to_string();
            assert!(told.starts_with("place holds the report of another sweep (a, sweep 7)"), "{told}");
        }
        for foreign in ["", "[]", "{}", r#"{"jobs": []}"#, r#"{"sweep": 7}"#, "text"] {
            assert_eq!(sweep_of(foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn a_name_makes_a_folder_here_and_nowhere_else() {
        for (name, folder) in [
            ("activation-lr-batch", "activation-lr-batch"),
            ("../../etc", "-..-etc"),
            ("..", "sweep"),
            ("a b/c", "a-b-c"),
        ] {
            assert_eq!(default_folder(name), Path::new("sweep-results").join(folder));
        }
    }

    #[test]
    fn a_long_name_makes_a_folder_of_its_own_that_a_file_system_takes() {
        let folder = |name: &str| default_folder(name).file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(folder(&"x".repeat(100)), "x".repeat(100));
        let (one, other) = (format!("{}a", "語".repeat(99)), format!("{}b", "語".repeat(99)));
        for name in [&one, &other] {
            let folder = folder(name);
            assert!(folder.len() <= FOLDER_BYTES_MAX && folder.starts_with("語語"), "{folder}");
        }
        assert_ne!(folder(&one), folder(&other));
        assert_eq!(folder(&one), folder(&one));
    }
}
