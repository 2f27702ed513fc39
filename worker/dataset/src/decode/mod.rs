//! One picture: bytes in, square RGB pixels out, as Pillow and torchvision's `Resize` produce them. As in Pillow, the
//! first bytes decide the format, whatever the file's name. What Pillow refuses is refused.

mod gif;
mod jpeg;
mod plain;
mod png;
mod room;
mod tiff;

use std::{cell::Cell, panic::AssertUnwindSafe};

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};

use self::room::Room;

/// Largest picture, in pixels: twice a large camera's; a larger one is refused before it takes memory.
const PIXELS_MAX: u64 = 200_000_000;
/// Largest side of a picture, in pixels, as in JPEG itself.
const SIDE_MAX: u32 = 65_535;
/// Memory that decoding anything but a JPEG may take, in bytes.
const DECODE_BYTES_MAX: u64 = 2 << 30;

/// Bytes that decoding takes for each pixel: four colours of 16 bits, and the RGB made from them.
const BYTES_PER_PIXEL: u64 = 12;

/// Memory that a decoder keeps for the next picture, in bytes: enough for a camera's.
const KEPT_BYTES_MAX: usize = 64 << 20;

thread_local! {
    /// Whether this thread is in a decoder, whose panics are caught.
    static DECODES: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is caught because it comes from a broken picture, and must not end the program.
pub fn panics_are_caught() -> bool {
    DECODES.try_with(Cell::get).unwrap_or(false)
}

const CUT_OFF: &str = "the picture is cut off";

/// Why a picture cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// None of the supported formats.
    #[error("not a JPEG, PNG, WebP, BMP, TIFF, GIF or PNM picture")]
    UnknownFormat,
    #[error("{0}")]
    Broken(String),
    /// Too many pixels.
    #[error("{width}×{height} pixels are more than the {PIXELS_MAX} that are supported")]
    TooLarge { width: u64, height: u64 },
}

/// Decodes pictures one after another and reuses its memory.
pub(super) struct Decoder {
    /// Side of the result, in pixels.
    size: u32,
    /// The picture before it is resized, at the start of this: 3 bytes a pixel, row by row.
    pixels: Vec<u8>,
    resizer: Resizer,
}

/// Width and height of a decoded picture, in pixels.
type Sides = (u32, u32);

impl Decoder {
    /// A decoder that resizes to `size`×`size`.
    pub(super) fn new(size: u32) -> Self {
        Self { size, pixels: Vec::new(), resizer: Resizer::new() }
    }

    /// As [`decode_resized`], into `resized`, which has `size`·`size`·3 bytes and undefined content after an error.
    pub(super) fn decode(&mut self, bytes: &[u8], resized: &mut [u8]) -> Result<(), DecodeError> {
        // The decoders are careful with broken input; if one panics all the same, the picture is broken. libjpeg's
        // errors come as unwinding with their text.
        let cut_off = Cell::new(false);
        let decode = AssertUnwindSafe(|| {
            let mut room = Room::new();
            let sides = decode(bytes, &cut_off, &mut room, &mut self.pixels)?;
            if cut_off.get() { Ok(()) } else { self.resize(sides, resized) }
        });
        DECODES.set(true);
        let caught = std::panic::catch_unwind(decode);
        DECODES.set(false);
        let done = caught.unwrap_or_else(|payload| {
            let reason =
                payload.downcast::<String>().map_or_else(|_| "the decoder gave up".to_owned(), |text| *text);
            Err(DecodeError::Broken(reason))
        });
        if self.pixels.capacity() + self.resizer.size_of_internal_buffers() > KEPT_BYTES_MAX {
            self.pixels = Vec::new();
            self.resizer = Resizer::new();
        }
        if cut_off.get() { Err(DecodeError::Broken(CUT_OFF.to_owned())) } else { done }
    }

    fn resize(&mut self, (width, height): Sides, resized: &mut [u8]) -> Result<(), DecodeError> {
        let broken = |reason: &dyn std::fmt::Display| DecodeError::Broken(reason.to_string());
        let pixels = &self.pixels[..bytes_of(width, height)];
        let source = ImageRef::new(width, height, pixels, PixelType::U8x3).map_err(|e| broken(&e))?;
        let mut resized = Image::from_slice_u8(self.size, self.size, resized, PixelType::U8x3)
            .map_err(|error| broken(&error))?;
        // Pillow uses the convolution; interpolation would not antialias.
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer.resize(&source, &mut resized, &options).map_err(|error| broken(&error))
    }
}

/// Decodes a picture and resizes it to `size`×`size`: bilinear with antialiasing, aspect ratio not kept, EXIF
/// orientation ignored, alpha dropped, grey, palette and CMYK converted to RGB. The result has `size`·`size`·3 bytes.
///
/// # Errors
/// Not a picture, broken, cut off or too large.
pub fn decode_resized(bytes: &[u8], size: u32) -> Result<Vec<u8>, DecodeError> {
    let mut resized = vec![0; bytes_of(size, size)];
    Decoder::new(size).decode(bytes, &mut resized)?;
    Ok(resized)
}

fn bytes_of(width: u32, height: u32) -> usize {
    width as usize * height as usize * 3
}

/// Decodes to the start of `pixels`.
fn decode(
    bytes: &[u8],
    cut_off: &Cell<bool>,
    room: &mut Room<'_>,
    pixels: &mut Vec<u8>,
) -> Result<Sides, DecodeError> {
    match bytes {
        [0xff, 0xd8, ..] => jpeg::decode(bytes, cut_off, room, pixels),
        [0x89, b'P', b'N', b'G', ..] => png::decode(bytes, room, pixels),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => gif::decode(bytes, room, pixels),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => plain::webp(bytes, room, pixels),
        [b'B', b'M', ..] => plain::bmp(bytes, room, pixels),
        [b'P', b'1'..=b'6', ..] => plain::pnm(bytes, room, pixels),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => tiff::decode(bytes, room, pixels),
        _ => Err(DecodeError::UnknownFormat),
    }
}

