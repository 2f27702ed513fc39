//! JPEG with libjpeg's own decoder, which Pillow also uses; others differ in how they enlarge subsampled colours.
//! Decompression is run to its end, so that an error after the last row counts: Pillow refuses that, too.

use std::{
    cell::Cell,
    io::{BufRead, Read},
};

use mozjpeg::{ColorSpace, Decompress};
// Only used for a feature: arithmetic coding.
use mozjpeg_sys as _;

use super::{
    CUT_OFF, DecodeError, KEPT_BYTES_MAX, PIXELS_MAX, Sides, bytes_of, check_size, cmyk_to_rgb, room::Room,
};

/// Most pixels times scans: each scan goes over all pixels, even if it has few bytes, so that one picture could take
/// hours. The largest picture may have three times as many scans as encoders write.
const SCANNED_PIXELS_MAX: u64 = 32 * PIXELS_MAX;
/// Bytes that decoding takes for each pixel, with one scan, and with several, which need all coefficients.
const BYTES_PER_PIXEL: [u64; 2] = [4, 15];

/// Decodes to the start of `pixels`.
pub(super) fn decode(
    bytes: &[u8],
    cut_off: &Cell<bool>,
    room: &mut Room<'_>,
    pixels: &mut Vec<u8>,
) -> Result<Sides, DecodeError> {
    let broken = |error: std::io::Error| DecodeError::Broken(error.to_string());
    let header = Decompress::builder().from_reader(Whole { bytes, cut_off }).map_err(broken)?;
    let (width, height) = (side(header.width())?, side(header.height())?);
    let count = check_size(width, height)?;
    let scans = scans(bytes);
    // Whole blocks are decoded, also at half the resolution for colours.
    let padded = u64::from(width.next_multiple_of(16)) * u64::from(height.next_multiple_of(16));
    if scans * padded > SCANNED_PIXELS_MAX {
        let reason = format!("{scans} scans of {width}×{height} pixels are more than any encoder writes");
        return Err(DecodeError::Broken(reason));
    }
    room.take(count * BYTES_PER_PIXEL[usize::from(scans > 1)]);
    let four_colours = matches!(header.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK);
    let space = if four_colours { ColorSpace::JCS_CMYK } else { ColorSpace::JCS_RGB };
    let mut image = header.to_colorspace(space).map_err(broken)?;
    let needed = bytes_of(width, height);
    if four_colours {
        let mut inks = image.read_scanlines::<u8>().map_err(broken)?;
        // Adobe inverts them, and Pillow assumes that everyone does.
        inks.iter_mut().for_each(|ink| *ink = 255 - *ink);
        *pixels = cmyk_to_rgb(&inks);
    } else if needed > KEPT_BYTES_MAX {
        // Memory is only touched where there are pixels, whatever the header says.
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

/// The number of scans up to the end of the picture, found as libjpeg finds them.
fn scans(bytes: &[u8]) -> u64 {
    const BEGINNING: u8 = 0xd8;
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    let (mut at, mut scans) = (0, 0);
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0xff)) {
        at += found + 1;
        match bytes.get(at) {
            None | Some(&END) => break,
            // Padding before a marker.
            Some(0xff) => {}
            // Part of the pixels, or a marker without a length.
            Some(0 | 1 | 0xd0..=BEGINNING) => at += 1,
            Some(&marker) => {
                scans += u64::from(marker == SCAN);
                let length = bytes.get(at + 1..at + 3).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]));
                at += 1 + usize::from(length);
            }
        }
    }
    scans
}

/// A picture in memory that fails if it ends too early; libjpeg would fill the rest with grey.
struct Whole<'a> {
    bytes: &'a [u8],
    /// Set here, as libjpeg reports every reader's error alike.
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

#[cfg(test)]
mod tests {
    use super::{super::decode_resized, *};

    /// A progressive picture of one colour, whose last scan is repeated `times` times.
    fn with_scans(side: u16, times: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 80);
        encoder.set_progressive(true);
        let pixels = vec![90; usize::from(side) * usize::from(side)];
        encoder.encode(&pixels, side, side, jpeg_encoder::ColorType::Luma).unwrap();
        let last = bytes.windows(2).rposition(|two| two == [0xff, 0xda]).unwrap();
        let scan = bytes[last..bytes.len() - 2].to_vec();
        bytes.truncate(last);
        bytes.extend(scan.repeat(times));
        bytes.extend([0xff, 0xd9]);
        bytes
    }

    #[test]
    fn scans_are_counted_up_to_the_end_of_the_picture() {
        let plain = with_scans(64, 1);
        let count = scans(&plain);
        assert!(count > 1, "{count}");
        assert_eq!(scans(&with_scans(64, 5)), count + 4);
        // In a comment and after the end they do not count.
        let comment =
            [&plain[..2], &[0xff, 0xfe, 0, 6, 0xff, 0xda, 0xff, 0xda], &plain[2..], &plain[..]].concat();
        assert_eq!(scans(&comment), count);
        for cut in 0..plain.len() {
            assert!(scans(&plain[..cut]) <= count);
        }
    }

    #[test]
    fn a_picture_of_more_scans_than_anyone_writes_is_corrupt() {
        assert_eq!(decode_resized(&with_scans(64, 50), 8).unwrap().len(), 192);
        let error = decode_resized(&with_scans(8192, 100), 8).unwrap_err().to_string();
        assert!(error.contains("scans of 8192×8192 pixels are more"), "{error}");
    }
}
