//! Which class each picture has, and which pictures are for training and which for validation.

use std::{collections::BTreeMap, path::Path};

use super::super::{
    DataError,
    left_out::{LeftOuts, Reason, shown},
};
use super::Found;

/// Pictures with their classes.
#[derive(Debug, Default)]
pub(super) struct Classified {
    /// Names of the classes, in the order of their bytes.
    pub(super) classes: Vec<Vec<u8>>,
    /// By class and name: the class, the name within it, the file.
    pub(super) pictures: Vec<(u8, Vec<u8>, Found)>,
}

/// The pictures of a place, and its folders.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) found: Vec<Found>,
    pub(super) folders: Vec<Vec<u8>>,
    /// What is in front of the class folders.
    pub(super) common: Vec<u8>,
}

/// A place's pictures by what they are for.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) train: Part,
    /// The folder's name and what is in it.
    pub(super) validation: Option<(String, Part)>,
}

/// What a folder of this name is for, where its neighbours and contents agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Train,
    Validation,
    Test,
}

fn role(name: &[u8]) -> Option<Role> {
    match name.to_ascii_lowercase().as_slice() {
        b"train" | b"training" | b"train_set" | b"training_set" => Some(Role::Train),
        b"val" | b"valid" | b"validation" | b"val_set" | b"validation_set" => Some(Role::Validation),
        b"test" | b"test1" | b"testing" | b"test_set" => Some(Role::Test),
        _ => None,
    }
}

/// What lies in one folder at the top.
#[derive(Default)]
struct Top {
    found: Vec<Found>,
    /// Whether it has folders with pictures itself.
    has_folders: bool,
}

/// Tells training, validation and test pictures apart by the folders `train`, `val`, `test` and their like. They are
/// such folders next to each other, or where they hold folders of pictures as a class does not; a class may be called
/// `train`, too.
pub(super) fn parts(
    path: &Path,
    found: Vec<Found>,
    folders: &[Vec<u8>],
    left_out: &mut LeftOuts,
) -> Result<Parts, DataError> {
    let common = common_folder(&found);
    let mut tops: BTreeMap<Vec<u8>, Top> = BTreeMap::new();
    let mut loose = Vec::new();
    for file in found {
        let mut rest = file.path[common.len()..].splitn(3, |byte| *byte == b'/');
        match (rest.next(), rest.next(), rest.next()) {
            (Some(top), Some(_), below) => {
                let has_folders = below.is_some();
                let top = tops.entry(top.to_vec()).or_default();
                top.has_folders |= has_folders;
                top.found.push(file);
            }
            _ => loose.push(file),
        }
    }
    let Roles { train, validation, test } = roles(path, &tops)?;
    let mut parts = Parts::default();
    for (name, top) in tops {
        let label = shown(&name);
        if test.contains(&name) {
            top.found.iter().for_each(|file| left_out.add(Reason::TestFolder, &label, &file.path));
        } else if validation.as_ref() == Some(&name) {
            parts.validation =
                Some((label, part(top.found, folders, &[&common[..], &name[..], &b"/"[..]].concat())));
        } else if train.as_ref().is_some_and(|train| *train != name) {
            top.found.iter().for_each(|file| left_out.add(Reason::OtherFolder, &label, &file.path));
        } else {
            if role(&name).is_some() && train.is_none() {
                tracing::warn!(
                    "{}: the folder {label:?} is taken for a class, since it holds pictures next to other classes; \
                     name a validation set with dataset.val_path",
                    path.display()
                );
            }
            parts.train.found.extend(top.found);
        }
    }
    let prefix = match &train {
        Some(train) => [&common[..], &train[..], &b"/"[..]].concat(),
        None => common,
    };
    if train.is_some() {
        loose.iter().for_each(|file| left_out.add(Reason::Loose, "", &file.path));
    } else {
        parts.train.found.extend(loose);
    }
    let not_classes: Vec<Vec<u8>> =
        if train.is_some() { Vec::new() } else { validation.into_iter().chain(test).collect() };
    let mut train_part = part(parts.train.found, folders, &prefix);
    train_part.folders.retain(|folder| {
        let rest = folder.strip_prefix(prefix.as_slice()).unwrap_or(folder);
        !not_classes.iter().any(|name| rest.split(|byte| *byte == b'/').next() == Some(name.as_slice()))
    });
    parts.train = train_part;
    Ok(parts)
}

/// The folders at the top that are no classes.
struct Roles {
    train: Option<Vec<u8>>,
    validation: Option<Vec<u8>>,
    test: Vec<Vec<u8>>,
}

