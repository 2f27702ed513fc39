//! TIFF: the first picture of a file, in the modes that Pillow reads.

mod palette;

use std::io::Cursor;

use tiff::{
    ColorType, TiffError, TiffUnsupportedError,
    decoder::{Decoder, DecodingResult, Limits},
    tags::{CompressionMethod, PhotometricInterpretation, Tag},
};

use super::{BYTES_PER_PIXEL, DECODE_BYTES_MAX, DecodeError, Sides, check_size, cmyk_to_rgb, room::Room};

/// The tag's value where 0 is white.
const WHITE_IS_ZERO: u16 = PhotometricInterpretation::WhiteIsZero.to_u16();

fn broken(error: &TiffError) -> DecodeError {
    use TiffUnsupportedError::UnsupportedCompressionMethod as Unsupported;
    DecodeError::Broken(match error {
        TiffError::UnsupportedError(Unsupported(method)) => format!(
            "a TIFF compressed with {}, which is not read; save it again with LZW, Deflate or none",
            compression(method.to_u16())
        ),
        other => other.to_string(),
    })
}

/// The name of a compression, by the number in its tag; from libtiff's list.
fn compression(number: u16) -> String {
    match number {
        2..=4 => "one of fax machines".to_owned(),
        6 => "old JPEG".to_owned(),
        33_003..=33_005 | 34_712 => "JPEG 2000".to_owned(),
        34_887 => "LERC".to_owned(),
        34_925 => "LZMA".to_owned(),
        50_000 => "Zstandard".to_owned(),
        50_001 => "WebP".to_owned(),
        50_002 | 52_546 => "JPEG XL".to_owned(),
        number => format!("the method {number}"),
    }
}

/// Decodes to the start of `pixels`.
pub(super) fn decode(bytes: &[u8], room: &mut Room<'_>, pixels: &mut Vec<u8>) -> Result<Sides, DecodeError> {
    let grey = palette::as_grey(bytes);
    let has_palette = grey.is_some();
    let bytes = grey.as_deref().unwrap_or(bytes);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = DECODE_BYTES_MAX as usize;
    limits.intermediate_buffer_size = DECODE_BYTES_MAX as usize;
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(|error| broken(&error))?.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(|error| broken(&error))?;
    room.take(check_size(width, height)? * BYTES_PER_PIXEL);
    let picture = Picture::read(&mut decoder, (width, height), has_palette)?;
    *pixels = picture.rgb()?;
    let turned = decoder.find_tag_unsigned::<u16>(Tag::Orientation).map_err(|error| broken(&error))?;
    Ok(turn(pixels, (width, height), turned.unwrap_or(1)))
}

/// A decoded picture, before its samples are converted to RGB.
struct Picture {
    sides: Sides,
    colour: ColorType,
    /// Interleaved, row by row; rows of samples below 8 bits end at a byte.
    samples: DecodingResult,
    /// For a palette: all reds, all greens, all blues, 16 bits each.
    palette: Vec<u16>,
    /// Whether colours were multiplied by alpha.
    premultiplied: bool,
    /// Whether 0 is white in samples that the decoder does not convert.
    inverted: bool,
}

