//! The manifests: rendered by kubectl, accepted by Kubernetes' own schemas, as safe as they claim, and with arguments that the
//! programs accept.

// In a test, a panic reports a failure.
#![allow(clippy::unwrap_used)]

#[path = "kubernetes/commands.rs"]
mod commands;
#[path = "kubernetes/hosts.rs"]
mod hosts;
#[path = "kubernetes/jobset.rs"]
mod jobset;
#[path = "kubernetes/monitoring.rs"]
mod monitoring;
#[path = "kubernetes/network.rs"]
mod network;
#[path = "kubernetes/pod.rs"]
mod pod;
#[path = "kubernetes/readme.rs"]
mod readme;
#[path = "kubernetes/render.rs"]
mod render;
#[path = "kubernetes/rules.rs"]
mod rules;
#[path = "kubernetes/secrets.rs"]
mod secrets;

use std::{fs, path::Path, process::Command, sync::LazyLock};

use render::{deploy, documents, folder, object, refusal_of, render};
use rules::{pods, sequence};
use serde_yaml::Value;

/// Everything that can be applied to a namespace.
const OVERLAYS: [&str; 8] = [
    "overlays/cpu",
    "overlays/gpu",
    "overlays/ha",
    "overlays/tls",
    "overlays/spot",
    "overlays/monitoring",
    "overlays/autoscale",
    "overlays/all",
];
/// Kinds of others, which Kubernetes' schemas do not know.
const OTHERS: [&str; 3] = ["cert-manager.io/v1", "monitoring.coreos.com/v1", "keda.sh/v1alpha1"];
/// An overlay of the tests: what a user may put together.
const ALL: &str = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../gpu]
components:
  - ../../components/tls
  - ../../components/join
  - ../../components/ha
  - ../../components/bucket
  - ../../components/spot
  - ../../components/cache-disk
  - ../../components/monitoring
  - ../../components/autoscale
";
/// Files that hold whole objects, which can be checked without kubectl.
const WHOLE: [&str; 13] = [
    "base/accounts.yaml",
    "base/coordinator.yaml",
    "base/disruption.yaml",
    "base/network.yaml",
    "base/worker.yaml",
    "cluster/namespace.yaml",
    "cluster/priority.yaml",
    "examples/data-claim.yaml",
    "examples/data-copy.yaml",
    "examples/network.yaml",
    "jobs/jobset/network.yaml",
    "jobs/jobset/store.yaml",
    "jobs/sweep/job.yaml",
];

/// What is on a cluster with each overlay: what its administrator applied, the overlay, and the Job. None without kubectl.
static CLUSTERS: LazyLock<Vec<(&str, Vec<Value>)>> = LazyLock::new(|| {
    let cluster = |overlay| {
        let rendered = [render("cluster")?, render(overlay)?, render("jobs/sweep")?];
        Some((overlay, rendered.iter().flat_map(|text| documents(text)).collect()))
    };
    OVERLAYS.into_iter().filter_map(cluster).collect()
});

fn clusters() -> impl Iterator<Item = (&'static str, &'static [Value])> {
    CLUSTERS.iter().map(|(name, documents)| (*name, documents.as_slice()))
}

fn cluster(overlay: &str) -> Option<&'static [Value]> {
    clusters().find(|(name, _)| *name == overlay).map(|(_, documents)| documents)
}

fn validate(name: &str, path: &Path) {
    let validator = tests::tool("kubernetes-validate-1.37.0").unwrap();
    assert!(
        validator.is_dir(),
        "{} is missing; run deploy/setup/test_tools.py (`make test` does)",
        validator.display()
    );
    let output = Command::new("python3")
        .args(["-m", "kubernetes_validate", "--strict"])
        .arg(path)
        .env("PYTHONPATH", validator)
        .output()
        .unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let is_known = |line: &str| OTHERS.iter().any(|other| line.contains(other));
    let unknown = told.lines().find(|line| line.starts_with("WARN") && !is_known(line));
    assert!(output.status.success() && unknown.is_none(), "{name}: {told}");
}

#[test]
fn the_schemas_accept_every_manifest() {
    for name in WHOLE {
        validate(name, &folder().join(name));
    }
    let rendered = tempfile::tempdir().unwrap();
    for name in OVERLAYS.into_iter().chain(["base", "cluster", "jobs/sweep"]) {
        if let Some(text) = render(name) {
            let path = rendered.path().join("rendered.yaml");
            fs::write(&path, text).unwrap();
            validate(name, &path);
        }
    }
}

