//! Which crate may know what: the walls that ARCHITECTURE.md promises, compared with cargo's dependencies.
#![allow(clippy::unwrap_used)]

#[path = "walls/materials.rs"]
mod materials;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use terms::manifest::{self, Manifest, ManifestParameter, ParameterKind};

/// The wire format and everything that it needs.
const WIRE: &[&str] = &["proto", "prost", "tonic"];
/// Runtimes and databases, which the deciding crates must not know.
const SURROUNDINGS: &[&str] = &["rusqlite", "sqlx", "tokio"];
/// What only the trainer may link: libtorch.
const TORCH: &[&str] = &["tch", "torch-sys"];

/// A crate of the workspace, and the crates that it must not reach by normal dependencies.
const WALLS: &[(&str, &[&[&str]])] = &[
    ("terms", &[WIRE, SURROUNDINGS]),
    ("domain", &[WIRE, SURROUNDINGS]),
    ("engine", &[WIRE, SURROUNDINGS]),
    ("search", &[WIRE, SURROUNDINGS, &["domain", "engine", "store"]]),
    ("analysis", &[WIRE, SURROUNDINGS, &["domain", "engine", "store"]]),
    ("store", &[WIRE]),
    ("report", &[WIRE, SURROUNDINGS, &["domain", "engine", "store"]]),
    ("export", &[&["proto", "tonic", "sqlx", "tokio", "domain", "engine", "store"]]),
    ("trainer-protocol", &[WIRE, SURROUNDINGS]),
    ("dataset", &[WIRE, SURROUNDINGS]),
    // Its checkpoints may be in a cloud, whose client needs a runtime and HTTP.
    ("trainer", &[WIRE, &["rusqlite", "sqlx"]]),
    ("program", &[WIRE, &["rusqlite", "sqlx"]]),
    ("storage", &[WIRE, &["rusqlite", "sqlx"]]),
    ("telemetry", &[WIRE, &["rusqlite", "sqlx"]]),
];

/// The crates of the workspace that may link libtorch.
const TORCH_CRATES: &[&str] = &["trainer"];

/// The crates at the bottom, which any other may import: the table of ARCHITECTURE.md leaves them out.
const FOUNDATIONS: &[&str] = &["terms", "terminal", "telemetry", "traces", "held-folder", "storage"];

/// The crates that may make spans: the two programs that talk to each other. Everything of OpenTelemetry is behind `traces`.
const TRACING_CRATES: &[&str] = &["coordinator", "worker"];

/// What decides, and takes time and everything else from outside as plain values.
const PURE: &[&str] = &[
    "coordinator/domain/src",
    "coordinator/engine/src",
    "coordinator/search/src",
    "coordinator/analysis/src",
    "coordinator/src/driver/batch.rs",
    "coordinator/src/driver/pipeline.rs",
    "coordinator/src/driver/pipeline/exchange.rs",
    "coordinator/store/src/lead.rs",
    "worker/src/agent/session",
];
/// What those must not name: clocks, chance, files, sockets, threads, and the wire format.
const NOT_IN_WHAT_DECIDES: &[&str] =
    &["Instant", "SystemTime", "tokio", "rand", "fs", "net", "thread", "proto", "v1", "tonic"];

/// Where unsafe code may be: calls of libtorch, memory maps, and what runs between fork and exec or calls the system for a process.
const UNSAFE: &[&str] = &[
    "worker/dataset/src/packed.rs",
    "worker/dataset/src/source/archive.rs",
    "worker/program/src/processes.rs",
    "worker/program/src/start.rs",
    "worker/src/agent/containment.rs",
    "worker/trainer/src/ffi.rs",
];

/// What the use cases must not name: the wire format, and the interfaces that are adapters of them.
const NOT_IN_THE_API: &[&str] = &["proto", "prost", "tonic", "axum", "v1", "rpc", "web", "cli"];

/// Who depends on whom, by package names, without development and build dependencies.
struct Dependencies {
    direct: BTreeMap<String, BTreeSet<String>>,
    members: BTreeSet<String>,
}

