//! Which class each picture has, and which pictures are for training and which for validation.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use super::{
    super::{
        DataError,
        left_out::{LeftOuts, Reason, shown},
    },
    Found,
};

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
    /// What precedes the class folders in their paths.
    pub(super) common: Vec<u8>,
}

/// The folders of a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folders<'a> {
    pub(super) all: &'a [Vec<u8>],
    /// Those that hold files, none of which looks like a picture.
    pub(super) without_pictures: &'a HashSet<Vec<u8>>,
}

/// A place's pictures by use.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) train: Part,
    /// Name of the training set's folder, if there are several sets.
    pub(super) train_folder: Option<String>,
    /// The folder's name and its content, which may have no pictures.
    pub(super) validation: Option<(String, Part)>,
}

/// Folders listed in one message.
const NAMED_MAX: usize = 5;

/// The use of a folder with this name, if its neighbours and contents agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Train,
    Validation,
    Test,
}

fn role(name: &[u8]) -> Option<Role> {
    match std::str::from_utf8(name).ok().and_then(terms::set_of_pictures)? {
        "train" => Some(Role::Train),
        "validation" => Some(Role::Validation),
        _ => Some(Role::Test),
    }
}

/// What lies in one folder at the top.
#[derive(Default)]
struct Top {
    found: Vec<Found>,
    /// Whether it has folders with pictures.
    has_folders: bool,
}

/// Separates training, validation and test pictures by the folders `train`, `val`, `test` and similar ones; `roles` has
/// the rules.
pub(super) fn parts(
    path: &Path,
    found: Vec<Found>,
    folders: Folders<'_>,
    left_out: &mut LeftOuts,
) -> Result<Parts, DataError> {
    let common = common_folder(&found, folders, &[]);
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
    let Roles { train, validation, test } = roles(path, &tops, !loose.is_empty())?;
    // An empty one is not the same as none: someone meant it to be used.
    let validation = validation.or_else(|| empty_validation(folders.all, &common, &tops));
    let mut parts = Parts { train_folder: train.as_deref().map(shown), ..Parts::default() };
    if let Some(name) = &validation {
        parts.validation = Some((shown(name), Part::default()));
    }
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
    let mut of_classes = folders.all.to_vec();
    of_classes.retain(|folder| {
        let rest = folder.strip_prefix(prefix.as_slice()).unwrap_or(folder);
        !not_classes.iter().any(|name| rest.split(|byte| *byte == b'/').next() == Some(name.as_slice()))
    });
    parts.train = part(parts.train.found, Folders { all: &of_classes, ..folders }, &prefix);
    Ok(parts)
}

/// The name of a top-level folder that is named like a validation set and holds no pictures.
fn empty_validation(folders: &[Vec<u8>], common: &[u8], tops: &BTreeMap<Vec<u8>, Top>) -> Option<Vec<u8>> {
    let names = folders.iter().filter_map(|folder| folder.strip_prefix(common));
    let empty = |name: &&[u8]| role(name) == Some(Role::Validation) && !tops.contains_key(*name);
    names.filter(|name| !name.contains(&b'/')).find(empty).map(<[u8]>::to_vec)
}

/// The top-level folders that are not classes.
struct Roles {
    train: Option<Vec<u8>>,
    validation: Option<Vec<u8>>,
    test: Vec<Vec<u8>>,
}

/// The uses of the top-level folders. `train` next to `val` or `test` is the training set. Next to class folders, `val`
/// with class folders of its own is the validation set, and `test` is left out. A class may have one of these names
/// where nothing else makes sense: `train` without class folders next to classes, `valid` next to `invalid` alone.
///
/// # Errors
/// Ambiguous folders: nothing is trained on a guess.
fn roles(path: &Path, tops: &BTreeMap<Vec<u8>, Top>, loose: bool) -> Result<Roles, DataError> {
    let of = |wanted| tops.keys().filter(move |name| role(name) == wanted).cloned().collect::<Vec<_>>();
    let (trains, validations, tests) =
        (of(Some(Role::Train)), of(Some(Role::Validation)), of(Some(Role::Test)));
    let others = of(None);
    let ambiguous = |what: String| Err(DataError::Ambiguous { path: path.to_owned(), what });
    for several in [&trains, &validations] {
        if let [one, other, ..] = several.as_slice() {
            let (one, other) = (shown(one), shown(other));
            return ambiguous(format!(
                "the folders {one:?} and {other:?} look like the same set of pictures; keep one of them, or rename them if \
                 they are classes"
            ));
        }
    }
    let (train, validation) = (trains.into_iter().next(), validations.into_iter().next());
    if let Some(train) = train {
        let (has_parts, top) = (validation.is_some() || !tests.is_empty(), &tops[&train]);
        let is_split = others.is_empty() || (has_parts && top.has_folders);
        if is_split {
            return Ok(Roles { train: Some(train), validation, test: tests });
        }
        if has_parts || top.has_folders || top.found.iter().all(names_its_class) {
            let (train, others) = (shown(&train), list(&others));
            return ambiguous(format!(
                "the folder {train:?} may be the training set or a class next to {others}; if it is the training set, give \
                 {train:?} alone as the data set or move the others away, and if it is a class, rename it"
            ));
        }
        return Ok(Roles { train: None, validation: None, test: Vec::new() });
    }
    if others.is_empty() && !loose && !tops.is_empty() {
        let parts = list(&tops.keys().cloned().collect::<Vec<_>>());
        return ambiguous(format!(
            "it holds {parts} and no training set with pictures; put one into a folder \"train\", or rename them if they are \
             classes"
        ));
    }
    let holds_classes = |name: &Vec<u8>| tops[name].has_folders || others.is_empty();
    let validation_is_class = validation.as_ref().is_some_and(|name| !holds_classes(name));
    if let Some(name) = validation.as_ref().filter(|_| validation_is_class && others.len() > 1) {
        let (name, others) = (shown(name), list(&others));
        return ambiguous(format!(
            "the folder {name:?} has no class folders and lies next to {others}; if it is the validation set, give it the same \
             class folders, if it is a class, rename it, or move it away"
        ));
    }
    let classes = others.len() + usize::from(validation_is_class);
    let test = tests.into_iter().filter(|name| holds_classes(name) || classes > 1).collect();
    Ok(Roles { train: None, validation: validation.filter(|_| !validation_is_class), test })
}

