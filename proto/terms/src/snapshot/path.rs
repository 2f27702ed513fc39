//! Which paths a snapshot may have: those that stay below the folder they are unpacked into, on every file system that
//! a worker may have.

use std::cmp::Ordering;

/// Longest path, in bytes: together with the folder, below the system's 4,096.
const PATH_BYTES_MAX: usize = 1_024;
/// Longest name in it, in bytes: the limit of common file systems.
const NAME_BYTES_MAX: usize = 255;
/// Most names in it.
const NAMES_MAX: usize = 32;

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it has more than {PATH_BYTES_MAX} bytes")]
    TooLong,
    /// It has too many folders.
    #[error("it has more than {NAMES_MAX} folders")]
    TooDeep,
    /// It is absolute.
    #[error("it must begin at the folder of the sweep file")]
    Absolute,
    /// It has an empty name, `.` or `..`.
    #[error("it must be made of names alone, without `..`, `.` and `//`")]
    NotNames,
    /// A name is too long.
    #[error("a name in it has more than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    /// It has a character that cannot be shown.
    #[error("it has a control character")]
    Control,
}

/// Whether a path may be in a snapshot.
pub(crate) fn check(path: &str) -> Result<(), PathProblem> {
    if path.is_empty() {
        return Err(PathProblem::Empty);
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(PathProblem::TooLong);
    }
    if path.starts_with('/') {
        return Err(PathProblem::Absolute);
    }
    if path.chars().any(char::is_control) {
        return Err(PathProblem::Control);
    }
    if path.split('/').count() > NAMES_MAX {
        return Err(PathProblem::TooDeep);
    }
    for name in path.split('/') {
        if matches!(name, "" | "." | "..") {
            return Err(PathProblem::NotNames);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(PathProblem::NameTooLong);
        }
    }
    Ok(())
}

/// Two paths that name the same file, or one a file that the other needs as a folder, where case does not count.
pub(super) fn clash<'a>(paths: impl Iterator<Item = &'a str>) -> Option<(&'a str, &'a str)> {
    let mut folded: Vec<(String, &str)> = paths.map(|path| (path.to_lowercase(), path)).collect();
    // By names, not by bytes: all paths in one folder are adjacent.
    folded.sort_by(|one, other| by_names(&one.0, &other.0));
    folded.windows(2).find_map(|pair| {
        let [(one_folded, one), (other_folded, other)] = pair else { return None };
        clash_of((one_folded, one), (other_folded, other)).then_some((*one, *other))
    })
}

fn by_names(one: &str, other: &str) -> Ordering {
    one.split('/').cmp(other.split('/'))
}

fn clash_of((one_folded, one): (&str, &str), (other_folded, other): (&str, &str)) -> bool {
    let names = one_folded.split('/').zip(one.split('/'));
    let others = other_folded.split('/').zip(other.split('/'));
    let mut same = 0;
    for ((one_folded, one), (other_folded, other)) in names.zip(others) {
        if one_folded != other_folded {
            return false;
        }
        if one != other {
            return true;
        }
        same += 1;
    }
    // The names of the shorter one begin the other: it is a file there and a folder here.
    same == one.split('/').count().min(other.split('/').count())
}