/// Pillow's conversion without a colour profile: each colour minus its ink and the black.
fn cmyk_to_rgb(inks: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(inks.len() / 4 * 3);
    for pixel in inks.chunks_exact(4) {
        let white = 255 - u32::from(pixel[3]);
        for &colour in &pixel[..3] {
            // white · ink / 255, rounded.
            let product = white * u32::from(colour) + 128;
            let left = white - ((product + (product >> 8)) >> 8).min(white);
            rgb.push(left as u8);
        }
    }
    rgb
}

/// Limits for the decoders of the crate `image`.
fn limits() -> image::Limits {
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    limits
}

/// Decodes with the crate `image`; the size is checked before anything is unpacked.
fn with_image_crate(
    bytes: &[u8],
    format: image::ImageFormat,
    room: &mut Room<'_>,
) -> Result<(image::DynamicImage, Sides), DecodeError> {
    let broken = |error: image::ImageError| DecodeError::Broken(error.to_string());
    let mut reader = image::ImageReader::with_format(std::io::Cursor::new(bytes), format);
    reader.limits(limits());
    let decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = image::ImageDecoder::dimensions(&decoder);
    room.take(check_size(width, height)? * BYTES_PER_PIXEL);
    let picture = image::DynamicImage::from_decoder(decoder).map_err(broken)?;
    Ok((picture, (width, height)))
}

/// Drops alpha instead of blending, as Pillow does: transparent pixels keep their RGB.
fn without_alpha(picture: image::DynamicImage) -> Vec<u8> {
    use image::DynamicImage;
    match picture {
        DynamicImage::ImageRgba8(rgba) => {
            rgba.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
        }
        DynamicImage::ImageLumaA8(grey) => grey.pixels().flat_map(|pixel| [pixel[0]; 3]).collect(),
        other => other.into_rgb8().into_raw(),
    }
}

/// The number of pixels.
fn check_size(width: u32, height: u32) -> Result<u64, DecodeError> {
    let (width, height) = (u64::from(width), u64::from(height));
    if width == 0 || height == 0 {
        return Err(DecodeError::Broken("the picture has no pixels".to_owned()));
    }
    if width * height > PIXELS_MAX {
        Err(DecodeError::TooLarge { width, height })
    } else {
        Ok(width * height)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn what_is_no_picture_is_refused() {
        assert_eq!(decode_resized(b"", 8), Err(DecodeError::UnknownFormat));
        assert_eq!(decode_resized(b"GIF88a", 8), Err(DecodeError::UnknownFormat));
        for broken in
            [&b"GIF89a"[..], &[0xff, 0xd8], &[0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0], b"\x89PNG\r\n\x1a\n"]
        {
            assert!(matches!(decode_resized(broken, 8), Err(DecodeError::Broken(_))), "{broken:?}");
        }
    }

    #[test]
    fn one_picture_leaves_nothing_behind_for_the_next() {
        let jpeg = |width: u16, height: u16, colours| {
            let mut bytes = Vec::new();
            let count = usize::from(width) * usize::from(height) * 3;
            let pixels: Vec<u8> = (0..count * 2).map(|i| (i * 7 % 251) as u8).collect();
            let type_ =
                if colours == 4 { jpeg_encoder::ColorType::Cmyk } else { jpeg_encoder::ColorType::Rgb };
            let pixels = &pixels[..count / 3 * colours];
            jpeg_encoder::Encoder::new(&mut bytes, 80).encode(pixels, width, height, type_).unwrap();
            bytes
        };
        let mut png = Cursor::new(Vec::new());
        image::RgbImage::from_pixel(30, 20, image::Rgb([9, 99, 199]))
            .write_to(&mut png, image::ImageFormat::Png)
            .unwrap();
        let large = jpeg(300, 200, 3);
        let cut_off = large[..large.len() / 2].to_vec();
        let small = jpeg(40, 24, 3);
        let pictures = [&large, &small, &cut_off, &jpeg(90, 60, 4), &small, png.get_ref(), &cut_off, &large];
        let mut decoder = Decoder::new(16);
        for (number, picture) in pictures.into_iter().enumerate() {
            let mut resized = vec![0; 16 * 16 * 3];
            let decoded = decoder.decode(picture, &mut resized).map(|()| resized);
            assert_eq!(decoded, decode_resized(picture, 16), "picture {number}");
        }
    }

    #[test]
    fn a_picture_that_was_cut_off_is_refused() {
        let mut bytes = Vec::new();
        let pixels: Vec<u8> = (0..64 * 64 * 3).map(|i| (i * 7 % 251) as u8).collect();
        jpeg_encoder::Encoder::new(&mut bytes, 90)
            .encode(&pixels, 64, 64, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        assert_eq!(decode_resized(&bytes, 8).unwrap().len(), 8 * 8 * 3);
        let cut_off = decode_resized(&bytes[..bytes.len() / 2], 8).unwrap_err();
        assert_eq!(cut_off.to_string(), "the picture is cut off");
    }

    #[test]
    fn a_bomb_of_a_png_is_refused_before_it_is_unpacked() {
        // 60,000 × 60,000 pixels in its header, nothing after it.
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(60_000u32.to_be_bytes());
        bytes.extend(60_000u32.to_be_bytes());
        bytes.extend([8, 2, 0, 0, 0]);
        bytes.extend(crc32fast::hash(&bytes[12..]).to_be_bytes());
        assert!(decode_resized(&bytes, 8).is_err());
    }
}
