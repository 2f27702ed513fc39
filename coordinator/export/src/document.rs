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
