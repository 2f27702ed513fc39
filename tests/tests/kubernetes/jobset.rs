//! The JobSet: a coordinator that ends with its sweep, and its workers. Kubernetes' schemas know no JobSets, so its own fields are read by
//! types that have those of its definition (`jobset.x-k8s.io/v1alpha2`) and refuse any other; the Jobs that it makes are checked as all are.

use std::fs;

use serde::Deserialize;
use serde_yaml::Value;

use super::{
    commands, object,
    render::{documents, render},
    rules::{self, pods, sequence},
    set, validate,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    replicated_jobs: Vec<ReplicatedJob>,
    network: Network,
    success_policy: SuccessPolicy,
    failure_policy: FailurePolicy,
    #[serde(rename = "ttlSecondsAfterFinished")]
    _ttl_seconds_after_finished: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicatedJob {
    name: String,
    replicas: u32,
    template: JobTemplate,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobTemplate {
    spec: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    #[serde(rename = "enableDNSHostnames")]
    enable_dns_hostnames: bool,
    #[serde(rename = "publishNotReadyAddresses")]
    publish_not_ready_addresses: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SuccessPolicy {
    operator: Operator,
    target_replicated_jobs: Vec<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
enum Operator {
    All,
    Any,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FailurePolicy {
    max_restarts: u32,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    name: String,
    action: Action,
    target_replicated_jobs: Vec<String>,
    on_job_failure_reasons: Vec<Reason>,
}

#[derive(Debug, Deserialize, PartialEq)]
enum Action {
    FailJobSet,
    RestartJobSet,
}

/// Why a Job may fail.
#[derive(Debug, Deserialize, PartialEq)]
enum Reason {
    BackoffLimitExceeded,
    DeadlineExceeded,
    PodFailurePolicy,
}

/// The JobSet with what comes with it and what an administrator applied, and its own fields; none without kubectl.
fn rendered() -> Option<(Vec<Value>, Spec)> {
    let texts = [render("cluster")?, render("jobs/jobset")?];
    let all: Vec<Value> = texts.iter().flat_map(|text| documents(text)).collect();
    let set = object(&all, "JobSet", "sweep");
    assert_eq!(set["apiVersion"], "jobset.x-k8s.io/v1alpha2");
    let spec = Spec::deserialize(&set["spec"]).unwrap();
    Some((all, spec))
}

/// The Jobs that it makes, by the names that it gives them.
fn jobs(spec: &Spec) -> Vec<Value> {
    let job = |replicated: &ReplicatedJob| {
        assert_eq!(replicated.replicas, 1, "names below are those of the first");
        let mut job: Value = serde_yaml::from_str("{apiVersion: batch/v1, kind: Job, metadata: {}}").unwrap();
        job["metadata"]["name"] = format!("sweep-{}-0", replicated.name).into();
        job["spec"] = replicated.template.spec.clone();
        job
    };
    spec.replicated_jobs.iter().map(job).collect()
}

/// Everything that is there, the Jobs in place of the JobSet.
fn with_jobs() -> Option<Vec<Value>> {
    let (all, spec) = rendered()?;
    let others = all.into_iter().filter(|document| document["kind"] != "JobSet");
    Some(others.chain(jobs(&spec)).collect())
}

#[test]
fn its_jobs_are_accepted_by_the_schemas_and_keep_the_rules() {
    let Some(documents) = with_jobs() else { return };
    let folder = tempfile::tempdir().unwrap();
    for document in &documents {
        let (kind, name) =
            (document["kind"].as_str().unwrap(), document["metadata"]["name"].as_str().unwrap());
        let path = folder.path().join("object.yaml");
        fs::write(&path, serde_yaml::to_string(document).unwrap()).unwrap();
        validate(&format!("{kind} {name}"), &path);
    }
    assert_eq!(pods(&documents).len(), 2);
    assert_eq!(rules::faults(&documents), Vec::<String>::new());
    for pod in pods(&documents) {
        for container in pod.containers() {
            assert_eq!(commands::refusals(container, &documents), Vec::<String>::new(), "{}", pod.name);
            let (_, tag) = container["image"].as_str().unwrap().split_once(':').unwrap();
            assert!(tag.starts_with(env!("CARGO_PKG_VERSION")), "{tag}");
        }
    }
}

#[test]
fn a_fault_in_a_job_or_a_field_that_no_jobset_has_is_found() {
    let Some((mut all, _)) = rendered() else { return };
    let mut broken = with_jobs().unwrap();
    let worker = broken.iter_mut().find(|document| document["metadata"]["name"] == "sweep-worker-0").unwrap();
    set(worker, "spec.template.spec.containers.0.args.7", "--exit-when-idl=10m");
    let container = &object(&broken, "Job", "sweep-worker-0")["spec"]["template"]["spec"]["containers"][0];
    assert!(commands::refusals(container, &broken)[0].contains("--exit-when-idl"));
    broken.retain(|document| document["metadata"]["name"] != "sweep-jobset-closed");
    assert!(rules::faults(&broken).iter().any(|fault| fault.contains("its network is open")));
    let jobset = all.iter_mut().find(|document| document["kind"] == "JobSet").unwrap();
    set(jobset, "spec.sucessPolicy", "{}");
    assert!(Spec::deserialize(&jobset["spec"]).unwrap_err().to_string().contains("sucessPolicy"));
}

#[test]
fn it_ends_as_its_coordinator_does_which_its_workers_find() {
    let Some((all, spec)) = rendered() else { return };
    let coordinator = ["coordinator".to_owned()];
    assert_eq!(spec.success_policy.operator, Operator::All);
    assert_eq!(spec.success_policy.target_replicated_jobs, coordinator);
    let [rule] = spec.failure_policy.rules.as_slice() else { panic!("{:?}", spec.failure_policy) };
    assert!(spec.failure_policy.max_restarts > 0, "a lost coordinator comes back on its store");
    assert_eq!(
        (&rule.action, rule.target_replicated_jobs.as_slice()),
        (&Action::FailJobSet, &coordinator[..])
    );
    assert_eq!(rule.on_job_failure_reasons, [Reason::PodFailurePolicy]);
    assert!(rule.name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", rule.name);
    let jobs = jobs(&spec);
    let job = |name: &str| &object(&jobs, "Job", name)["spec"];
    // One that is lost is no verdict on the sweep; its own exit statuses are.
    let (own, workers) = (job("sweep-coordinator-0"), job("sweep-worker-0"));
    let ended = &own["podFailurePolicy"]["rules"][0];
    assert_eq!((ended["action"].as_str(), &own["backoffLimit"]), (Some("FailJob"), &Value::from(0)));
    assert_eq!(sequence(&ended["onExitCodes"]["values"]), [Value::from(1), Value::from(2)]);
    let away = &own["podFailurePolicy"]["rules"][1];
    assert_eq!(away["action"], "Ignore", "one that is stopped with its node ends with 130, and comes back");
    assert_eq!(away["onPodConditions"][0]["type"], "DisruptionTarget");
    // 130 is in no rule, so that any other stop is no verdict: the JobSet is restarted, for which it has more than one turn.
    assert_eq!(sequence(&own["podFailurePolicy"]["rules"]).len(), 2);
    assert_eq!(own["template"]["spec"]["restartPolicy"], "Never", "exit statuses are the Job's to judge");
    let arguments = |job: &Value| -> Vec<String> {
        let arguments = sequence(&job["template"]["spec"]["containers"][0]["args"]);
        arguments.iter().map(|argument| argument.as_str().unwrap().to_owned()).collect()
    };
    assert!(arguments(own).contains(&"--exit-with-sweep=/etc/sweep/file/sweep.yaml".to_owned()));
    // <JobSet>-<replicated job>-<job>-<pod>.<JobSet>, which is there before the pod is ready.
    assert!(spec.network.enable_dns_hostnames && spec.network.publish_not_ready_addresses);
    let url = "--coordinator=http://sweep-coordinator-0-0.sweep:7070".to_owned();
    assert!(arguments(workers).contains(&url));
    assert!(arguments(workers).iter().any(|argument| argument.starts_with("--exit-when-idle=")));
    assert_eq!(workers["parallelism"], workers["completions"], "each of them ends by itself");
    // What a ConfigMap and a claim are called, kustomize does not change within a JobSet.
    object(&all, "ConfigMap", "sweep-jobset-file");
    object(&all, "PersistentVolumeClaim", "sweep-jobset-store");
    let set = object(&all, "JobSet", "sweep");
    assert_eq!(set["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "sweep");
}

#[test]
fn its_sweep_is_one_that_the_coordinator_takes() {
    let Some((all, _)) = rendered() else { return };
    let map = object(&all, "ConfigMap", "sweep-jobset-file");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sweep.yaml");
    fs::write(&file, map["data"]["sweep.yaml"].as_str().unwrap()).unwrap();
    let output =
        std::process::Command::new(tests::program("sweep")).arg("validate").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