impl Dependencies {
    fn of_the_workspace() -> Self {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            // Packages for other systems may be missing.
            .args(["--filter-platform", &host()])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::read(&serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Reads what `cargo metadata` says.
    fn read(metadata: &Value) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let packages = list(&metadata["packages"]);
        let names: BTreeMap<String, String> =
            packages.iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let mut direct: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            // Several versions of a package count as one: none is allowed behind a wall.
            let own = direct.entry(names[&text(&node["id"])].clone()).or_default();
            for dependency in list(&node["deps"]) {
                if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                    own.insert(names[&text(&dependency["pkg"])].clone());
                }
            }
        }
        let members = list(&metadata["workspace_members"]);
        Self { direct, members: members.iter().map(|id| names[&text(id)].clone()).collect() }
    }

    /// The shortest way from a crate to one of the others, each step a direct dependency.
    fn path(&self, from: &str, forbidden: &[&str]) -> Option<Vec<String>> {
        let mut paths = VecDeque::from([vec![from.to_owned()]]);
        let mut seen = BTreeSet::from([from.to_owned()]);
        while let Some(path) = paths.pop_front() {
            let last = path.last().unwrap();
            if forbidden.contains(&last.as_str()) {
                return Some(path);
            }
            for next in self.direct.get(last).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    paths.push_back([path.as_slice(), std::slice::from_ref(next)].concat());
                }
            }
        }
        None
    }

    /// Each path through a wall, as `dataset → proto → tonic`.
    fn breaches(&self, walls: &[(&str, &[&[&str]])]) -> Vec<String> {
        let mut found = Vec::new();
        for (inside, outside) in walls {
            assert!(self.members.contains(*inside), "{inside} is not a crate of the workspace any more");
            let each = outside.iter().flat_map(|group| group.iter());
            found.extend(
                each.filter_map(|outside| self.path(inside, &[outside])).map(|path| path.join(" → ")),
            );
        }
        found
    }
}

#[test]
fn no_crate_reaches_through_its_wall() {
    let dependencies = Dependencies::of_the_workspace();
    assert_eq!(dependencies.breaches(WALLS), Vec::<String>::new());
}

/// What each crate of the workspace imports of the others, as the table of ARCHITECTURE.md has it, without the crates at the bottom.
fn imports_promised(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let names = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).filter(|name| !name.contains(' ')).map(str::to_owned).collect()
    };
    let lines = page.lines().skip_while(|line| *line != "| crate | imports |").skip(2);
    let rows = lines.take_while(|line| line.starts_with('|')).map(|line| line.split('|').collect::<Vec<_>>());
    let mut promised = BTreeMap::new();
    for cells in rows {
        // `coordinator` (the program `sweep`): only the crates, not the program.
        let crates = cells[1].split('(').next().unwrap();
        promised.extend(names(crates).into_iter().map(|name| (name, names(cells[2]))));
    }
    promised
}

/// Members other than the tests that import what sends traces, or something of OpenTelemetry, though they may not.
fn who_traces(dependencies: &Dependencies) -> Vec<String> {
    let own = dependencies.members.iter().filter(|name| *name != "tests" && *name != "traces");
    let imports = own.flat_map(|name| dependencies.direct[name].iter().map(move |other| (name, other)));
    let may = |name: &str, other: &str| other == "traces" && TRACING_CRATES.contains(&name);
    let wrong = imports.filter(|(name, other)| {
        (other.as_str() == "traces" || other.starts_with("opentelemetry")) && !may(name, other)
    });
    wrong.map(|(name, other)| format!("{name} → {other}")).collect()
}

#[test]
fn only_the_two_programs_make_spans_and_opentelemetry_is_behind_their_crate() {
    let mut dependencies = Dependencies::of_the_workspace();
    assert_eq!(who_traces(&dependencies), Vec::<String>::new());
    for name in TRACING_CRATES {
        assert!(dependencies.direct[*name].contains("traces"), "{name}");
    }
    dependencies.direct.get_mut("engine").unwrap().insert("traces".to_owned());
    dependencies.direct.get_mut("worker").unwrap().insert("opentelemetry_sdk".to_owned());
    assert_eq!(who_traces(&dependencies), ["engine → traces", "worker → opentelemetry_sdk"]);
}

