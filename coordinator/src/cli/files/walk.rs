//! The files below a folder that a pattern matches. Hidden files and what tools leave behind (`__pycache__`, `.git`)
//! are skipped and counted, unless a pattern names them; links are followed as long as they stay below the folder.

use std::{
    collections::BTreeMap,
    fs::{self, DirEntry, Metadata},
    path::{Path, PathBuf},
};

use super::pattern::Pattern;

/// Most files and folders that one pattern may examine: a folder with more holds data, not a program.
const LOOKED_AT_MAX: usize = 200_000;
/// Folders that tools create next to a program's files.
const MADE: [&str; 5] = ["__pycache__", "node_modules", "venv", "wandb", "target"];

/// Files by their paths below the folder, and where they can be read.
pub(super) type Found = BTreeMap<String, PathBuf>;

/// How many files and folders were skipped, by kind.
#[derive(Debug, Default)]
pub(super) struct LeftOut(BTreeMap<String, u64>);

impl LeftOut {
    /// For people; empty where nothing was.
    pub(super) fn describe(&self) -> String {
        let kinds: Vec<String> = self.0.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        kinds.join(", ")
    }

    fn note(&mut self, kind: &str) {
        *self.0.entry(kind.to_owned()).or_default() += 1;
    }
}

/// The files that `pattern` matches below `folder`; an error says what is wrong with them.
pub(super) fn below(folder: &Path, pattern: &Pattern, left_out: &mut LeftOut) -> Result<Found, String> {
    let root = fs::canonicalize(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let root = root.map_err(|error| format!("{} cannot be read ({error})", folder.display()))?;
    let path = pattern.prefix.join("/");
    let place = root.join(&path);
    let found = match place.metadata() {
        Ok(found) => found,
        Err(error) if pattern.is_literal() => {
            return Err(format!("there is no {} ({error})", place.display()));
        }
        Err(_) => return Ok(Found::new()),
    };
    let mut walk = Walk { root, pattern, left_out, found: Found::new(), within: Vec::new(), looked_at: 0 };
    walk.inside(&path, &place)?;
    walk.visit(path, place, &found)?;
    Ok(walk.found)
}

struct Walk<'a> {
    /// With links resolved.
    root: PathBuf,
    pattern: &'a Pattern,
    left_out: &'a mut LeftOut,
    found: Found,
    /// The folders being walked, with links resolved.
    within: Vec<PathBuf>,
    looked_at: usize,
}

impl Walk<'_> {
    fn visit(&mut self, path: String, place: PathBuf, found: &Metadata) -> Result<(), String> {
        if found.is_file() {
            if self.pattern.matches(&path) {
                self.found.insert(path, place);
            }
            return Ok(());
        }
        if !found.is_dir() {
            self.left_out.note("neither files nor folders");
            return Ok(());
        }
        let names = path.split('/').filter(|name| !name.is_empty()).count();
        if self.pattern.reaches_below(names) { self.folder(&path, &place) } else { Ok(()) }
    }

    fn folder(&mut self, path: &str, place: &Path) -> Result<(), String> {
        let unreadable = |error: std::io::Error| format!("{} cannot be read ({error})", place.display());
        let real = fs::canonicalize(place).map_err(unreadable)?;
        if self.within.contains(&real) {
            self.left_out.note("links to a folder around them");
            return Ok(());
        }
        self.within.push(real);
        let mut entries: Vec<DirEntry> =
            fs::read_dir(place).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            self.entry(path, &entry)?;
        }
        self.within.pop();
        Ok(())
    }

    fn entry(&mut self, path: &str, entry: &DirEntry) -> Result<(), String> {
        self.looked_at += 1;
        if self.looked_at > LOOKED_AT_MAX {
            return Err(format!(
                "more than {LOOKED_AT_MAX} files and folders lie below {}; name the folders that the program needs",
                self.root.display()
            ));
        }
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            self.left_out.note("with names that are not UTF-8");
            return Ok(());
        };
        if name.starts_with('.') || name.ends_with(".pyc") {
            self.left_out.note(if name == ".git" { ".git" } else { "hidden or compiled" });
            return Ok(());
        }
        let place = entry.path();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let found = match place.metadata() {
            Ok(found) => found,
            // A dangling link, or something just removed.
            Err(_) if !self.pattern.matches(&path) => return Ok(()),
            Err(error) => return Err(format!("{} cannot be read ({error})", place.display())),
        };
        if found.is_dir() && MADE.contains(&name) {
            self.left_out.note(name);
            return Ok(());
        }
        let is_meant = if found.is_dir() {
            self.pattern.reaches_below(path.split('/').count())
        } else {
            self.pattern.matches(&path)
        };
        if is_link && is_meant {
            self.inside(&path, &place)?;
        }
        if is_meant { self.visit(path, place, &found) } else { Ok(()) }
    }

    /// Checks that links stay below the folder of the sweep file.
    fn inside(&self, path: &str, place: &Path) -> Result<(), String> {
        let real = fs::canonicalize(place)
            .map_err(|error| format!("{} cannot be read ({error})", place.display()))?;
        if real.starts_with(&self.root) {
            return Ok(());
        }
        Err(format!(
            "{path} is a link that leads out of the folder of the sweep file, to {}; copy what the program needs next to the \
             sweep file, or give data by a path on a share",
            real.display()
        ))
    }
}
