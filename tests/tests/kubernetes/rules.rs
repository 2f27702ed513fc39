//! What must hold of the manifests in any combination. Each rule stands for something that went wrong on a cluster, or that a
//! cluster with Pod Security "restricted" refuses.

use std::time::Duration;

use serde_yaml::Value;

/// How long a worker that leaves goes on sending weights after its grace, at least and at most.
const WEIGHTS_WITHIN: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(30);
/// How much longer than its grace and the time for weights a worker takes that leaves: what is on its way then, and the last messages.
const FAREWELL: u64 = 5;
/// How much larger the volume of the cache is than its packs may be, in bytes: what is not packed yet and small files.
const CACHE_MARGIN: u64 = 1 << 30;
/// What may say whether a container is well; a probe has one of them.
const PROBES: [&str; 4] = ["grpc", "httpGet", "tcpSocket", "exec"];
/// What Kubernetes starts pods from, here.
const WORKLOADS: [&str; 3] = ["StatefulSet", "Deployment", "Job"];
/// Secrets that the README has made by hand.
const SECRETS: [&str; 4] = ["sweep-token", "sweep-join", "sweep-postgres", "sweep-bucket"];

/// The template of a workload's pods.
pub(crate) struct Pod<'a> {
    pub(crate) name: &'a str,
    pub(crate) workload: &'a Value,
    labels: &'a Value,
    pub(crate) spec: &'a Value,
}

impl<'a> Pod<'a> {
    pub(crate) fn containers(&self) -> &'a [Value] {
        sequence(&self.spec["containers"])
    }

    fn volumes(&self) -> &'a [Value] {
        sequence(&self.spec["volumes"])
    }
}

/// The elements of a sequence; none of anything else.
pub(crate) fn sequence(value: &Value) -> &[Value] {
    value.as_sequence().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    documents.iter().filter(move |document| document["kind"] == kind)
}

fn is_there(documents: &[Value], kind: &str, name: &Value) -> bool {
    of_kind(documents, kind).any(|document| document["metadata"]["name"] == *name)
}

pub(crate) fn pods(documents: &[Value]) -> Vec<Pod<'_>> {
    let workload = |document: &&Value| WORKLOADS.contains(&text(&document["kind"]));
    let pod = |workload| {
        let workload: &Value = workload;
        let template = &workload["spec"]["template"];
        let (labels, spec) = (&template["metadata"]["labels"], &template["spec"]);
        Pod { name: text(&workload["metadata"]["name"]), workload, labels, spec }
    };
    documents.iter().filter(workload).map(pod).collect()
}

/// Everything that breaks a rule, one sentence each.
pub(crate) fn faults(documents: &[Value]) -> Vec<String> {
    let mut faults = Faults::default();
    for pod in pods(documents) {
        faults.about(pod.name, |must| rights_of_pod(&pod, must));
        faults.about(pod.name, |must| room(&pod, must));
        faults.about(pod.name, |must| references(&pod, documents, must));
        faults.about(pod.name, |must| leaves_in_time(&pod, must));
        faults.about(pod.name, |must| cache_fits(&pod, must));
        for container in pod.containers() {
            let name = format!("{} {}", pod.name, text(&container["name"]));
            faults.about(&name, |must| image_and_resources(container, must));
            faults.about(&name, |must| rights_of_container(container, must));
            faults.about(&name, |must| probes(container, must));
        }
    }
    for document in documents {
        faults.about(text(&document["metadata"]["name"]), |must| progress(document, must));
        faults.about(text(&document["metadata"]["name"]), |must| selects(document, documents, must));
    }
    faults.0
}

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn about(&mut self, whose: &str, rule: impl FnOnce(&mut dyn FnMut(bool, &str))) {
        rule(&mut |holds: bool, what: &str| {
            if !holds {
                self.0.push(format!("{whose}: {what}"));
            }
        });
    }
}

type Must<'a> = &'a mut dyn FnMut(bool, &str);

