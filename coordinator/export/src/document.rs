//! The documents of reports as exports: CSV and JSON.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use report::{Document, DocumentKind, Epoch, Job, Sweep};

use super::{Export, ExportError, Identity, place::Held};

/// As much of a file is looked at for what it is: a row of names of a thousand parameters and metrics.
const LOOKED_AT_BYTES: u64 = 1 << 20;
/// Columns that every table of jobs has next to each other.
const OF_JOBS: [&str; 5] = ["state", "attempts", "worker", "epochs_done", "train_seconds"];
/// The first columns of every table of epochs.
const OF_EPOCHS: [&str; 3] = ["job", "attempt", "epoch"];

/// A document in a file, or on standard output.
#[derive(Debug)]
pub struct DocumentFile<W: Write> {
    document: Document,
    out: BufWriter<W>,
}

impl<W: Write> DocumentFile<W> {
    /// Begins it.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn new(kind: DocumentKind, sweep: &Sweep, out: W) -> io::Result<Self> {
        let (document, mut out) = (Document::new(kind, sweep), BufWriter::new(out));
        document.begin(&mut out)?;
        Ok(Self { document, out })
    }
}

impl<W: Write + Send> Export for DocumentFile<W> {
    fn job(&mut self, job: &Job, epochs: &[Epoch]) -> Result<(), ExportError> {
        Ok(self.document.job(job, epochs, &mut self.out)?)
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, ExportError> {
        self.document.end(&mut self.out)?;
        self.out.flush()?;
        Ok(Vec::new())
    }
}

/// What a file holds that a table or a document is to replace.
pub(super) fn held(path: &Path, kind: DocumentKind) -> io::Result<Held> {
    let begin = File::open(path)?.take(LOOKED_AT_BYTES);
    Ok(match kind {
        DocumentKind::Json => document_of(begin).map_or(Held::Other, Held::Export),
        DocumentKind::Jobs | DocumentKind::Epochs => {
            let mut table = csv::Reader::from_reader(begin);
            let names: Vec<&str> = table.headers().map(|names| names.iter().collect()).unwrap_or_default();
            let is_ours = match kind {
                DocumentKind::Jobs => {
                    names.first() == Some(&"job") && names.windows(OF_JOBS.len()).any(|some| some == OF_JOBS)
                }
                _ => names.starts_with(&OF_EPOCHS) && names.contains(&"epoch_seconds"),
            };
            if is_ours { Held::Table } else { Held::Other }
        }
    })
}

/// What of a table there says that it is of another sweep than this one, for people; none where nothing does. A table does not name its sweep: its
/// columns are looked at, and of its first rows the numbers of jobs and when they trained.
pub(super) fn stranger(path: &Path, kind: DocumentKind, sweep: &Sweep) -> io::Result<Option<String>> {
    let file = File::open(path)?;
    // The last row of what is looked at may be cut.
    let is_cut = file.metadata()?.len() > LOOKED_AT_BYTES;
    let mut table = csv::ReaderBuilder::new().flexible(true).from_reader(file.take(LOOKED_AT_BYTES));
    let (names, own) = (table.headers()?.clone(), columns(kind, sweep)?);
    // Metrics that came later have columns that the table lacks.
    if let Some(other) = names.iter().find(|name| !own.iter().any(|own| own == *name)) {
        return Ok(Some(format!("it has a column {other:?}")));
    }
    let place = |name: &str| names.iter().position(|column| column == name);
    let (job, started, ended) = (place("job"), place("started"), place("ended"));
    // Times are written so that their order is that of their texts.
    let time = |unix_ms: u64| report::view::time(unix_ms).unwrap_or_default();
    let (created, over) = (time(sweep.created_unix_ms), time(sweep.ended_unix_ms));
    let mut rows = table.records().map_while(Result::ok).peekable();
    while let Some(row) = rows.next() {
        if is_cut && rows.peek().is_none() {
            break;
        }
        let cell =
            |place: Option<usize>| place.and_then(|place| row.get(place)).filter(|cell| !cell.is_empty());
        let number = cell(job).unwrap_or_default();
        if number.parse().is_ok_and(|number: u64| number > sweep.job_count) {
            return Ok(Some(format!("it has a job {number}")));
        }
        if cell(started).is_some_and(|at| !created.is_empty() && at < created.as_str()) {
            return Ok(Some(format!("its job {number} began before this sweep was submitted")));
        }
        let is_after = |at: &str| !over.is_empty() && at > over.as_str();
        if cell(started).is_some_and(is_after) || cell(ended).is_some_and(is_after) {
            return Ok(Some(format!("its job {number} trained after this sweep had ended")));
        }
    }
    Ok(None)
}

/// The columns of a table of this sweep.
fn columns(kind: DocumentKind, sweep: &Sweep) -> io::Result<csv::StringRecord> {
    let mut begin = Vec::new();
    Document::new(kind, sweep).begin(&mut begin)?;
    Ok(csv::Reader::from_reader(&*begin).headers()?.clone())
}

/// The sweep of a JSON document: the first value alone is read.
fn document_of(begin: impl Read) -> Option<Identity> {
    let mut begin = io::BufReader::new(begin);
    let mut bytes = Vec::new();
    let opening = b"{\n\"sweep\": ";
    (&mut begin).take(opening.len() as u64).read_to_end(&mut bytes).ok()?;
    if bytes != opening {
        return None;
    }
    serde_json::Deserializer::from_reader(begin).into_iter::<Identity>().next()?.ok()
}
