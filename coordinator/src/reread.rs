//! Files that are read again when what is in them changes: certificates and tokens, which others replace while a coordinator runs. Their
//! content is compared, not their times: in Kubernetes a mounted secret is a link to a folder that is swapped as a whole, and notices of the
//! system do not follow such links.

use std::{fmt, fs::File, io::Read, path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;

/// How often they are looked at: a certificate is replaced days before its end, and a token that is withdrawn should not hold for long. Reading
/// a few kilobytes costs nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Bytes of a file that are compared: of a certificate with its chain a hundredth.
const COMPARED_BYTES_MAX: u64 = 1 << 20;

/// Looks at these files until `stop`, and calls `take` after each change. What `take` refuses is reported once, and what was taken before stays
/// in use.
pub(crate) async fn follow(
    what: &'static str,
    paths: Vec<PathBuf>,
    mut take: impl FnMut() -> anyhow::Result<()> + Send + 'static,
    stop: CancellationToken,
) {
    let mut files = Files::new(paths);
    let mut complaint = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        if files.have_changed() {
            report(what, &files, take(), &mut complaint);
        }
    }
}

/// Tells what came of a change, a complaint once.
fn report(what: &str, files: &Files, taken: anyhow::Result<()>, complaint: &mut Option<String>) {
    let said = match taken {
        Ok(()) => {
            tracing::info!(%files, "{what} was read again");
            *complaint = None;
            return;
        }
        Err(error) => format!("{error:#}"),
    };
    if complaint.as_ref() != Some(&said) {
        tracing::warn!(%files, "{what} has changed, but cannot be used: {said}; the one from before stays in use");
    }
    *complaint = Some(said);
}

/// Files, and what was in them.
#[derive(Debug)]
struct Files {
    paths: Vec<PathBuf>,
    /// A hash of each, or none where it cannot be read.
    seen: Vec<Option<blake3::Hash>>,
}

impl Files {
    fn new(paths: Vec<PathBuf>) -> Self {
        Self { seen: content(&paths), paths }
    }

    /// Whether they have another content than when this was last asked.
    fn have_changed(&mut self) -> bool {
        let now = content(&self.paths);
        let before = std::mem::replace(&mut self.seen, now);
        self.seen != before
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
        f.write_str(&names.join(", "))
    }
}

fn content(paths: &[PathBuf]) -> Vec<Option<blake3::Hash>> {
    let one = |path: &PathBuf| {
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(COMPARED_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(blake3::hash(&bytes))
    };
    paths.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_that_is_swapped_under_a_link_is_noticed_and_one_with_the_same_content_is_not() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("one", "first"), ("two", "second"), ("three", "second")] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("token"), text).unwrap();
        }
        let link = |to: &str| {
            let new = folder.path().join("new");
            symlink(folder.path().join(to), &new).unwrap();
            std::fs::rename(new, folder.path().join("data")).unwrap();
        };
        link("one");
        let mut files = Files::new(vec![folder.path().join("data/token")]);
        assert!(!files.have_changed());
        link("two");
        assert!(files.have_changed() && !files.have_changed());
        link("three");
        assert!(!files.have_changed());
        std::fs::remove_file(folder.path().join("data")).unwrap();
        assert!(files.have_changed(), "what is gone has changed too");
    }

    #[test]
    fn the_same_complaint_is_told_once() {
        let files = Files::new(Vec::new());
        let mut complaint = None;
        report("it", &files, Err(anyhow::anyhow!("broken")), &mut complaint);
        assert_eq!(complaint.as_deref(), Some("broken"));
        report("it", &files, Ok(()), &mut complaint);
        assert_eq!(complaint, None);
    }
}
