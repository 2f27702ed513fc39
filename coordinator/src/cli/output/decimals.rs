//! How many decimals the measurements of a column have in a table: as many all the way down, so that they compare at a glance. Or those
//! of a row, where things are next to each other.

use super::Cell;

/// So many more decimals than is usual, at most, for the smallest value of a column.
const MORE_MAX: usize = 3;
/// Significant digits that the smallest value keeps at least.
const DIGITS_MIN: i32 = 2;
/// Values from here on are written with an exponent.
const FIXED_BELOW: f64 = 1e6;

/// Of each column; none where its values lie so far apart that each is written by itself, or are no measurements.
pub(super) fn of_columns(rows: &[Vec<Cell>]) -> Vec<Option<usize>> {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    (0..width).map(|place| of_column(rows.iter().filter_map(|row| row.get(place)))).collect()
}

/// Of each row, where a row has the measurements of one kind.
pub(super) fn of_rows(rows: &[Vec<Cell>]) -> Vec<Option<usize>> {
    rows.iter().map(|row| of_column(row.iter())).collect()
}

fn of_column<'c>(cells: impl Iterator<Item = &'c Cell>) -> Option<usize> {
    let (mut usual, mut smallest, mut largest) = (0, f64::INFINITY, 0.0_f64);
    for cell in cells {
        let (Cell::Number(value, decimals) | Cell::Mean(value, decimals, _)) = cell else { continue };
        usual = usual.max(*decimals);
        if value.is_finite() && *value != 0.0 {
            (smallest, largest) = (smallest.min(value.abs()), largest.max(value.abs()));
        }
    }
    if usual == 0 || largest == 0.0 || largest >= FIXED_BELOW {
        return None;
    }
    let first_digit = -(smallest.log10().floor() as i32);
    let needed = usize::try_from(first_digit + DIGITS_MIN - 1).unwrap_or(0).max(usual);
    (needed <= usual + MORE_MAX).then_some(needed)
}

#[cfg(test)]
mod tests {
    use terms::ParameterValue;

    use super::{super::table_of_fields, *};

    fn of(values: &[f64], decimals: usize) -> Option<usize> {
        of_columns(&values.iter().map(|value| vec![Cell::Number(*value, decimals)]).collect::<Vec<_>>())[0]
    }

    #[test]
    fn a_column_has_as_many_decimals_as_its_smallest_value_needs() {
        for (values, decimals, expected) in [
            (&[12.34, 3.1][..], 2, Some(2)),
            (&[12.34, 0.034], 2, Some(3)),
            (&[0.5, 0.0041, 0.0], 2, Some(4)),
            (&[0.98, 0.1], 4, Some(4)),
            // So far apart that one number of decimals would be many.
            (&[12.0, 1e-9], 2, None),
            (&[1e7, 1.0], 2, None),
            (&[f64::NAN, 0.0], 2, None),
        ] {
            assert_eq!(of(values, decimals), expected, "{values:?}");
        }
        assert_eq!(of_columns(&[vec![Cell::Integer(3), Cell::Empty]]), [None, None]);
    }

    #[test]
    fn a_table_of_fields_has_as_many_decimals_across_and_parameters_as_lists_have_them() {
        let best = |rate: f64, batch: i64| {
            let pairs = [("rate", ParameterValue::Float(rate)), ("batch", ParameterValue::Integer(batch))];
            Cell::Point(pairs.map(|(name, value)| (name.to_owned(), value)).into())
        };
        let rows = [
            vec![Cell::Text("best".into()), Cell::Mean(0.98, 4, 1), Cell::Mean(0.001_234, 4, 1)],
            vec![Cell::Text("train_seconds".into()), Cell::Number(3.5, 2), Cell::Number(1234.25, 2)],
            vec![Cell::Text("best_parameters".into()), best(1.0, 32), best(0.5, 4)],
        ];
        let columns = ["sweep", "1", "2"].map(str::to_owned).to_vec();
        insta::assert_snapshot!(table_of_fields(&columns, &rows), @r#"
        SWEEP            1                2
        best             0.9800           0.0012
        train_seconds    3.50             1234.25
        best_parameters  rate=1 batch=32  rate=0.5 batch=4
        "#);
        let formula = Cell::Point(vec![("=a".to_owned(), ParameterValue::Integer(1))]);
        assert_eq!(formula.csv(), "'=a=1");
    }
}
