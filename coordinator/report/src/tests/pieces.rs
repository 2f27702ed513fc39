//! Documents in pieces, of jobs that trained for long.

use super::*;

/// A job of so many epochs.
fn long_job(epochs: u32) -> Trained {
    let (job, first) = job(point(1, "relu", 0.01, 32), 0.75, 1.0);
    let epochs = (1..=epochs).map(|number| Epoch { number, ..first[0].clone() });
    (job, epochs.collect())
}

#[test]
fn a_document_of_a_long_job_is_never_whole_in_memory_and_misses_nothing() {
    const EPOCHS: u32 = 2_000;
    const BYTES: usize = 8 << 10;
    let (job, epochs) = long_job(EPOCHS);
    let header = header(2, JobCounts { done: 2, ..JobCounts::default() });
    for kind in [DocumentKind::Jobs, DocumentKind::Epochs, DocumentKind::Json] {
        let mut document = Document::new(kind, &header);
        let mut written = Vec::new();
        document.begin(&mut written).unwrap();
        for epochs in [&epochs[..], &epochs[..1], &[]] {
            for piece in document.pieces(&job, epochs) {
                let piece = piece.unwrap();
                assert!(piece.len() <= BYTES, "{kind:?}: {} bytes at once", piece.len());
                written.extend(piece);
            }
        }
        document.end(&mut written).unwrap();
        let written = String::from_utf8(written).unwrap();
        match kind {
            DocumentKind::Jobs => assert_eq!(written.lines().count(), 4),
            DocumentKind::Epochs => assert_eq!(written.lines().count(), 2 + EPOCHS as usize),
            DocumentKind::Json => {
                let read: serde_json::Value = serde_json::from_str(&written).unwrap();
                let numbers = |job: usize| -> Vec<u64> {
                    let epochs = read["jobs"][job]["epochs"].as_array().unwrap();
                    epochs.iter().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect()
                };
                assert_eq!(numbers(0), (1..=u64::from(EPOCHS)).collect::<Vec<_>>());
                assert_eq!((numbers(1), numbers(2)), (vec![1], vec![]));
            }
        }
    }
}
