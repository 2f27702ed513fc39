//! The values of an epoch, and their encoding in a store.

use std::{fmt, sync::Arc};

use super::METRICS_MAX;

/// Stands for a missing value: a NaN that no arithmetic gives.
pub const MISSING: f64 = f64::from_bits(0x7ff8_6d69_7373_6e67);

/// Bytes of a value in a store.
const VALUE_BYTES: usize = 8;

/// The values of a sweep's metrics at an epoch, in the order of its [`MetricSchema`](super::MetricSchema), kept bit for
/// bit. A value may be missing; values missing at the end take no space. All NaNs are stored with the same bits.
///
/// It holds the bytes that a store keeps, so that an epoch is stored without copying them. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MetricRow(Arc<[u8]>);

/// Bytes that do not encode a row of values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are not the values of an epoch")]
pub struct MetricRowError(usize);

impl MetricRow {
    /// A row of values, [`MISSING`] where there is none. Those beyond [`METRICS_MAX`] are dropped.
    pub fn new(values: &[f64]) -> Self {
        let values = &values[..values.len().min(METRICS_MAX)];
        let length = values.iter().rposition(|value| !is_missing(*value)).map_or(0, |last| last + 1);
        let mut bytes = [0; METRICS_MAX * VALUE_BYTES];
        for (bytes, value) in bytes.as_chunks_mut::<VALUE_BYTES>().0.iter_mut().zip(&values[..length]) {
            *bytes = canonical(*value).to_bits().to_be_bytes();
        }
        Self(bytes[..length * VALUE_BYTES].into())
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

    /// The row as a store keeps it: for each value its IEEE 754 double, the most significant byte first. Costs nothing.
    pub fn to_bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.0)
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
    fn bytes_that_no_row_gives_are_refused() {
        for bytes in [&[0; 7][..], &[0; 8 * 101], &MISSING.to_be_bytes(), &[0xff; 8]] {
            assert!(MetricRow::from_bytes(bytes).is_err(), "{bytes:?}");
        }
    }
}