#[test]
fn crates_import_what_the_architecture_says_and_nothing_else() {
    let dependencies = Dependencies::of_the_workspace();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md")).unwrap();
    let promised = imports_promised(&page);
    assert!(promised.len() > 8, "{promised:?}");
    for (name, expected) in &promised {
        let mut imported = dependencies.direct[name].clone();
        imported.retain(|other| dependencies.members.contains(other));
        imported.retain(|other| !FOUNDATIONS.contains(&other.as_str()));
        assert_eq!(imported, *expected, "{name}");
    }
}

#[test]
fn the_crates_at_the_bottom_import_no_other() {
    let dependencies = Dependencies::of_the_workspace();
    for name in FOUNDATIONS.iter().filter(|name| dependencies.members.contains(**name)) {
        let members = dependencies.direct[*name].intersection(&dependencies.members);
        assert_eq!(members.collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
    }
}

#[test]
fn a_table_of_imports_is_read_without_the_names_of_programs() {
    let page = "text\n| crate | imports |\n|---|---|\n| `a` (the program `b`) | `c`, `d` |\n| `c`, `d` | none |\n\n| `e` | `f` |\n";
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let expected = [("a", set(&["c", "d"])), ("c", set(&[])), ("d", set(&[]))];
    assert_eq!(imports_promised(page), expected.map(|(name, imports)| (name.to_owned(), imports)).into());
}

/// The words of a source outside of its comments that are among `forbidden`, each with its line.
fn words_found(source: &str, forbidden: &[&str]) -> Vec<String> {
    let is_part = |sign: char| sign.is_alphanumeric() || sign == '_';
    let mut found = Vec::new();
    for (line, text) in (1..).zip(source.lines()) {
        let code = text.split("//").next().unwrap_or_default();
        let words = code.split(|sign| !is_part(sign)).filter(|word| forbidden.contains(word));
        found.extend(words.map(|word| format!("{line}: {word}")));
    }
    found
}

#[test]
fn the_use_cases_know_no_wire_format_and_no_interface() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../coordinator/src/api"));
    let mut files = Vec::new();
    sources(folder, &mut files);
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let found = words_found(&fs::read_to_string(&file).unwrap(), NOT_IN_THE_API);
        assert_eq!(found, Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn what_decides_knows_no_clock_no_chance_and_no_surroundings() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut files = Vec::new();
    for part in PURE.iter().map(|part| root.join(part)) {
        if part.is_dir() { sources(&part, &mut files) } else { files.push(part) }
    }
    assert!(files.len() > 60, "{} files are all that was found", files.len());
    for file in files {
        let found = words_found(&program_text(&file), NOT_IN_WHAT_DECIDES);
        assert_eq!(found, Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn unsafe_code_is_where_the_architecture_says() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut files = Vec::new();
    ["proto", "coordinator", "worker"].iter().for_each(|part| sources(&root.join(part), &mut files));
    let is_unsafe = |file: &PathBuf| {
        let is_rust = file.extension().is_some_and(|extension| extension == "rs");
        is_rust && !words_found(&fs::read_to_string(file).unwrap(), &["unsafe"]).is_empty()
    };
    files.retain(is_unsafe);
    let mut found: Vec<String> =
        files.iter().map(|file| file.strip_prefix(root).unwrap().display().to_string()).collect();
    found.sort();
    assert_eq!(found, UNSAFE);
}

#[test]
fn a_word_behind_the_wall_is_found_in_code_and_not_in_comments() {
    let source = "//! As `rpc` does.\nuse protocol;\nlet a = v1::Sweep { b }; // tonic\nuse tonic::Status;\n";
    assert_eq!(words_found(source, NOT_IN_THE_API), ["3: v1", "4: tonic"]);
}

#[test]
fn libtorch_is_in_the_trainer_alone() {
    let dependencies = Dependencies::of_the_workspace();
    let with_torch: Vec<&str> = dependencies
        .members
        .iter()
        .filter(|member| dependencies.path(member, TORCH).is_some())
        .map(String::as_str)
        .collect();
    assert_eq!(with_torch, TORCH_CRATES, "{:?}", dependencies.path("trainer", TORCH));
}

/// The platform of this build, such as `x86_64-unknown-linux-gnu`.
fn host() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// A workspace of `inside`, which depends on `between`, which depends on `tonic` with this kind of dependency.
fn workspace(kind: &Value) -> Dependencies {
    let package = |name: &str| serde_json::json!({"id": format!("{name} 1.0"), "name": name});
    let dependency = |name: &str, kind: &Value| serde_json::json!({"pkg": format!("{name} 1.0"), "dep_kinds": [{"kind": kind}]});
    Dependencies::read(&serde_json::json!({
        "packages": [package("inside"), package("between"), package("tonic")],
        "workspace_members": ["inside 1.0"],
        "resolve": {"nodes": [
            {"id": "inside 1.0", "deps": [dependency("between", &Value::Null)]},
            {"id": "between 1.0", "deps": [dependency("tonic", kind)]},
            {"id": "tonic 1.0", "deps": []},
        ]},
    }))
}

#[test]
fn a_breach_is_named_with_its_path() {
    let breaches = |kind| workspace(&kind).breaches(&[("inside", &[WIRE, SURROUNDINGS])]);
    assert_eq!(breaches(Value::Null), ["inside → between → tonic"]);
    assert_eq!(breaches("dev".into()), Vec::<String>::new(), "what only tests need is no breach");
}

/// Where the names of SimpleCNN's parameters may stand side by side: where they are used, and where they are worded.
const TABLES: &[&str] = &["worker/trainer/src/config.rs", "coordinator/report/src/strings/models.rs"];
/// As many names as make a table.
const TABLE_NAMES_MIN: usize = 4;

/// The names in a text that stand there as text, and those that stand on a line with a bound of their own.
fn mentioned(text: &str, manifest: &Manifest) -> (Vec<String>, Vec<String>) {
    let (mut named, mut bounded) = (Vec::new(), Vec::new());
    for ManifestParameter { name, kind, .. } in &manifest.parameters {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(&format!("\"{name}\""))).collect();
        if !lines.is_empty() {
            named.push(name.clone());
        }
        let bounds: Vec<String> = match kind {
            ParameterKind::Integer { max, .. } | ParameterKind::Integers { max, .. } => vec![max.to_string()],
            ParameterKind::Float(range) => range.max.iter().map(ToString::to_string).collect(),
            ParameterKind::Choice(names) => vec![names.join(", "), names.join("\", \"")],
            _ => Vec::new(),
        };
        // Digits may be grouped.
        let plain = |line: &&str| line.replace('_', "");
        if lines.iter().map(plain).any(|line| bounds.iter().any(|bound| line.contains(bound.as_str()))) {
            bounded.push(name.clone());
        }
    }
    (named, bounded)
}

/// The program text of a source file: what comes before its tests. None of a file that is a module of tests.
fn program_text(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let (program, tests) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
    let is_of_tests =
        tests.is_empty() && ["#[test]", "#[tokio::test"].iter().any(|mark| program.contains(mark));
    if is_of_tests { String::new() } else { program.to_owned() }
}

/// All source files of the programs, tests left out.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        let is_of_tests = name.starts_with("test") || name.ends_with("tests.rs") || name == "examples";
        if is_of_tests || name.starts_with('.') || name == "target" {
            continue;
        }
        match entry.extension().and_then(|extension| extension.to_str()) {
            _ if entry.is_dir() => sources(&entry, found),
            Some("rs" | "py" | "proto" | "cpp" | "sql") => found.push(entry),
            _ => {}
        }
    }
}

