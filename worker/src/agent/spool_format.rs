//! The bytes of a spool's file. Header: magic, the first number that is not acknowledged, a number below which no new
//! event may be, checksum. Then records: length of the payload, its CRC-32, the payload, an encoded `v1::Event`. All
//! integers are little-endian.

use prost::Message;
use proto::v1;

/// Distinguishes a spool from other files, and its format from later ones.
const MAGIC: &[u8; 8] = b"SWSPOOL1";

/// Bytes of the header; it fits a disk sector, so that it is written as a whole.
pub(crate) const HEADER_BYTES: usize = 8 + 8 + 8 + 4;

/// Bytes before the payload of a record.
const PREFIX_BYTES: usize = 4 + 4;

/// Bytes that a message adds to its event, with a margin.
const MESSAGE_BYTES: usize = 64;

/// Longest event, in bytes: what a coordinator accepts. The largest holds 50 log lines or a line of class names, 1 MiB.
pub(crate) const EVENT_BYTES_MAX: usize = terms::WORKER_MESSAGE_BYTES_MAX - MESSAGE_BYTES;

pub(crate) fn header(first_unacknowledged: u64, next_sequence: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(first_unacknowledged.to_le_bytes());
    bytes.extend(next_sequence.to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// A record of an event of at most [`EVENT_BYTES_MAX`].
pub(crate) fn record(event: &v1::Event) -> Vec<u8> {
    let payload = event.encode_to_vec();
    let length = u32::try_from(payload.len()).expect("the spool takes no event of more than EVENT_BYTES_MAX");
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + payload.len());
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32fast::hash(&payload).to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// The content of a spool's file.
#[derive(Debug, PartialEq)]
pub(crate) struct Read {
    /// Events below this number are acknowledged.
    pub(crate) first_unacknowledged: u64,
    /// No new event may have a lower number.
    pub(crate) next_sequence: u64,
    /// The complete records, by growing numbers.
    pub(crate) events: Vec<v1::Event>,
    /// Bytes after the last complete record.
    pub(crate) torn_bytes: usize,
}

/// Reads a file's content up to the first incomplete record; `None` if it is not a spool.
pub(crate) fn read_all(content: &[u8]) -> Option<Read> {
    let (head, mut rest) = content.split_at_checked(HEADER_BYTES)?;
    if !head.starts_with(MAGIC) {
        return None;
    }
    let (fields, checksum) = head.split_at(HEADER_BYTES - 4);
    // A corrupt header acknowledges nothing: events are sent again, which does no harm.
    let is_whole = checksum == crc32fast::hash(fields).to_le_bytes();
    let field = |at: usize| fields[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    let (first_unacknowledged, next_sequence) = if is_whole { (field(8)?, field(16)?) } else { (1, 1) };
    let mut events: Vec<v1::Event> = Vec::new();
    while let Some((event, after)) = read_record(rest) {
        if events.last().is_some_and(|last| last.sequence >= event.sequence) {
            break;
        }
        events.push(event);
        rest = after;
    }
    Some(Read { first_unacknowledged, next_sequence, events, torn_bytes: rest.len() })
}

fn read_record(bytes: &[u8]) -> Option<(v1::Event, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    // Of any length: a version without a bound may have written it, and the records that follow must not be lost.
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (payload, rest) = rest.split_at_checked(length)?;
    let is_whole = crc32fast::hash(payload).to_le_bytes() == *checksum;
    let event = v1::Event::decode(payload).ok().filter(|event| is_whole && event.sequence > 0)?;
    Some((event, rest))
}
