//! Functional analysis of variance of a complete grid, which needs no model of the results: each main effect is the variance of the means
//! by one parameter's values, as a share of the variance between all points. (F. Hutter, H. Hoos, K. Leyton-Brown, An Efficient Approach for
//! Assessing Hyperparameter Importance, ICML 2014, <https://proceedings.mlr.press/v32/hutter14.html>, with the values themselves in place
//! of a forest's.)

use super::{
    frame::{ABSENT, Frame, Parameter},
    points::Point,
    statistics::are_equal,
};

/// The parameters of a complete grid, each with the code of every point.
#[derive(Debug)]
pub(crate) struct Grid {
    columns: Vec<(Vec<u32>, usize)>,
}

impl Grid {
    /// None where a point of the grid of these parameters' values is missing or has no value.
    pub(crate) fn of(frame: &Frame, points: &[Point], varying: &[&Parameter]) -> Option<Self> {
        let mut cells = 1_usize;
        for parameter in varying {
            cells = cells.checked_mul(parameter.count)?;
        }
        let has_all = points.iter().all(|point| {
            point.is_counted() && varying.iter().all(|parameter| parameter.codes[point.row] != ABSENT)
        });
        if cells != points.len() || !has_all || frame.parameters.is_empty() {
            return None;
        }
        let column = |parameter: &&Parameter| {
            let codes = points.iter().map(|point| parameter.codes[point.row]).collect();
            (codes, parameter.count)
        };
        Some(Self { columns: varying.iter().map(column).collect() })
    }

    /// The share of each parameter's main effect, for one value a point; none where all are the same but for their rounding, or so large that
    /// their squares are not finite.
    pub(crate) fn shares(&self, values: &[f64]) -> Option<Vec<f64>> {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let total = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        // So small that their squares are 0.
        let is_nothing = are_equal(values) || total <= 0.0;
        if is_nothing || !total.is_finite() {
            return None;
        }
        let share = |(codes, count): &(Vec<u32>, usize)| {
            let mut sums = vec![0.0; *count];
            for (code, value) in codes.iter().zip(values) {
                sums[*code as usize] += value - mean;
            }
            // As many points have each value.
            let each = (values.len() / count) as f64;
            sums.iter().map(|sum| (sum / each).powi(2)).sum::<f64>() / *count as f64 / total
        };
        Some(self.columns.iter().map(share).collect())
    }

    /// The share that each parameter's main effect has on average where values differ by nothing but chance: its `k - 1` degrees of freedom, for
    /// `k` values, over the `N - 1` of all points. Values that could as well be in any other order have, over all orders, the same part of
    /// their variance in each direction that is at right angles to their mean; an effect takes `k - 1` of those `N - 1`.
    pub(crate) fn by_chance(&self) -> Vec<f64> {
        let of = |(codes, count): &(Vec<u32>, usize)| (count - 1) as f64 / (codes.len() - 1) as f64;
        self.columns.iter().map(of).collect()
    }

    /// The share of what two columns bring together and neither by itself, for values of which there are shares.
    pub(crate) fn interaction(&self, values: &[f64], first: usize, second: usize) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let total = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        let ((rows, row_count), (columns, column_count)) = (&self.columns[first], &self.columns[second]);
        let (mut by_row, mut by_column) = (vec![0.0; *row_count], vec![0.0; *column_count]);
        let mut by_both = vec![0.0; row_count * column_count];
        for ((row, column), value) in rows.iter().zip(columns).zip(values) {
            let (row, column, value) = (*row as usize, *column as usize, value - mean);
            by_row[row] += value;
            by_column[column] += value;
            by_both[row * column_count + column] += value;
        }
        // As many points have each value, and each two of them.
        let each = |groups: usize| (values.len() / groups) as f64;
        let beyond = |(place, sum): (usize, &f64)| {
            let (row, column) = (place / column_count, place % column_count);
            sum / each(row_count * column_count)
                - by_row[row] / each(*row_count)
                - by_column[column] / each(*column_count)
        };
        let squares: f64 = by_both.iter().enumerate().map(beyond).map(|beyond| beyond * beyond).sum();
        squares / by_both.len() as f64 / total
    }
}
