//! The effects of parameters as tables, and which of them are shown at all.

use analysis::{Analysis, Effect, Interval, Level, Pair};
use terms::Goal;

use super::{Content, PARAMETERS_SHOWN_MAX, Table, TableRow, decimals};
use crate::figures::{Weighed, measured_alike, percent, short_parameter};

/// Most rows of the table of differences: no one reads more.
const PAIRS_SHOWN_MAX: usize = 60;

/// The parameters that are shown, the most important first, and how many others there are.
pub(crate) fn weighed(analysis: &Analysis) -> (Vec<Weighed<'_>>, usize) {
    let share = |effect: &Effect| {
        let items = &analysis.importance.items;
        items.iter().find(|item| item.parameter == effect.parameter).map(|item| item.share)
    };
    let mut effects: Vec<Weighed<'_>> =
        analysis.effects.iter().map(|effect| (effect, share(effect))).collect();
    // Stable: where nothing is known, the order of the space remains.
    effects.sort_by(|(_, one), (_, other)| other.unwrap_or(0.0).total_cmp(&one.unwrap_or(0.0)));
    let left_out = effects.len().saturating_sub(PARAMETERS_SHOWN_MAX);
    effects.truncate(PARAMETERS_SHOWN_MAX);
    (effects, left_out)
}

impl Content<'_> {
    /// The mean of each value of each parameter; none where no value has one.
    pub(super) fn effects(&self) -> Option<Table> {
        let strings = self.strings;
        let (effects, _) = weighed(self.analysis);
        let mut headings = vec![strings.parameter_name(), strings.value_name(), "n", strings.mean];
        headings.extend([strings.deviation, strings.interval_name()]);
        let has_importance = effects.iter().any(|(_, share)| share.is_some());
        headings.extend(has_importance.then_some(strings.importance_name()));
        let has_chance = self.analysis.importance.items.iter().any(|item| item.by_chance.is_some());
        headings.extend(has_chance.then_some(strings.by_chance_name()));
        let has_diverged = self.analysis.jobs.diverged > 0;
        headings.extend(has_diverged.then_some(strings.diverged_name()));
        let mut rows = Vec::new();
        for (effect, share) in effects {
            let best = best_of(&effect.levels, self.sweep.objective.goal);
            let by_chance = self.by_chance(effect).map(percent).unwrap_or_default();
            for level in &effect.levels {
                let mut cells =
                    vec![self.headings.parameter(&effect.parameter).to_owned(), strings.level(level)];
                let (mean, interval) = self.with_interval(level.mean, level.interval);
                cells.extend([level.count.to_string(), mean, decimals(level.deviation, 4)]);
                cells.push(or_dash(interval, level.count));
                cells.extend(has_importance.then(|| share.map(percent).unwrap_or_default()));
                cells.extend(has_chance.then(|| by_chance.clone()));
                cells.extend(has_diverged.then(|| level.diverged.to_string()));
                rows.push(TableRow { cells, best: level.mean.is_some() && level.mean == best });
            }
        }
        let is_known =
            self.analysis.effects.iter().flat_map(|effect| &effect.levels).any(|level| level.mean.is_some());
        (is_known && !rows.is_empty())
            .then(|| Table { headings: headings.into_iter().map(str::to_owned).collect(), rows })
    }

    /// Which part of the variance chance alone would give to a parameter, where that is known.
    fn by_chance(&self, effect: &Effect) -> Option<f64> {
        let items = &self.analysis.importance.items;
        items.iter().find(|item| item.parameter == effect.parameter)?.by_chance
    }

    /// What the table of effects leaves out of parameters with very many values; none where nothing.
    pub(super) fn values_not_shown(&self) -> Option<String> {
        let (effects, _) = weighed(self.analysis);
        let left_out = effects.iter().filter(|(effect, _)| effect.left_out > 0);
        let told: Vec<String> = left_out
            .map(|(effect, _)| {
                self.strings.values_not_shown(self.headings.parameter(&effect.parameter), effect.left_out)
            })
            .collect();
        (!told.is_empty()).then(|| told.join(self.strings.between_sentences()))
    }

    /// The differences between configurations that differ in nothing else; none where there are no such.
    pub(super) fn pairs(&self) -> Option<Table> {
        let strings = self.strings;
        let headings =
            [strings.parameter_name(), strings.difference_name(), strings.pairs_name(), strings.mean];
        let headings = headings.into_iter().chain([strings.interval_name(), "p"]);
        let rows: Vec<TableRow> = self
            .shown_pairs()
            .take(PAIRS_SHOWN_MAX)
            .map(|(effect, pair)| {
                let (difference, interval) = self.with_interval(Some(pair.difference), pair.interval);
                let cells = vec![
                    self.headings.parameter(&effect.parameter).to_owned(),
                    format!("{} \u{2212} {}", short_parameter(&pair.second), short_parameter(&pair.first)),
                    if pair.pairs > 0 { pair.pairs.to_string() } else { String::new() },
                    difference,
                    interval,
                    probability(pair.p),
                ];
                TableRow { cells, best: false }
            })
            .collect();
        (!rows.is_empty()).then(|| Table { headings: headings.map(str::to_owned).collect(), rows })
    }

    fn shown_pairs(&self) -> impl Iterator<Item = (&Effect, &Pair)> {
        let (effects, _) = weighed(self.analysis);
        effects.into_iter().flat_map(|(effect, _)| effect.pairs.iter().map(move |pair| (effect, pair)))
    }

    /// What there is in place of pairs; none where there are pairs.
    pub(super) fn no_pairs_of_trainings(&self) -> Option<String> {
        let are_samples = self.shown_pairs().any(|(_, pair)| pair.pairs == 0);
        are_samples.then(|| self.strings.no_pairs_of_trainings().to_owned())
    }

    /// How many differences are in no table.
    pub(super) fn pairs_not_shown(&self) -> usize {
        self.shown_pairs().count().saturating_sub(PAIRS_SHOWN_MAX)
    }

    /// What the means rest on, and what the importance is.
    pub(super) fn how_analysed(&self) -> String {
        let (strings, analysis) = (self.strings, self.analysis);
        let importance = &analysis.importance;
        let how = strings.importance_method(importance.method, importance.quantile, importance.rest);
        let mut sentences =
            vec![strings.rests_on(analysis.jobs.counted, analysis.points, analysis.effects.len() < 2), how];
        let why = importance.no_interval.and_then(|why| strings.no_interval(why));
        sentences.extend(why.map(str::to_owned));
        let has_chance = importance.items.iter().any(|item| item.by_chance.is_some());
        sentences.extend(has_chance.then(|| strings.shares_by_chance().to_owned()));
        sentences.extend(analysis.has_equal_results().then(|| strings.no_interval_of_equal().to_owned()));
        sentences.extend(analysis.has_cut_intervals().then(|| strings.cut_at_bounds().to_owned()));
        sentences.join(strings.between_sentences())
    }

    /// A value and its interval as texts, with as many decimals; empty where there is none.
    pub(super) fn with_interval(&self, value: Option<f64>, interval: Option<Interval>) -> (String, String) {
        let Some((value, Interval { low, high })) = value.zip(interval) else {
            return (decimals(value, 4), String::new());
        };
        let [value, low, high] = measured_alike([value, low, high], 4);
        (value, self.strings.interval(&low, &high))
    }
}

