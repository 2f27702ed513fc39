//! `sweep compare`: sweeps next to each other, and whether a test tells them apart.

mod folder;

use std::collections::BTreeSet;

use analysis::{Interval, gain};
use proto::v1;
use report::{
    compare::{Comparison, NotCompared, Pair, Side, Tested, Trained, compare},
    p_value,
};
use terminal::{output::say, text};
use terms::{Goal, JobState};

use super::{
    client::Target,
    failure::Failure,
    folder::Named,
    output::{Cell, Format, Printer, count, print, print_json, table, table_of_fields},
};
use crate::shapes::rows;

/// Most sweeps: more are no longer next to each other on a terminal.
const SWEEPS_MAX: usize = 12;
/// Jobs per request.
const PAGE_ROWS: u32 = 1_000;

/// Arguments of `sweep compare`.
#[derive(Debug, clap::Args)]
pub(super) struct CompareArguments {
    /// Sweeps by their numbers, or folders of `sweep run`, at least two; each of the others is compared with the first
    #[arg(required = true, num_args = 2..=SWEEPS_MAX, value_name = "SWEEP|FOLDER")]
    sweeps: Vec<Named>,
}

/// `sweep compare`.
pub(super) async fn compare_sweeps(
    arguments: &CompareArguments,
    target: &Target,
    format: Format,
) -> Result<(), Failure> {
    for (place, named) in arguments.sweeps.iter().enumerate() {
        if arguments.sweeps[..place].contains(named) {
            return Err(Failure::usage(format!("{named} is named twice; name each sweep once")));
        }
        named.check()?;
    }
    let mut sides: Vec<Side> = Vec::new();
    // Those of folders get numbers that no other has here: each is number 1 of its own database.
    let known: BTreeSet<u64> = arguments.sweeps.iter().filter_map(Named::number).collect();
    let mut free = (1..).filter(|number| !known.contains(number));
    for named in &arguments.sweeps {
        sides.push(match named {
            Named::Sweep(sweep) => read(target, *sweep).await?,
            Named::Folder(folder) => folder::side_of(folder, free.next().unwrap_or_default()).await?,
        });
    }
    let left_out: u64 = sides.iter().map(Side::left_out).sum();
    if left_out > 0 {
        say(&format!(
            "warning: {} of configurations beyond the first 100,000 of a sweep are not compared",
            count(left_out, "training")
        ));
    }
    let comparison = compare(&sides);
    match format {
        Format::Json => print_json(&comparison),
        Format::Table => print(&words(&comparison)),
        Format::Csv | Format::Name => {
            let fields = fields(&comparison);
            let columns = fields.iter().map(|(name, _)| name.clone()).collect();
            let mut printer = Printer::new(format, columns);
            let row = |place: usize| fields.iter().map(|(_, cells)| cells[place].clone()).collect();
            printer.page(&(0..comparison.sweeps.len()).map(row).collect::<Vec<_>>())?;
            printer.finish()
        }
    }
}

