//! The manifests as kubectl renders them, with overlays that the tests put together.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_yaml::Value;

use super::ALL;

pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

pub(crate) fn folder() -> PathBuf {
    deploy().join("kubernetes")
}

/// A copy of the manifests with an overlay of the tests as `all`.
pub(crate) fn copy(overlay: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let copied =
        Command::new("cp").arg("-R").arg(folder()).arg(copy.path().join("kubernetes")).status().unwrap();
    assert!(copied.success());
    let all = copy.path().join("kubernetes/overlays/all");
    fs::create_dir(&all).unwrap();
    fs::write(all.join("kustomization.yaml"), overlay).unwrap();
    copy
}

/// The output of `kubectl kustomize` for a folder; none, with a printed reason, if there is no kubectl.
pub(crate) fn render(name: &str) -> Option<String> {
    render_from(&copy(ALL), name)
}

pub(crate) fn render_from(copy: &tempfile::TempDir, name: &str) -> Option<String> {
    let output = kustomize(copy, name)?;
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Why an overlay cannot be rendered, as kubectl says it. None without kubectl.
pub(crate) fn refusal_of(overlay: &str) -> Option<String> {
    let output = kustomize(&copy(overlay), "overlays/all")?;
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    Some(String::from_utf8(output.stderr).unwrap())
}

fn kustomize(copy: &tempfile::TempDir, name: &str) -> Option<Output> {
    let own = tests::tool("kubectl").map(|folder| folder.join("bin/kubectl")).filter(|path| path.is_file());
    let program = own.unwrap_or_else(|| PathBuf::from("kubectl"));
    match Command::new(program).arg("kustomize").arg(copy.path().join("kubernetes").join(name)).output() {
        Ok(output) => Some(output),
        Err(error) => {
            tests::skipped(&format!("{name} is not rendered, kubectl cannot be started: {error}"));
            None
        }
    }
}

/// What an overlay of a user's own brings to a cluster, for as long as the tests run. None without kubectl.
pub(crate) fn cluster_of(overlay: &str) -> Option<&'static [Value]> {
    let rendered = render_from(&copy(overlay), "overlays/all")?;
    Some(documents(&rendered).leak())
}

pub(crate) fn documents(text: &str) -> Vec<Value> {
    use serde::Deserialize;
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// The one object of a kind and a name.
pub(crate) fn object<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |document: &&Value| document["kind"] == kind && document["metadata"]["name"] == name;
    documents.iter().find(is_it).unwrap_or_else(|| panic!("there is no {kind} {name}"))
}
