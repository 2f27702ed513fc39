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