#[test]
fn every_overlay_keeps_the_rules() {
    for (name, documents) in clusters() {
        assert_eq!(pods(documents).len(), 3, "{name}");
        assert_eq!(rules::faults(documents), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_object_says_that_it_is_part_of_sweep() {
    for name in OVERLAYS.into_iter().chain(["jobs/jobset"]) {
        let Some(text) = render(name) else { return };
        for document in documents(&text) {
            let metadata = &document["metadata"];
            let part_of = metadata["labels"]["app.kubernetes.io/part-of"].as_str();
            assert_eq!(
                part_of,
                Some("sweep"),
                "{name}: {} {:?}",
                document["kind"].as_str().unwrap(),
                metadata["name"]
            );
        }
    }
}

/// Changes one value; steps of the path are keys, or numbers of elements.
fn set(document: &mut Value, path: &str, value: &str) {
    fn step<'a>(place: &'a mut Value, step: &str) -> &'a mut Value {
        match step.parse::<usize>() {
            Ok(number) => &mut place[number],
            Err(_) => &mut place[step],
        }
    }
    *path.split('.').fold(document, step) = serde_yaml::from_str(value).unwrap();
}

/// Where a workload has its container.
const CONTAINER: &str = "spec.template.spec.containers.0";
/// Changes of a worker's container: the place in it, the value, and a part of the fault that is found.
const WORKER_CHANGES: &[(&str, &str, &str)] = &[
    ("resources.requests.cpu", "null", "no request for cpu"),
    ("resources.requests.ephemeral-storage", "null", "no request for ephemeral-storage"),
    ("resources.requests.ephemeral-storage", "20Gi", "larger than its ephemeral-storage"),
    ("resources.limits.memory", "null", "no limit for memory"),
    ("image", "registry:5000/sweep-worker", "an image without a version"),
    ("image", "sweep-worker:latest", "an image without a version"),
    ("imagePullPolicy", "Always", "asks the registry"),
    ("securityContext.readOnlyRootFilesystem", "false", "may write to its image"),
    ("securityContext.capabilities.drop", "[]", "has capabilities"),
    ("volumeMounts.0.name", "another", "there is no volume another"),
];
/// The same of any object, by its kind.
const OTHER_CHANGES: &[(&str, &str, &str, &str)] = &[
    ("Deployment", "spec.strategy", "null", "a rollout waits for room"),
    ("Deployment", "spec.strategy.rollingUpdate.maxUnavailable", "0", "may end no old pod"),
    ("Deployment", "spec.template.spec.automountServiceAccountToken", "null", "token of a service account"),
    ("Deployment", "spec.template.spec.terminationGracePeriodSeconds", "60", "is killed before"),
    ("Deployment", "spec.template.spec.containers.0.env", "[]", "says nothing of its grace period"),
    ("Deployment", "spec.template.spec.containers.0.env", "[]", "cache has no bound"),
    (
        "Deployment",
        "spec.template.spec.containers.0.env",
        "[{name: SWEEP_CACHE_MAX_BYTES, value: 18Gi}]",
        "may grow beyond its volume",
    ),
    ("Deployment", "spec.template.spec.priorityClassName", "high", "no PriorityClass high"),
    (
        "Deployment",
        "spec.template.spec.volumes.0",
        "{name: token, hostPath: {path: /}}",
        "folder of the node",
    ),
    ("Deployment", "spec.template.metadata.labels", "{a: b}", "does not select its own pods"),
    ("Deployment", "spec.template.metadata.labels", "{a: b}", "its network is open"),
    (
        "StatefulSet",
        "spec.template.spec.containers.0.readinessProbe.httpGet.path",
        "/leaderz",
        "a standby for ill",
    ),
    (
        "StatefulSet",
        "spec.template.spec.containers.0.livenessProbe.httpGet.path",
        "/readyz",
        "is ended for what it waits for",
    ),
    (
        "StatefulSet",
        "spec.template.spec.containers.0.livenessProbe.httpGet.port",
        "metrics",
        "a port that is not there",
    ),
    ("Deployment", "spec.template.spec.containers.0.readinessProbe.httpGet.scheme", "HTTPS", "speaks TLS"),
    ("Deployment", "spec.template.spec.containers.0.readinessProbe", "null", "whether it is ready"),
    ("StatefulSet", "spec.template.spec.containers.0.readinessProbe.tcpSocket", "{port: 1}", "in 2 ways"),
    ("PodDisruptionBudget", "spec.maxUnavailable", "0", "never be drained"),
    ("PodDisruptionBudget", "spec.selector.matchLabels", "{a: b}", "selects no pod"),
    ("ServiceAccount", "automountServiceAccountToken", "true", "token is mounted"),
    ("Service", "spec.ports.0.targetPort", "grcp", "no pod has the port grcp"),
];

#[test]
fn each_rule_finds_what_breaks_it() {
    let worker = WORKER_CHANGES
        .iter()
        .map(|(path, value, fault)| ("Deployment", format!("{CONTAINER}.{path}"), *value, *fault));
    let others =
        OTHER_CHANGES.iter().map(|(kind, path, value, fault)| (*kind, (*path).to_owned(), *value, *fault));
    let Some(whole) = cluster("overlays/gpu") else { return };
    for (kind, path, value, fault) in worker.chain(others) {
        let mut broken = whole.to_vec();
        set(broken.iter_mut().find(|document| document["kind"] == kind).unwrap(), &path, value);
        let faults = rules::faults(&broken);
        assert!(faults.iter().any(|found| found.contains(fault)), "{path}: {value} gives {faults:?}");
    }
}

#[test]
fn the_programs_accept_what_each_container_gives_them() {
    for (name, documents) in clusters() {
        for pod in pods(documents) {
            for container in pod.containers() {
                let refusals = commands::refusals(container, documents);
                assert_eq!(refusals, Vec::<String>::new(), "{name} {}", pod.name);
            }
        }
    }
}

#[test]
fn the_programs_refuse_what_they_do_not_know() {
    let Some(whole) = cluster("overlays/cpu") else { return };
    for (path, value, refusal) in [
        ("args.3", "--slots=none", "is not a number of slots"),
        ("args.4", "--spoool=/var/lib/sweep", "--spoool"),
        ("args.4", "--spool=/var/spool", "/var/spool is in no volume"),
        ("env.0", "{name: SWEEP_STORE, value: a}", "--store"),
    ] {
        let mut broken = whole.to_vec();
        let worker = broken.iter_mut().find(|document| document["kind"] == "Deployment").unwrap();
        set(worker, &format!("spec.template.spec.containers.0.{path}"), value);
        let worker = object(&broken, "Deployment", "sweep-worker");
        let refusals = commands::refusals(&worker["spec"]["template"]["spec"]["containers"][0], &broken);
        assert!(refusals.iter().any(|found| found.contains(refusal)), "{path}: {value} gives {refusals:?}");
    }
}

#[test]
fn only_overlays_with_gpus_ask_for_them() {
    for (name, documents) in clusters() {
        let worker = &object(documents, "Deployment", "sweep-worker")["spec"]["template"]["spec"];
        let with_gpu =
            ["overlays/gpu", "overlays/spot", "overlays/autoscale", "overlays/all"].contains(&name);
        let limits = &worker["containers"][0]["resources"]["limits"];
        assert_eq!(limits["nvidia.com/gpu"].as_str(), with_gpu.then_some("1"), "{name}");
        let mounts = sequence(&worker["containers"][0]["volumeMounts"]);
        assert_eq!(mounts.iter().any(|mount| mount["mountPath"] == "/dev/shm"), with_gpu, "{name}");
    }
}

#[test]
fn images_have_the_version_of_the_programs() {
    for (name, documents) in clusters() {
        for container in pods(documents).iter().flat_map(rules::Pod::containers) {
            let image = container["image"].as_str().unwrap();
            let (_, tag) = image.split_once(':').unwrap();
            assert!(tag.starts_with(env!("CARGO_PKG_VERSION")), "{name}: {image}");
        }
    }
}

#[test]
fn one_coordinator_keeps_its_store_and_two_share_a_database() {
    for (name, documents) in clusters() {
        let set = &object(documents, "StatefulSet", "sweep-coordinator")["spec"];
        let variables = sequence(&set["template"]["spec"]["containers"][0]["env"]);
        let store = variables.iter().find(|variable| variable["name"] == "SWEEP_STORE").unwrap();
        if ["overlays/ha", "overlays/all"].contains(&name) {
            assert_eq!(set["replicas"], 2, "{name}");
            assert!(set["volumeClaimTemplates"].is_null(), "{name}");
            assert_eq!(store["valueFrom"]["secretKeyRef"]["name"], "sweep-postgres", "{name}");
            let opening = &object(documents, "NetworkPolicy", "sweep-postgres")["spec"]["egress"][0];
            assert_eq!(opening["ports"][0]["port"], 5432, "{name}");
        } else {
            assert_eq!(set["replicas"], 1, "{name}");
            assert_eq!(set["volumeClaimTemplates"][0]["metadata"]["name"], "store", "{name}");
        }
    }
}

/// The hosts of the addresses in the worker's `--coordinator`, and what is before them.
fn coordinators(documents: &[Value]) -> Vec<String> {
    let worker =
        &object(documents, "Deployment", "sweep-worker")["spec"]["template"]["spec"]["containers"][0];
    let arguments = sequence(&worker["args"]).iter().filter_map(Value::as_str);
    let addresses: Vec<_> =
        arguments.filter_map(|argument| argument.strip_prefix("--coordinator=")).collect();
    assert_eq!(addresses.len(), 1);
    let host = |address: &str| {
        let host = address.strip_prefix("$(SCHEME)://").unwrap().strip_suffix(":7070").unwrap();
        host.to_owned()
    };
    addresses[0].split(',').map(host).collect()
}

#[test]
fn workers_know_every_coordinator_by_a_name_that_its_certificate_has() {
    for (name, documents) in clusters() {
        let hosts = coordinators(documents);
        let expected = if ["overlays/ha", "overlays/all"].contains(&name) { 2 } else { 1 };
        assert_eq!(hosts.len(), expected, "{name}");
        for host in &hosts {
            let service = host.split_once('.').map_or(host.as_str(), |(_, service)| service);
            object(documents, "Service", service);
        }
        if !["overlays/tls", "overlays/all"].contains(&name) {
            continue;
        }
        let certificate = &object(documents, "Certificate", "sweep-coordinator")["spec"];
        let names = sequence(&certificate["dnsNames"]);
        assert!(
            hosts.iter().all(|host| names.iter().any(|known| known == host.as_str())),
            "{name}: {hosts:?}"
        );
        for kind in ["sweep-ca", "sweep-coordinator"] {
            let issuer = &object(documents, "Certificate", kind)["spec"]["issuerRef"]["name"];
            object(documents, "Issuer", issuer.as_str().unwrap());
        }
        let worker = &object(documents, "Deployment", "sweep-worker")["spec"]["template"]["spec"];
        if name == "overlays/all" {
            // Who joins gets the join token alone: the authority's certificate comes with its own.
            let held: Vec<_> = sequence(&worker["volumes"])
                .iter()
                .filter_map(|one| one["secret"]["secretName"].as_str())
                .collect();
            assert_eq!(held, ["sweep-join"], "{name}");
            continue;
        }
        // A worker gets the authority's certificate, and not the coordinator's key.
        let volume = sequence(&worker["volumes"]).iter().find(|volume| volume["name"] == "ca").unwrap();
        assert_eq!(volume["secret"]["secretName"], certificate["secretName"], "{name}");
        assert_eq!(sequence(&volume["secret"]["items"]).len(), 1, "{name}");
        assert_eq!(volume["secret"]["items"][0]["key"], "ca.crt", "{name}");
    }
}

#[test]
fn workers_that_join_are_rendered_after_tls_alone() {
    let components = ["../../components/join", "../../components/tls"];
    for used in [&components[..1], &components[..]] {
        let overlay = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../cpu]\ncomponents: {used:?}\n"
        );
        let Some(told) = refusal_of(&overlay) else { return };
        assert!(told.contains("components/join") && told.contains("sweep-ca"), "{told}");
    }
}