/// Whether a picture's name contains its class, as in `cat.0.jpg`.
fn names_its_class(file: &Found) -> bool {
    let name = file.path.rsplit(|byte| *byte == b'/').next().unwrap_or(&file.path);
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'.').collect();
    matches!(parts.as_slice(), [class, number, _] if !class.is_empty() && number.iter().all(u8::is_ascii_digit))
}

/// Some of the names, for people.
fn list(names: &[Vec<u8>]) -> String {
    let some: Vec<String> = names.iter().take(NAMED_MAX).map(|name| format!("{:?}", shown(name))).collect();
    let more = if names.len() > NAMED_MAX { ", …" } else { "" };
    format!("{}{more}", some.join(", "))
}

/// The pictures below `prefix`, without common leading folders.
fn part(found: Vec<Found>, folders: Folders<'_>, prefix: &[u8]) -> Part {
    let common = common_folder(&found, folders, prefix);
    let folders = folders.all.iter().filter(|folder| folder.starts_with(&common)).cloned().collect();
    Part { found, folders, common }
}

/// The common leading folder below `prefix`: folders that hold nothing but one folder are skipped, as in archives with
/// a single top-level folder. An empty folder, or one whose pictures are not read, counts as well: it may be a class
/// that lost them. A folder with only other files holds annotations.
fn common_folder(found: &[Found], folders: Folders<'_>, prefix: &[u8]) -> Vec<u8> {
    let Some(first) = found.first() else { return prefix.to_vec() };
    let mut common: Vec<&[u8]> = first.path.split(|byte| *byte == b'/').collect();
    common.pop();
    let shared = |common: &[&[u8]], path: &[u8]| {
        common.iter().zip(path.split(|byte| *byte == b'/')).take_while(|(one, other)| *one == other).count()
    };
    for file in found {
        let folders = file.path.iter().filter(|byte| **byte == b'/').count();
        common.truncate(shared(&common, &file.path).min(folders));
    }
    let counts =
        |folder: &&Vec<u8>| folder.starts_with(prefix) && !folders.without_pictures.contains(*folder);
    for folder in folders.all.iter().filter(counts) {
        let (same, depth) = (shared(&common, folder), folder.split(|byte| *byte == b'/').count());
        if same < depth {
            // It is next to the common folder, or below it.
            common.truncate(same);
        }
    }
    common.into_iter().flat_map(|part| [part, &b"/"[..]].concat()).collect()
}

/// Finds the class of each picture: its folder, or what precedes the number in `cat.0.jpg`.
pub(super) fn classify(path: &Path, part: Part, left_out: &mut LeftOuts) -> Result<Classified, DataError> {
    let Part { found, folders, common } = part;
    let common = common.len();
    let in_folders = found.iter().any(|file| file.path[common..].contains(&b'/'));
    let mut named: Vec<(Vec<u8>, Vec<u8>, Found)> = Vec::with_capacity(found.len());
    for file in found {
        let rest = &file.path[common..];
        match rest.iter().position(|byte| *byte == b'/') {
            Some(at) => named.push((rest[..at].to_vec(), rest[at + 1..].to_vec(), file)),
            // Next to class folders, loose pictures are not part of the set.
            None if in_folders => left_out.add(Reason::Loose, "", &file.path),
            None => match rest.iter().position(|byte| *byte == b'.') {
                Some(at) if at > 0 && rest[at + 1..].contains(&b'.') => {
                    named.push((rest[..at].to_vec(), rest.to_vec(), file));
                }
                _ => return Err(DataError::NoClass { path: path.to_owned(), file: shown(rest) }),
            },
        }
    }
    named.sort_by(|a, b| order(&a.0, &a.1).cmp(&order(&b.0, &b.1)));
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

/// ImageFolder's sort key for pictures: class, path of their folder as text, name.
fn order<'a>(class: &'a [u8], name: &'a [u8]) -> (&'a [u8], &'a [u8], &'a [u8]) {
    let folder = name.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    (class, &name[..folder], &name[folder..])
}

/// What else is there, for messages: `; 16 .gif files are not read`, or empty.
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