#[test]
fn the_parameters_of_simple_cnn_and_their_ranges_stand_in_its_manifest_alone() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let manifest = manifest::builtin("simple_cnn").unwrap();
    let mut files = Vec::new();
    for part in ["proto", "coordinator", "worker", "deploy"] {
        sources(&root.join(part), &mut files);
    }
    assert!(files.len() > 200, "{} files are all that was found", files.len());
    let (mut tables, mut ranges) = (BTreeSet::new(), Vec::new());
    for file in &files {
        let (named, bounded) = mentioned(&program_text(file), manifest);
        let place = file.strip_prefix(root).unwrap().display().to_string();
        if named.len() >= TABLE_NAMES_MIN {
            tables.insert(place.clone());
        }
        ranges.extend(bounded.into_iter().map(|name| format!("{place}: {name}")));
    }
    assert_eq!(ranges, Vec::<String>::new(), "ranges belong into proto/terms/manifests/simple_cnn.json");
    assert_eq!(tables, TABLES.iter().map(ToString::to_string).collect::<BTreeSet<_>>());
}

#[test]
fn a_table_of_ranges_is_found() {
    let manifest = manifest::builtin("simple_cnn").unwrap();
    let text = "const RANGES: &[(&str, u64)] = &[\n(\"batch_size\", 65_536),\n(\"seed\", 5)];\n";
    assert_eq!(
        mentioned(text, manifest),
        (vec!["batch_size".into(), "seed".into()], vec!["batch_size".into()])
    );
    let text = "\"precision\": [\"fp32\", \"bf16\"]";
    assert_eq!(mentioned(text, manifest).1, ["precision"]);
}

