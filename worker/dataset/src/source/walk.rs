//! The files below a folder. Links are followed, as in torchvision's ImageFolder, but not in a circle: a picture that
//! is reached again only because a link leads to a folder above it counts once.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    os::unix::{ffi::OsStrExt, ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::super::{
    DataError,
    left_out::{LeftOuts, Reason, is_system, shown},
    synthetic::is_marker,
};
use super::{Found, PICTURES_MAX};

/// How deep folders are followed.
const DEPTH_MAX: usize = 64;
/// Longest path that the system accepts, in bytes, including the final zero.
const PATH_BYTES_MAX: usize = 4096;
/// Most folders, in as many ways as they can be reached: one for each class and a thousand times as many below.
const FOLDERS_MAX: usize = 1_000_000;

/// One folder on disk, read once.
#[derive(Default)]
struct Folder {
    files: Vec<Vec<u8>>,
    folders: Vec<Below>,
}

struct Below {
    name: Vec<u8>,
    /// Index in the graph.
    id: usize,
    is_link: bool,
}

/// All folders that can be reached.
struct Graph {
    folders: Vec<Folder>,
    /// The cycle of each folder: folders with the same number can be reached from each other.
    circles: Vec<usize>,
}

/// Lists the regular files below `root`, and its folders, by their paths within it; `found_one` is called for each.
pub(super) fn list(
    root: &Path,
    left_out: &mut LeftOuts,
    found_one: &dyn Fn(),
) -> Result<(Vec<Found>, Vec<Vec<u8>>), DataError> {
    let graph = Graph::read(root, left_out, found_one)?;
    let mut walk = Walk {
        root,
        reached: vec![false; graph.folders.len()],
        graph: &graph,
        left_out,
        found: Vec::new(),
        folders: Vec::new(),
        later: BTreeMap::new(),
    };
    walk.enter(0, &[], &mut Vec::new())?;
    while let Some((path, id)) = walk.later.pop_first() {
        if walk.reached[id] {
            walk.left_out.add(Reason::LinkLoop, "", &path);
        } else {
            walk.folders.push(path.clone());
            walk.enter(id, &path, &mut Vec::new())?;
        }
    }
    Ok((walk.found, walk.folders))
}

struct Walk<'a> {
    root: &'a Path,
    graph: &'a Graph,
    left_out: &'a mut LeftOuts,
    found: Vec<Found>,
    folders: Vec<Vec<u8>>,
    reached: Vec<bool>,
    /// Links within a cycle: followed at the end, by path, if nothing else led to their folder.
    later: BTreeMap<Vec<u8>, usize>,
}

impl Walk<'_> {
    fn enter(&mut self, id: usize, path: &[u8], above: &mut Vec<usize>) -> Result<(), DataError> {
        self.reached[id] = true;
        let graph = self.graph;
        let folder = &graph.folders[id];
        for name in &folder.files {
            self.found.push(Found { path: join(path, name), index: 0 });
        }
        if self.found.len() > PICTURES_MAX || self.folders.len() > FOLDERS_MAX {
            let what = format!("more than {PICTURES_MAX} files or {FOLDERS_MAX} folders are too many");
            return Err(DataError::TooLarge { path: self.root.to_owned(), what });
        }
        above.push(id);
        for below in &folder.folders {
            let path = join(path, &below.name);
            if above.contains(&below.id) {
                self.left_out.add(Reason::LinkLoop, "", &path);
            } else if above.len() > DEPTH_MAX {
                self.left_out.add(Reason::TooDeep, "", &path);
            } else if below.is_link && self.graph.circles[below.id] == self.graph.circles[id] {
                self.later.insert(path, below.id);
            } else {
                self.folders.push(path.clone());
                self.enter(below.id, &path, above)?;
            }
        }
        above.pop();
        Ok(())
    }
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, &b"/"[..], name].concat() }
}

