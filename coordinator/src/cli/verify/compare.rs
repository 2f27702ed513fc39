//! The numbers of a job as they are recorded, and as they came out when it was trained again. Times are not compared.

use proto::v1;
use report::view;
use serde_json::{Value, json};
use terminal::text;

/// Differences that are named: the first explain the others.
const NAMED_MAX: usize = 20;

/// How many images shares of images may be apart: a class that is decided by rounding is one.
pub(super) const IMAGES_APART: u8 = 3;

/// How far values may be apart and still be the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tolerance {
    /// As a share of the larger one; with 0, values are equal to the bit.
    pub(super) share: f64,
    /// The metrics that are shares of so many images.
    image_metrics: Vec<String>,
    images: u64,
}

impl From<f64> for Tolerance {
    fn from(share: f64) -> Self {
        Self { share, ..Self::default() }
    }
}

/// Whether two values are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Same,
    /// By a few images, and not by the tolerance.
    ByImages,
    Differs,
}

/// A value that is not the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    epoch: u32,
    metric: String,
    /// None where the epoch has no such value.
    recorded: Option<f64>,
    computed: Option<f64>,
}

/// What a comparison found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Comparison {
    pub(super) epochs: u32,
    /// How many values were compared.
    pub(super) values: u64,
    pub(super) differing: u64,
    /// How many are further apart than the tolerance, and count as equal as they are shares of so many images and a few of those apart.
    pub(super) by_images: u64,
    pub(super) images: u64,
    /// The first of those that differ.
    differences: Vec<Difference>,
}

impl Difference {
    /// For people: where it is, and both values.
    fn words(&self) -> String {
        let value = |value: Option<f64>| value.map_or("no value".to_owned(), |value| value.to_string());
        format!(
            "epoch {}, {}: {} is recorded, {} came out here",
            self.epoch,
            text::line(&self.metric),
            value(self.recorded),
            value(self.computed)
        )
    }

    fn object(&self) -> Value {
        json!({
            "epoch": self.epoch,
            "metric": self.metric,
            "recorded": view::number(self.recorded),
            "computed": view::number(self.computed),
        })
    }
}

impl Comparison {
    /// Compares the first epochs in all of these metrics.
    pub(super) fn of(
        recorded: &[v1::EpochRecord],
        computed: &[v1::EpochRecord],
        metrics: &[String],
        epochs: u32,
        tolerance: &Tolerance,
    ) -> Self {
        let mut found = Self { epochs, images: tolerance.images, ..Self::default() };
        for number in 1..=epochs {
            let (before, here) = (at(recorded, number), at(computed, number));
            for metric in metrics {
                let value =
                    |record: Option<&v1::EpochRecord>| record.and_then(|record| record.metric(metric));
                let (one, other) = (value(before), value(here));
                if one.is_none() && other.is_none() {
                    continue;
                }
                found.values += 1;
                match tolerance.fit(metric, one, other) {
                    Fit::Same => {}
                    Fit::ByImages => found.by_images += 1,
                    Fit::Differs => {
                        let metric = metric.clone();
                        found.differs(Difference { epoch: number, metric, recorded: one, computed: other });
                    }
                }
            }
        }
        found
    }

    fn differs(&mut self, difference: Difference) {
        self.differing += 1;
        if self.differences.len() < NAMED_MAX {
            self.differences.push(difference);
        }
    }

    /// One line for each difference that is named.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.differences.iter().map(Difference::words).collect();
        let left_out = self.differing.saturating_sub(self.differences.len() as u64);
        if left_out > 0 {
            lines.push(format!("and {left_out} more"));
        }
        lines
    }

    /// The same as JSON.
    pub(super) fn named(&self) -> Vec<Value> {
        self.differences.iter().map(Difference::object).collect()
    }

    /// Where the first difference is.
    pub(super) fn first(&self) -> Option<(u32, &str)> {
        self.differences.first().map(|first| (first.epoch, first.metric.as_str()))
    }
}

/// The record of an epoch: they come in order, each once.
fn at(records: &[v1::EpochRecord], number: u32) -> Option<&v1::EpochRecord> {
    records.get(number as usize - 1).filter(|record| record.epoch == number)
}

impl Tolerance {
    /// Also lets the shares of these many images, which these metrics are, be apart by a few of them.
    pub(super) fn and_images(self, metrics: Vec<String>, images: u64) -> Self {
        Self { image_metrics: if images > 0 { metrics } else { Vec::new() }, images, ..self }
    }

    fn fit(&self, metric: &str, one: Option<f64>, other: Option<f64>) -> Fit {
        let (one, other) = match (one, other) {
            (Some(one), Some(other)) => (one, other),
            (None, None) => return Fit::Same,
            _ => return Fit::Differs,
        };
        if one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan()) {
            return Fit::Same;
        }
        if self.share <= 0.0 || !one.is_finite() || !other.is_finite() {
            return Fit::Differs;
        }
        let apart = (one - other).abs();
        if apart <= self.share * one.abs().max(other.abs()) {
            return Fit::Same;
        }
        // Shares are rounded: half an image is less than one, and more than that.
        let are_near = apart * self.images as f64 <= f64::from(IMAGES_APART) + 0.5;
        let is_of_images = self.image_metrics.iter().any(|name| name == metric);
        if is_of_images && are_near { Fit::ByImages } else { Fit::Differs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u32, values: &[(&str, f64)]) -> v1::EpochRecord {
        let value =
            |(name, value): &(&str, f64)| v1::MetricValue { name: (*name).to_owned().into(), value: *value };
        v1::EpochRecord {
            epoch,
            metrics_are_named: true,
            metrics: values.iter().map(value).collect(),
            epoch_seconds: f64::from(epoch) * 0.3,
            ..v1::EpochRecord::default()
        }
    }

