//! The sweep files that users start from.

use std::{fs, path::Path};

use domain::specification::{Specification, SpecificationSource};

#[test]
fn every_example_is_valid_and_has_its_jobs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap().path();
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".md") {
            continue;
        }
        let path = if entry.is_dir() { entry.join("sweep.yaml") } else { entry };
        let source = SpecificationSource {
            text: fs::read_to_string(&path).unwrap(),
            file_name: name.clone(),
            ..SpecificationSource::default()
        };
        let specification = Specification::parse(&source).unwrap_or_else(|error| panic!("{error}"));
        if let Some(script) = specification.trainable.program().and_then(|found| found.program.as_deref()) {
            assert!(path.with_file_name(script).is_file(), "{script} lies next to {}", path.display());
        }
        found.push((name, specification.jobs().unwrap().count()));
    }
    found.sort();
    let expected = [
        ("activation-lr-batch.yaml", 16),
        ("early-stopping.yaml", 54),
        ("external-search", 30),
        ("learning-rates.yaml", 18),
        ("optimizers.yaml", 14),
        ("own-script", 12),
        ("random-search.yaml", 40),
        ("seeds.yaml", 10),
    ];
    assert_eq!(found, expected.map(|(name, jobs)| (name.to_owned(), jobs)));
}

/// The blocks of a page that are written in a language, with the lines where they begin.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<(usize, &'a str)> {
    let mark = format!("```{language}\n");
    let begins = page.match_indices(&mark);
    begins
        .map(|(place, _)| {
            let text = &page[place + mark.len()..];
            (page[..place].lines().count() + 2, text.split("```").next().unwrap_or_default())
        })
        .collect()
}

#[test]
fn every_sweep_file_for_those_who_come_from_elsewhere_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/coming-from.md");
    let page = fs::read_to_string(path).unwrap();
    let files = blocks(&page, "yaml");
    let jobs: Vec<u64> = files
        .iter()
        .map(|(line, text)| {
            let file_name = format!("coming-from.md, from line {line} on");
            let source =
                SpecificationSource { text: (*text).to_owned(), file_name, ..SpecificationSource::default() };
            let specification = Specification::parse(&source).unwrap_or_else(|error| panic!("{error}"));
            // What happens to a program at a rung is noted; a key without effect would be, too.
            let notes = &specification.notes;
            assert!(notes.iter().all(|note| note.starts_with("`early_terminate`")), "{notes:?}");
            specification.jobs().unwrap().count()
        })
        .collect();
    assert_eq!(jobs, [100, 12, 64, 100], "of W&B, Katib, Determined and Optuna");
}
