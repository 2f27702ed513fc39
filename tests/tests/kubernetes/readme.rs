//! What the README tells a newcomer with a cluster to type: overlays that render, files that are there, and commands that the programs
//! take.

use std::{fs, process::Command};

use serde_yaml::Value;

use super::render::{copy, deploy, documents, folder, object, render_from};

/// Where it stands, and what ends it.
const SECTION: &str = "## On a cluster\n";
/// What stands for values that only the reader knows.
const VALUES: [(&str, &str); 2] = [("$REGISTRY", "registry.example.com/me"), ("WORKER", "sweep-worker-0")];

fn section() -> String {
    let readme = fs::read_to_string(deploy().join("../README.md")).unwrap();
    let (_, section) = readme.split_once(SECTION).unwrap();
    section.split("\n## ").next().unwrap().to_owned()
}

/// The lines that are to be typed, and the content of the file that one of them writes.
fn commands() -> (Vec<String>, String) {
    let section = VALUES.iter().fold(section(), |text, (name, value)| text.replace(name, value));
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let (mut typed, mut file, mut is_file) = (Vec::new(), String::new(), false);
    for line in blocks.flat_map(str::lines) {
        match (is_file, line) {
            (true, "END") => is_file = false,
            (true, line) => file.extend([line, "\n"]),
            (false, line) => {
                is_file = line.ends_with("<<END");
                typed.push(line.to_owned());
            }
        }
    }
    (typed, file)
}

#[test]
fn the_readers_own_overlay_has_the_readers_images() {
    let (_, file) = commands();
    let Some(rendered) = render_from(&copy(&file), "overlays/all") else { return };
    let documents = documents(&rendered);
    let image = |kind, name| {
        let workload: &Value = object(&documents, kind, name);
        workload["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    };
    let (typed, _) = commands();
    for built in [image("StatefulSet", "sweep-coordinator"), image("Deployment", "sweep-worker")] {
        assert!(
            typed
                .iter()
                .any(|line| line.starts_with("docker build") && line.contains(&format!("-t {built} ")))
        );
        assert!(typed.contains(&format!("docker push {built}")), "{built}");
    }
}

#[test]
fn every_component_that_the_readme_offers_can_be_added_to_the_readers_overlay() {
    let (_, file) = commands();
    let section = section();
    let offered: Vec<&str> =
        section.split("`../../components/").skip(1).map(|rest| rest.split('`').next().unwrap()).collect();
    assert!(offered.len() >= 4, "{offered:?}");
    let listed = offered.iter().map(|name| format!("../../components/{name}")).collect::<Vec<_>>().join(", ");
    let whole = file.replace("components: []", &format!("components: [{listed}]"));
    assert_ne!(whole, file);
    // Rendering says what does not fit.
    render_from(&copy(&whole), "overlays/all");
}

#[test]
fn the_files_that_are_applied_are_there() {
    let (typed, _) = commands();
    let applied: Vec<_> = typed.iter().filter_map(|line| line.strip_prefix("kubectl ")).collect();
    assert!(applied.len() > 10, "{applied:?}");
    let root = deploy().join("..");
    for line in applied {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let path = root.join(pair[1]);
            match pair[0] {
                "-f" => assert!(path.is_file(), "{line}"),
                "-k" if pair[1].ends_with("overlays/mine") => {}
                "-k" => assert!(path.join("kustomization.yaml").is_file(), "{line}"),
                _ => {}
            }
        }
        // What is asked about by its name has that name.
        if let Some((_, name)) = line.split_once("statefulset/").or_else(|| line.split_once("deployment/")) {
            let name = name.split_whitespace().next().unwrap();
            let base = fs::read_to_string(
                folder().join("base").join(format!("{}.yaml", name.trim_start_matches("sweep-"))),
            );
            assert!(base.unwrap().contains(&format!("name: {name}\n")), "{line}");
        }
    }
}

#[test]
fn the_program_takes_what_the_reader_types() {
    let (typed, _) = commands();
    let plain = |line: &'_ str| {
        line.strip_prefix("(umask 077; ").unwrap_or(line).split('>').next().map(str::to_owned)
    };
    let own: Vec<String> =
        typed.iter().filter_map(|line| plain(line)?.strip_prefix("sweep ").map(str::to_owned)).collect();
    assert!(own.len() >= 5, "{own:?}");
    for line in own {
        // With --help it reads all of its arguments, and does nothing.
        let mut command = Command::new(tests::program("sweep"));
        let output = command.args(line.split_whitespace()).arg("--help").env_clear().output().unwrap();
        assert!(output.status.success(), "sweep {line}: {}", String::from_utf8_lossy(&output.stderr));
        for path in line.split_whitespace().filter(|word| word.starts_with("deploy/")) {
            assert!(deploy().join("..").join(path).is_file(), "{path}");
        }
    }
    // What the coordinator is told to listen on is what is forwarded and asked.
    let forwarded =
        typed.iter().find(|line| line.contains("port-forward service/sweep-coordinator")).unwrap();
    let service = documents(&fs::read_to_string(folder().join("base/coordinator.yaml")).unwrap());
    for port in object(&service, "Service", "sweep-coordinator")["spec"]["ports"].as_sequence().unwrap() {
        let number = port["port"].as_u64().unwrap().to_string();
        assert!(forwarded.split_whitespace().any(|word| word == number), "{number}");
    }
}
