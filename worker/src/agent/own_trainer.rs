//! The trainer that comes with this program: `sweep-trainer`, next to it or on the PATH.

use std::{
    env,
    fs::File,
    io::Read,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use program::processes::{Role, detach};
use tokio::process::Command;

pub(super) const PROGRAM: &str = "sweep-trainer";

/// How long it may take to be loaded: libtorch with CUDA from a slow disk takes a minute at worst.
const LOADED_WITHIN: Duration = Duration::from_secs(120);

/// The first bytes of a program.
const ELF: [u8; 4] = *b"\x7fELF";

/// The program, held open: later starts run what was found, even if another file has taken its name meanwhile, because
/// trainers must have the daemon's version.
#[derive(Debug)]
pub struct OwnTrainer {
    file: File,
}

impl OwnTrainer {
    /// Looks for it.
    ///
    /// # Errors
    /// It does not exist, or cannot be opened.
    pub fn find() -> anyhow::Result<Self> {
        let own = env::current_exe().ok();
        let next_to_this = own.as_deref().and_then(Path::parent).map(Path::to_owned);
        let on_path = env::var_os("PATH").unwrap_or_default();
        let folders = next_to_this.into_iter().chain(env::split_paths(&on_path));
        let found = folders.map(|folder| folder.join(PROGRAM)).find(|path| path.is_file());
        let path = found.with_context(|| {
            format!(
                "{PROGRAM} is neither next to sweep-worker nor on the PATH; install the programs of `make build` into one \
                 folder. A worker does without it where --trainer and --device cpu are given, and runs programs alone with \
                 --allow-commands"
            )
        })?;
        let mut file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut start = [0; ELF.len()];
        // A script's interpreter could not open it: by then the descriptor is closed.
        if file.read_exact(&mut start).is_err() || start != ELF {
            anyhow::bail!("{} is not the program of that name; name a script with --trainer", path.display());
        }
        Ok(Self { file })
    }

    /// The same, once it has shown that it can be loaded with its libraries.
    ///
    /// # Errors
    /// It cannot, and why.
    pub async fn checked(self) -> anyhow::Result<Self> {
        let mut command = Command::new(self.executable());
        command.arg0(PROGRAM).arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        detach(command.as_std_mut(), Role::Trainer);
        let output = tokio::time::timeout(LOADED_WITHIN, command.output()).await;
        let output = output
            .with_context(|| format!("{PROGRAM} could not be loaded within {} s", LOADED_WITHIN.as_secs()))?;
        let output = output.with_context(|| format!("{PROGRAM} cannot be started"))?;
        if output.status.success() {
            return Ok(self);
        }
        let log = String::from_utf8_lossy(&output.stderr);
        anyhow::bail!("{PROGRAM} cannot be loaded: {}", log.lines().last().unwrap_or("it said nothing"))
    }

    /// A path to start it by, valid in a child of this process for as long as this value lives.
    pub fn executable(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}
