//! PNG.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat};

use super::{DecodeError, Sides, room::Room, with_image_crate, without_alpha};

/// Offset of the colour type in the header.
const COLOUR_TYPE_AT: usize = 25;
/// The colour type of grey with alpha.
const GREY_WITH_ALPHA: u8 = 4;

/// Decodes to the start of `pixels`.
pub(super) fn decode(bytes: &[u8], room: &mut Room<'_>, pixels: &mut Vec<u8>) -> Result<Sides, DecodeError> {
    let decoded =
        with_image_crate(bytes, ImageFormat::Png, room).or_else(|error| match without_checksums(bytes) {
            Some(bytes) => {
                let decoded = with_image_crate(&bytes, ImageFormat::Png, room)?;
                if stream_is_whole(&bytes) { Ok(decoded) } else { Err(error) }
            }
            None => Err(error),
        });
    let (picture, sides) = decoded?;
    *pixels = match picture {
        // Pillow clips 16-bit grey at 255 and keeps the upper byte of 16-bit colour.
        DynamicImage::ImageLuma16(grey) => grey.pixels().flat_map(|pixel| [clip(pixel[0]); 3]).collect(),
        // A transparent value, which the decoder turns into alpha, changes nothing; Pillow treats grey with alpha as colour.
        DynamicImage::ImageLumaA16(grey) => {
            let has_alpha = bytes.get(COLOUR_TYPE_AT) == Some(&GREY_WITH_ALPHA);
            let byte = |value: u16| if has_alpha { (value >> 8) as u8 } else { clip(value) };
            grey.pixels().flat_map(|pixel| [byte(pixel[0]); 3]).collect()
        }
        DynamicImage::ImageRgb16(rgb) => rgb.as_raw().iter().map(|value| (value >> 8) as u8).collect(),
        DynamicImage::ImageRgba16(rgba) => rgba
            .pixels()
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]].map(|value| (value >> 8) as u8))
            .collect(),
        other => without_alpha(other),
    };
    Ok(sides)
}

fn clip(value: u16) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// Whether the checksum of the pixel stream is right; the decoder does not check it.
fn stream_is_whole(bytes: &[u8]) -> bool {
    let mut options = png::DecodeOptions::default();
    options.set_ignore_adler32(false);
    let decoder = png::Decoder::new_with_options(Cursor::new(bytes), options);
    let Ok(mut reader) = decoder.read_info() else { return false };
    let Some(size) = reader.output_buffer_size() else { return false };
    reader.next_frame(&mut vec![0; size]).is_ok() && reader.finish().is_ok()
}

/// The file as Pillow reads it despite errors: checksums of the pixels' chunks do not count, as the stream in them has
/// its own, and neither does what follows them. `None` if that changes nothing.
fn without_checksums(bytes: &[u8]) -> Option<Vec<u8>> {
    const SIGNATURE: usize = 8;
    let mut repaired = bytes.get(..SIGNATURE)?.to_vec();
    let mut at = SIGNATURE;
    let mut has_pixels = false;
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let is_pixels = &head[4..] == b"IDAT";
        if has_pixels && !is_pixels {
            break;
        }
        has_pixels |= is_pixels;
        let content = bytes.get(at + 4..at.checked_add(8)?.checked_add(length)?)?;
        repaired.extend_from_slice(&head[..4]);
        repaired.extend_from_slice(content);
        at += 8 + length;
        match bytes.get(at..at + 4) {
            Some(checksum) if !is_pixels => repaired.extend_from_slice(checksum),
            _ => repaired.extend_from_slice(&crc32fast::hash(content).to_be_bytes()),
        }
        at += 4;
    }
    repaired.extend_from_slice(b"\0\0\0\0IEND\xae\x42\x60\x82");
    (has_pixels && repaired != bytes).then_some(repaired)
}
