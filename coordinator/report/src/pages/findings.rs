//! What the effects say, in sentences. A difference is called significant only where a test of pairs says so, corrected for how many
//! values were compared to find the best and the worst.

use analysis::{Effect, Level};

use super::{Content, decimals, effects::weighed};
use crate::strings::Extreme;

/// Most values that are named where trainings diverged.
const DIVERGED_SHOWN_MAX: usize = 4;

impl Content<'_> {
    /// Each parameter with what its values say, the most important first.
    pub(super) fn findings(&self) -> Vec<(String, String)> {
        let (effects, _) = weighed(self.analysis);
        let finding = |(effect, share): (&Effect, Option<f64>)| {
            let mut sentences = self.means(effect)?;
            sentences.extend(self.importance(effect, share));
            sentences.extend(self.diverged(effect));
            let text = sentences.join(self.strings.between_sentences());
            Some((self.headings.parameter(&effect.parameter).to_owned(), text))
        };
        effects.into_iter().filter_map(finding).collect()
    }

    /// The best and the worst mean, and whether they are told apart.
    fn means(&self, effect: &Effect) -> Option<Vec<String>> {
        let strings = self.strings;
        let objective = strings.within(&self.headings.objective_within());
        let levels = effect.ranked(self.sweep.objective.goal);
        let (best, worst) = (*levels.first()?, *levels.last()?);
        if levels.len() == 1 {
            return Some(vec![strings.only_value(&self.extreme(best), &objective)]);
        }
        let ties =
            |one: &Level| levels.iter().filter(|other| is_same(one.mean, other.mean)).count() as u64 - 1;
        if is_same(best.mean, worst.mean) {
            return Some(vec![strings.all_means_equal(&objective, &decimals(best.mean, 4))]);
        }
        let of = |level: &Level| Extreme { ties: ties(level), ..self.extreme(level) };
        let means = strings.best_and_worst_value(
            (&of(best), &of(worst)),
            (levels.len(), effect.left_out > 0),
            &objective,
        );
        // Values that are not shown could have been the best or the worst, too.
        let values = levels.len() as u64 + effect.left_out;
        Some(vec![means, self.compared(effect, best, worst, values)])
    }

    fn extreme(&self, level: &Level) -> Extreme {
        let (mean, interval) = self.with_interval(level.mean, level.interval);
        Extreme {
            label: self.strings.level(level),
            mean,
            interval: Some(interval).filter(|interval| !interval.is_empty()),
            count: level.count,
            ties: 0,
        }
    }

    /// Whether the best and the worst of so many values are told apart.
    fn compared(&self, effect: &Effect, best: &Level, worst: &Level, values: u64) -> String {
        let strings = self.strings;
        let pair = best.value.as_ref().zip(worst.value.as_ref()).and_then(|(best, worst)| {
            effect.pairs.iter().find_map(|pair| match () {
                () if (&pair.second, &pair.first) == (best, worst) => Some((pair, pair.difference)),
                () if (&pair.first, &pair.second) == (best, worst) => Some((pair, -pair.difference)),
                () => None,
            })
        });
        let Some((pair, difference)) = pair else {
            let both = best.interval.zip(worst.interval);
            return strings
                .no_pairs(both.map(|(one, other)| one.low <= other.high && other.low <= one.high))
                .to_owned();
        };
        let difference = decimals(Some(difference), 4);
        match pair.p {
            Some(p) => {
                // The two were chosen from all pairs of values: Bonferroni's correction holds for any choice.
                let comparisons = values * (values - 1) / 2;
                strings.tested_pairs(&difference, pair.pairs, (p * comparisons as f64).min(1.0), comparisons)
            }
            None => strings.untested_pairs(&difference, pair.pairs),
        }
    }

    fn importance(&self, effect: &Effect, share: Option<f64>) -> Option<String> {
        let importance = &self.analysis.importance;
        let item = importance.items.iter().find(|item| item.parameter == effect.parameter)?;
        let interval = item.interval.map(|interval| {
            let percent = crate::figures::percent;
            self.strings.interval(&percent(interval.low), &percent(interval.high))
        });
        Some(self.strings.matters(importance.method, (share?, item.by_chance), interval))
    }

    fn diverged(&self, effect: &Effect) -> Option<String> {
        let of_levels: u64 = effect.levels.iter().map(|level| level.diverged).sum();
        let all = of_levels + effect.diverged_left_out;
        let mut at: Vec<(String, u64)> = effect
            .levels
            .iter()
            .filter(|level| level.diverged > 0)
            .map(|level| (self.strings.level(level), level.diverged))
            .collect();
        at.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        at.truncate(DIVERGED_SHOWN_MAX);
        let rest = all - at.iter().map(|(_, count)| count).sum::<u64>();
        (all > 0).then(|| self.strings.diverged_at(all, &at, rest))
    }
}

/// Whether two means are the same but for rounding.
fn is_same(one: Option<f64>, other: Option<f64>) -> bool {
    one.zip(other).is_some_and(|(one, other)| (one - other).abs() <= 1e-12 * one.abs().max(other.abs()))
}
