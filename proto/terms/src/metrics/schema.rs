//! The names of a sweep's metrics.

use std::sync::Arc;

use super::{METRIC_NAME_CHARACTERS_MAX, METRICS_MAX, MetricRow};

/// The names of a sweep's metrics in the order in which they first came. A name keeps its index. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricSchema(Arc<[Arc<str>]>);

/// Why a metric cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricNameError {
    /// There are too many.
    #[error("a sweep has at most {METRICS_MAX} metrics")]
    TooMany,
    /// It is not a valid name.
    #[error(
        "a metric's name has 1 to {METRIC_NAME_CHARACTERS_MAX} characters, none of which is a control character"
    )]
    NoName,
}

impl MetricSchema {
    /// The index of the metric `name`, which is added if it is new.
    ///
    /// # Errors
    /// It is new, and is not a valid name or there is no room.
    pub fn add(&mut self, name: &str) -> Result<usize, MetricNameError> {
        if let Some(index) = self.index(name) {
            return Ok(index);
        }
        if name.is_empty()
            || name.chars().count() > METRIC_NAME_CHARACTERS_MAX
            || name.contains(char::is_control)
        {
            return Err(MetricNameError::NoName);
        }
        if self.0.len() == METRICS_MAX {
            return Err(MetricNameError::TooMany);
        }
        self.0 = self.0.iter().cloned().chain([name.into()]).collect();
        Ok(self.0.len() - 1)
    }

    /// The schema of these names in order.
    ///
    /// # Errors
    /// One of them is not a valid name, or there are too many.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, MetricNameError> {
        let mut schema = Self::default();
        for name in names {
            schema.add(name)?;
        }
        Ok(schema)
    }

    /// The index of the metric `name`.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|known| **known == *name)
    }

    /// The same, faster if the index is `guess`.
    pub fn index_near(&self, guess: usize, name: &str) -> Option<usize> {
        match self.0.get(guess) {
            Some(known) if **known == *name => Some(guess),
            _ => self.index(name),
        }
    }

    /// The names in order.
    pub fn names(&self) -> &[Arc<str>] {
        &self.0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the metric `name` in a row.
    pub fn get(&self, row: &MetricRow, name: &str) -> Option<f64> {
        self.index(name).and_then(|index| row.get(index))
    }

    /// The names and values of a row, without those that are missing.
    pub fn pairs<'a>(&'a self, row: &'a MetricRow) -> impl Iterator<Item = (&'a Arc<str>, f64)> {
        self.0.iter().zip(row.iter()).filter_map(|(name, value)| Some((name, value?)))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::MISSING, *};

    #[test]
    fn a_name_keeps_its_place_and_there_are_a_hundred_at_most() {
        let mut schema = MetricSchema::default();
        for index in 0..METRICS_MAX {
            assert_eq!(schema.add(&format!("metric {index}")), Ok(index));
        }
        assert_eq!(schema.add("metric 7"), Ok(7));
        assert_eq!(schema.add("one more"), Err(MetricNameError::TooMany));
        assert_eq!(
            (schema.index_near(7, "metric 7"), schema.index_near(7, "metric 99")),
            (Some(7), Some(99))
        );
    }

    #[test]
    fn names_are_short_and_plain() {
        let mut schema = MetricSchema::default();
        for good in ["val/loss", "精度", &"語".repeat(100)] {
            assert!(schema.add(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a\nb", "\0", &"x".repeat(101)] {
            assert_eq!(schema.add(bad), Err(MetricNameError::NoName), "{bad:?}");
        }
    }

    #[test]
    fn a_row_is_read_by_name() {
        let schema = MetricSchema::of(["a", "b", "c"]).unwrap();
        let row = MetricRow::new(&[0.5, MISSING, f64::INFINITY]);
        assert_eq!(
            (schema.get(&row, "a"), schema.get(&row, "b"), schema.get(&row, "x")),
            (Some(0.5), None, None)
        );
        let pairs: Vec<_> = schema.pairs(&row).map(|(name, value)| (&**name, value)).collect();
        assert_eq!(pairs, [("a", 0.5), ("c", f64::INFINITY)]);
    }
}
