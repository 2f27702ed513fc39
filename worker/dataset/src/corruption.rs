//! Corrupted bytes, for tests of code that reads bytes.

use proptest::prelude::*;

/// One way to corrupt bytes; positions are shares of their length, so that they shrink well.
#[derive(Debug, Clone)]
enum Corruption {
    Flip { place: u16, bit: u8 },
    Overwrite { place: u16, bytes: Vec<u8> },
    Insert { place: u16, bytes: Vec<u8> },
    Remove { place: u16, length: u16 },
    Repeat { place: u16, length: u16 },
    Cut { place: u16 },
}

fn corruption() -> impl Strategy<Value = Corruption> {
    let bytes = || prop::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 1..16);
    prop_oneof![
        4 => (any::<u16>(), 0..8u8).prop_map(|(place, bit)| Corruption::Flip { place, bit }),
        3 => (any::<u16>(), bytes()).prop_map(|(place, bytes)| Corruption::Overwrite { place, bytes }),
        1 => (any::<u16>(), bytes()).prop_map(|(place, bytes)| Corruption::Insert { place, bytes }),
        1 => (any::<u16>(), 1..300u16).prop_map(|(place, length)| Corruption::Remove { place, length }),
        1 => (any::<u16>(), 1..300u16).prop_map(|(place, length)| Corruption::Repeat { place, length }),
        1 => any::<u16>().prop_map(|place| Corruption::Cut { place }),
    ]
}

/// `whole` after some corruptions, or random bytes.
pub(crate) fn corrupted(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let corrupted = prop::collection::vec(corruption(), 1..6).prop_map(move |corruptions| {
        let mut bytes = whole.clone();
        corruptions.into_iter().for_each(|corruption| apply(&mut bytes, corruption));
        bytes
    });
    prop_oneof![9 => corrupted, 1 => prop::collection::vec(any::<u8>(), 0..2_000)]
}

fn apply(bytes: &mut Vec<u8>, corruption: Corruption) {
    let at = |place: u16, bytes: &[u8]| bytes.len() * usize::from(place) / (usize::from(u16::MAX) + 1);
    match corruption {
        Corruption::Flip { place, bit } => {
            let at = at(place, bytes);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        Corruption::Overwrite { place, bytes: new } => {
            let at = at(place, bytes);
            bytes.iter_mut().skip(at).zip(new).for_each(|(byte, new)| *byte = new);
        }
        Corruption::Insert { place, bytes: new } => {
            let at = at(place, bytes);
            bytes.splice(at..at, new);
        }
        Corruption::Remove { place, length } => {
            let at = at(place, bytes);
            bytes.drain(at..(at + usize::from(length)).min(bytes.len()));
        }
        Corruption::Repeat { place, length } => {
            let at = at(place, bytes);
            bytes.extend_from_within(at..(at + usize::from(length)).min(bytes.len()));
        }
        Corruption::Cut { place } => bytes.truncate(at(place, bytes)),
    }
}
