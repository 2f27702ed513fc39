//! The validation set: where its pictures are, and what must hold of them.

use std::{collections::HashSet, fs, os::unix::ffi::OsStrExt, path::Path};

use super::{
    super::{
        DataError,
        left_out::{LeftOuts, shown},
    },
    Found, Place,
    classes::{Classified, Part, Parts, classify, others},
    open_place,
};

/// Lists the place of the validation set. If it holds several sets, only its validation part is used; the others are
/// not counted as left out, as they may be trained on.
pub(super) fn open_validation(
    path: &Path,
    left_out: &mut LeftOuts,
    found_one: &dyn Fn(),
) -> Result<(Place, String, Part), DataError> {
    let mut own = LeftOuts::default();
    let (place, Parts { train, train_folder, validation }) =
        open_place(path, &mut own, found_one).map_err(of_validation)?;
    let (name, part) = match (validation.filter(|(_, part)| !part.found.is_empty()), train_folder) {
        (Some((name, part)), _) => (path.join(name), part),
        (None, Some(train_folder)) => {
            let what = format!(
                "as the validation set (dataset.val_path), it holds the training set {train_folder:?} and no pictures for \
                 validation; name the folder with these"
            );
            return Err(DataError::Ambiguous { path: path.to_owned(), what });
        }
        (None, None) => (path.to_owned(), train),
    };
    left_out.extend(own);
    Ok((place, name.display().to_string(), part))
}

/// Finds the classes of the validation set, which must be those of the training set.
pub(super) fn classify_validation(
    places: &[Place],
    name: &str,
    part: Part,
    train: &Classified,
    left_out: &mut LeftOuts,
) -> Result<Classified, DataError> {
    let (own, other) = (&places[0], &places[places.len() - 1]);
    if part.found.is_empty() {
        let reason = format!(
            "its folder {name:?} holds no pictures{}; fill it, or remove it to hold out a share of the training set",
            others(left_out)
        );
        return Err(DataError::Validation { path: own.path.clone(), reason });
    }
    let classified = classify(&other.path, part, left_out)?;
    same_classes(&own.path, train, &classified)?;
    if places.len() > 1 {
        none_in_both(own, other, train, &classified)?;
    }
    Ok(classified)
}

/// Refuses pictures that are both for training and for validation, which would measure memorisation.
fn none_in_both(
    own: &Place,
    other: &Place,
    train: &Classified,
    validation: &Classified,
) -> Result<(), DataError> {
    let root = |place: &Place| fs::canonicalize(&place.path).unwrap_or_else(|_| place.path.clone());
    let (own_root, other_root) = (root(own), root(other));
    if !own_root.starts_with(&other_root) && !other_root.starts_with(&own_root) {
        return Ok(());
    }
    let full = |root: &Path, file: &Found| [root.as_os_str().as_bytes(), &b"/"[..], &file.path[..]].concat();
    let for_validation: HashSet<Vec<u8>> =
        validation.pictures.iter().map(|(_, _, file)| full(&other_root, file)).collect();
    let both = train.pictures.iter().find(|(_, _, file)| for_validation.contains(&full(&own_root, file)));
    let Some((_, _, both)) = both else { return Ok(()) };
    let reason = format!("{} of {} is a training picture, too", shown(&both.path), other.path.display());
    Err(DataError::Validation { path: own.path.clone(), reason })
}

fn same_classes(path: &Path, train: &Classified, validation: &Classified) -> Result<(), DataError> {
    if train.classes == validation.classes {
        return Ok(());
    }
    let names = |classes: &[Vec<u8>]| {
        classes.iter().take(10).map(|class| format!("{:?}", shown(class))).collect::<Vec<_>>().join(", ")
    };
    let reason = format!(
        "its classes are {}, and those of the training set {}",
        names(&validation.classes),
        names(&train.classes)
    );
    Err(DataError::Validation { path: path.to_owned(), reason })
}

/// Says that the validation set is what is missing.
fn of_validation(error: DataError) -> DataError {
    match error {
        DataError::Missing { path } => DataError::ValidationMissing { path },
        other => other,
    }
}
