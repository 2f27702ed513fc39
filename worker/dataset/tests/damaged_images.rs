//! Corrupt pictures against Pillow: what it refuses is refused, and what it reads is read, to the same pixels. The pixels
//! of JPEGs that are corrupt within are not compared: what wild coefficients become depends on how libjpeg was built (its
//! assembly, which is left out where there is no nasm, overflows in other ways than its C), also in Pillow's own.
//! `make_damaged.py`, next to the corpus, made both.

use std::{env, fs, path::PathBuf};

use dataset::decode_resized;
use safetensors::SafeTensors;

/// Side of the resized pictures in the corpus, in pixels.
const SIDE: u32 = 8;
/// Largest mean difference of a byte from what Pillow makes of the same corrupt picture.
const MEAN_DIFFERENCE_MAX: f64 = 4.0;
/// Pictures that Pillow reads and we refuse, by name, with the reason why that is right.
const REFUSED: [&str; 1] = [
    // One bit of its directory is wrong: the tag of the strips' sizes is another. Pillow reads to the end of the file.
    "tiff_packbits/016/bit",
];

fn corpus() -> PathBuf {
    env::var_os("SWEEP_DAMAGED_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/damaged"),
        PathBuf::from,
    )
}

/// Pictures that Pillow refuses and we read.
const READ: [&str; 1] = [
    // Sixteen bytes of junk in the header of a lossy WebP; the crate image-webp is content with it, libwebp is not.
    "webp/003/junk",
];

/// Kinds of pictures that libjpeg decodes.
const OF_LIBJPEG: [&str; 6] = ["jpeg", "jpeg_header", "progressive", "arithmetic", "restart", "tiff_jpeg"];

/// Whether the pixels are the same with every libjpeg: those of all formats but JPEG, and of JPEGs that are whole up to
/// their end.
fn has_certain_pixels(name: &str) -> bool {
    let is_intact = name.ends_with("/whole") || name.ends_with("/more");
    is_intact || !OF_LIBJPEG.contains(&name.split('/').next().unwrap_or_default())
}

#[test]
fn corrupt_pictures_are_refused_and_read_as_by_pillow() {
    let packed = fs::read(corpus().join("corpus.safetensors")).expect("the folder has corpus.safetensors");
    let corpus = SafeTensors::deserialize(&packed).expect("the corpus can be read");
    let mut wrong = Vec::new();
    let (mut read, mut refused) = (0, 0);
    for (name, tensor) in corpus.tensors() {
        if name.ends_with("/pixels") {
            continue;
        }
        let expected = corpus.tensor(&format!("{name}/pixels")).ok();
        match (decode_resized(tensor.data(), SIDE), expected) {
            (Err(_), None) => refused += 1,
            (Ok(_), None) if READ.contains(&name.as_str()) => {}
            (Ok(_), None) => wrong.push(format!("{name}: Pillow refuses it")),
            (Err(_), Some(_)) if REFUSED.contains(&name.as_str()) => {}
            (Err(error), Some(_)) => wrong.push(format!("{name}: Pillow reads it, we say: {error}")),
            (Ok(pixels), Some(expected)) => {
                read += 1;
                let differences = pixels.iter().zip(expected.data()).map(|(a, b)| f64::from(a.abs_diff(*b)));
                let mean = differences.sum::<f64>() / pixels.len() as f64;
                if mean > MEAN_DIFFERENCE_MAX && has_certain_pixels(&name) {
                    wrong.push(format!("{name}: differs by {mean:.1} on the average"));
                }
            }
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > 100 && refused > 100, "the corpus has both kinds: {read} read, {refused} refused");
    assert!(wrong.is_empty(), "not as Pillow:\n{}", wrong.join("\n"));
}