    fn compared(recorded: &[v1::EpochRecord], computed: &[v1::EpochRecord], tolerance: f64) -> Comparison {
        Comparison::of(recorded, computed, &["loss".to_owned(), "f1".to_owned()], 2, &tolerance.into())
    }

    #[test]
    fn values_are_the_same_to_the_bit_and_times_do_not_count() {
        let one = [record(1, &[("loss", 0.1)]), record(2, &[("loss", f64::NAN), ("f1", 1.0)])];
        let mut other = one.clone();
        other[0].epoch_seconds = 9.0;
        assert_eq!(
            compared(&one, &other, 0.0),
            Comparison { epochs: 2, values: 3, ..Comparison::default() },
            "a value that neither has is none"
        );
        other[0].metrics[0].value = f64::from_bits(0.1_f64.to_bits() + 1);
        let found = compared(&one, &other, 0.0);
        assert_eq!((found.values, found.differing, found.first()), (3, 1, Some((1, "loss"))));
        assert_eq!(found.lines(), ["epoch 1, loss: 0.1 is recorded, 0.10000000000000002 came out here"]);
        assert_eq!(compared(&one, &other, 1e-9).differing, 0, "within a tolerance");
        let zero = |value| [record(1, &[("loss", value)]), record(2, &[("loss", 1.0)])];
        assert_eq!(compared(&zero(0.0), &zero(-0.0), 0.0).differing, 1, "also the sign of a zero");
    }

    #[test]
    fn a_tolerance_is_a_share_of_the_larger_value_and_never_makes_a_number_of_nothing() {
        let with = |value| [record(1, &[("loss", value)]), record(2, &[("loss", 1.0)])];
        for (one, other, differing) in
            [(1.0, 1.019, 0), (1.0, 1.03, 1), (-1.0, 1.0, 1), (0.0, 1e-9, 1), (f64::INFINITY, 1.0, 1)]
        {
            assert_eq!(compared(&with(one), &with(other), 0.02).differing, differing, "{one} {other}");
        }
        assert_eq!(compared(&with(f64::NAN), &with(1.0), 0.02).differing, 1);
    }

    #[test]
    fn shares_of_images_may_be_a_few_images_apart_and_nothing_else_may() {
        let with = |value| [record(1, &[("loss", value), ("f1", value)])];
        let metrics = ["loss".to_owned(), "f1".to_owned()];
        let differing = |share: f64, other| {
            let tolerance = Tolerance::from(share).and_images(vec!["f1".to_owned()], 100);
            Comparison::of(&with(0.10), &with(other), &metrics, 1, &tolerance).differing
        };
        assert_eq!(differing(0.02, 0.13), 1, "the loss alone");
        assert_eq!(differing(0.02, 0.14), 2, "four images");
        assert_eq!(differing(0.0, 0.11), 2, "to the bit");
        let of = |other| {
            let tolerance = Tolerance::from(0.02).and_images(vec!["f1".to_owned()], 100);
            let found = Comparison::of(&with(0.10), &with(other), &metrics, 1, &tolerance);
            (found.by_images, found.images)
        };
        assert_eq!(
            (of(0.101), of(0.13), of(0.14)),
            ((0, 100), (1, 100), (0, 100)),
            "what the tolerance alone lets through does not count"
        );
        let none = Tolerance::from(0.02).and_images(vec!["f1".to_owned()], 0);
        assert_eq!(
            Comparison::of(&with(0.1), &with(0.9), &metrics, 1, &none).differing,
            2,
            "no image is known"
        );
    }

    #[test]
    fn values_and_epochs_that_are_missing_differ() {
        let one = [record(1, &[("loss", 0.5), ("f1", 1.0)]), record(2, &[("loss", 0.25)])];
        let found = compared(&one, &[record(1, &[("loss", 0.5)])], 0.0);
        assert_eq!((found.values, found.differing), (3, 2));
        assert_eq!(found.lines()[0], "epoch 1, f1: 1 is recorded, no value came out here");
        assert_eq!(
            found.named()[1],
            json!({"epoch": 2, "metric": "loss", "recorded": 0.25, "computed": null})
        );
    }

    #[test]
    fn the_first_differences_are_named_and_the_others_counted() {
        let records =
            |value: f64| (1..=30).map(|epoch| record(epoch, &[("loss", value)])).collect::<Vec<_>>();
        let found = Comparison::of(&records(1.0), &records(2.0), &["loss".to_owned()], 30, &0.0.into());
        assert_eq!((found.differing, found.lines().len()), (30, NAMED_MAX + 1));
        assert_eq!(found.lines()[NAMED_MAX], "and 10 more");
    }
}
