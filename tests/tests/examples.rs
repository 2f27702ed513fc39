//! The sweep files that users start from.

use std::{fs, path::Path};

use domain::specification::{Specification, SpecificationSource};

#[test]
fn every_example_is_valid_and_has_its_jobs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let source = SpecificationSource {
            text: fs::read_to_string(&path).unwrap(),
            file_name: name.clone(),
            ..SpecificationSource::default()
        };
        let specification = Specification::parse(&source).unwrap_or_else(|error| panic!("{error}"));
        found.push((name, specification.grid().unwrap().job_count()));
    }
    found.sort();
    let expected = [("activation-lr-batch.yaml", 16), ("learning-rates.yaml", 18), ("seeds.yaml", 10)];
    assert_eq!(found, expected.map(|(name, jobs)| (name.to_owned(), jobs)));
}
