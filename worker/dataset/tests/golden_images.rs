//! Decoding and resizing against Pillow and torchvision: whatever pictures the golden folder holds.

use std::{env, fs, path::PathBuf};

use dataset::decode_resized;
use safetensors::SafeTensors;

/// Largest difference of a byte: decoders differ in how they enlarge subsampled colours.
const DIFFERENCE_MAX: u8 = 8;
const MEAN_DIFFERENCE_MAX: f64 = 0.5;

fn golden() -> PathBuf {
    env::var_os("SWEEP_GOLDEN_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden"),
        PathBuf::from,
    )
}

#[test]
fn pictures_that_would_come_out_otherwise_than_pillows_are_refused() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/golden/refused");
    let pictures: Vec<_> = fs::read_dir(folder).expect("the folder is there").collect();
    assert!(!pictures.is_empty());
    for picture in pictures {
        let path = picture.expect("the folder can be read").path();
        let decoded = decode_resized(&fs::read(&path).expect("it can be read"), 8);
        let told = decoded.map(|_| ()).map_err(|error| error.to_string());
        assert!(
            told.as_ref().is_err_and(|told| told.contains("are not supported")),
            "{}: {told:?}",
            path.display()
        );
    }
}

#[test]
fn golden_images_are_torchvisions() {
    let packed =
        fs::read(golden().join("resized.safetensors")).expect("the golden folder has resized.safetensors");
    let expected = SafeTensors::deserialize(&packed).expect("resized.safetensors can be read");
    assert!(!expected.is_empty());
    let mut wrong = Vec::new();
    for (name, tensor) in expected.tensors() {
        let bytes =
            fs::read(golden().join("images").join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let side = u32::try_from(tensor.shape()[0]).expect("a side of a few pixels");
        let resized = decode_resized(&bytes, side).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(resized.len(), tensor.data().len(), "{name}");
        let differences: Vec<u8> = resized.iter().zip(tensor.data()).map(|(a, b)| a.abs_diff(*b)).collect();
        let largest = differences.iter().copied().max().unwrap_or(0);
        let mean = differences.iter().map(|d| f64::from(*d)).sum::<f64>() / differences.len() as f64;
        println!("{name:<20} largest {largest:>3}  mean {mean:.4}");
        if largest > DIFFERENCE_MAX || mean > MEAN_DIFFERENCE_MAX {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "too far from torchvision: {wrong:?}");
}
