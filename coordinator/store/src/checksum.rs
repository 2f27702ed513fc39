//! The checksum of a row: databases detect corruption of their structure, not of a number.

use super::tables::Value;

/// Bytes of a usual row.
const ROW_BYTES: usize = 512;

/// CRC-32 over the values, each preceded by its kind and length, as a signed number, which SQLite stores in four bytes.
pub(super) fn checksum(row: &[Value<'_>]) -> i64 {
    crc32(row, one_zero).cast_signed().into()
}

/// Whether a number is the checksum of a row. Older versions wrote it unsigned, and over the signs of zeros.
pub(super) fn is_checksum(found: i64, row: &[Value<'_>]) -> bool {
    let is = |crc: u32| found == i64::from(crc.cast_signed()) || found == i64::from(crc);
    is(crc32(row, one_zero)) || is(crc32(row, |number| number))
}

/// SQLite keeps no sign of a zero, so a row's checksum knows one zero.
fn one_zero(number: f64) -> f64 {
    if number == 0.0 { 0.0 } else { number }
}

fn crc32(row: &[Value<'_>], real: fn(f64) -> f64) -> u32 {
    // One buffer, because a checksum over many short pieces takes several times as long.
    let mut bytes = Vec::with_capacity(ROW_BYTES);
    // Trailing columns of later versions do not count while they are empty.
    let is_there = |value: &Value<'_>| {
        !matches!(value, Value::Added(None) | Value::AddedText(None) | Value::AddedReal(None))
    };
    let length = row.iter().rposition(is_there).map_or(0, |last| last + 1);
    for value in &row[..length] {
        let (kind, integer, piece) = match value {
            Value::Integer(value) => (b'i', value.map(i64::to_le_bytes), None),
            Value::Boolean(value) => (b'i', Some(i64::from(*value).to_le_bytes()), None),
            Value::Real(value) => (b'r', value.map(|number| real(number).to_le_bytes()), None),
            Value::Added(value) => (b'a', value.map(i64::to_le_bytes), None),
            Value::AddedReal(value) => (b'A', value.map(|number| real(number).to_le_bytes()), None),
            Value::Text(value) => (b't', None, value.map(str::as_bytes)),
            Value::AddedText(value) => (b'T', None, value.map(str::as_bytes)),
            Value::Bytes(value) => (b'b', None, *value),
        };
        match integer.as_ref().map(<[u8; 8]>::as_slice).or(piece) {
            Some(value) => {
                bytes.push(kind);
                bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
                bytes.extend_from_slice(value);
            }
            None => bytes.push(b'n'),
        }
    }
    crc32fast::hash(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_came_later_changes_no_older_rows_checksum_and_is_not_taken_for_another() {
        let older = [Value::Integer(Some(1)), Value::Real(Some(0.5))];
        let with = |added: &[Value<'_>]| checksum(&[&older[..], added].concat());
        let (packed, nothing) = (Value::Added(Some(3)), Value::AddedText(None));
        assert_eq!(with(&[Value::Added(None), nothing]), checksum(&older));
        assert_eq!(with(&[packed, nothing]), with(&[packed]));
        let some = Value::AddedText(Some("x"));
        let different =
            [with(&[some, nothing]), with(&[nothing, some]), with(&[some, some]), checksum(&older)];
        for (place, one) in different.iter().enumerate() {
            assert!(!different[..place].contains(one), "{place}");
        }
    }

    #[test]
    fn zeros_have_one_checksum_and_that_of_an_older_row_over_the_sign_is_known() {
        let (plain, signed) = ([Value::Real(Some(0.0))], [Value::Real(Some(-0.0))]);
        assert_eq!(checksum(&plain), checksum(&signed));
        let older = i64::from(crc32(&signed, |number| number).cast_signed());
        assert!(older != checksum(&signed) && is_checksum(older, &signed) && !is_checksum(older, &plain));
    }

    #[test]
    fn a_checksum_of_either_sign_is_known_and_another_is_not() {
        for number in 0..100 {
            let row = [Value::Integer(Some(number))];
            let crc = crc32(&row, one_zero);
            assert!(is_checksum(checksum(&row), &row) && is_checksum(crc.into(), &row));
            assert!(!is_checksum(i64::from(crc) | 1 << 40, &row) && !is_checksum(i64::from(crc ^ 1), &row));
        }
    }
}
