//! Where a run's data set and store lie.

use std::path::Path;

use crate::cli::failure::Failure;

/// The data set's path for workers with another working directory.
pub(in crate::cli) fn absolute_dataset(path: &Path) -> Result<String, Failure> {
    absolute_images(path, "--dataset")
}

/// The path of images for workers with another working directory; `flag` is how the command line names others.
pub(in crate::cli) fn absolute_images(path: &Path, flag: &str) -> Result<String, Failure> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Failure::operation(format!("the data set {}: {error}", path.display())))?;
    if let Err(error) = std::fs::metadata(&absolute) {
        return Err(Failure::operation(format!(
            "the data set {} cannot be read ({error}); name an image folder, a .zip or a packed .safetensors with {flag}, \
             or make one with `sweep-worker dataset synth`",
            absolute.display()
        )));
    }
    let is_empty = std::fs::read_dir(&absolute).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty {
        return Err(Failure::operation(format!(
            "the data set {} is an empty folder; it should hold a folder of pictures for each class, or cat.0.jpg, \
             dog.0.jpg and so on",
            absolute.display()
        )));
    }
    let text = absolute.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::operation(format!("the path {} is not UTF-8", absolute.display())))
}

/// The store of the output folder.
pub(in crate::cli) fn store_url(folder: &Path) -> Result<String, Failure> {
    let path = folder.join("sweep.db");
    let text =
        path.to_str().ok_or_else(|| Failure::operation("the path of the output folder is not UTF-8"))?;
    Ok(format!("sqlite:{text}"))
}
