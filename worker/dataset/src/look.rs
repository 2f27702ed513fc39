//! Whether a data set can be read, without packing it: its files are listed, or the head of a packed one is read.

use std::path::Path;

use crate::{DataError, PackedDataset, source::Source};

/// What is there, in a clause for people.
///
/// # Errors
/// It is no data set, or cannot be read.
pub fn look(path: &Path) -> Result<String, DataError> {
    let images = |count: usize, classes: usize| {
        format!("{} with {} images in {} classes", path.display(), count, classes)
    };
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        let packed = PackedDataset::open(path)?;
        return Ok(images(packed.len(), packed.classes().len()));
    }
    let source = Source::open(path, None, &|_| {})?;
    Ok(images(source.pictures.len(), source.classes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_is_looked_at_and_what_is_none_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(look(&folder.path().join("nowhere")).is_err());
        assert!(look(folder.path()).is_err(), "an empty folder");
        for class in ["cats", "dogs"] {
            std::fs::create_dir(folder.path().join(class)).unwrap();
            let pixel = image::RgbImage::new(1, 1);
            pixel.save(folder.path().join(class).join("one.png")).unwrap();
        }
        let told = look(folder.path()).unwrap();
        assert!(told.ends_with("with 2 images in 2 classes"), "{told}");
    }
}
