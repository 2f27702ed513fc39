//! What was asked, and how it was found out.

use super::{Block, Content, PARAMETERS_SHOWN_MAX};
use crate::{figures::short, strings::ModelTexts};

/// Most parameters that are the same for all jobs and listed.
const FIXED_SHOWN_MAX: usize = 30;

impl<'a> Content<'a> {
    /// What was asked: in the words of the sweep file, where it has some, and as parameters and objective.
    pub(super) fn question(&self) -> Vec<Block<'a>> {
        let (strings, sweep, headings) = (self.strings, self.sweep, self.headings);
        let mut blocks = Vec::new();
        let description = self.recorded.description.trim();
        if !description.is_empty() {
            blocks.push(Block::Text(description.to_owned()));
        }
        let varying = self.varying_between_points();
        let shown = varying.len().min(PARAMETERS_SHOWN_MAX);
        let mut names: Vec<String> =
            varying[..shown].iter().map(|name| headings.parameter_within(name)).collect();
        let more = varying.len() - shown;
        if more > 0 {
            names.push(strings.more_parameters(more));
        }
        let objective = headings.objective_within();
        blocks.push(Block::Text(strings.question(&names, &objective, sweep.objective.goal)));
        let values = |name: &String| {
            let values = self.training.values(name).filter(|values| !values.some.is_empty())?;
            let listed: Vec<String> = values.in_order().iter().map(ToString::to_string).collect();
            let range = values.range.map(|(low, high)| (short(low), short(high)));
            Some((headings.parameter(name).to_owned(), strings.values(&listed, values.more, range)))
        };
        let list: Vec<_> = varying[..shown].iter().filter_map(values).collect();
        if !list.is_empty() {
            blocks.extend([Block::Text(strings.varied(sweep.job_count)), Block::List(list)]);
        }
        blocks
    }

    /// How it was found out, as pairs of name and text.
    pub(super) fn method(&self) -> Vec<(String, String)> {
        let (strings, sweep, recorded) = (self.strings, self.sweep, self.recorded);
        let mut facts = self.trained();
        let mut tell = |name: &str, text: String| facts.push((name.to_owned(), text));
        let objective = &sweep.objective;
        let heading = &self.headings.objective().heading;
        tell(strings.objective_name(), strings.objective_and_use(heading, objective.goal, objective.used));
        if !recorded.method.is_empty() {
            tell(strings.search_name(), strings.search(&recorded.method, recorded.search_seed));
        }
        if let Some(early) = &recorded.early_terminate {
            tell(strings.early_name(), early.kind.clone());
        }
        self.dataset().into_iter().for_each(|(name, text)| tell(&name, text));
        if let Some(size) = recorded.dataset.image_size.filter(|_| sweep.dataset.is_some()) {
            tell(strings.image_size_name(), format!("{size} × {size}"));
        }
        if self.training.epochs_in_all > 0 {
            tell(strings.epochs_name(), strings.epochs(self.training.epochs, self.training.epochs_in_all));
        }
        tell(
            strings.repeats_name(),
            strings.repeats(sweep.planned_trainings(), self.analysis.jobs.counted, self.analysis.points),
        );
        let fixed = self.fixed();
        if !fixed.is_empty() {
            tell(strings.fixed_name(), fixed);
        }
        tell(strings.times_name(), strings.times(sweep.manifest.is_none()).to_owned());
        if self.training.workers() > 0 {
            tell(
                strings.workers_name(),
                strings.workers(self.training.workers(), self.training.more_workers),
            );
        }
        if !self.training.devices.is_empty() {
            let each = self.training.devices.iter().map(|(device, jobs)| strings.on_device(device, *jobs));
            let others = Some(self.training.on_other_devices).filter(|jobs| *jobs > 0);
            let others = others.map(|jobs| strings.on_device(strings.other_devices_name(), jobs));
            tell(strings.devices_name(), each.chain(others).collect::<Vec<_>>().join(", "));
        }
        facts
    }

    /// What was trained.
    fn trained(&self) -> Vec<(String, String)> {
        let (strings, recorded) = (self.strings, self.recorded);
        let trained = match &self.sweep.manifest {
            Some(manifest) => {
                let texts = ModelTexts::of(&manifest.name);
                let meaning =
                    texts.map_or(manifest.meaning.as_str(), |texts| texts.meaning(strings.language()));
                strings.model(&manifest.name, manifest.version, meaning)
            }
            None if !recorded.command.is_empty() => recorded.command.join(" "),
            None => recorded.program.clone(),
        };
        let name = strings.trained_name(self.sweep.manifest.is_none());
        if trained.is_empty() { Vec::new() } else { vec![(name.to_owned(), trained)] }
    }

    /// `epochs = 5, seed = 0`: what is the same for all jobs.
    fn fixed(&self) -> String {
        let varies = |name: &str| self.sweep.varying.iter().any(|varying| varying == name);
        let mut fixed: Vec<String> = self
            .training
            .fixed()
            .filter(|(name, _)| !varies(name))
            .map(|(name, value)| format!("{} = {value}", self.headings.parameter(name)))
            .collect();
        let more = fixed.len().saturating_sub(FIXED_SHOWN_MAX) as u64;
        fixed.truncate(FIXED_SHOWN_MAX);
        let listed = fixed.join(", ");
        if more > 0 { format!("{listed}{}", self.strings.more(more)) } else { listed }
    }
}