impl Picture {
    fn read(
        decoder: &mut Decoder<Cursor<&[u8]>>,
        sides: Sides,
        has_palette: bool,
    ) -> Result<Self, DecodeError> {
        let fail = |error: TiffError| broken(&error);
        let compression = decoder.find_tag_unsigned::<u16>(Tag::Compression).map_err(fail)?;
        let is_jpeg = compression == Some(CompressionMethod::ModernJPEG.to_u16());
        let colour = match decoder.colortype().map_err(fail)? {
            ColorType::Gray(bits) if has_palette => ColorType::Palette(bits),
            // Both would give noise: indices taken for grey, and JPEG's two samples taken for one.
            colour if has_palette => return Err(unsupported(colour)),
            colour @ (ColorType::GrayA(_) | ColorType::Multiband { .. }) if is_jpeg => {
                return Err(unsupported(colour));
            }
            colour => colour,
        };
        let palette = match has_palette {
            true => decoder.get_tag_u16_vec(Tag::ColorMap).map_err(fail)?,
            false => Vec::new(),
        };
        let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).map_err(fail)?;
        let photometric = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation).map_err(fail)?;
        let mut samples = DecodingResult::U8(Vec::new());
        let layout = decoder.read_image_to_buffer(&mut samples).map_err(fail)?;
        if layout.planes > 1 {
            samples = interleave(samples, layout.planes)?;
        }
        Ok(Self {
            sides,
            colour,
            samples,
            palette,
            premultiplied: extra.is_some_and(|extra| extra.first() == Some(&1)),
            inverted: photometric == Some(WHITE_IS_ZERO),
        })
    }

    fn rgb(&self) -> Result<Vec<u8>, DecodeError> {
        let pixels = self.sides.0 as usize * self.sides.1 as usize;
        let rgb = match (&self.samples, self.colour) {
            (DecodingResult::U8(bytes), colour) => self.of_bytes(bytes, colour)?,
            // Pillow keeps the upper byte of 16-bit colour and clips grey.
            (DecodingResult::U16(values), ColorType::RGB(16)) => {
                values.iter().map(|v| (v >> 8) as u8).collect()
            }
            (DecodingResult::U16(values), ColorType::RGBA(16)) => {
                let bytes: Vec<u8> = values.iter().map(|v| (v >> 8) as u8).collect();
                self.of_bytes(&bytes, ColorType::RGBA(8))?
            }
            (DecodingResult::U16(values), ColorType::CMYK(16)) => {
                cmyk_to_rgb(&values.iter().map(|v| (v >> 8) as u8).collect::<Vec<_>>())
            }
            (DecodingResult::U16(values), ColorType::Gray(_)) => grey(values, |&v| clip(f64::from(v))),
            (DecodingResult::I16(values), ColorType::Gray(_)) => grey(values, |&v| clip(f64::from(v))),
            (DecodingResult::U32(values), ColorType::Gray(_)) => grey(values, |&v| clip(f64::from(v as i32))),
            (DecodingResult::I32(values), ColorType::Gray(_)) => grey(values, |&v| clip(f64::from(v))),
            (DecodingResult::F32(values), ColorType::Gray(_)) => grey(values, |&v| clip(f64::from(v))),
            (_, colour) => return Err(unsupported(colour)),
        };
        if rgb.len() == pixels * 3 { Ok(rgb) } else { Err(unsupported(self.colour)) }
    }

    fn of_bytes(&self, bytes: &[u8], colour: ColorType) -> Result<Vec<u8>, DecodeError> {
        let first_of = |count: usize, kept: usize| -> Vec<u8> {
            bytes.chunks_exact(count).flat_map(|pixel| pixel[..kept].iter().copied()).collect()
        };
        Ok(match colour {
            ColorType::RGB(8) => match bytes.len() / (self.sides.0 as usize * self.sides.1 as usize) {
                3 => bytes.to_vec(),
                more => first_of(more.max(3), 3),
            },
            ColorType::RGBA(8) if self.premultiplied => bytes.chunks_exact(4).flat_map(divided).collect(),
            ColorType::RGBA(8) => first_of(4, 3),
            ColorType::CMYK(8) => cmyk_to_rgb(bytes),
            ColorType::CMYKA(8) => cmyk_to_rgb(&first_of(5, 4)),
            ColorType::YCbCr(8) => bytes.chunks_exact(3).flat_map(ycbcr).collect(),
            ColorType::GrayA(8) => grey(&first_of(2, 1), |&v| v),
            ColorType::Multiband { bit_depth: 8, num_samples: 2 } => {
                grey(&first_of(2, 1), |&v| if self.inverted { 255 - v } else { v })
            }
            ColorType::Gray(bits @ (1 | 2 | 4 | 8)) => {
                let scale = 255 / ((1u16 << bits) - 1) as u8;
                grey(&unpack(bytes, self.sides.0 as usize, bits), |&v| v * scale)
            }
            ColorType::Palette(bits @ (1 | 2 | 4 | 8)) => {
                let colours = self.palette.len() / 3;
                let indices = unpack(bytes, self.sides.0 as usize, bits);
                let of = |index: u8, band: usize| {
                    self.palette.get(band * colours + usize::from(index)).map_or(0, |v| (v >> 8) as u8)
                };
                indices.iter().flat_map(|&index| [of(index, 0), of(index, 1), of(index, 2)]).collect()
            }
            other => return Err(unsupported(other)),
        })
    }
}

fn unsupported(colour: ColorType) -> DecodeError {
    DecodeError::Broken(format!("TIFF pictures of the kind {colour:?} are not supported"))
}

fn clip(value: f64) -> u8 {
    // Saturates; NaN becomes 0.
    value as u8
}

fn grey<T>(values: &[T], byte: impl Fn(&T) -> u8) -> Vec<u8> {
    values.iter().flat_map(|value| [byte(value); 3]).collect()
}

