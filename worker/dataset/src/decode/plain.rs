//! BMP, PNM and WebP, with the decoders of the crate `image`.

use image::{DynamicImage, ImageFormat};

use super::{CUT_OFF, DecodeError, Sides, room::Room, with_image_crate, without_alpha};

/// BMP. Decodes to the start of `pixels`.
pub(super) fn bmp(bytes: &[u8], room: &mut Room<'_>, pixels: &mut Vec<u8>) -> Result<Sides, DecodeError> {
    let (picture, sides) = with_image_crate(bytes, ImageFormat::Bmp, room)?;
    *pixels = without_alpha(picture);
    if let Some(levels) = few_levels(bytes) {
        for pixel in pixels.chunks_exact_mut(3) {
            for (value, levels) in pixel.iter_mut().zip(levels) {
                // Pillow truncates where the decoder rounds.
                let level = (u32::from(*value) * levels + 127) / 255;
                *value = (level * 255 / levels) as u8;
            }
        }
    }
    Ok(sides)
}

/// The highest red, green and blue of a BMP with 16 bits a pixel.
fn few_levels(bytes: &[u8]) -> Option<[u32; 3]> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if number(14)? < 40 || bytes.get(28..30)? != [16, 0] {
        return None;
    }
    let with_masks = number(30)? == 3;
    Some(if with_masks && number(58)? == 0x7e0 { [31, 63, 31] } else { [31; 3] })
}

/// WebP; of an animation, the first picture. Decodes to the start of `pixels`.
pub(super) fn webp(bytes: &[u8], room: &mut Room<'_>, pixels: &mut Vec<u8>) -> Result<Sides, DecodeError> {
    if !is_whole(bytes) {
        return Err(DecodeError::Broken(CUT_OFF.to_owned()));
    }
    let (picture, sides) = with_image_crate(bytes, ImageFormat::WebP, room)?;
    *pixels = without_alpha(picture);
    Ok(sides)
}

/// Whether all chunks of a WebP file are complete; the decoder accepts a partial one.
fn is_whole(bytes: &[u8]) -> bool {
    let size = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let Some(end) = size(4).map(|size| size + 8).filter(|end| *end <= bytes.len()) else { return false };
    let mut at = 12;
    while at + 8 <= end {
        let Some(chunk) = size(at + 4) else { return false };
        // A chunk of odd size is followed by a padding byte, which some writers leave out at the end.
        at += 8 + chunk + chunk % 2;
        if at > end + 1 {
            return false;
        }
    }
    true
}

/// PBM, PGM and PPM. Decodes to the start of `pixels`.
pub(super) fn pnm(bytes: &[u8], room: &mut Room<'_>, pixels: &mut Vec<u8>) -> Result<Sides, DecodeError> {
    let (picture, sides) = with_image_crate(bytes, ImageFormat::Pnm, room)?;
    *pixels = match picture {
        // Pillow clips 16-bit grey at 255 and scales 16-bit colour.
        DynamicImage::ImageLuma16(grey) => {
            grey.pixels().flat_map(|pixel| [u8::try_from(pixel[0]).unwrap_or(u8::MAX); 3]).collect()
        }
        DynamicImage::ImageRgb16(rgb) => {
            rgb.as_raw().iter().map(|&value| ((u32::from(value) * 2 + 257) / 514) as u8).collect()
        }
        other => without_alpha(other),
    };
    Ok(sides)
}