fn roles(path: &Path, tops: &BTreeMap<Vec<u8>, Top>) -> Result<Roles, DataError> {
    let of = |wanted| tops.keys().filter(move |name| role(name) == Some(wanted)).cloned().collect::<Vec<_>>();
    let (mut train, mut validation, mut test) = (of(Role::Train), of(Role::Validation), of(Role::Test));
    let others = tops.keys().any(|name| role(name).is_none());
    let split = match train.as_slice() {
        [train] => !validation.is_empty() || !test.is_empty() || (others && tops[train].has_folders),
        _ => false,
    };
    if !split {
        train.clear();
        validation.retain(|name| others && tops[name].has_folders);
        test.retain(|name| others && tops[name].has_folders);
    }
    if let [one, other, ..] = validation.as_slice() {
        let reason = format!("it has both {:?} and {:?}", shown(one), shown(other));
        return Err(DataError::Validation { path: path.to_owned(), reason });
    }
    Ok(Roles { train: train.pop(), validation: validation.pop(), test })
}

/// What lies below `prefix`; folders that hold nothing but one folder are passed through.
fn part(found: Vec<Found>, folders: &[Vec<u8>], prefix: &[u8]) -> Part {
    let inner = common_folder(&found);
    let common = if inner.len() > prefix.len() { inner } else { prefix.to_vec() };
    let folders = folders.iter().filter(|folder| folder.starts_with(&common)).cloned().collect();
    Part { found, folders, common }
}

/// Folders that hold nothing but one folder are passed through, as in archives with one leading folder.
fn common_folder(found: &[Found]) -> Vec<u8> {
    let Some(first) = found.first() else { return Vec::new() };
    let parts = |path: &[u8]| path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let mut common = parts(&first.path);
    common.pop();
    for file in found {
        let mut shared = 0;
        let mut own = file.path.split(|byte| *byte == b'/').peekable();
        while let Some(part) = own.next() {
            if own.peek().is_none() || common.get(shared).is_none_or(|known| known != part) {
                break;
            }
            shared += 1;
        }
        common.truncate(shared);
    }
    common.into_iter().flat_map(|part| [part, b"/".to_vec()].concat()).collect()
}

/// Finds the class of each picture: its folder, or what comes before the number in `cat.0.jpg`.
pub(super) fn classify(path: &Path, part: Part, left_out: &mut LeftOuts) -> Result<Classified, DataError> {
    let Part { found, folders, common } = part;
    let common = common.len();
    let in_folders = found.iter().any(|file| file.path[common..].contains(&b'/'));
    let mut named: Vec<(Vec<u8>, Vec<u8>, Found)> = Vec::with_capacity(found.len());
    for file in found {
        let rest = &file.path[common..];
        match rest.iter().position(|byte| *byte == b'/') {
            Some(at) => named.push((rest[..at].to_vec(), rest[at + 1..].to_vec(), file)),
            // Beside class folders, loose pictures are not part of the set.
            None if in_folders => left_out.add(Reason::Loose, "", &file.path),
            None => match rest.iter().position(|byte| *byte == b'.') {
                Some(at) if at > 0 && rest[at + 1..].contains(&b'.') => {
                    named.push((rest[..at].to_vec(), rest.to_vec(), file));
                }
                _ => return Err(DataError::NoClass { path: path.to_owned(), file: shown(rest) }),
            },
        }
    }
    named.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut classes: Vec<Vec<u8>> = named.iter().map(|(class, _, _)| class.clone()).collect();
    classes.dedup();
    let empty = folders.iter().find(|folder| {
        let name = &folder[common.min(folder.len())..];
        !name.is_empty() && !name.contains(&b'/') && !classes.iter().any(|class| class == name)
    });
    if let Some(empty) = empty {
        let class = shown(&empty[common..]);
        return Err(DataError::EmptyClass { path: path.to_owned(), class, found: others(left_out) });
    }
    if classes.len() > usize::from(u8::MAX) + 1 {
        return Err(DataError::TooManyClasses { path: path.to_owned(), found: classes.len() });
    }
    let mut pictures = Vec::with_capacity(named.len());
    let mut class = 0u8;
    for (name_of_class, name, file) in named {
        while classes[usize::from(class)] != name_of_class {
            class += 1;
        }
        pictures.push((class, name, file));
    }
    Ok(Classified { classes, pictures })
}

/// What else lies there, for messages: `; 16 .gif files are not read`, or nothing.
pub(super) fn others(left_out: &LeftOuts) -> String {
    let list = left_out.list();
    let files: Vec<String> = list
        .iter()
        .filter(|left_out| left_out.reason == "other_format")
        .take(3)
        .map(|left_out| match left_out.detail.as_str() {
            "" => format!("{} without a known ending", left_out.count),
            ending => format!("{} {ending}", left_out.count),
        })
        .collect();
    if files.is_empty() { String::new() } else { format!(" (files that are not read: {})", files.join(", ")) }
}
