//! The values of an epoch, and their encoding in a store.

use std::{fmt, ops::Deref, sync::Arc};

use super::METRICS_MAX;

/// Stands for a missing value: a NaN that no arithmetic gives.
pub const MISSING: f64 = f64::from_bits(0x7ff8_6d69_7373_6e67);

/// Bytes of a value in a store.
const VALUE_BYTES: usize = 8;
/// Rows of up to four values, as most epochs have, are stored inline.
const INLINE_BYTES_MAX: usize = 4 * VALUE_BYTES;

/// The values of a sweep's metrics at an epoch, in the order of its [`MetricSchema`](super::MetricSchema), kept bit for
/// bit. A value may be missing; values missing at the end take no space. All NaNs are stored with the same bits.
///
/// It holds the bytes that a store keeps. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MetricRow(RowBytes);

/// The bytes of a row. Cheap to clone: a short row is copied, a long one shared. Several threads hold the row of an epoch
/// at the same time, and counting the holders costs them more than a copy of a few values.
#[derive(Clone)]
pub struct RowBytes(Held);

#[derive(Clone)]
enum Held {
    Inline { length: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Shared(Arc<[u8]>),
}

/// Bytes that do not encode a row of values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are not the values of an epoch")]
pub struct MetricRowError(usize);

impl MetricRow {
    /// A row of values, [`MISSING`] where there is none. Those beyond [`METRICS_MAX`] are dropped.
    pub fn new(values: &[f64]) -> Self {
        let values = &values[..values.len().min(METRICS_MAX)];
        let length = values.iter().rposition(|value| !is_missing(*value)).map_or(0, |last| last + 1);
        let encode = |place: &mut [u8], values: &[f64]| {
            for (place, value) in place.as_chunks_mut::<VALUE_BYTES>().0.iter_mut().zip(values) {
                *place = canonical(*value).to_bits().to_be_bytes();
            }
        };
        let (values, length) = (&values[..length], length * VALUE_BYTES);
        if length <= INLINE_BYTES_MAX {
            let mut bytes = [0; INLINE_BYTES_MAX];
            encode(&mut bytes, values);
            return Self(RowBytes(Held::Inline { length: length as u8, bytes }));
        }
        let mut bytes = [0; METRICS_MAX * VALUE_BYTES];
        encode(&mut bytes, values);
        Self(RowBytes::from(&bytes[..length]))
    }

    /// The value of the metric at this index of the schema; none where it is missing.
    pub fn get(&self, index: usize) -> Option<f64> {
        self.chunks().get(index).copied().and_then(value)
    }

    /// The values in order, up to the last that is not missing.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<f64>> {
        self.chunks().iter().copied().map(value)
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The row as a store keeps it: for each value its IEEE 754 double, the most significant byte first.
    pub fn to_bytes(&self) -> RowBytes {
        self.0.clone()
    }

    /// The row that [`Self::to_bytes`] encoded.
    ///
    /// # Errors
    /// The bytes do not encode a row.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MetricRowError> {
        let (chunks, rest) = bytes.as_chunks::<VALUE_BYTES>();
        let is_canonical = |chunk: &[u8; VALUE_BYTES]| {
            let value = number(*chunk);
            canonical(value).to_bits() == value.to_bits()
        };
        let is_row = rest.is_empty()
            && chunks.len() <= METRICS_MAX
            && chunks.iter().all(is_canonical)
            && !chunks.last().is_some_and(|last| is_missing(number(*last)));
        if is_row { Ok(Self(bytes.into())) } else { Err(MetricRowError(bytes.len())) }
    }

    fn chunks(&self) -> &[[u8; VALUE_BYTES]] {
        self.0.as_chunks().0
    }
}

impl From<&[u8]> for RowBytes {
    fn from(from: &[u8]) -> Self {
        let mut bytes = [0; INLINE_BYTES_MAX];
        match bytes.get_mut(..from.len()) {
            Some(place) => {
                place.copy_from_slice(from);
                Self(Held::Inline { length: from.len() as u8, bytes })
            }
            None => Self(Held::Shared(from.into())),
        }
    }
}

impl Deref for RowBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Held::Shared(bytes) => bytes,
        }
    }
}

impl Default for RowBytes {
    fn default() -> Self {
        Self::from(&[][..])
    }
}

impl PartialEq for RowBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for RowBytes {}

impl fmt::Debug for RowBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Debug for MetricRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn number(bytes: [u8; VALUE_BYTES]) -> f64 {
    f64::from_bits(u64::from_be_bytes(bytes))
}

/// The value that a row holds in these bytes; none where it is missing.
fn value(bytes: [u8; VALUE_BYTES]) -> Option<f64> {
    Some(number(bytes)).filter(|value| !is_missing(*value))
}

fn is_missing(value: f64) -> bool {
    value.to_bits() == MISSING.to_bits()
}

/// The value with the bits that are stored for it.
fn canonical(value: f64) -> f64 {
    if value.is_nan() && !is_missing(value) { f64::NAN } else { value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let bits = prop_oneof![
            4 => any::<u64>(),
            1 => Just(MISSING.to_bits()),
            1 => Just(f64::NAN.to_bits() | 1),
            1 => Just(f64::NEG_INFINITY.to_bits()),
            1 => Just((-0.0_f64).to_bits()),
        ];
        proptest::collection::vec(bits.prop_map(f64::from_bits), 0..=METRICS_MAX)
    }

    proptest! {
        #[test]
        fn a_row_comes_back_bit_for_bit(values in values()) {
            let row = MetricRow::new(&values);
            prop_assert_eq!(&MetricRow::from_bytes(&row.to_bytes()).unwrap(), &row);
            for (index, value) in values.iter().enumerate() {
                let found = row.get(index);
                if is_missing(*value) {
                    prop_assert_eq!(found, None);
                } else if value.is_nan() {
                    prop_assert_eq!(found.map(f64::to_bits), Some(f64::NAN.to_bits()));
                } else {
                    prop_assert_eq!(found.map(f64::to_bits), Some(value.to_bits()));
                }
            }
            prop_assert_eq!(row.get(values.len()), None);
        }

        #[test]
        fn what_is_missing_at_the_end_costs_nothing(values in values(), more in 0_usize..50) {
            let longer = [&values[..], &vec![MISSING; more]].concat();
            prop_assert_eq!(MetricRow::new(&longer).to_bytes(), MetricRow::new(&values).to_bytes());
        }

        #[test]
        fn whatever_bytes_are_a_row_that_gives_them_back_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..900),
        ) {
            if let Ok(row) = MetricRow::from_bytes(&bytes) {
                prop_assert_eq!(&*row.to_bytes(), &bytes[..]);
            }
        }
    }

    #[test]
    fn a_row_that_is_inline_and_one_that_is_shared_are_alike() {
        for count in 0..10 {
            let values: Vec<f64> = (0..count).map(|value| f64::from(value) - 0.5).collect();
            let row = MetricRow::new(&values);
            assert_eq!(row.to_bytes().len(), values.len() * VALUE_BYTES);
            let values: Vec<_> = values.into_iter().map(Some).collect();
            assert_eq!((row.iter().collect::<Vec<_>>(), row.get(count as usize)), (values, None));
            assert_eq!((row.clone(), row.is_empty()), (row, count == 0));
        }
    }

    #[test]
    fn bytes_that_no_row_gives_are_refused() {
        for bytes in [&[0; 7][..], &[0; 8 * 101], &MISSING.to_be_bytes(), &[0xff; 8]] {
            assert!(MetricRow::from_bytes(bytes).is_err(), "{bytes:?}");
        }
    }
}
