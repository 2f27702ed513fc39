//! The table of points that are trained several times.

use super::{super::repeats::Point, Content, PARAMETERS_SHOWN_MAX, Table, TableRow, decimals};

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
}
