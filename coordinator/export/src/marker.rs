//! The file by which a folder is recognised as an export.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use super::{Identity, place::Held};

/// Its name.
pub(crate) const NAME: &str = "sweep-export.json";
/// Longer ones are not ours.
const BYTES_MAX: u64 = 1 << 20;

#[derive(serde::Serialize, serde::Deserialize)]
struct Marker {
    format: String,
    sweep: Identity,
}

/// Marks a folder.
pub(crate) fn write(folder: &Path, format: &str, sweep: &Identity) -> io::Result<()> {
    let marker = Marker { format: format.to_owned(), sweep: sweep.clone() };
    fs::write(folder.join(NAME), serde_json::to_string(&marker)? + "\n")
}

/// What a folder holds that an export in this format is to replace. With something that is not its own it is no export any more.
pub(crate) fn held(folder: &Path, format: &str, is_own: impl Fn(&str) -> bool) -> io::Result<Held> {
    let mut is_empty = true;
    for entry in fs::read_dir(folder)? {
        is_empty = false;
        if !entry?.file_name().to_str().is_some_and(&is_own) {
            return Ok(Held::Other);
        }
    }
    if is_empty {
        return Ok(Held::Nothing);
    }
    let mut text = String::new();
    let read = File::open(folder.join(NAME)).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
    let marker = read.ok().and_then(|_| serde_json::from_str::<Marker>(&text).ok());
    Ok(marker
        .filter(|marker| marker.format == format)
        .map_or(Held::Other, |marker| Held::Export(marker.sweep)))
}
