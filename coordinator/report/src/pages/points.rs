//! The table of points that are trained several times.

use analysis::{RepeatedPoint, Repeats, Winner};

use super::{
    super::repeats::Point, Content, PARAMETERS_SHOWN_MAX, Table, TableRow, decimals, effects::or_dash,
};

impl Content<'_> {
    /// The parameters that differ between points: the seed differs between the trainings of one.
    pub(super) fn varying_between_points(&self) -> Vec<String> {
        let seed = self.sweep.seed();
        self.sweep.varying.iter().filter(|name| seed != Some(name.as_str())).cloned().collect()
    }

    /// The points that are trained several times, with the values of the objective.
    pub(super) fn points(&self) -> Option<Table> {
        let (points, _) = self.points?;
        let (strings, repeats) = (self.strings, self.sweep.repeats);
        let mut parameters = self.varying_between_points();
        parameters.truncate(PARAMETERS_SHOWN_MAX);
        let mut headings = vec![strings.point.to_owned(), strings.jobs_of_point.to_owned()];
        headings.extend(parameters.iter().map(|name| self.headings.parameter(name).to_owned()));
        let of_values = [strings.mean, strings.deviation, strings.smallest, strings.largest];
        headings.extend([strings.trainings_done].into_iter().chain(of_values).map(str::to_owned));
        let row = |(place, point): (usize, &Point)| {
            let first = (point.number - 1) * u64::from(repeats) + 1;
            let last = first + u64::from(repeats) - 1;
            let mut cells = vec![point.number.to_string(), format!("{first}–{last}")];
            cells.extend(parameters.iter().map(|name| point.row.parameter(name)));
            cells.push(point.done.to_string());
            let of_values = [Some(point.mean), point.deviation(), Some(point.smallest), Some(point.largest)];
            cells.extend(of_values.map(|value| decimals(value, 4)));
            TableRow { cells, best: place == 0 && point.done == repeats }
        };
        Some(Table { headings, rows: points.iter().enumerate().map(row).collect() })
    }

    /// What the table of points shows, for whoever reads it.
    pub(super) fn notes_on_points(&self) -> Option<String> {
        let (_, is_selection) = self.points?;
        let strings = self.strings;
        let notes = strings.of_trainings(&self.headings.objective().heading, self.sweep.repeats);
        Some(if *is_selection { format!("{notes} {}", strings.best_points_only) } else { notes })
    }

    /// What trainings of the same configuration come to where no `repeats` are planned: in a grid that lists seeds, and where a search took
    /// a point again. Such trainings are no neighbours.
    fn configurations(&self) -> Option<&Repeats> {
        self.analysis.repeats.as_ref().filter(|_| self.points.is_none())
    }

    /// The best configuration, where some were trained several times: the best of their means, whichever single training is the best.
    pub(super) fn best_configuration(&self) -> Option<Winner> {
        self.configurations()?;
        Some(self.analysis.best.as_ref()?.best)
    }

    /// The standard deviation between the trainings of a configuration, where it is known.
    pub(super) fn deviation_of(&self, job: u64) -> Option<f64> {
        self.repeated(job).map(|point| point.deviation)
    }

    fn repeated(&self, job: u64) -> Option<&RepeatedPoint> {
        self.analysis.repeats.as_ref()?.items.iter().find(|point| point.job == job)
    }

    /// The parameters of the configuration of a job, without the seed; empty where they are not known.
    pub(super) fn label_of(&self, job: u64) -> String {
        let (names, headings) = (self.varying_between_points(), self.headings);
        if let Some(point) = self.repeated(job) {
            return headings.label(&names, |name| point.parameters.get(name).map(ToString::to_string));
        }
        let row = self.rows.iter().find(|row| row.number == job);
        row.map(|row| row.label(&names, headings)).unwrap_or_default()
    }

    /// The table of configurations whose trainings are no neighbours, and what it shows.
    pub(super) fn configurations_table(&self) -> Option<(Table, String)> {
        let repeats = self.configurations()?;
        let strings = self.strings;
        let mut parameters = self.varying_between_points();
        parameters.truncate(PARAMETERS_SHOWN_MAX);
        let mut headings = vec![strings.first_job_name().to_owned()];
        headings.extend(parameters.iter().map(|name| self.headings.parameter(name).to_owned()));
        let of_values = [strings.trainings_done, strings.mean, strings.deviation, strings.interval_name()];
        headings.extend(of_values.map(str::to_owned));
        let best = self.best_configuration().map(|winner| winner.job);
        let row = |point: &RepeatedPoint| {
            let (mean, interval) = self.with_interval(Some(point.mean), point.interval);
            let mut cells = vec![point.job.to_string()];
            let value =
                |name: &String| point.parameters.get(name).map(ToString::to_string).unwrap_or_default();
            cells.extend(parameters.iter().map(value));
            cells.extend([
                point.count.to_string(),
                mean,
                decimals(Some(point.deviation), 4),
                or_dash(interval, point.count),
            ]);
            TableRow { cells, best: best == Some(point.job) }
        };
        let table = Table { headings, rows: repeats.items.iter().map(row).collect() };
        let notes =
            strings.of_configurations(&self.headings.objective().heading, self.sweep.planned_trainings());
        let more = (repeats.left_out > 0).then_some(strings.best_points_only);
        Some((
            table,
            [notes.as_str()].into_iter().chain(more).collect::<Vec<_>>().join(strings.between_sentences()),
        ))
    }
}