/// An interval, or a dash where several results have none, as they are all the same.
pub(super) fn or_dash(interval: String, count: u64) -> String {
    if interval.is_empty() && count > 1 { "\u{2013}".to_owned() } else { interval }
}

/// A p-value in a table; what four decimals do not tell from 0 is less than they tell: more digits would claim more than a test knows.
fn probability(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.0001 => "< 0.0001".to_owned(),
        p => decimals(p, 4),
    }
}

/// The best mean; none where all are the same.
fn best_of(levels: &[Level], goal: Goal) -> Option<f64> {
    let means = levels.iter().filter_map(|level| level.mean);
    let first = means.clone().next()?;
    if means.clone().all(|mean| mean == first) {
        return None;
    }
    match goal {
        Goal::Maximize => means.max_by(f64::total_cmp),
        Goal::Minimize => means.min_by(f64::total_cmp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::columns::is_number;

    #[test]
    fn a_probability_near_0_is_less_than_what_is_told_and_still_a_number_of_its_column() {
        for (p, text) in [
            (Some(1.9e-13), "< 0.0001"),
            (Some(0.0), "< 0.0001"),
            (Some(0.0432), "0.0432"),
            (Some(0.0001), "0.0001"),
            (None, ""),
        ] {
            assert_eq!(probability(p), text);
            assert!(is_number(text));
        }
        assert!(!is_number("< 0.01 %"));
    }
}
