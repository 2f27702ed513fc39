//! Whether the best configuration can be told from the runner-up, and what follows.

use analysis::{Verdict, gain};

use super::{Content, decimals};
use crate::figures::percent;

/// From this share of the variance on, what single parameters leave over is worth a sentence.
const REST_TOLD_FROM: f64 = 0.1;

/// The methods that choose points by earlier results, or may.
const CHOOSES_BY_RESULTS: [&str; 2] = ["tpe", "external"];

impl Content<'_> {
    /// Whether the best can be told from the runner-up, and from how many others it cannot.
    pub(super) fn verdict(&self) -> Vec<String> {
        let strings = self.strings;
        let Some(verdict) = &self.analysis.best else {
            return vec![strings.no_verdict(self.analysis.jobs.not_looked_at > 0).to_owned()];
        };
        let of_models = verdict.models.map(|models| models.not_told).filter(|others| *others > 0);
        let others = verdict.not_separable.filter(|others| *others > 0);
        let mut sentences = vec![self.told_apart(verdict)];
        sentences.extend(others.map(|others| strings.others_not_told(others)));
        sentences.extend(of_models.map(|others| strings.other_models_not_told(verdict.best.job, others)));
        sentences
    }

    fn told_apart(&self, verdict: &Verdict) -> String {
        let strings = self.strings;
        let best = (verdict.best.job, verdict.best.count);
        let second = verdict.runner_up.map_or((0, 0), |second| (second.job, second.count));
        let (jobs, planned) = ((best.0, second.0), verdict.planned);
        let leads = |tested| strings.runner_up_leads(jobs, (second.1, planned), tested);
        let Some(test) = verdict.test else {
            let why = verdict.not_tested.unwrap_or(analysis::NotTested::NoRepeats);
            let leads = verdict.runner_up_leads.then(|| leads(None));
            let not_tested = strings.not_tested(why, best, second, planned);
            return leads
                .into_iter()
                .chain([not_tested])
                .collect::<Vec<_>>()
                .join(strings.between_sentences());
        };
        // How much better the best is, whichever values are better.
        let goal = self.sweep.objective.goal;
        let by = verdict.difference.map(|difference| gain(difference, goal));
        let (difference, interval) =
            self.with_interval(by, verdict.interval.map(|interval| interval.gain(goal)));
        let how = strings.tested_by(test, &interval, verdict.p, verdict.freedom);
        match verdict.models {
            _ if verdict.runner_up_leads => leads(Some((&difference, &how))),
            Some(models) if models.differ => strings.models_differ(jobs, &difference, &how, planned == 1),
            _ => strings.verdict(jobs, &difference, &how, verdict.separable == Some(true)),
        }
    }

    /// What the results do not say.
    pub(super) fn limits(&self) -> Vec<String> {
        let (strings, analysis) = (self.strings, self.analysis);
        let mut limits = Vec::new();
        if analysis.points < 2 {
            return limits;
        }
        if analysis.repeats.is_none() {
            limits.push(strings.trained_once().to_owned());
        }
        if CHOOSES_BY_RESULTS.contains(&self.recorded.method.as_str()) {
            limits.push(strings.points_were_chosen().to_owned());
        }
        let stopped = Some(self.sweep.counts.stopped).filter(|stopped| *stopped > 0);
        limits.extend(stopped.map(|stopped| strings.survivors_were_chosen(stopped)));
        let rest = analysis.importance.rest.filter(|rest| *rest >= REST_TOLD_FROM);
        limits.extend(rest.map(|rest| strings.not_additive(&percent(rest))));
        limits.push(strings.each_by_itself().to_owned());
        limits.push(strings.chosen_by_the_same(&self.headings.objective_within()));
        limits
    }

    /// What follows.
    pub(super) fn conclusion(&self) -> Vec<String> {
        let strings = self.strings;
        let Some(best) = &self.best else { return vec![strings.no_conclusion().to_owned()] };
        if let Some(sentence) = self.best_mean() {
            return [sentence].into_iter().chain(self.verdict().into_iter().take(1)).collect();
        }
        let (number, label, value) = match self.best_configuration() {
            // It was trained once, and others several times.
            Some(winner) => (winner.job, self.label_of(winner.job), Some(winner.value)),
            None => {
                let label = best.label(&self.sweep.varying, self.headings);
                (best.number, label, best.ranked.map(|(_, value)| value))
            }
        };
        let value = decimals(value, 4);
        let mut sentences = vec![strings.best_is(&label, &self.headings.objective_within(), &value, number)];
        sentences.extend(self.verdict().into_iter().take(1));
        sentences
    }

    /// Where trainings were repeated, the configuration that the verdict is about: the luckiest training says less.
    fn best_mean(&self) -> Option<String> {
        let winner = self.analysis.best.as_ref()?.best;
        let repeats = self.analysis.repeats.as_ref()?;
        let point = repeats.items.iter().find(|point| point.job == winner.job)?;
        let label = self.label_of(winner.job);
        let (mean, deviation) = (decimals(Some(point.mean), 4), decimals(Some(point.deviation), 4));
        let objective = self.headings.objective_within();
        Some(self.strings.best_mean_is(&label, &objective, (&mean, &deviation), point.count, winner.job))
    }
}