/// Where several of SimpleCNN's metrics stand by their names: the names themselves, the trainer, its protocol, and their wording.
const METRIC_TABLES: &[&str] = &[
    "coordinator/report/src/strings/models.rs",
    "proto/terms/src/metrics.rs",
    "worker/trainer-protocol/src/epoch.rs",
    "worker/trainer/src/group.rs",
    "worker/trainer/src/weights.rs",
];
/// Where those names are used besides: fields of the wire format and columns of the stores of older versions.
const METRIC_USES: &[&str] = &[
    "coordinator/src/shapes/rows.rs",
    "coordinator/src/rpc/convert/jobs.rs",
    "coordinator/store/src/migrate.rs",
    "proto/src/metrics.rs",
];

#[test]
fn no_metric_is_known_by_name_but_where_older_formats_are_understood() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut files = Vec::new();
    ["proto", "coordinator", "worker"].iter().for_each(|part| sources(&root.join(part), &mut files));
    let metrics = &manifest::builtin("simple_cnn").unwrap().metrics;
    let (mut tables, mut uses) = (BTreeSet::new(), BTreeSet::new());
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let (text, place) = (program_text(file), file.strip_prefix(root).unwrap().display().to_string());
        let named = metrics.iter().filter(|metric| text.contains(&format!("\"{}\"", metric.name)));
        if named.count() > 1 {
            tables.insert(place.clone());
        }
        if text.contains("metrics::known") {
            uses.insert(place);
        }
    }
    let expected = |files: &[&str]| files.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!((tables, uses), (expected(METRIC_TABLES), expected(METRIC_USES)));
}

/// The words between quotation marks in a list, which this begins.
fn quoted(text: &str, begins: &str) -> BTreeSet<String> {
    let list = text.split_once(begins).unwrap().1;
    let list = list.split(['}', ']']).next().unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_notebooks_client_takes_the_same_keys_as_text_as_the_coordinator() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let client = read("../worker/python/sweep_client.py");
    let coordinator = read("../coordinator/domain/src/specification/file/overrides.rs");
    let keys = quoted(&coordinator, "const TEXT_KEYS: [&str; 9] = [");
    assert_eq!(keys.len(), 9);
    assert_eq!(quoted(&client, "_LITERAL = {"), keys);
    let begin = "= \"execution.env.\"";
    assert!(client.contains(begin) && coordinator.contains(begin));
}
