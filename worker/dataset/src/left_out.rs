//! What lies in a data set and is not used, counted by reason, so that nothing is left out silently.

use std::{collections::BTreeMap, fmt::Write};

use terms::LeftOut;

/// Most reasons that are distinguished; further file endings are counted together.
const REASONS_MAX: usize = 24;
/// Examples listed for each reason.
const EXAMPLES_MAX: usize = 3;
/// Longest example, in characters.
const EXAMPLE_CHARACTERS_MAX: usize = 100;
/// Longest file ending that is distinguished, in bytes.
const ENDING_BYTES_MAX: usize = 12;

/// Why something is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// A file whose ending is not that of a picture; the detail is the ending.
    OtherFormat,
    /// A file or folder whose name begins with a dot.
    Hidden,
    /// What operating systems and storage boxes leave in folders; the detail is the name.
    System,
    /// A link that leads nowhere.
    DanglingLink,
    /// A link to a folder that holds it.
    LinkLoop,
    /// A link in an archive.
    ArchiveLink,
    /// Neither a file nor a folder.
    Special,
    /// Deeper than folders are followed.
    TooDeep,
    /// A picture next to class folders.
    Loose,
    /// A picture in a folder for tests; the detail is the folder.
    TestFolder,
    /// A picture in a folder next to `train`, or in a validation folder where another one was given; the detail is the
    /// folder.
    OtherFolder,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::OtherFormat => "other_format",
            Self::Hidden => "hidden",
            Self::System => "system",
            Self::DanglingLink => "dangling_link",
            Self::LinkLoop => "link_loop",
            Self::ArchiveLink => "archive_link",
            Self::Special => "special",
            Self::TooDeep => "too_deep",
            Self::Loose => "loose",
            Self::TestFolder => "test_folder",
            Self::OtherFolder => "other_folder",
        }
    }
}

/// The counts of one source.
#[derive(Debug, Default, Clone)]
pub(super) struct LeftOuts(BTreeMap<(Reason, String), (u64, Vec<String>)>);

impl LeftOuts {
    /// Counts what lies at `path` within the source.
    pub(super) fn add(&mut self, reason: Reason, detail: &str, path: &[u8]) {
        let (count, examples) = self.0.entry((reason, detail.to_owned())).or_default();
        *count += 1;
        if examples.len() < EXAMPLES_MAX {
            examples.push(shown(path).chars().take(EXAMPLE_CHARACTERS_MAX).collect());
        }
    }

    /// Counts a file that is not a picture, by its ending.
    pub(super) fn add_file(&mut self, path: &[u8]) {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let ending = name.iter().rposition(|byte| *byte == b'.').map_or(&[][..], |dot| &name[dot..]);
        let ending = if ending.len() > ENDING_BYTES_MAX { &[][..] } else { ending };
        self.add(Reason::OtherFormat, &shown(ending).to_lowercase(), path);
    }

    /// Adds what another source left out.
    pub(super) fn extend(&mut self, other: Self) {
        for (key, (count, examples)) in other.0 {
            let own = self.0.entry(key).or_default();
            own.0 += count;
            own.1.extend(examples);
            own.1.truncate(EXAMPLES_MAX);
        }
    }

    /// By reason, the most frequent first; those beyond the bound are counted together.
    pub(super) fn list(&self) -> Vec<LeftOut> {
        let mut list: Vec<LeftOut> = self
            .0
            .iter()
            .map(|((reason, detail), (count, examples))| LeftOut {
                reason: reason.as_str().to_owned(),
                detail: detail.clone(),
                count: *count,
                examples: examples.clone(),
            })
            .collect();
        list.sort_by_key(|left_out| std::cmp::Reverse(left_out.count));
        for extra in list.split_off(REASONS_MAX.min(list.len())) {
            let detail = String::new();
            match list.iter_mut().find(|known| known.reason == extra.reason && known.detail.is_empty()) {
                Some(known) => known.count += extra.count,
                None => list.push(LeftOut { detail, ..extra }),
            }
        }
        list
    }
}

/// A name for people: bytes that are not UTF-8 as `\xE4`.
pub(super) fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

/// Whether operating systems or storage boxes create files or folders of this name anywhere.
pub(super) fn is_system(name: &[u8]) -> bool {
    const NAMES: [&str; 24] = [
        "lost+found",
        "@eaDir",
        "@Recycle",
        "@Recently-Snapshot",
        "#recycle",
        "#snapshot",
        "$RECYCLE.BIN",
        "RECYCLER",
        "System Volume Information",
        "__MACOSX",
        "__pycache__",
        "Network Trash Folder",
        "Temporary Items",
        ".ipynb_checkpoints",
        ".AppleDouble",
        ".DS_Store",
        ".Spotlight-V100",
        ".fseventsd",
        ".TemporaryItems",
        ".@__thumb",
        "Thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "Icon\r",
    ];
    name.starts_with(b"._")
        || name.starts_with(b".Trash")
        || NAMES.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_beyond_the_bound_count_together() {
        let mut left_out = LeftOuts::default();
        for number in 0..100 {
            left_out.add_file(format!("cat/a.{number}").as_bytes());
        }
        left_out.add_file(b"cat/b.GIF");
        left_out.add_file(b"cat/c.gif");
        let list = left_out.list();
        assert_eq!((list[0].detail.as_str(), list[0].count), (".gif", 2));
        assert!(list.len() <= REASONS_MAX + 1);
        assert_eq!(list.iter().map(|left_out| left_out.count).sum::<u64>(), 102);
    }

    #[test]
    fn names_that_are_no_utf8_are_shown_apart() {
        assert_eq!(shown("châ".as_bytes()), "châ");
        assert_eq!((shown(b"ch\xe2t"), shown(b"ch\xe4t")), ("ch\\xE2t".into(), "ch\\xE4t".into()));
    }
}