impl Graph {
    fn read(root: &Path, left_out: &mut LeftOuts, found_one: &dyn Fn()) -> Result<Self, DataError> {
        let mut folders = vec![Folder::default()];
        let top = fs::metadata(root).map_err(|source| DataError::Read { path: root.to_owned(), source })?;
        let mut ids = HashMap::from([((top.dev(), top.ino()), 0)]);
        let mut places: Vec<PathBuf> = vec![root.to_owned()];
        let mut any_link = false;
        let mut next = 0;
        while next < places.len() {
            let place = places[next].clone();
            let (files, below) = read_folder(root, &place, left_out, found_one)?;
            folders[next].files = files;
            for (name, metadata, is_link) in below {
                any_link |= is_link;
                let id = *ids.entry((metadata.dev(), metadata.ino())).or_insert_with(|| {
                    places.push(place.join(std::ffi::OsStr::from_bytes(&name)));
                    folders.push(Folder::default());
                    folders.len() - 1
                });
                folders[next].folders.push(Below { name, id, is_link });
            }
            if places.len() > FOLDERS_MAX {
                let what = format!("more than {FOLDERS_MAX} folders are too many");
                return Err(DataError::TooLarge { path: root.to_owned(), what });
            }
            next += 1;
        }
        let circles = if any_link { circles(&folders) } else { (0..folders.len()).collect() };
        Ok(Self { folders, circles })
    }
}

/// A folder's files, and its subfolders with their metadata and whether they are links.
type Contents = (Vec<Vec<u8>>, Vec<(Vec<u8>, fs::Metadata, bool)>);

fn read_folder(
    root: &Path,
    folder: &Path,
    left_out: &mut LeftOuts,
    found_one: &dyn Fn(),
) -> Result<Contents, DataError> {
    let within = folder.strip_prefix(root).unwrap_or(folder).as_os_str().as_bytes();
    let read = |source| DataError::Read { path: folder.to_owned(), source };
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        found_one();
        let name = entry.file_name().into_vec();
        let path = join(within, &name);
        if is_system(&name) {
            left_out.add(Reason::System, &shown(&name), &path);
            continue;
        }
        if is_marker(&name) && entry.file_type().map_err(read)?.is_file() {
            continue;
        }
        if name.starts_with(b".") {
            left_out.add(Reason::Hidden, "", &path);
            continue;
        }
        if entry.path().as_os_str().len() >= PATH_BYTES_MAX {
            left_out.add(Reason::TooDeep, "", &path);
            continue;
        }
        // Nearly all are plain files, whose type the folder itself knows.
        let kind = entry.file_type().map_err(read)?;
        if kind.is_file() {
            files.push(name);
            continue;
        }
        let is_link = kind.is_symlink();
        if !is_link && !kind.is_dir() {
            left_out.add(Reason::Special, "", &path);
            continue;
        }
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => folders.push((name, metadata, is_link)),
            Ok(metadata) if metadata.is_file() => files.push(name),
            Ok(_) => left_out.add(Reason::Special, "", &path),
            Err(error) if is_link && leads_nowhere(&error) => {
                left_out.add(Reason::DanglingLink, "", &path);
            }
            Err(source) => return Err(DataError::Read { path: entry.path(), source }),
        }
    }
    Ok((files, folders))
}

/// Whether a path does not exist, or only leads to other links.
fn leads_nowhere(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// The strongly connected components, by Kosaraju's two passes.
fn circles(folders: &[Folder]) -> Vec<usize> {
    let mut backwards = vec![Vec::new(); folders.len()];
    for (id, folder) in folders.iter().enumerate() {
        for below in &folder.folders {
            backwards[below.id].push(id);
        }
    }
    // Folders in post-order.
    let mut finished = Vec::with_capacity(folders.len());
    let mut seen = vec![false; folders.len()];
    for start in 0..folders.len() {
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let mut stack = vec![(start, 0)];
        while let Some((id, next)) = stack.last_mut() {
            match folders[*id].folders.get(*next) {
                Some(below) => {
                    *next += 1;
                    if !std::mem::replace(&mut seen[below.id], true) {
                        stack.push((below.id, 0));
                    }
                }
                None => {
                    finished.push(*id);
                    stack.pop();
                }
            }
        }
    }
    let mut circles = vec![usize::MAX; folders.len()];
    for start in finished.into_iter().rev() {
        let mut stack = vec![start];
        while let Some(id) = stack.pop() {
            if circles[id] == usize::MAX {
                circles[id] = start;
                stack.extend(&backwards[id]);
            }
        }
    }
    circles
}