fn rights_of_pod(pod: &Pod<'_>, must: Must<'_>) {
    let security = &pod.spec["securityContext"];
    must(security["runAsNonRoot"] == true, "may run as root");
    must(security["seccompProfile"]["type"] == "RuntimeDefault", "has no seccomp profile");
    must(
        security["fsGroupChangePolicy"] == "OnRootMismatch",
        "changes the owner of every file at each start",
    );
    must(pod.spec["automountServiceAccountToken"] == false, "has a token of a service account");
    must(pod.spec["enableServiceLinks"] == false, "has variables of services");
    for shared in ["hostNetwork", "hostPID", "hostIPC"] {
        must(pod.spec[shared].is_null(), &format!("has {shared}"));
    }
    for volume in pod.volumes() {
        let name = text(&volume["name"]);
        must(volume["hostPath"].is_null(), &format!("{name} is a folder of the node"));
        must(volume["projected"].is_null(), &format!("{name} may hold a token of a service account"));
    }
}

/// Volumes on the node's disk have a limit, the limits fit into what is asked for, and every volume is used.
fn room(pod: &Pod<'_>, must: Must<'_>) {
    let mut on_disk = 0;
    for volume in pod.volumes() {
        let (name, folder) = (text(&volume["name"]), &volume["emptyDir"]);
        let mounted = |container: &Value| {
            sequence(&container["volumeMounts"]).iter().any(|mount| mount["name"] == volume["name"])
        };
        must(pod.containers().iter().any(mounted), &format!("{name} is mounted nowhere"));
        if !folder.is_null() {
            must(!folder["sizeLimit"].is_null(), &format!("{name} may fill the node's disk"));
            on_disk += if folder["medium"] == "Memory" { 0 } else { bytes(&folder["sizeLimit"]) };
        }
    }
    let asked = |container: &Value| bytes(&container["resources"]["requests"]["ephemeral-storage"]);
    let asked: u64 = pod.containers().iter().map(asked).sum();
    must(on_disk <= asked, "its volumes on the node's disk are larger than its ephemeral-storage");
    for mount in pod.containers().iter().flat_map(|container| sequence(&container["volumeMounts"])) {
        let named = |part: &Value| part["name"] == mount["name"] || part["metadata"]["name"] == mount["name"];
        let claims = sequence(&pod.workload["spec"]["volumeClaimTemplates"]);
        let known = pod.volumes().iter().chain(claims).any(named);
        must(known, &format!("there is no volume {}", text(&mount["name"])));
    }
}

/// Binary multiples, which is all that the manifests use.
fn bytes(quantity: &Value) -> u64 {
    let quantity = text(quantity);
    let of = |suffix, shift: u32| Some(quantity.strip_suffix(suffix)?.parse::<u64>().ok()? << shift);
    of("Gi", 30).or_else(|| of("Mi", 20)).or_else(|| of("Ki", 10)).unwrap_or_default()
}

/// Accounts, priorities, settings and secrets are there.
fn references(pod: &Pod<'_>, documents: &[Value], must: Must<'_>) {
    for (key, kind) in [("serviceAccountName", "ServiceAccount"), ("priorityClassName", "PriorityClass")] {
        let name = &pod.spec[key];
        let is_known = name.is_null() || is_there(documents, kind, name);
        must(is_known, &format!("there is no {kind} {}", text(name)));
    }
    let is_secret = |name: &str| {
        SECRETS.contains(&name)
            || of_kind(documents, "Certificate").any(|made| made["spec"]["secretName"] == name)
    };
    let secrets = pod.volumes().iter().map(|volume| &volume["secret"]["secretName"]);
    let variables = || pod.containers().iter().flat_map(|container| sequence(&container["env"]));
    let secrets = secrets.chain(variables().map(|variable| &variable["valueFrom"]["secretKeyRef"]["name"]));
    for name in secrets.filter_map(Value::as_str) {
        must(is_secret(name), &format!("no one makes the Secret {name}"));
    }
    let settings = variables().map(|variable| &variable["valueFrom"]["configMapKeyRef"]);
    for setting in settings.filter(|setting| !setting.is_null()) {
        let has = |map: &Value| {
            map["metadata"]["name"] == setting["name"] && !map["data"][text(&setting["key"])].is_null()
        };
        let known = of_kind(documents, "ConfigMap").any(has);
        must(known, &format!("no ConfigMap has the key {}", text(&setting["key"])));
    }
}

