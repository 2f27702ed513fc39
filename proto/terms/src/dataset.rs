//! What was found in a data set, for people.

use serde::{Deserialize, Serialize};

/// What a worker found at a data set's path. All workers of a sweep must find the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// BLAKE3 of images and classes, hexadecimal; independent of folder, zip or pack.
    pub content_hash: String,
    /// Class names in the order of their labels.
    pub classes: Vec<String>,
    /// Training images.
    pub train_images: u64,
    /// Validation images.
    pub val_images: u64,
    /// Images left out because they could not be decoded, by path within the data set; at most 100 are named.
    pub skipped: Vec<String>,
    /// How many were left out in all.
    pub skipped_count: u64,
    /// Training images of each class; may be left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub train_by_class: Vec<u64>,
    /// Validation images of each class; may be left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub val_by_class: Vec<u64>,
    /// What lies at the path and is not used, by reason; may be left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Where the validation images are from, for people; empty where they are a share of the images.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub validation: String,
}

/// Files or folders of a data set that are not used, for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Why: `other_format`, `hidden`, `system`, `dangling_link`, `link_loop`, `archive_link`, `special`, `too_deep`,
    /// `loose`, `test_folder`, `other_folder`, or one that a later version knows.
    pub reason: String,
    /// The ending of the files or the name of the folder, where the reason has one.
    #[serde(default)]
    pub detail: String,
    /// How many.
    pub count: u64,
    /// Some of them, by path within the data set.
    #[serde(default)]
    pub examples: Vec<String>,
}

impl LeftOut {
    /// For example `16 .gif files, which are not read (cat/1.gif, cat/2.gif, …)`.
    pub fn words(&self) -> String {
        let Self { reason, detail, count, examples } = self;
        let (one, many) = match reason.as_str() {
            "other_format" if detail.is_empty() => (
                "file without a known ending, which is not read",
                "files without a known ending, which are not read",
            ),
            "other_format" => ("file, which is not read", "files, which are not read"),
            "hidden" => ("hidden file or folder", "hidden files or folders"),
            "system" => (
                "that an operating system or storage box left",
                "that operating systems or storage boxes left",
            ),
            "dangling_link" => ("link that leads nowhere", "links that lead nowhere"),
            "link_loop" => ("link that leads in a circle", "links that lead in a circle"),
            "archive_link" => ("link in the archive", "links in the archive"),
            "special" => ("that is neither a file nor a folder", "that are neither files nor folders"),
            "too_deep" => ("file or folder that lies too deep", "files or folders that lie too deep"),
            "loose" => ("picture next to the class folders", "pictures next to the class folders"),
            "test_folder" => (
                "picture of the test folder, which nothing is trained on",
                "pictures of the test folder, which nothing is trained on",
            ),
            "other_folder" => (
                "picture of a folder that is no part of the training",
                "pictures of a folder that is no part of the training",
            ),
            other => (other, other),
        };
        let what = if *count == 1 { one } else { many };
        let detail = if detail.is_empty() { String::new() } else { format!(" {detail}") };
        let more = if *count > examples.len() as u64 { ", …" } else { "" };
        let examples =
            if examples.is_empty() { String::new() } else { format!(" ({}{more})", examples.join(", ")) };
        format!("{count}{detail} {what}{examples}")
    }
}

/// Which set of pictures a folder of this name holds, in any case: `train`, `validation` or `test`. A class may also
/// have such a name.
pub fn set_of_pictures(folder: &str) -> Option<&'static str> {
    match folder.to_ascii_lowercase().as_str() {
        "train" | "training" | "train_set" | "training_set" => Some("train"),
        "val" | "valid" | "validation" | "val_set" | "validation_set" => Some("validation"),
        "test" | "test1" | "testing" | "test_set" => Some("test"),
        _ => None,
    }
}

/// A line for each class whose name is that of a set of pictures.
pub fn notes_on_classes(classes: &[String]) -> impl Iterator<Item = String> {
    classes.iter().filter(|class| set_of_pictures(class).is_some()).map(|class| {
        format!("data set: {class:?} is taken for a class; if it is a set of pictures, move it away")
    })
}

impl DatasetSummary {
    /// Roughly the memory that its texts and lists take.
    pub fn bytes(&self) -> usize {
        let texts =
            |texts: &[String]| texts.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        let left_out =
            |one: &LeftOut| size_of::<LeftOut>() + one.reason.len() + one.detail.len() + texts(&one.examples);
        self.content_hash.len()
            + self.validation.len()
            + texts(&self.classes)
            + texts(&self.skipped)
            + size_of_val(self.train_by_class.as_slice())
            + size_of_val(self.val_by_class.as_slice())
            + self.left_out.iter().map(left_out).sum::<usize>()
    }

    /// A few lines: what is trained on, what it is validated with, and what is left out. None for programs, which have
    /// no data set.
    pub fn lines(&self) -> Vec<String> {
        if *self == Self::default() {
            return Vec::new();
        }
        let by_class = |counts: &[u64]| {
            if counts.len() != self.classes.len() || counts.is_empty() {
                return format!(" of {}", self.classes.join(", "));
            }
            let each = self.classes.iter().zip(counts).map(|(class, count)| format!("{class} {count}"));
            format!(" ({})", each.collect::<Vec<_>>().join(", "))
        };
        let from = match self.validation.as_str() {
            "" => "held out by val_fraction".to_owned(),
            from => format!("from {from}; val_fraction is not used"),
        };
        let mut lines = vec![
            format!("data set: {} training images{}", self.train_images, by_class(&self.train_by_class)),
            format!(
                "data set: {} validation images{}, {from}",
                self.val_images,
                by_class(&self.val_by_class)
            ),
        ];
        lines.extend(notes_on_classes(&self.classes));
        if self.skipped_count > 0 {
            let more = if self.skipped_count > 3 { ", …" } else { "" };
            let names = self.skipped.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            lines.push(format!("left out: {} that cannot be decoded ({names}{more})", self.skipped_count));
        }
        lines.extend(self.left_out.iter().map(|left_out| format!("left out: {}", left_out.words())));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_data_set_nothing_is_said_of_one() {
        assert!(DatasetSummary::default().lines().is_empty());
    }

    #[test]
    fn a_data_set_says_what_is_trained_on_and_what_is_left_out() {
        let left_out = |reason: &str, detail: &str, count, example: &str| LeftOut {
            reason: reason.into(),
            detail: detail.into(),
            count,
            examples: vec![example.into()],
        };
        let summary = DatasetSummary {
            classes: vec!["cat".into(), "dog".into()],
            train_images: 36,
            val_images: 4,
            train_by_class: vec![20, 16],
            val_by_class: vec![3, 1],
            left_out: vec![
                left_out("other_format", ".gif", 16, "cat/1.gif"),
                left_out("hidden", "", 1, ".x"),
            ],
            ..DatasetSummary::default()
        };
        assert_eq!(
            summary.lines(),
            [
                "data set: 36 training images (cat 20, dog 16)",
                "data set: 4 validation images (cat 3, dog 1), held out by val_fraction",
                "left out: 16 .gif files, which are not read (cat/1.gif, …)",
                "left out: 1 hidden file or folder (.x)",
            ]
        );
        let classes = vec!["car".into(), "Train".into()];
        let note = "data set: \"Train\" is taken for a class; if it is a set of pictures, move it away";
        assert_eq!(DatasetSummary { classes, ..summary.clone() }.lines()[2], note);
        let own = DatasetSummary { validation: "val".into(), ..summary };
        assert!(own.lines()[1].ends_with("from val; val_fraction is not used"));
    }
}