/// Expands samples below 8 bits to one per byte.
fn unpack(bytes: &[u8], width: usize, bits: u8) -> Vec<u8> {
    if bits == 8 {
        return bytes.to_vec();
    }
    let per_byte = 8 / usize::from(bits);
    let mask = ((1u16 << bits) - 1) as u8;
    let sample =
        |row: &[u8], x: usize| row[x / per_byte] >> (8 - usize::from(bits) * (x % per_byte + 1)) & mask;
    let rows = bytes.chunks_exact(width.div_ceil(per_byte));
    rows.flat_map(|row| (0..width).map(move |x| sample(row, x))).collect()
}

/// Interleaves consecutive planes.
fn interleave(samples: DecodingResult, planes: usize) -> Result<DecodingResult, DecodeError> {
    fn mixed<T: Copy>(values: &[T], planes: usize) -> Vec<T> {
        let count = values.len() / planes;
        (0..count * planes).map(|at| values[at % planes * count + at / planes]).collect()
    }
    Ok(match samples {
        DecodingResult::U8(values) => DecodingResult::U8(mixed(&values, planes)),
        DecodingResult::U16(values) => DecodingResult::U16(mixed(&values, planes)),
        _ => return Err(DecodeError::Broken("planes of such samples are not supported".to_owned())),
    })
}

/// Undoes premultiplied alpha as Pillow does.
fn divided(pixel: &[u8]) -> [u8; 3] {
    let alpha = u32::from(pixel[3]);
    let divide = |value: u8| match alpha {
        0 => 0,
        255 => value,
        _ => (u32::from(value) * 255 / alpha).min(255) as u8,
    };
    [divide(pixel[0]), divide(pixel[1]), divide(pixel[2])]
}

/// JPEG's YCbCr to RGB, with the six binary places of Pillow's tables.
fn ycbcr(pixel: &[u8]) -> [u8; 3] {
    let [y, cb, cr] = [pixel[0], pixel[1], pixel[2]].map(i32::from);
    let (cb, cr) = (f64::from(cb - 128), f64::from(cr - 128));
    let places = |value: f64| (value * 64.0) as i32;
    let red = y + (places(1.402 * cr) >> 6);
    let green = y + ((places(-0.344_14 * cb) + places(-0.714_14 * cr)) >> 6);
    let blue = y + (places(1.772 * cb) >> 6);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// Rotates a picture as its tag says; Pillow does this for TIFF, but not for JPEG.
fn turn(pixels: &mut Vec<u8>, (width, height): Sides, orientation: u16) -> Sides {
    let (w, h) = (width as usize, height as usize);
    let swapped = matches!(orientation, 5..=8);
    let (new_w, new_h) = if swapped { (h, w) } else { (w, h) };
    // The source of the pixel at (x, y) of the result.
    let from = |x: usize, y: usize| match orientation {
        2 => (w - 1 - x, y),
        3 => (w - 1 - x, h - 1 - y),
        4 => (x, h - 1 - y),
        5 => (y, x),
        6 => (y, h - 1 - x),
        7 => (w - 1 - y, h - 1 - x),
        8 => (w - 1 - y, x),
        _ => (x, y),
    };
    if matches!(orientation, 2..=8) {
        let mut turned = Vec::with_capacity(pixels.len());
        for y in 0..new_h {
            for x in 0..new_w {
                let (x, y) = from(x, y);
                turned.extend_from_slice(&pixels[(y * w + x) * 3..][..3]);
            }
        }
        *pixels = turned;
    }
    if swapped { (height, width) } else { (width, height) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compression_that_is_not_read_is_named() {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = tiff::encoder::TiffEncoder::new(&mut file).unwrap();
        encoder.write_image::<tiff::encoder::colortype::Gray8>(8, 8, &[7; 64]).unwrap();
        let plain = file.into_inner();
        // The tag of the compression, one short number: none.
        let tag = [3, 1, 3, 0, 1, 0, 0, 0, 1, 0];
        let at = plain.windows(tag.len()).position(|bytes| bytes == tag).unwrap() + 8;
        for (number, name) in [(50_000_u16, "Zstandard"), (50_001, "WebP"), (34_925, "LZMA"), (9_999, "9999")]
        {
            let mut bytes = plain.clone();
            bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
            let error = decode(&bytes, &mut Room::new(), &mut Vec::new()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("save it again"), "{number}: {error}");
        }
    }
}
