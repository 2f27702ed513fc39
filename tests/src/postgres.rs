//! A temporary PostgreSQL.

use std::{
    env, fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

use crate::{
    PATIENCE,
    process::{skipped, tool},
};

/// PostgreSQL refuses to run as root; then it runs as this user, `nobody`.
const NOBODY: u32 = 65_534;

/// A server on its own socket, which ends with its owner, even if that is killed.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    /// A shell that ends the server when its standard input ends.
    keeper: Child,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts a server, if the machine has its programs; otherwise prints that it has not.
    pub fn start() -> Option<Self> {
        Self::start_through(&[])
    }

    /// Starts a server whose data are on a small file system, if the machine allows it; otherwise prints that it does
    /// not.
    pub fn start_on_small_disk() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped("no file system can be mounted here (root is needed): PostgreSQL's disk is not filled");
            return None;
        }
        // Switch to `nobody` only after the mount; there is room for an empty server and little more.
        let mount = "mkdir data && mount -t tmpfs -o size=100m,uid=65534,gid=65534,mode=700 tmpfs data && \
                     exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
        Self::start_through(&["unshare", "-m", "sh", "-c", mount, "sh"])
    }

    fn start_through(through: &[&str]) -> Option<Self> {
        let Some(programs) = programs() else {
            skipped(
                "PostgreSQL is neither on the PATH nor in the cache of `make test`: what needs it is not tested",
            );
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let as_root = rustix::process::geteuid().is_root();
        let mut words = through.iter().copied().chain(["sh"]);
        let mut keeper = Command::new(words.next().expect("there is at least a shell"));
        keeper.args(words);
        if as_root {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root gives folders away");
        }
        if as_root && through.is_empty() {
            keeper.uid(NOBODY).gid(NOBODY);
        }
        let programs = reachable(&programs, folder.path(), as_root);
        // The shell waits for the end of its input, which comes with the end of the test.
        let script =
            "\"$1/initdb\" -D data -U sweep -A trust -E UTF8 --no-locale -N >initdb.log 2>&1 || exit 1
            \"$1/postgres\" -D \"$PWD/data\" -k \"$PWD\" -c listen_addresses= -c max_connections=200 \
                -c min_wal_size=32MB -c max_wal_size=48MB >>server.log 2>&1 &
            echo $! >pid; read -r _; kill -QUIT $(cat pid); wait; rm -rf \"$PWD\" 2>/dev/null";
        let mut keeper = keeper
            .args(["-c", script, "sh"])
            .arg(programs)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let begun = std::time::Instant::now();
        // Only an answer on its socket shows that it accepts connections.
        while !answers(folder.path()) {
            let log = |name| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
            let ended = keeper.try_wait().expect("it is a child");
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "PostgreSQL did not start:\n{}{}",
                log("initdb.log"),
                log("server.log")
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Some(Self { folder, keeper, databases: AtomicU32::new(0) })
    }

    /// The folder of its data, as the server sees it.
    pub fn data(&self) -> PathBuf {
        let folder = self.folder.path().join("data");
        PathBuf::from(format!("/proc/{}/root{}", self.keeper.id(), folder.display()))
    }

    /// The server that all tests of a program share.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("sweep{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://sweep@localhost/{name}?host={}", self.folder.path().display())
    }

    /// Runs SQL in a database of this server; returns its output.
    ///
    /// # Panics
    /// The server refuses it.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let program = programs().expect("it was started from there").join("psql");
        let ran = Command::new(program)
            .args(["-h", &self.folder.path().display().to_string(), "-U", "sweep", "-d", database])
            .args(["-v", "ON_ERROR_STOP=1", "-X", "-A", "-t", "-q", "-c", sql])
            .output()
            .expect("psql can be started");
        assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // An error means that it is gone.
        let _ = self.keeper.wait();
    }
}

/// The folder of `initdb`, `postgres` and `psql`.
fn programs() -> Option<PathBuf> {
    let on_path =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let debian = debian.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let cached = tool("postgresql/bin");
    let whole =
        |folder: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file());
    on_path.into_iter().chain(debian).chain(cached).find(whole)
}

/// The programs where the server's user can read them: a cache in root's home is not readable for others.
fn reachable(programs: &Path, folder: &Path, as_root: bool) -> PathBuf {
    let hidden = as_root && env::var_os("HOME").is_some_and(|home| programs.starts_with(home));
    if !hidden {
        return programs.to_owned();
    }
    let copied = Command::new("cp").arg("-r").arg(programs.join("..")).arg(folder.join("programs")).status();
    assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", programs.display());
    folder.join("programs/bin")
}

fn answers(folder: &Path) -> bool {
    let Some(programs) = programs() else { return false };
    let asked = Command::new(programs.join("psql"))
        .args([
            "-h",
            &folder.display().to_string(),
            "-U",
            "sweep",
            "-d",
            "postgres",
            "-X",
            "-q",
            "-c",
            "SELECT 1",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}