/// A worker may end its grace and send the weights that are on their way before it is killed.
fn leaves_in_time(pod: &Pod<'_>, must: Must<'_>) {
    let variables = pod.containers().iter().flat_map(|container| sequence(&container["env"]));
    for grace in variables.filter(|variable| variable["name"] == "SWEEP_GRACE") {
        let seconds = text(&grace["value"])
            .strip_suffix('s')
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(u64::MAX >> 1);
        let weights = Duration::from_secs(seconds).clamp(*WEIGHTS_WITHIN.start(), *WEIGHTS_WITHIN.end());
        let given = pod.spec["terminationGracePeriodSeconds"].as_u64().unwrap_or_default();
        let needed = seconds.saturating_add(weights.as_secs() + FAREWELL);
        must(given >= needed, "is killed before its --grace is over");
    }
    let of_worker = |container: &&Value| container["name"] == "worker";
    for worker in pod.containers().iter().filter(of_worker) {
        must(!variable(worker, "SWEEP_GRACE").is_null(), "says nothing of its grace period to its worker");
    }
}

/// The value of a variable; null where there is none.
fn variable<'a>(container: &'a Value, name: &str) -> &'a Value {
    let found = sequence(&container["env"]).iter().find(|variable| variable["name"] == name);
    found.map_or(&Value::Null, |variable| &variable["value"])
}

/// The cache removes packs before its volume is full, above which a pod is evicted.
fn cache_fits(pod: &Pod<'_>, must: Must<'_>) {
    for container in pod.containers() {
        let arguments = sequence(&container["args"]).iter().filter_map(Value::as_str);
        let folders: Vec<&str> = arguments.filter_map(|text| text.strip_prefix("--cache-dir=")).collect();
        let [folder] = folders[..] else { continue };
        let mounted = sequence(&container["volumeMounts"]).iter().find(|mount| mount["mountPath"] == folder);
        let volume =
            mounted.and_then(|mount| pod.volumes().iter().find(|volume| volume["name"] == mount["name"]));
        let Some(volume) = volume else {
            must(false, &format!("{folder} is no volume"));
            continue;
        };
        let claimed = &volume["ephemeral"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"];
        let room = bytes(&volume["emptyDir"]["sizeLimit"]).max(bytes(claimed));
        let most = bytes(variable(container, "SWEEP_CACHE_MAX_BYTES"));
        must(most > 0, "its cache has no bound of its own");
        must(most + CACHE_MARGIN <= room, "its cache may grow beyond its volume");
    }
}

fn image_and_resources(container: &Value, must: Must<'_>) {
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let request = &container["resources"]["requests"][resource];
        must(!request.is_null(), &format!("no request for {resource}"));
    }
    must(!container["resources"]["limits"]["memory"].is_null(), "no limit for memory");
    let name = text(&container["image"]).rsplit('/').next().unwrap_or_default();
    let tag = name.split_once(':').map(|(_, tag)| tag);
    must(tag.is_some_and(|tag| tag != "latest"), "an image without a version");
    must(container["imagePullPolicy"] == "IfNotPresent", "asks the registry at each start");
}

fn rights_of_container(container: &Value, must: Must<'_>) {
    let security = &container["securityContext"];
    must(security["allowPrivilegeEscalation"] == false, "may get rights");
    must(security["readOnlyRootFilesystem"] == true, "may write to its image");
    must(
        sequence(&security["capabilities"]["drop"]).iter().any(|dropped| dropped == "ALL"),
        "has capabilities",
    );
    must(security["capabilities"]["add"].is_null() && security["privileged"].is_null(), "asks for rights");
}

