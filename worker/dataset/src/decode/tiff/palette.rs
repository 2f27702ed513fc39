//! The crate `tiff` reads no pictures with a palette, although their samples are stored like grey ones. So the first
//! directory is changed to say that they are grey, and the colours are filled in afterwards.

/// Tag of the meaning of samples, and its values for a palette and for grey where 0 is black.
const PHOTOMETRIC: u16 = 262;
const PALETTE: u16 = 3;
const GREY: u16 = 1;

/// The same file as a grey one, if its first picture has a palette.
pub(super) fn as_grey(bytes: &[u8]) -> Option<Vec<u8>> {
    let reader = Reader { bytes, little: bytes.first() == Some(&b'I') };
    let big = reader.u16(2)? == 43;
    let (directory, head, entry) =
        if big { (reader.u64(8)?, 8, 20) } else { (u64::from(reader.u32(4)?), 2, 12) };
    let directory = usize::try_from(directory).ok()?;
    let entries =
        if big { usize::try_from(reader.u64(directory)?).ok()? } else { reader.u16(directory)?.into() };
    // A directory has some twenty entries, and no more than fit into the file.
    for number in 0..entries.min(bytes.len() / entry) {
        let at = directory.checked_add(head + number * entry)?;
        if reader.u16(at)? != PHOTOMETRIC {
            continue;
        }
        let value = at + if big { 12 } else { 8 };
        if reader.u16(value)? != PALETTE {
            return None;
        }
        let grey = if reader.little { GREY.to_le_bytes() } else { GREY.to_be_bytes() };
        let mut changed = bytes.to_vec();
        changed[value..value + 2].copy_from_slice(&grey);
        return Some(changed);
    }
    None
}

struct Reader<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl Reader<'_> {
    fn take<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut taken: [u8; N] = self.bytes.get(at..at.checked_add(N)?)?.try_into().ok()?;
        if !self.little {
            taken.reverse();
        }
        Some(taken)
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.take(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.take(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.take(at).map(u64::from_le_bytes)
    }
}
