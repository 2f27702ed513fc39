//! Epochs and their metrics on the wire. A message may come from a program that knows only SimpleCNN's four metrics,
//! and such a program understands what is sent as far as it has those four.

use terms::{
    Epoch, EpochReport, METRICS_REPORTED_MAX, MetricName, MetricRow, MetricSchema, ReportedMetrics,
    metrics::known::{TRAIN_ACCURACY, TRAIN_LOSS, VAL_ACCURACY, VAL_LOSS},
};

use crate::v1;

impl v1::EpochRecord {
    /// The value of the metric `name`, also in a record of a program that knows only SimpleCNN's four.
    pub fn metric(&self, name: &str) -> Option<f64> {
        if self.has_names() {
            return self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value);
        }
        match name {
            TRAIN_LOSS => Some(self.train_loss),
            VAL_ACCURACY => Some(self.val_accuracy),
            VAL_LOSS => self.val_loss,
            TRAIN_ACCURACY => self.train_accuracy,
            _ => None,
        }
    }

    fn has_names(&self) -> bool {
        self.metrics_are_named || !self.metrics.is_empty()
    }

    /// A record whose fields hold all of these metrics, as in older programs; none if they cannot. It is half as long as one
    /// with names, and its reader allocates none of them for each epoch of a sweep of SimpleCNN.
    fn without_names<'n>(
        epoch: u32,
        epoch_seconds: f64,
        mut metrics: impl Iterator<Item = (&'n str, f64)>,
    ) -> Option<Self> {
        // Readers of the fields expect finite numbers, and a negative zero would lose its sign.
        let is_kept = |value: f64| value.is_finite() && value.to_bits() != (-0.0_f64).to_bits();
        let mut next = metrics.next();
        let mut take = |name| {
            let (_, value) = next.filter(|(found, value)| *found == name && is_kept(*value))?;
            next = metrics.next();
            Some(value)
        };
        let record = Self {
            epoch,
            epoch_seconds,
            train_loss: take(TRAIN_LOSS)?,
            val_accuracy: take(VAL_ACCURACY)?,
            val_loss: take(VAL_LOSS),
            train_accuracy: take(TRAIN_ACCURACY),
            ..Self::default()
        };
        next.is_none().then_some(record)
    }

    /// A record of these metrics, with those of the four names repeated in their fields.
    fn named(epoch: u32, epoch_seconds: f64, metrics: Vec<v1::MetricValue>) -> Self {
        let mut record = Self { epoch, epoch_seconds, metrics_are_named: true, ..Self::default() };
        for metric in &metrics {
            match metric.name.as_str() {
                TRAIN_LOSS => record.train_loss = metric.value,
                VAL_ACCURACY => record.val_accuracy = metric.value,
                // Programs that read these fields expect a finite number there.
                VAL_LOSS => record.val_loss = Some(metric.value).filter(|value| value.is_finite()),
                TRAIN_ACCURACY => record.train_accuracy = Some(metric.value),
                _ => {}
            }
        }
        record.metrics = metrics;
        record
    }
}

impl From<v1::EpochRecord> for EpochReport {
    fn from(wire: v1::EpochRecord) -> Self {
        let (number, seconds) = (wire.epoch, wire.epoch_seconds);
        let mut metrics = ReportedMetrics::new();
        if wire.has_names() {
            let named = wire.metrics.into_iter().take(METRICS_REPORTED_MAX);
            metrics.extend(named.map(|metric| (metric.name, metric.value)));
        } else {
            for (name, value) in [
                (TRAIN_LOSS, Some(wire.train_loss)),
                (VAL_ACCURACY, Some(wire.val_accuracy)),
                (VAL_LOSS, wire.val_loss),
                (TRAIN_ACCURACY, wire.train_accuracy),
            ] {
                if let Some(value) = value {
                    metrics.push((MetricName::new_static(name), value));
                }
            }
        }
        Self { number, seconds, metrics }
    }
}

impl From<EpochReport> for v1::EpochRecord {
    fn from(report: EpochReport) -> Self {
        let EpochReport { number, seconds, metrics } = report;
        let pairs = metrics.iter().map(|(name, value)| (&**name, *value));
        if let Some(record) = Self::without_names(number, seconds, pairs) {
            return record;
        }
        let metrics = metrics.into_iter().map(|(name, value)| v1::MetricValue { name, value });
        Self::named(number, seconds, metrics.collect())
    }
}

