//! JPEG with libjpeg's own decoder, which Pillow uses too; the others differ in how they enlarge subsampled colours.
//! The decompression is finished, so that what libjpeg finds wrong behind the last row counts: Pillow refuses that, too.

use std::{
    cell::Cell,
    io::{BufRead, Read},
};

use mozjpeg::{ColorSpace, Decompress, Marker};
// Its features alone are of use: arithmetic coding.
use mozjpeg_sys as _;

use super::{CUT_OFF, DecodeError, KEPT_BYTES_MAX, Sides, bytes_of, check_size, cmyk_to_rgb};

/// Where Adobe's programs say that they wrote the picture.
const ADOBE_MARKER: Marker = Marker::APP(14);

/// The pixels go to the start of `pixels`.
pub(super) fn decode(bytes: &[u8], cut_off: &Cell<bool>, pixels: &mut Vec<u8>) -> Result<Sides, DecodeError> {
    let broken = |error: std::io::Error| DecodeError::Broken(error.to_string());
    let header = Decompress::builder()
        .with_markers(&[ADOBE_MARKER])
        .from_reader(Whole { bytes, cut_off })
        .map_err(broken)?;
    let (width, height) = (side(header.width())?, side(header.height())?);
    check_size(width, height)?;
    let inverted = header.markers().any(|marker| marker.data.starts_with(b"Adobe"));
    let four_colours = matches!(header.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK);
    let space = if four_colours { ColorSpace::JCS_CMYK } else { ColorSpace::JCS_RGB };
    let mut image = header.to_colorspace(space).map_err(broken)?;
    let needed = bytes_of(width, height);
    if four_colours {
        let mut inks = image.read_scanlines::<u8>().map_err(broken)?;
        if inverted {
            inks.iter_mut().for_each(|ink| *ink = 255 - *ink);
        }
        *pixels = cmyk_to_rgb(&inks);
    } else if needed > KEPT_BYTES_MAX {
        // Memory that is only touched as far as there are pixels, whatever the header says.
        *pixels = image.read_scanlines::<u8>().map_err(broken)?;
    } else {
        if pixels.len() < needed {
            pixels.resize(needed, 0);
        }
        image.read_scanlines_into(&mut pixels[..needed]).map_err(broken)?;
    }
    image.finish().map_err(broken)?;
    Ok((width, height))
}

/// A picture in memory that is an error when it ends too early; libjpeg would fill the rest with grey.
struct Whole<'a> {
    bytes: &'a [u8],
    /// Told here, as libjpeg calls every error of a reader the same.
    cut_off: &'a Cell<bool>,
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.bytes.read(buffer)
    }
}

impl BufRead for Whole<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.bytes.is_empty() {
            self.cut_off.set(true);
            return Err(std::io::Error::other(CUT_OFF));
        }
        Ok(self.bytes)
    }

    fn consume(&mut self, amount: usize) {
        self.bytes = &self.bytes[amount.min(self.bytes.len())..];
    }
}

fn side(pixels: usize) -> Result<u32, DecodeError> {
    u32::try_from(pixels).map_err(|_| DecodeError::Broken(format!("a side of {pixels} pixels")))
}
