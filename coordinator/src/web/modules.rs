//! Which files the script of a page is made of, read from what they import: a page names all of them, so that a browser asks for them at once.

use std::{collections::BTreeMap, sync::LazyLock};

use super::pages::Files;

/// What begins every script.
const MAIN: &str = "main.js";
/// The scripts of pages, which the first one loads by their addresses.
const PAGES: [&str; 5] =
    ["pages/sweeps.js", "pages/sweep.js", "pages/job.js", "pages/workers.js", "pages/compare.js"];

/// The files of each script.
static FILES: LazyLock<BTreeMap<&str, Vec<String>>> =
    LazyLock::new(|| PAGES.into_iter().map(|script| (script, imported(script))).collect());

/// The files of a page's script but the first, in the order in which a browser finds them.
pub(super) fn of(script: &str) -> &'static [String] {
    FILES.get(script).map_or(&[], Vec::as_slice)
}

/// All that the first script and this one import, and what that imports.
fn imported(script: &str) -> Vec<String> {
    let mut files = vec![MAIN.to_owned(), script.to_owned()];
    let mut at = 0;
    while at < files.len() {
        for file in imports(&files[at]) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        at += 1;
    }
    files.remove(0);
    files
}

/// What a file imports before it runs.
fn imports(file: &str) -> Vec<String> {
    let Some(content) = Files::get(file) else { return Vec::new() };
    let content = String::from_utf8_lossy(&content.data);
    let of_line = |line: &str| {
        let (_, path) = line.split_once(" from '")?;
        let (path, _) = path.split_once("';")?;
        Some(beside(file, path))
    };
    content
        .lines()
        .filter(|line| line.starts_with("import ") || line.starts_with("} from "))
        .filter_map(of_line)
        .collect()
}

/// The path that a file writes as `./x.js` or `../x.js`.
fn beside(file: &str, path: &str) -> String {
    let mut folders: Vec<&str> = file.split('/').collect();
    folders.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(folders.pop()),
            part => folders.push(part),
        }
    }
    folders.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_a_page_imports_is_named_and_there() {
        for page in PAGES {
            let files = of(page);
            assert!(files.iter().all(|file| Files::get(file).is_some()), "{files:?}");
            for file in ["dom.js", "strings.js"] {
                assert_eq!(files.iter().filter(|known| *known == file).count(), 1, "{files:?}");
            }
        }
        // What is imported by what is imported, from another folder and back.
        let sweep = of("pages/sweep.js");
        for file in ["charts/brushes.js", "charts/surface.js", "table.js", "pages/sweep.js"] {
            assert!(sweep.iter().any(|known| known == file), "{file}: {sweep:?}");
        }
        assert!(!of("pages/workers.js").iter().any(|known| known == "charts/parallel.js"));
    }
}
