//! What `sweep validate` shows of a sweep: its first jobs, and where points are chosen from results, its space.

use domain::{
    points::{Jobs, LearnedPoints},
    space::{Axis, Name, written_condition},
    specification::Specification,
};
use terminal::output::say;
use terms::ParameterMap;

use super::{
    failure::Failure,
    output::{Cell, Format, Printer, count, print, table},
};

/// Prints the first jobs, at most `first`.
pub(super) fn print_preview(
    specification: &Specification,
    jobs: &Jobs,
    first: u64,
    format: Format,
) -> Result<(), Failure> {
    let columns = Columns::of(specification, format);
    let learned = jobs.learned();
    if let Some(learned) = learned.filter(|_| format == Format::Table) {
        print(&space(&specification.varying(), learned))?;
    }
    // Those whose parameters are known before the sweep begins.
    let known = learned.map_or(jobs.count(), LearnedPoints::included_count);
    let shown = known.min(first);
    let point = |number: u64| match learned {
        None => Some((number, jobs.parameters(number)?)),
        Some(learned) => Some((*learned.jobs(number).start(), learned.included(number)?)),
    };
    if shown > 0 || learned.is_none() || format != Format::Table {
        let mut printer = Printer::new(format, columns.header());
        let rows = (1..=shown).map_while(point).map(|(job, point)| columns.row(job, &point));
        printer.page(&rows.collect::<Vec<_>>())?;
        printer.finish()?;
    }
    for line in rest(jobs, learned, shown).into_iter().chain(columns.left_out()) {
        match format {
            Format::Table => print(&format!("{line}\n"))?,
            _ => say(&line),
        }
    }
    Ok(())
}

/// The columns of parameters.
struct Columns {
    names: Vec<Name>,
    /// How many parameters have none, as they have their defaults.
    defaults: usize,
}

impl Columns {
    /// Those that differ between jobs; of jobs that do not differ, all, but to people only those that the file changes.
    fn of(specification: &Specification, format: Format) -> Self {
        let varying = specification.varying();
        if !varying.is_empty() {
            return Self { names: varying, defaults: 0 };
        }
        let model = specification.trainable.model().filter(|_| format == Format::Table);
        let is_default = |axis: &&Axis| {
            let default = model.and_then(|model| model.parameter(&axis.name)?.default.as_ref());
            default.is_some_and(|default| *default == axis.domain.first())
        };
        let (defaults, named): (Vec<&Axis>, Vec<&Axis>) = specification.axes.iter().partition(is_default);
        Self { names: named.into_iter().map(|axis| axis.name.clone()).collect(), defaults: defaults.len() }
    }

    fn header(&self) -> Vec<String> {
        std::iter::once("job").chain(self.names.iter().map(|name| &**name)).map(str::to_owned).collect()
    }

    fn row(&self, job: u64, point: &ParameterMap) -> Vec<Cell> {
        let value = |name: &Name| point.get(name).map_or(Cell::Empty, |value| Cell::Parameter(value.clone()));
        std::iter::once(Cell::Integer(job)).chain(self.names.iter().map(value)).collect()
    }

    fn left_out(&self) -> Option<String> {
        let (other, has) = match self.defaults {
            0 => return None,
            1 => ("other parameter", "has its default"),
            _ => ("other parameter", "have their defaults"),
        };
        Some(format!("{} {has}; -o json shows all", count(self.defaults as u64, other)))
    }
}

/// The parameters that differ between points, and what their values may be.
fn space(varying: &[Name], learned: &LearnedPoints) -> String {
    let axes = learned.axes().iter().filter(|axis| varying.contains(&axis.name));
    let row = |axis: &Axis| {
        let condition = match axis.when.as_slice() {
            [] => String::new(),
            when => format!(", where {}", written_condition(when)),
        };
        [axis.name.to_string(), format!("{}{condition}", axis.domain)].map(Cell::Text).to_vec()
    };
    let rows: Vec<Vec<Cell>> = axes.map(row).collect();
    let heading = match learned.included_count() {
        0 => "",
        _ => "\nThe points of `include` come first:\n\n",
    };
    table(Some(&vec!["parameter".to_owned(), "values".to_owned()]), &rows) + heading
}

/// What is said of those that are not shown.
fn rest(jobs: &Jobs, learned: Option<&LearnedPoints>, shown: u64) -> Option<String> {
    let Some(learned) = learned else {
        let more = jobs.count() - shown;
        return (more > 0).then(|| format!("… and {more} more: --preview N shows N jobs"));
    };
    let included = learned.included_count();
    let more = match included - shown {
        0 => String::new(),
        more => format!("… and {more} more of `include`\n"),
    };
    let how = match learned.are_from_outside() {
        true => "come from a searcher outside, which `sweep search` connects",
        false => "are chosen from results as their turns come",
    };
    let others = learned.count() - included;
    let others = (others > 0).then(|| format!("\nUp to {} {how}.", count(others, "point")));
    Some(more + &others.unwrap_or_default()).filter(|rest| !rest.is_empty())
}