/// Reads a sweep and its jobs.
async fn read(target: &Target, sweep_id: u64) -> Result<Side, Failure> {
    let sweep = target.call(async |client| client.get_sweep(v1::GetSweepRequest { sweep_id }).await).await?;
    let metric_names = sweep.metric_names.clone();
    let sweep = rows::sweep(sweep, Vec::new(), &metric_names);
    let (objective, mut side) = (sweep.objective.clone(), Side::new(sweep));
    let mut page_token = String::new();
    loop {
        let request = v1::ListJobsRequest { sweep_id, page_size: PAGE_ROWS, page_token, states: Vec::new() };
        let page = target.call(async |client| client.list_jobs(request.clone()).await).await?;
        for job in page.jobs {
            let value = match objective.used {
                terms::MetricUse::Best => rows::best_objective_of(&job, &objective.name),
                terms::MetricUse::Last => rows::metric_of(&job, &objective.name),
            };
            let state = JobState::try_from(job.state()).ok();
            let v1::Job { point, epochs_done, train_seconds, pack_size, .. } = job;
            let point = point.unwrap_or_default();
            side.job(Trained {
                job: point.job,
                parameters: &proto::parameters_from_wire(point.parameters),
                state,
                value,
                epochs: epochs_done,
                seconds: train_seconds,
                pack_size,
            });
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if let Some(job) = side.best_job() {
        let request = v1::GetJobRequest { sweep_id, job };
        let detail = target.call(async |client| client.get_job(request).await).await?;
        let point = detail.job.and_then(|job| job.point).unwrap_or_default();
        side.set_best_parameters(proto::parameters_from_wire(point.parameters));
    }
    Ok(side)
}

/// What is shown of each sweep: a name, and a value of each.
fn fields(comparison: &Comparison) -> Vec<(String, Vec<Cell>)> {
    let field = |name: &str, cell: &dyn Fn(&report::compare::Compared) -> Cell| {
        (name.to_owned(), comparison.sweeps.iter().map(cell).collect::<Vec<Cell>>())
    };
    let mut fields = vec![
        field("sweep", &|sweep| Cell::Integer(sweep.id)),
        field("name", &|sweep| Cell::Text(sweep.name.clone())),
        field("state", &|sweep| Cell::Text(sweep.state.to_owned())),
        field("jobs", &|sweep| Cell::Integer(sweep.jobs)),
        field("done", &|sweep| Cell::Integer(sweep.done)),
        field("metric", &|sweep| Cell::Text(sweep.metric.clone())),
        field("best", &|sweep| {
            let trainings = u32::try_from(sweep.trainings).unwrap_or(u32::MAX);
            sweep.best.0.map_or(Cell::Empty, |best| Cell::Mean(best, 4, trainings))
        }),
        field("deviation", &|sweep| Cell::number(sweep.deviation.0, 4)),
        field("trainings", &|sweep| Cell::Integer(sweep.trainings)),
        field("best_job", &|sweep| sweep.best_job.map_or(Cell::Empty, Cell::Integer)),
        field("best_parameters", &|sweep| match &sweep.best_parameters {
            Some(shown) => Cell::Point(shown.0.0.clone()),
            None => Cell::Empty,
        }),
        field("epochs", &|sweep| Cell::Integer(sweep.epochs)),
        field("train_seconds", &|sweep| Cell::Number(sweep.train_seconds, 2)),
    ];
    if comparison.sweeps.iter().any(|sweep| sweep.folder.is_some()) {
        let folder = field("folder", &|sweep| sweep.folder.clone().map_or(Cell::Empty, Cell::Text));
        fields.insert(1, folder);
    }
    fields
}

/// The comparison for people.
fn words(comparison: &Comparison) -> String {
    let ids: Vec<String> = comparison.sweeps.iter().map(|sweep| sweep.id.to_string()).collect();
    let named = |first: &str| {
        [first].into_iter().map(str::to_owned).chain(ids.iter().cloned()).collect::<Vec<String>>()
    };
    let columns = named("sweep");
    let row = |(name, cells): (String, Vec<Cell>)| [vec![Cell::Text(name)], cells].concat();
    let rows: Vec<Vec<Cell>> = fields(comparison).into_iter().skip(1).map(row).collect();
    let mut said = table_of_fields(&columns, &rows);
    if !comparison.differences.is_empty() {
        let cell = |value: &Option<String>| value.clone().map_or(Cell::Empty, Cell::Text);
        let rows: Vec<Vec<Cell>> = comparison
            .differences
            .iter()
            .map(|one| [vec![Cell::Text(one.key.clone())], one.values.iter().map(cell).collect()].concat())
            .collect();
        said.push_str("\nThe files differ:\n");
        said.push_str(&table(Some(&named("key")), &rows));
        if comparison.differences_left_out > 0 {
            said.push_str(&format!("and in {}\n", count(comparison.differences_left_out as u64, "more key")));
        }
    } else {
        said.push_str("\nThe files differ in nothing but names and descriptions.\n");
    }
    for pair in &comparison.against_first {
        said.push('\n');
        for sentence in sentences(comparison, pair) {
            said.push_str(&text::line(&sentence));
            said.push('\n');
        }
    }
    said
}

/// What comes of comparing two sweeps.
fn sentences(comparison: &Comparison, pair: &Pair) -> Vec<String> {
    let Pair { first, second, .. } = pair;
    let mut said = Vec::new();
    match pair.not_compared {
        Some(NotCompared::OtherMetric) => {
            said.push(format!(
                "Sweeps {first} and {second} rank by different metrics, or by different epochs: their values do not compare."
            ));
            return said;
        }
        Some(NotCompared::OtherData) => said.push(format!(
            "The data of sweeps {first} and {second} differ in {}: that may make the differences below.",
            pair.other_data.join(", ")
        )),
        None => {}
    }
    let sweep = |id: &u64| comparison.sweeps.iter().find(|sweep| sweep.id == *id);
    let maximize = sweep(first).is_none_or(|sweep| sweep.maximize);
    let goal = if maximize { Goal::Maximize } else { Goal::Minimize };
    let lead = |difference, interval| Lead::of((*first, *second), difference, interval, goal);
    let bests = format!("The bests of sweeps {first} and {second}");
    match (pair.bests, sweep(first).zip(sweep(second))) {
        (Some(found), _) => said.push(format!(
            "{}, by Welch). Each was chosen by its value, from more or fewer, so that this is no test.",
            lead(found.difference, found.interval).of_bests()
        )),
        (None, Some((one, other))) if one.best_job.is_none() || other.best_job.is_none() => {
            said.push(format!("{bests}: not compared, as a sweep has no job that is done with a value."));
        }
        (None, Some((one, other))) if one.trainings < 2 || other.trainings < 2 => said.push(format!(
            "{bests}: not tested, as one of them was trained once; `repeats: 3` in the sweep file trains each configuration three times."
        )),
        (None, _) => said.push(format!("{bests}: not tested, as their trainings do not vary.")),
    }
    let wins = format!("{second} is better in {}, {first} in {}", pair.second_better, pair.first_better);
    let are_equal = pair.paired.is_none() && pair.second_better + pair.first_better == 0;
    said.push(match (pair.common, pair.paired) {
        (1, _) if are_equal => "A single configuration is in both, with the same value.".to_owned(),
        (2.., _) if are_equal => {
            format!("{} configurations are in both, each with the same value in both: there is no difference to test.", pair.common)
        }
        (0, _) => "No configuration is in both with a value.".to_owned(),
        (1, _) => format!("A single configuration is in both, which no test can be made of; {wins}."),
        (common, Some(tested)) => format!(
            "{common} configurations are in both; on average {}; paired t-test, {}): {}; {wins}.",
            lead(tested.difference, tested.interval).on_average(),
            p_of(&tested),
            if tested.separable { "significant at the 5 % level" } else { "not separable" }
        ),
        (common, None) => {
            format!("{common} configurations are in both, all with the same difference, which no test can be made of; {wins}.")
        }
    });
    said
}

/// Which of two sweeps is better, and by how much.
struct Lead {
    first: u64,
    second: u64,
    is_second: bool,
    /// How much better the better one is; 0 where both are equal.
    by: f64,
    interval: Interval,
}

impl Lead {
    /// Of a difference, the second less the first.
    fn of((first, second): (u64, u64), difference: f64, interval: Interval, goal: Goal) -> Self {
        let is_second = gain(difference, goal) >= 0.0;
        // The first less the second, where the first is better.
        let towards = match (goal, is_second) {
            (goal, true) => goal,
            (Goal::Maximize, false) => Goal::Minimize,
            (Goal::Minimize, false) => Goal::Maximize,
        };
        // Where they are equal, the second less the first, as everywhere.
        let interval = if difference == 0.0 { interval } else { interval.gain(towards) };
        Self { first, second, is_second, by: gain(difference, towards), interval }
    }

    /// The one that is better, and the other one; none where they are equal.
    fn ordered(&self) -> Option<(u64, u64)> {
        let ordered = if self.is_second { (self.second, self.first) } else { (self.first, self.second) };
        (self.by != 0.0).then_some(ordered)
    }

    /// Of the best configurations, up to the interval, whose parenthesis is open.
    fn of_bests(&self) -> String {
        let Self { first, second, .. } = self;
        match self.ordered() {
            Some((better, worse)) => {
                format!("The best of sweep {better} is ahead of the best of sweep {worse} by {}", self.how())
            }
            None => format!("The bests of sweeps {first} and {second} are equal{}", self.how()),
        }
    }

    /// Of the configurations that both have, as far.
    fn on_average(&self) -> String {
        match self.ordered() {
            Some((better, _)) => format!("sweep {better} is ahead by {}", self.how()),
            None => format!("they are equal{}", self.how()),
        }
    }

    fn how(&self) -> String {
        let [by, low, high] = report::measured_alike([self.by, self.interval.low, self.interval.high], 4);
        match self.ordered() {
            Some(_) => format!("{by} (95 % interval {low} to {high}"),
            None => format!(" (95 % interval of the difference {low} to {high}"),
        }
    }
}

/// Its p-value, also as it is corrected for several sweeps.
fn p_of(tested: &Tested) -> String {
    match tested.p_corrected > tested.p {
        true => format!("{}, corrected for the sweeps {}", p_value(tested.p), p_value(tested.p_corrected)),
        false => p_value(tested.p),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_sweep_is_named_with_how_much_better_it_is_whichever_values_are_better() {
        let interval = Interval { low: -0.05, high: 0.25 };
        let told = |difference, goal| {
            let lead = Lead::of((1, 2), difference, interval, goal);
            [lead.of_bests(), lead.on_average()]
        };
        let [bests, average] = told(0.1, Goal::Maximize);
        let best =
            |better, worse| format!("The best of sweep {better} is ahead of the best of sweep {worse} by");
        assert_eq!(bests, format!("{} 0.1000 (95 % interval -0.0500 to 0.2500", best(2, 1)));
        assert_eq!(average, "sweep 2 is ahead by 0.1000 (95 % interval -0.0500 to 0.2500");
        // More is worse.
        let [bests, average] = told(0.1, Goal::Minimize);
        assert_eq!(bests, format!("{} 0.1000 (95 % interval -0.0500 to 0.2500", best(1, 2)));
        assert_eq!(average, "sweep 1 is ahead by 0.1000 (95 % interval -0.0500 to 0.2500");
        let [_, average] = told(-0.1, Goal::Minimize);
        assert_eq!(average, "sweep 2 is ahead by 0.1000 (95 % interval -0.2500 to 0.0500");
        let [_, average] = told(-0.1, Goal::Maximize);
        assert_eq!(average, "sweep 1 is ahead by 0.1000 (95 % interval -0.2500 to 0.0500");
        let [bests, average] = told(0.0, Goal::Minimize);
        assert_eq!(
            bests,
            "The bests of sweeps 1 and 2 are equal (95 % interval of the difference -0.0500 to 0.2500"
        );
        assert_eq!(average, "they are equal (95 % interval of the difference -0.0500 to 0.2500");
    }
}