fn probes(container: &Value, must: Must<'_>) {
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let means = PROBES.iter().filter(|means| !container[probe][**means].is_null()).count();
        must(container[probe].is_null() || means == 1, &format!("{probe} asks in {means} ways"));
        // Of two coordinators one leads; were only that one ready, a rollout would wait for the other.
        let asks_who_leads = container[probe]["httpGet"]["path"] == "/leaderz"
            || !container[probe]["grpc"]["service"].is_null();
        must(!asks_who_leads, &format!("{probe} takes a standby for ill"));
        // The port for probes: plain HTTP, also where the others speak TLS.
        let port = &container[probe]["httpGet"]["port"];
        let is_known = sequence(&container["ports"]).iter().any(|known| known["name"] == *port);
        must(port.is_null() || is_known, &format!("{probe} asks a port that is not there"));
        let scheme = &container[probe]["httpGet"]["scheme"];
        must(scheme.is_null(), &format!("{probe} speaks TLS, of which the port for probes knows nothing"));
    }
    if sequence(&container["args"]).iter().any(|argument| text(argument).starts_with("--admin")) {
        let path = |probe: &str| text(&container[probe]["httpGet"]["path"]).to_owned();
        must(path("readinessProbe") == "/readyz", "nothing asks whether it is ready");
        // One that waits for another is alive.
        must(path("livenessProbe") == "/livez", "it is ended for what it waits for");
    }
}

/// Rollouts and drains of nodes come to an end.
fn progress(document: &Value, must: Must<'_>) {
    let spec = &document["spec"];
    match text(&document["kind"]) {
        "Deployment" => {
            let update = &spec["strategy"]["rollingUpdate"];
            must(update["maxSurge"] == 0, "a rollout waits for room (a GPU) that the old pods have");
            must(
                update["maxUnavailable"].as_u64().is_some_and(|count| count > 0),
                "a rollout may end no old pod",
            );
        }
        "PodDisruptionBudget" => {
            let most = &spec["maxUnavailable"];
            let allows = most.as_u64().is_some_and(|count| count > 0) || (most.is_string() && most != "0%");
            must(allows && spec["minAvailable"].is_null(), "a node may never be drained");
        }
        "ServiceAccount" => {
            must(document["automountServiceAccountToken"] == false, "an account's token is mounted");
        }
        _ => {}
    }
}

/// Selectors find pods, and every pod is closed to what nothing opens.
fn selects(document: &Value, documents: &[Value], must: Must<'_>) {
    let pods = pods(documents);
    let finds = |selector: &Value| pods.iter().any(|pod| matches(selector, pod.labels));
    match text(&document["kind"]) {
        "Service" => {
            must(finds(&document["spec"]["selector"]), "selects no pod");
            let named = |port: &Value| {
                let containers = pods.iter().flat_map(Pod::containers);
                containers
                    .flat_map(|container| sequence(&container["ports"]))
                    .any(|known| known["name"] == *port)
            };
            for port in sequence(&document["spec"]["ports"]) {
                must(
                    named(&port["targetPort"]),
                    &format!("no pod has the port {}", text(&port["targetPort"])),
                );
            }
        }
        "PodMonitor" => {
            let selector = &document["spec"]["selector"]["matchLabels"];
            let scraped = pods.iter().filter(|pod| matches(selector, pod.labels)).flat_map(Pod::containers);
            let ports: Vec<&Value> = scraped
                .flat_map(|container| sequence(&container["ports"]))
                .map(|port| &port["name"])
                .collect();
            let endpoints = sequence(&document["spec"]["podMetricsEndpoints"]);
            let are_there = endpoints.iter().all(|endpoint| ports.contains(&&endpoint["port"]));
            must(!ports.is_empty() && are_there, "scrapes a port that no pod has");
        }
        "PodDisruptionBudget" => must(finds(&document["spec"]["selector"]["matchLabels"]), "selects no pod"),
        "StatefulSet" | "Deployment" | "Job" => {
            let (selector, labels) = (
                &document["spec"]["selector"]["matchLabels"],
                &document["spec"]["template"]["metadata"]["labels"],
            );
            must(selector.is_null() || matches(selector, labels), "does not select its own pods");
            let closes = |policy: &Value| {
                let spec = &policy["spec"];
                matches(&spec["podSelector"]["matchLabels"], labels)
                    && sequence(&spec["policyTypes"]).len() == 2
                    && (spec["ingress"].is_null() && spec["egress"].is_null())
            };
            must(of_kind(documents, "NetworkPolicy").any(closes), "its network is open");
        }
        _ => {}
    }
}

fn matches(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_mapping();
    wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
}