#[test]
fn the_namespace_admits_only_pods_without_rights() {
    let labels = &documents(&fs::read_to_string(folder().join("cluster/namespace.yaml")).unwrap())[0];
    assert_eq!(labels["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
}

#[test]
fn images_are_built_from_bases_with_digests_and_run_without_root() {
    let read = |name: &str| fs::read_to_string(deploy().join("docker").join(name)).unwrap();
    let (coordinator, worker) = (read("coordinator.Dockerfile"), read("worker.Dockerfile"));
    for (name, text) in [("coordinator", &coordinator), ("worker", &worker)] {
        let pinned = |line: &&str| line.starts_with("ARG ") && line.contains("@sha256:");
        let known: Vec<_> = text.lines().filter(pinned).collect();
        assert!(known.iter().all(|line| worker.contains(*line)), "{name} has bases of its own: {known:?}");
        let mut stages = vec!["scratch".to_owned(), "${PROGRAMS}".to_owned()];
        stages.extend(known.iter().map(|line| format!("${{{}}}", line[4..].split('=').next().unwrap())));
        for line in text.lines().filter_map(|line| line.strip_prefix("FROM ")) {
            let (base, stage) = line.split_once(" AS ").unwrap_or((line, "last"));
            assert!(stages.iter().any(|known| known == base), "{name}: {base} has no digest");
            stages.push(stage.to_owned());
        }
        assert!(
            text.contains("--no-install-recommends ca-certificates") && text.contains("\nUSER 10001:0\n"),
            "{name}"
        );
    }
}