/// The values of a row with their names, without those that are missing.
pub fn metrics_to_wire(schema: &MetricSchema, row: &MetricRow) -> Vec<v1::MetricValue> {
    schema.pairs(row).map(|(name, value)| v1::MetricValue { name: (&**name).into(), value }).collect()
}

/// An epoch of a sweep with these metrics.
pub fn epoch_to_wire(schema: &MetricSchema, epoch: &Epoch) -> v1::EpochRecord {
    let Epoch { number, seconds, row } = epoch;
    let pairs = schema.pairs(row).map(|(name, value)| (&**name, value));
    v1::EpochRecord::without_names(*number, *seconds, pairs)
        .unwrap_or_else(|| v1::EpochRecord::named(*number, *seconds, metrics_to_wire(schema, row)))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn older() -> v1::EpochRecord {
        v1::EpochRecord {
            epoch: 3,
            train_loss: 0.5,
            val_accuracy: 0.75,
            epoch_seconds: 1.5,
            val_loss: Some(0.25),
            ..v1::EpochRecord::default()
        }
    }

    #[test]
    fn an_older_workers_epoch_has_the_metrics_that_it_says() {
        let report = EpochReport::from(older());
        let metrics = [(TRAIN_LOSS, 0.5), (VAL_ACCURACY, 0.75), (VAL_LOSS, 0.25)];
        assert_eq!((report.number, report.seconds), (3, 1.5));
        assert_eq!(report.metrics.to_vec(), metrics.map(|(name, value)| (name.into(), value)));
        assert_eq!((older().metric(VAL_LOSS), older().metric(TRAIN_ACCURACY)), (Some(0.25), None));
    }

    #[test]
    fn metrics_that_the_fields_can_hold_travel_without_names_and_any_others_with_them() {
        let (loss, accuracy) = ((TRAIN_LOSS, 0.5), (VAL_ACCURACY, 0.75));
        let (other_loss, other_accuracy) = ((VAL_LOSS, 0.25), (TRAIN_ACCURACY, 0.875));
        let has_names = |metrics: &[(&'static str, f64)]| {
            let metrics = metrics.iter().map(|(name, value)| ((*name).into(), *value)).collect();
            let report = EpochReport { number: 3, seconds: 1.5, metrics };
            let record =
                v1::EpochRecord::decode(&*v1::EpochRecord::from(report.clone()).encode_to_vec()).unwrap();
            let bits = |report: &EpochReport| -> Vec<_> {
                report.metrics.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect()
            };
            let has_names = record.has_names();
            assert_eq!(bits(&record.into()), bits(&report));
            has_names
        };
        for few in [
            &[loss, accuracy][..],
            &[loss, accuracy, other_loss],
            &[loss, accuracy, other_accuracy],
            &[loss, accuracy, other_loss, other_accuracy],
            &[(TRAIN_LOSS, 0.0), (VAL_ACCURACY, 0.0), (VAL_LOSS, 0.0)],
        ] {
            assert!(!has_names(few), "{few:?}");
        }
        for others in [
            &[][..],
            &[loss],
            &[accuracy, loss],
            &[loss, accuracy, other_accuracy, other_loss],
            &[loss, accuracy, ("f1", 0.5)],
            &[loss, accuracy, accuracy],
            &[(TRAIN_LOSS, f64::NAN), accuracy],
            &[loss, accuracy, (VAL_LOSS, f64::INFINITY)],
            &[(TRAIN_LOSS, -0.0), accuracy],
        ] {
            assert!(has_names(others), "{others:?}");
        }
    }

    #[test]
    fn any_metrics_survive_the_wire_and_older_programs_find_theirs() {
        let metrics = [("f1".into(), f64::INFINITY), (VAL_LOSS.into(), 0.25), (TRAIN_LOSS.into(), 0.5)];
        let report = EpochReport { number: 3, seconds: 1.5, metrics: metrics.into_iter().collect() };
        let record = v1::EpochRecord::from(report.clone());
        assert_eq!((record.train_loss, record.val_loss, record.train_accuracy), (0.5, Some(0.25), None));
        assert_eq!(record.metric("f1"), Some(f64::INFINITY));
        assert_eq!(EpochReport::from(record), report);
        let nothing = EpochReport { metrics: [].into_iter().collect(), ..report };
        assert_eq!(EpochReport::from(v1::EpochRecord::from(nothing.clone())), nothing);
    }
}
