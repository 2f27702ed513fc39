//! Which files are sent, and what is reported of those that are not.

use std::os::unix::fs::symlink;

use super::*;

struct Project(tempfile::TempDir);

impl Project {
    fn new(files: &[&str]) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        for file in files {
            project.write(file, file);
        }
        project
    }

    fn write(&self, path: &str, content: &str) {
        let place = self.0.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
    }

    fn collect(&self, program: Option<&str>, patterns: &[&str]) -> Result<Collected, String> {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let collected = collect(self.0.path(), program, &patterns);
        collected.map(Option::unwrap).map_err(|failure| failure.to_string())
    }

    fn paths(&self, program: Option<&str>, patterns: &[&str]) -> Vec<String> {
        let collected = self.collect(program, patterns).unwrap();
        collected.manifest.files().iter().map(|file| file.path.clone()).collect()
    }
}

fn project() -> Project {
    Project::new(&[
        "train.py",
        "other.py",
        "notes.txt",
        "lib/a.py",
        "lib/deep/b.py",
        "lib/__pycache__/a.pyc",
        "lib/.cache/x",
        ".env",
        ".git/config",
        "data/1.csv",
    ])
}

#[test]
fn a_command_may_not_name_a_file_that_is_not_sent() {
    let project = project();
    let check = |command: &[&str], files: &[&str]| {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let program = Program { command: own(command), files: own(files), ..Program::default() };
        check_program(project.0.path(), &program).map_err(|failure| failure.to_string())
    };
    for command in [&["python3", "train.py"][..], &["./train.py", "--x"], &["cat", "lib/a.py"]] {
        let refused = check(command, &["other.py"]).unwrap_err();
        assert!(refused.contains("execution: {files: ["), "{refused}");
    }
    for command in [&["python3", "none.py"][..], &["/bin/sh", "lib"], &["python3", "${program}", "-train.py"]]
    {
        assert_eq!(check(command, &["other.py"]), Ok(()), "{command:?}");
    }
    assert_eq!(check(&["python3", "./train.py"], &["*.py"]), Ok(()));
    assert!(check(&[], &["none.py"]).unwrap_err().contains("none.py"), "what is listed must be there");
}

#[test]
fn the_program_is_sent_in_any_case_and_what_the_patterns_mean() {
    let project = project();
    for (patterns, expected) in [
        (&[][..], &["train.py"][..]),
        (&["*.py"], &["other.py", "train.py"]),
        (&["lib/**"], &["lib/a.py", "lib/deep/b.py", "train.py"]),
        (&["lib"], &["lib/a.py", "lib/deep/b.py", "train.py"]),
        (&["./lib/*.py"], &["lib/a.py", "train.py"]),
        (&["lib/**/b.py", "notes.txt"], &["lib/deep/b.py", "notes.txt", "train.py"]),
        (&["{lib,data}/*"], &["data/1.csv", "lib/a.py", "train.py"]),
        (&[".env", "lib/.cache/x"], &[".env", "lib/.cache/x", "train.py"]),
    ] {
        assert_eq!(project.paths(Some("train.py"), patterns), expected, "{patterns:?}");
    }
    assert!(collect(project.0.path(), None, &[]).unwrap().is_none(), "a command may need no files");
}

#[test]
fn what_is_left_out_is_counted_and_said() {
    let project = project();
    let told = project.collect(None, &["**"]).unwrap().describe();
    assert!(told.starts_with("files: 6, "), "{told}");
    for kind in ["1 .git", "1 __pycache__", "2 hidden or compiled"] {
        assert!(told.contains(kind), "{kind}: {told}");
    }
}

#[test]
fn a_pattern_that_means_no_file_is_an_error_that_names_it() {
    let project = project();
    for (pattern, expected) in [
        ("lib/*.toml", "matches no file"),
        ("nowhere/**", "matches no file"),
        ("nowhere.py", "there is no"),
        ("../other.py", "leads out of the folder"),
        ("lib/../../x", "leads out of the folder"),
        ("/etc/passwd", "must begin at the folder"),
        ("[", "it is not a valid pattern"),
    ] {
        let told = project.collect(Some("train.py"), &[pattern]).unwrap_err();
        assert!(told.contains(&format!("{pattern:?}")) && told.contains(expected), "{told}");
    }
    let told = project.collect(Some("no.py"), &[]).unwrap_err();
    assert!(told.starts_with("program: \"no.py\""), "{told}");
}

#[test]
fn links_are_followed_within_the_folder_and_nowhere_else() {
    let project = project();
    let inside = |path: &str| project.0.path().join(path);
    symlink(inside("lib"), inside("linked")).unwrap();
    symlink(inside("other.py"), inside("link.py")).unwrap();
    symlink(inside("."), inside("lib/deep/around")).unwrap();
    assert_eq!(project.paths(None, &["link.py", "linked/*.py"]), ["link.py", "linked/a.py"]);
    assert_eq!(project.paths(None, &["lib/*.py"]), ["lib/a.py"]);
    let around = project.collect(None, &["lib/**/b.py"]);
    assert!(around.is_ok(), "a circle ends: {around:?}");
    symlink("/etc", inside("etc")).unwrap();
    symlink("/etc/hostname", inside("lib/host")).unwrap();
    for pattern in ["etc", "etc/hostname", "lib/**", "lib/host"] {
        let told = project.collect(None, &[pattern]).unwrap_err();
        assert!(told.contains("leads out of the folder") && told.contains("share"), "{pattern}: {told}");
    }
    assert_eq!(
        project.paths(None, &["*.py"]),
        ["link.py", "other.py", "train.py"],
        "what is not meant does not matter"
    );
}

#[test]
fn the_executable_bit_and_the_content_are_kept() {
    let project = Project::new(&["a", "b"]);
    fs::set_permissions(project.0.path().join("a"), fs::Permissions::from_mode(0o700)).unwrap();
    let collected = project.collect(None, &["*"]).unwrap();
    let files = collected.manifest.files();
    assert!(files[0].executable && !files[1].executable);
    assert_eq!(files[0].blake3, ContentHash::of(b"a"));
    assert_eq!(collected.sources.len(), 2);
}

#[test]
fn files_that_are_too_long_are_refused_before_they_are_read() {
    let project = Project::new(&["train.py"]);
    let long = File::create(project.0.path().join("data.bin")).unwrap();
    long.set_len(SNAPSHOT_FILE_BYTES_MAX + 1).unwrap();
    let told = project.collect(None, &["*"]).unwrap_err();
    assert!(told.contains("data.bin") && told.contains("put data on a share"), "{told}");
}
