//! What a report calls a sweep's parameters and metrics, and how it draws their values.

use terms::{Goal, MetricRow, Objective, manifest::ManifestMetric};

use super::{
    figures::short_text,
    model::Sweep,
    strings::{InLabel, ModelTexts, Strings},
};

/// Unit of cross-entropies: losses that fall by powers of ten.
const UNIT_NAT: &str = "nat";
/// Most parameters that a label lists: no one reads more.
const LABEL_PARAMETERS_MAX: usize = 8;

/// A metric of the sweep.
#[derive(Debug, Clone)]
pub(crate) struct Metric {
    pub(crate) name: String,
    /// Its index in the sweep's schema; none where it has none.
    pub(crate) index: Option<usize>,
    pub(crate) heading: String,
    /// Within a title.
    pub(crate) topic: String,
    /// Heading of its value at the best epoch.
    pub(crate) at_best: String,
    /// Whether it is a share, in [0, 1].
    pub(crate) is_share: bool,
    /// Whether it is a loss, which is read in powers of ten.
    pub(crate) is_loss: bool,
    /// Which way is better, where that is known.
    pub(crate) goal: Option<Goal>,
}

impl Metric {
    /// Its value in a row.
    pub(crate) fn value(&self, row: &MetricRow) -> Option<f64> {
        row.get(self.index?)
    }
}

/// The names of everything, in the language of the report.
#[derive(Debug)]
pub(crate) struct Headings {
    pub(crate) strings: &'static Strings,
    texts: Option<&'static ModelTexts>,
    /// The objective first, then the others in the order of the schema.
    metrics: Vec<Metric>,
    /// The index of the metric in the second panel of the learning curves.
    companion: Option<usize>,
}

impl Headings {
    pub(crate) fn new(sweep: &Sweep, strings: &'static Strings) -> Self {
        let texts = sweep.manifest.as_ref().and_then(|manifest| ModelTexts::of(&manifest.name));
        let Objective { name: objective, goal, .. } = &sweep.objective;
        let metric = |name: &str| {
            let known = sweep.manifest.as_ref().and_then(|manifest| manifest.metric(name));
            let unit = known.map_or("", |known| known.unit.as_str());
            let [heading, topic, at_best] =
                match texts.and_then(|texts| texts.metric(name, strings.language())) {
                    Some(texts) => texts.map(str::to_owned),
                    None => [name.to_owned(), strings.name_within(name), strings.at_best_epoch(name)],
                };
            Metric {
                name: name.to_owned(),
                index: sweep.metrics.index(name),
                heading,
                topic,
                at_best,
                is_share: known.is_some_and(ManifestMetric::is_share),
                is_loss: unit == UNIT_NAT,
                goal: if *name == **objective { Some(*goal) } else { known.map(|known| known.goal) },
            }
        };
        let others = sweep.metrics.names().iter().filter(|name| *name != objective);
        let metrics: Vec<Metric> =
            std::iter::once(objective).chain(others).map(|name| metric(name)).collect();
        let companion = companion(sweep, &metrics);
        Self { strings, texts, metrics, companion }
    }

    /// The metric that ranks jobs.
    pub(crate) fn objective(&self) -> &Metric {
        &self.metrics[0]
    }

    /// All metrics, the objective first.
    pub(crate) fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// The metric that is drawn next to the objective.
    pub(crate) fn companion(&self) -> Option<&Metric> {
        self.companion.map(|place| &self.metrics[place])
    }

    /// A parameter's heading; its own name where there is none better.
    pub(crate) fn parameter<'a>(&self, name: &'a str) -> &'a str {
        self.texts.and_then(|texts| texts.parameter(name, self.strings.language())).unwrap_or(name)
    }

    /// A parameter within a sentence.
    pub(crate) fn parameter_within(&self, name: &str) -> String {
        Self::lowered(self.parameter(name), name)
    }

    /// The objective within a sentence.
    pub(crate) fn objective_within(&self) -> String {
        Self::lowered(&self.objective().heading, &self.objective().name)
    }

    /// A heading within a sentence; a name of the user's stays as it is.
    fn lowered(heading: &str, name: &str) -> String {
        let mut signs = heading.chars();
        match signs.next().filter(|_| heading != name) {
            Some(first) => first.to_lowercase().chain(signs).collect(),
            None => heading.to_owned(),
        }
    }

    /// `lr=0.0001, bs=32, relu`: parameters with their values, without those that a job lacks.
    pub(crate) fn label(&self, names: &[String], value: impl Fn(&str) -> Option<String>) -> String {
        let in_label =
            |name: &str| self.texts.and_then(|texts| texts.in_label(name)).unwrap_or(InLabel::Named);
        // `precision` and named ones stay in the order of the space.
        let order = |name: &str| match in_label(name) {
            InLabel::First(place, _) => (0, place),
            InLabel::Named | InLabel::Bare => (1, 0),
            InLabel::BareLast => (2, 0),
        };
        let mut parts: Vec<(&str, String)> =
            names.iter().filter_map(|name| Some((name.as_str(), value(name)?))).collect();
        let left_out = parts.len().saturating_sub(LABEL_PARAMETERS_MAX);
        parts.truncate(LABEL_PARAMETERS_MAX);
        parts.sort_by_key(|(name, _)| order(name));
        let part = |(name, value): (&str, String)| match in_label(name) {
            InLabel::First(_, short) => format!("{short}={value}"),
            InLabel::Bare | InLabel::BareLast => value,
            InLabel::Named => format!("{}={value}", short_text(name)),
        };
        let mut label = parts.into_iter().map(part).collect::<Vec<_>>().join(", ");
        if left_out > 0 {
            label.push_str(&self.strings.more(left_out as u64));
        }
        label
    }
}

/// The first other metric of a built-in model, which is its training loss; for a program, the metric that is named like
/// the objective but of the training data.
fn companion(sweep: &Sweep, metrics: &[Metric]) -> Option<usize> {
    let objective = &metrics[0].name;
    let place = |name: &str| metrics.iter().position(|metric| metric.name == name).filter(|place| *place > 0);
    match &sweep.manifest {
        Some(manifest) => manifest
            .metrics
            .iter()
            .find(|metric| metric.name != *objective)
            .and_then(|metric| place(&metric.name)),
        None => ["val", "valid", "validation", "test", "eval"].iter().find_map(|prefix| {
            let rest =
                objective.strip_prefix(prefix).filter(|rest| rest.starts_with(['_', '/', '.', '-']))?;
            place(&format!("train{rest}"))
        }),
    }
}
