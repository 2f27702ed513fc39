//! GIF: the first picture of a file, converted to RGB as Pillow does. Some files have another ending.

use std::{io, num::NonZeroU64};

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use super::{CUT_OFF, DECODE_BYTES_MAX, DecodeError, Sides, check_size, room::Room};

/// Bytes that decoding takes for each pixel: its index and its colour.
const BYTES_PER_PIXEL: u64 = 4;
/// Bytes of a colour in a palette.
const COLOUR_BYTES: usize = 3;

/// Decodes to the start of `pixels`.
pub(super) fn decode(bytes: &[u8], room: &mut Room<'_>, pixels: &mut Vec<u8>) -> Result<Sides, DecodeError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    if let Some(limit) = NonZeroU64::new(DECODE_BYTES_MAX) {
        options.set_memory_limit(MemoryLimit::Bytes(limit));
    }
    let mut decoder = options.read_info(bytes).map_err(|error| broken(&error))?;
    let screen = (u32::from(decoder.width()), u32::from(decoder.height()));
    let frame = decoder.next_frame_info().map_err(|error| broken(&error))?;
    let frame = frame.ok_or_else(|| DecodeError::Broken("it holds no picture".to_owned()))?;
    let (left, top) = (u32::from(frame.left), u32::from(frame.top));
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    let (transparent, palette) = (frame.transparent, frame.palette.clone());
    // A picture that is larger than its screen enlarges the screen.
    let (whole_width, whole_height) = (screen.0.max(left + width), screen.1.max(top + height));
    check_size(width, height)?;
    let whole = check_size(whole_width, whole_height)?;
    room.take(whole * BYTES_PER_PIXEL);
    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices).map_err(|error| broken(&error))?;
    let palette = palette.or_else(|| decoder.global_palette().map(<[u8]>::to_vec)).unwrap_or_default();

    let around = colour(&palette, transparent.unwrap_or(0));
    *pixels = around.repeat(whole_width as usize * whole_height as usize);
    let (left, top, width) = (left as usize, top as usize, width as usize);
    for (y, row) in indices.chunks_exact(width).enumerate() {
        let start = ((top + y) * whole_width as usize + left) * COLOUR_BYTES;
        let target = pixels[start..start + width * COLOUR_BYTES].chunks_exact_mut(COLOUR_BYTES);
        target.zip(row).for_each(|(pixel, index)| pixel.copy_from_slice(&colour(&palette, *index)));
    }
    Ok((whole_width, whole_height))
}

/// The colour with this index; black beyond the palette, as in Pillow.
fn colour(palette: &[u8], index: u8) -> [u8; COLOUR_BYTES] {
    let start = usize::from(index) * COLOUR_BYTES;
    palette.get(start..start + COLOUR_BYTES).map_or([0; 3], |colour| [colour[0], colour[1], colour[2]])
}

fn broken(error: &DecodingError) -> DecodeError {
    let is_cut_off = match error {
        DecodingError::UnexpectedEof => true,
        DecodingError::Io(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        _ => false,
    };
    DecodeError::Broken(if is_cut_off { CUT_OFF.to_owned() } else { error.to_string() })
}
