//! What `make sbom` writes is what the programs link.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

use super::Dependencies;

/// The packages whose programs are installed.
const PROGRAMS: &[&str] = &["coordinator", "worker", "trainer"];

#[test]
fn the_bill_of_materials_has_what_the_programs_link_and_nothing_else() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = Command::new("python3").arg("deploy/setup/sbom.py").current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bill: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    let components = bill["components"].as_array().unwrap();
    let named: BTreeSet<&str> =
        components.iter().map(|component| component["name"].as_str().unwrap()).collect();
    let dependencies = Dependencies::of_the_workspace();
    let (mut linked, mut waiting) = (BTreeSet::from(["libtorch"]), PROGRAMS.to_vec());
    while let Some(package) = waiting.pop() {
        // The filter for this system leaves out what others need.
        if linked.insert(package) {
            waiting.extend(dependencies.direct[package].iter().map(String::as_str));
        }
    }
    let missing: Vec<_> = linked.difference(&named).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!named.contains("chromiumoxide") && !named.contains("proptest"), "tests are no part of it");
    for component in components {
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        let is_ours = component["purl"].as_str().unwrap().starts_with("pkg:cargo/")
            && dependencies.members.contains(component["name"].as_str().unwrap());
        let has_checksum = component["hashes"][0]["content"].is_string();
        assert!(is_ours || has_checksum || component["name"] == "libtorch", "{component}");
    }
    let refs: BTreeSet<&str> = components.iter().map(|part| part["bom-ref"].as_str().unwrap()).collect();
    for dependency in bill["dependencies"].as_array().unwrap() {
        for on in dependency["dependsOn"].as_array().unwrap() {
            assert!(refs.contains(on.as_str().unwrap()), "{on}");
        }
    }
}
