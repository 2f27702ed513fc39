//! The summary of a report and what it says of the data set: facts as pairs of name and text.

use terms::{DatasetSummary, MetricUse};

use super::{Content, decimals};
use crate::strings::Strings;

/// Most names of left-out images on a page.
const SKIPPED_SHOWN_MAX: usize = 20;
/// Most classes that are listed with their numbers of images.
const CLASSES_SHOWN_MAX: usize = 50;

impl Content<'_> {
    /// How many jobs are in each state, in words; empty where there are none.
    pub(super) fn by_state(&self) -> String {
        let counts = self.sweep.counts;
        let states = [
            ("done", counts.done),
            ("stopped", counts.stopped),
            ("diverged", counts.diverged),
            ("failed", counts.failed),
            ("cancelled", counts.cancelled),
            ("running", counts.running),
            ("paused", counts.paused),
            ("pending", counts.pending),
        ];
        let there = states.iter().filter(|(_, count)| *count > 0);
        there.map(|(state, count)| self.strings.in_state(*count, state)).collect::<Vec<_>>().join(", ")
    }

    /// Facts as pairs of name and text.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let (strings, sweep) = (self.strings, self.sweep);
        let states = self.by_state();
        let jobs = if states.is_empty() { String::new() } else { format!(" ({states})") };
        let best = self.best.as_ref().map_or_else(
            || strings.none_done.to_owned(),
            |row| {
                let name = &self.headings.objective().heading;
                let value = row.ranked.map(|(_, value)| value);
                let epoch = row.ranked.filter(|_| sweep.objective.used == MetricUse::Best);
                let epoch =
                    epoch.map_or_else(String::new, |(epoch, _)| format!(" ({})", strings.of_epoch(epoch)));
                let job = strings.job_titled(row.number, &row.label(&sweep.varying, self.headings));
                format!("{name} {}{epoch} — {job}", decimals(value, 4))
            },
        );
        let mut facts = vec![(strings.jobs.to_owned(), format!("{}{jobs}", sweep.job_count))];
        match self.best_point() {
            None => facts.push((strings.best.to_owned(), best)),
            Some(point) => {
                facts.push((strings.best.to_owned(), point));
                facts.push((strings.best_training.to_owned(), best));
            }
        }
        facts.push((
            strings.training_time_in_all.to_owned(),
            strings.seconds_in_all(self.train_seconds, self.packed),
        ));
        if let Some(why) = &sweep.stopped {
            facts.push((strings.stopped.to_owned(), strings.reason(why)));
        }
        if let Some(why) = &sweep.cannot_pause {
            facts.push((strings.pauses.to_owned(), strings.reason(why)));
        }
        facts.extend(self.weights());
        facts
    }

    /// The best point where each is trained several times: its mean comes first, as in every list of sweeps. The best configuration likewise, where
    /// trainings of some differ in their seed alone.
    fn best_point(&self) -> Option<String> {
        let name = &self.headings.objective().heading;
        if let Some(best) = self.best_configuration() {
            let job = self.strings.job_titled(best.job, &self.label_of(best.job));
            let deviation = decimals(self.deviation_of(best.job), 4);
            let of = self.strings.mean_of(u32::try_from(best.count).unwrap_or(u32::MAX), &deviation);
            return Some(format!("{name} {}{of} — {job}", decimals(Some(best.value), 4)));
        }
        let (points, _) = self.points?;
        let best = points.first()?;
        let label = best.row.label(&self.varying_between_points(), self.headings);
        let job = self.strings.job_titled(best.row.number, &label);
        let mean = decimals(Some(best.mean), 4);
        let of = self.strings.mean_of(best.done, &decimals(best.deviation(), 4));
        Some(format!("{name} {mean}{of} — {job}"))
    }

    /// Where the best weights are.
    fn weights(&self) -> Option<(String, String)> {
        let best = self.sweep.best_weights.as_ref()?;
        let place = match self.best_weights_file {
            Some(file) => file.to_owned(),
            None => format!("sweep artifact get {}/{}", self.sweep.id, best.job),
        };
        Some((self.strings.weights.to_owned(), format!("{} {}: {place}", self.strings.job, best.job)))
    }

    /// What was trained on.
    pub(super) fn dataset(&self) -> Vec<(String, String)> {
        let strings = self.strings;
        let Some(dataset) = self.sweep.dataset.as_ref().filter(|dataset| !is_none(dataset)) else {
            return Vec::new();
        };
        let mut facts = vec![(
            strings.dataset.to_owned(),
            format!(
                "{}: {}, {}: {}; {}: {}",
                strings.training_images,
                by_class(dataset.train_images, dataset, &dataset.train_by_class, strings),
                strings.validation_images,
                by_class(dataset.val_images, dataset, &dataset.val_by_class, strings),
                strings.classes,
                bounded(dataset.classes.iter().cloned(), strings)
            ),
        )];
        let recorded = &self.recorded.dataset;
        let from = match (dataset.validation.as_str(), recorded.val_fraction) {
            ("", Some(fraction)) => strings.split(fraction, recorded.split_seed),
            ("", None) => strings.held_out.to_owned(),
            (place, _) => place.to_owned(),
        };
        facts.push((strings.validation_from.to_owned(), from));
        facts.push((strings.content_hash.to_owned(), dataset.content_hash.clone()));
        if dataset.skipped_count > 0 {
            let names =
                dataset.skipped.iter().take(SKIPPED_SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
            let shown = dataset.skipped.len().min(SKIPPED_SHOWN_MAX) as u64;
            let more = dataset.skipped_count.saturating_sub(shown);
            let more = if more > 0 { strings.more(more) } else { String::new() };
            facts.push((strings.left_out.to_owned(), format!("{}: {names}{more}", dataset.skipped_count)));
        }
        if !dataset.left_out.is_empty() {
            let each = dataset.left_out.iter().map(|one| {
                let detail = if one.detail.is_empty() { String::new() } else { format!(" {}", one.detail) };
                format!("{}{detail}: {}", strings.left_out_reason(&one.reason), one.count)
            });
            facts.push((strings.not_used.to_owned(), each.collect::<Vec<_>>().join("; ")));
        }
        facts
    }
}

/// `36 (cat 20, dog 16)`, or the number alone where the classes are unknown.
fn by_class(all: u64, dataset: &DatasetSummary, counts: &[u64], strings: &Strings) -> String {
    if counts.is_empty() || counts.len() != dataset.classes.len() {
        return all.to_string();
    }
    let each = dataset.classes.iter().zip(counts).map(|(class, count)| format!("{class} {count}"));
    format!("{all} ({})", bounded(each, strings))
}

/// A comma-separated list of names, of bounded length.
fn bounded(names: impl ExactSizeIterator<Item = String>, strings: &Strings) -> String {
    let more = names.len().saturating_sub(CLASSES_SHOWN_MAX) as u64;
    let shown = names.take(CLASSES_SHOWN_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown}{}", strings.more(more)) } else { shown }
}

/// Whether a sweep has no data set: programs report none, as they load what they need themselves.
fn is_none(dataset: &DatasetSummary) -> bool {
    dataset.content_hash.is_empty() && dataset.train_images == 0 && dataset.val_images == 0
}
