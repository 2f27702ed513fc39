//! What a container's program is started with: its arguments, and its variables as the flags that they stand for, given to the
//! real program.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_yaml::Value;

use super::rules::sequence;

/// What stands for a pod's name, which Kubernetes gives.
const POD: &str = "sweep-coordinator-0";
/// What stands for the value of a Secret; only the database's URL comes that way.
const SECRET: &str = "postgres://sweep@database/sweep";

/// Why the program of a container would not start with what it is given, or why it would not find a file there.
pub(crate) fn refusals(container: &Value, documents: &[Value]) -> Vec<String> {
    let variables = variables(container, documents, POD, SECRET);
    if container["command"][0] == "sh" {
        let script = container["args"][0].as_str().unwrap_or_default();
        let commands: Vec<_> = script.lines().filter_map(command).collect();
        assert!(!commands.is_empty(), "no command is found in {script}");
        return commands.iter().filter_map(|words| refusal("sweep", words, &variables).err()).collect();
    }
    let program = if container["name"] == "worker" { "sweep-worker" } else { "sweep" };
    let arguments: Vec<String> = sequence(&container["args"])
        .iter()
        .map(|argument| expanded(argument.as_str().unwrap_or_default(), &variables))
        .collect();
    let places = arguments.iter().filter_map(|argument| Some(argument.split_once('=')?.1));
    let places = places.chain(variables.values().map(String::as_str));
    let lost = places.filter(|place| !is_mounted(place, container));
    let mut refusals: Vec<_> = lost.map(|place| format!("{place} is in no volume")).collect();
    refusals.extend(refusal(program, &arguments, &variables).err());
    refusals
}

/// The words of a line of the Job's script that runs `sweep`.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.trim();
    let words = line.strip_prefix("number=$(").unwrap_or(line).strip_prefix("sweep ")?;
    let words = words.split("||").next()?.trim().trim_end_matches(')').replace("\"$number\"", "1");
    Some(words.split_whitespace().map(str::to_owned).collect())
}

/// The variables of a container, in a pod of this name, with the value of each Secret.
pub(crate) fn variables(
    container: &Value,
    documents: &[Value],
    pod: &str,
    secret: &str,
) -> BTreeMap<String, String> {
    let value = |variable: &Value| {
        let source = &variable["valueFrom"];
        let setting = &source["configMapKeyRef"];
        if !setting.is_null() {
            let map = documents.iter().find(|document| document["metadata"]["name"] == setting["name"])?;
            return map["data"][setting["key"].as_str()?].as_str().map(str::to_owned);
        }
        if !source["secretKeyRef"].is_null() {
            return Some(secret.to_owned());
        }
        if !source["fieldRef"].is_null() {
            return Some(pod.to_owned());
        }
        variable["value"].as_str().map(str::to_owned)
    };
    let named = |variable: &Value| {
        let name = variable["name"].as_str().unwrap_or_default();
        let value = value(variable).unwrap_or_else(|| panic!("{name} has no value"));
        (name.to_owned(), value)
    };
    sequence(&container["env"]).iter().map(named).collect()
}

/// As the kubelet does: `$(NAME)` is the variable's value.
pub(crate) fn expanded(argument: &str, variables: &BTreeMap<String, String>) -> String {
    let expand = |text: String, (name, value): (&String, &String)| text.replace(&format!("$({name})"), value);
    let expanded = variables.iter().fold(argument.to_owned(), expand);
    assert!(!expanded.contains("$("), "{argument} names a variable that is not there");
    expanded
}

/// Whether a value that names a file or a folder names one in a volume.
fn is_mounted(value: &str, container: &Value) -> bool {
    let path = value.strip_prefix("sqlite:").unwrap_or(value);
    let mounts = sequence(&container["volumeMounts"]).iter().filter_map(|mount| mount["mountPath"].as_str());
    !path.starts_with('/') || mounts.into_iter().any(|mount| Path::new(path).starts_with(mount))
}

/// Lets the program read all of it, up to `--help`, which keeps it from starting.
fn refusal(program: &str, arguments: &[String], variables: &BTreeMap<String, String>) -> Result<(), String> {
    let settings: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with("SWEEP_")).collect();
    let flag = |(name, value): &(&String, &String)| {
        let flag = name.trim_start_matches("SWEEP_").to_lowercase().replace('_', "-");
        // What is only said or not said takes no value on a command line.
        match value.as_str() {
            "true" => Some(format!("--{flag}")),
            "false" => None,
            value => Some(format!("--{flag}={value}")),
        }
    };
    let mut command = Command::new(tests::program(program));
    let command = command.args(arguments).args(settings.iter().filter_map(flag)).arg("--help").env_clear();
    let output = command.output().map_err(|error| format!("{program} cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let help = String::from_utf8_lossy(&output.stdout);
    let is_read = |name: &str| {
        [format!("[env: {name}="), format!("[env: {name}]")].iter().any(|text| help.contains(text))
    };
    match settings.iter().find(|(name, _)| !is_read(name)) {
        Some((name, _)) => Err(format!("{program} {} does not read {name}", arguments[0])),
        None => Ok(()),
    }
}
