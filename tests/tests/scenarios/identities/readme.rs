//! What the README says of several machines: its commands are typed as they stand there, on one machine.

use tests::Daemon;

use super::*;

/// Where it stands, and the end of what is typed here: what follows wants files of the reader's own.
const SECTION: &str = "## Several machines\n";
const END: &str = "With certificates from elsewhere";

fn section() -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let (_, section) = readme.split_once(SECTION).unwrap();
    section.split("\n## ").next().unwrap().to_owned()
}

/// The lines of its blocks of commands.
fn typed(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// A shell in this folder that finds the programs.
fn shell(folder: &Path, line: &str) -> Command {
    let programs = program("sweep").parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder);
    command.env("PATH", path).env("HOME", folder).env("SWEEP_CONFIG", "/dev/null");
    command
}

#[test]
fn what_it_says_of_certificates_and_join_tokens_works_as_it_stands() {
    let section = section();
    let (first, _) = section.split_once(END).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut exports, mut port, mut daemons) = (String::new(), "7070".to_owned(), Vec::new());
    for line in typed(first) {
        // The host is this one, and the system chooses the port.
        let line = line.replace("0.0.0.0:7070", "127.0.0.1:0").replace("HOST", "localhost");
        let line = line.replace(":7070", &format!(":{port}"));
        if line.starts_with("export ") {
            exports.extend([line.as_str(), "; "]);
        } else if line.starts_with("sweep serve") {
            let daemon =
                Daemon::start(shell(folder.path(), &format!("exec {line}")), folder.path().join("serve.log"));
            port = daemon.wait_for_line(|line| {
                let (_, rest) = line.split_once("the coordinator is ready")?;
                let (_, port) = rest.split_once("address=127.0.0.1:")?;
                Some(port.split_whitespace().next()?.to_owned())
            });
            daemons.push(daemon);
        } else if line.starts_with("sweep-worker start") {
            let line = format!("exec {line} --slots 1 --device cpu --name one --spool spool");
            let daemon = Daemon::start(shell(folder.path(), &line), folder.path().join("worker.log"));
            daemon.wait_for_line(|line| line.contains("connected to the coordinator").then_some(()));
            daemons.push(daemon);
        } else {
            let done = run(&mut shell(folder.path(), &format!("{exports}{line}")));
            assert_eq!(done.0, Some(0), "{line}: {done:?}");
        }
    }
    assert_eq!(daemons.len(), 2, "the README starts a coordinator and a worker");
    for line in ["sweep workers", "sweep token list", "sweep certs renew certs", "sweep ls"] {
        let done = run(&mut shell(folder.path(), &format!("{exports}{line}")));
        assert_eq!(done.0, Some(0), "{line}: {done:?}");
        assert!(line != "sweep workers" || done.1.contains("one"), "{done:?}");
    }
}

#[test]
fn the_programs_take_every_line_of_it() {
    let lines = typed(&section());
    let own = lines.iter().filter_map(|line| {
        let line = line.strip_prefix("(umask 077; ").unwrap_or(line);
        let line = line.split(['>', '#']).next().unwrap().trim();
        line.starts_with("sweep").then_some(line)
    });
    let own: Vec<_> = own.collect();
    assert!(own.len() > 6, "{own:?}");
    for line in own {
        let mut words = line.split_whitespace();
        // With --help it reads all of its arguments, and does nothing.
        let mut command = Command::new(program(words.next().unwrap()));
        let (code, told) = run(command.args(words).arg("--help"));
        assert_eq!(code, Some(0), "{line}: {told}");
    }
}
