//! The manifests: rendered by kubectl, accepted by Kubernetes' own schemas, and as safe as they claim.

// In a test, a panic reports a failure.
#![allow(clippy::unwrap_used)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_yaml::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes")
}

/// The output of `kubectl kustomize` for a folder; none, with a printed reason, if there is no kubectl.
fn render(name: &str) -> Option<String> {
    let output = match Command::new("kubectl").arg("kustomize").arg(folder().join(name)).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("NOT TESTED: {name} is not rendered, kubectl cannot be started: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Every rendered overlay by its name.
fn overlays() -> Vec<(&'static str, Vec<Value>)> {
    let rendered =
        ["overlays/cpu", "overlays/gpu"].into_iter().filter_map(|name| Some((name, render(name)?)));
    rendered.map(|(name, text)| (name, documents(&text))).collect()
}

fn documents(text: &str) -> Vec<Value> {
    use serde::Deserialize;
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// The folder where `deploy/setup/test_tools.py` puts the validator.
fn validator() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache =
        env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map_or_else(home, PathBuf::from);
    let folder = cache.join("sweep/tools/kubernetes-validate-1.37.0");
    assert!(
        folder.is_dir(),
        "{} is missing; run deploy/setup/test_tools.py (`make test` does)",
        folder.display()
    );
    folder
}

fn validate(name: &str, path: &Path) {
    let output = Command::new("python3")
        .args(["-m", "kubernetes_validate", "--strict"])
        .arg(path)
        .env("PYTHONPATH", validator())
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&told));
}

/// Pod templates of the workloads, by the workload's name.
fn pods(documents: &[Value]) -> Vec<(String, &Value)> {
    let workload =
        |document: &&Value| ["StatefulSet", "Deployment"].contains(&document["kind"].as_str().unwrap());
    let pod = |document| {
        let document: &Value = document;
        (document["metadata"]["name"].as_str().unwrap().to_owned(), &document["spec"]["template"]["spec"])
    };
    documents.iter().filter(workload).map(pod).collect()
}

#[test]
fn the_schemas_accept_every_manifest() {
    for name in ["coordinator.yaml", "worker.yaml", "network.yaml"] {
        validate(name, &folder().join("base").join(name));
    }
    let rendered = tempfile::tempdir().unwrap();
    for name in ["base", "overlays/cpu", "overlays/gpu"] {
        if let Some(text) = render(name) {
            let path = rendered.path().join("rendered.yaml");
            fs::write(&path, text).unwrap();
            validate(name, &path);
        }
    }
}

#[test]
fn every_container_is_without_rights_and_has_the_token() {
    for (name, documents) in overlays() {
        let pods = pods(&documents);
        assert_eq!(pods.len(), 2, "{name}");
        for (workload, pod) in pods {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], Value::Bool(true), "{name} {workload}");
            assert_eq!(pod["automountServiceAccountToken"], Value::Bool(false), "{name} {workload}");
            for container in pod["containers"].as_sequence().unwrap() {
                let security = &container["securityContext"];
                assert_eq!(security["readOnlyRootFilesystem"], Value::Bool(true), "{name} {workload}");
                assert_eq!(security["allowPrivilegeEscalation"], Value::Bool(false), "{name} {workload}");
                assert_eq!(security["capabilities"]["drop"][0], "ALL", "{name} {workload}");
                let arguments: Vec<_> =
                    container["args"].as_sequence().unwrap().iter().filter_map(Value::as_str).collect();
                assert!(arguments.contains(&"--token-file=/etc/sweep/token/token"), "{name} {workload}");
                let mounts = container["volumeMounts"].as_sequence().unwrap();
                assert!(
                    mounts.iter().any(|mount| mount["mountPath"] == "/etc/sweep/token"),
                    "{name} {workload}"
                );
            }
            let secrets: Vec<_> = pod["volumes"]
                .as_sequence()
                .unwrap()
                .iter()
                .filter_map(|v| v["secret"]["secretName"].as_str())
                .collect();
            assert_eq!(secrets, ["sweep-token"], "{name} {workload}");
        }
    }
}

#[test]
fn the_coordinator_is_probed_by_grpc_and_keeps_its_store() {
    for (name, documents) in overlays() {
        let set = documents.iter().find(|document| document["kind"] == "StatefulSet").unwrap();
        let container = &set["spec"]["template"]["spec"]["containers"][0];
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            assert_eq!(container[probe]["grpc"]["port"], 7070, "{name} {probe}");
        }
        assert_eq!(set["spec"]["replicas"], 1, "{name}");
        assert_eq!(set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"], "store", "{name}");
    }
}

#[test]
fn only_the_gpu_overlay_asks_for_gpus() {
    for (name, documents) in overlays() {
        let pods = pods(&documents);
        let (_, worker) = pods.iter().find(|(workload, _)| workload == "sweep-worker").unwrap();
        let limits = &worker["containers"][0]["resources"]["limits"];
        let expected = if name == "overlays/gpu" { Some("1") } else { None };
        assert_eq!(limits["nvidia.com/gpu"].as_str(), expected, "{name}");
    }
}

#[test]
fn workers_have_longer_to_leave_than_their_grace() {
    for (name, documents) in overlays() {
        let pods = pods(&documents);
        let (_, worker) = pods.iter().find(|(workload, _)| workload == "sweep-worker").unwrap();
        let arguments = worker["containers"][0]["args"].as_sequence().unwrap();
        let grace = arguments
            .iter()
            .find_map(|argument| argument.as_str()?.strip_prefix("--grace=")?.strip_suffix('s'));
        let grace: u64 = grace.unwrap().parse().unwrap();
        assert!(worker["terminationGracePeriodSeconds"].as_u64().unwrap() >= grace + 15, "{name}");
    }
}
