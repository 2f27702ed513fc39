//! The components that ask the port for numbers: monitoring, and scaling by what waits.

use serde_yaml::Value;

use super::{cluster, clusters, render::object, rules, rules::sequence, set};

#[test]
fn the_scraper_reaches_every_program_and_no_one_else_the_port_for_probes() {
    for (name, documents) in clusters() {
        let monitored = ["overlays/monitoring", "overlays/autoscale", "overlays/all"].contains(&name);
        let is_monitor = |document: &&Value| document["kind"] == "PodMonitor";
        assert_eq!(documents.iter().filter(is_monitor).count(), if monitored { 2 } else { 0 }, "{name}");
        let opens = |policy: &&Value| {
            let rules = sequence(&policy["spec"]["ingress"]).iter();
            let ports = rules.flat_map(|rule| sequence(&rule["ports"]));
            policy["kind"] == "NetworkPolicy" && ports.into_iter().any(|port| port["port"] == 7090)
        };
        let opening: Vec<&Value> = documents.iter().filter(opens).collect();
        assert_eq!(opening.len(), usize::from(monitored), "{name}");
        for policy in opening {
            let from = &policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"];
            assert_eq!(from["app.kubernetes.io/name"], "prometheus", "{name}");
        }
    }
}

#[test]
fn a_monitor_of_a_port_that_is_not_there_is_found() {
    let Some(whole) = cluster("overlays/monitoring") else { return };
    for (path, value) in [
        ("spec.podMetricsEndpoints.0.port", "metrics"),
        ("spec.selector.matchLabels", "{app.kubernetes.io/name: another}"),
    ] {
        let mut broken = whole.to_vec();
        set(broken.iter_mut().find(|document| document["kind"] == "PodMonitor").unwrap(), path, value);
        let faults = rules::faults(&broken);
        assert!(faults.iter().any(|found| found.contains("a port that no pod has")), "{path}: {faults:?}");
    }
}

#[test]
fn the_scaler_alone_says_how_many_workers_there_are_and_takes_them_away_slowly() {
    for (name, documents) in clusters() {
        let scaled = ["overlays/autoscale", "overlays/all"].contains(&name);
        let worker = object(documents, "Deployment", "sweep-worker");
        assert_eq!(worker["spec"]["replicas"].is_null(), scaled, "{name}");
        if !scaled {
            continue;
        }
        let scaler = &object(documents, "ScaledObject", "sweep-worker")["spec"];
        assert_eq!(scaler["scaleTargetRef"]["name"], worker["metadata"]["name"], "{name}");
        let down = &scaler["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"];
        let grace = worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
        assert!(down["stabilizationWindowSeconds"].as_u64() > grace, "{name}: jobs are handed back first");
        // Without a value, as while no one leads, the number stays.
        assert_eq!(scaler["triggers"][0]["metadata"]["ignoreNullValues"], "false", "{name}");
    }
}
