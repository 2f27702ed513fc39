//! Total training time against the objective: one point per job.

use super::{
    Drawn, Point,
    axis::{Axis, Scale},
    labels::{self, Area, Placed},
    legend,
    marks::{GROUPS_MAX, Mark},
    numbers::{fitted, short, short_value, width},
    panel::Panel,
    svg::{Anchor, At, Drawing, Ink},
};
use crate::{
    headings::Headings,
    strings::{At as AtEpoch, Strings},
};

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 18.0;
const TITLE_SIZE: f64 = 20.0;
/// Height of the panel with its axes.
const PANEL_HEIGHT: f64 = 540.0;
/// Most labels next to points, for the best ones: more cannot be read.
const LABELS_MAX: usize = 40;
const LABEL_SIZE: f64 = 13.0;
const LABEL_HEIGHT: f64 = 16.0;
const LEGEND_SIZE: f64 = 14.0;
/// Widest text of the legend.
const LEGEND_TEXT_MAX: f64 = 220.0;
/// Points within this distance look like one.
const ONE_POINT: f64 = 6.0;
/// Most job numbers in the label of a point.
const NUMBERS_MAX: usize = 3;

/// What the figure shows, and how much it leaves out.
pub(super) struct Jobs<'a> {
    pub(super) points: &'a [Point],
    pub(super) with_results: u64,
    pub(super) without_results: u64,
    /// The parameter whose values have their own marks.
    pub(super) group: Option<&'a str>,
    pub(super) without_values: u64,
    /// The epoch that the values belong to.
    pub(super) at: AtEpoch,
}

/// Points that look like one: their position, and which they are, the best first.
struct Cluster {
    at: At,
    members: Vec<usize>,
}

pub(super) fn draw(jobs: &Jobs<'_>, headings: &Headings) -> Drawn {
    let (points, strings, objective) = (jobs.points, headings.strings, headings.objective());
    let title = strings.time_and(&objective.topic, jobs.at);
    let mut drawing = Drawing::new(WIDTH);
    // Bold text is wider than what is measured.
    let shown = fitted(&title, TITLE_SIZE, 0.9 * (WIDTH - 2.0 * MARGIN));
    drawing.bold((WIDTH / 2.0, 24.0), &shown, TITLE_SIZE, Anchor::Middle, Ink::Text);
    if points.is_empty() {
        drawing.text((WIDTH / 2.0, 90.0), strings.no_results, 18.0, Anchor::Middle, Ink::Soft);
        return Drawn { svg: drawing.finish(150.0), title, notes: notes(jobs, 0, false, headings) };
    }
    let unfinished = points.iter().any(|point| point.state != "done");
    let groups = groups(points);
    let mark_of = |point: &Point| {
        Mark::of_state(point.state)
            .unwrap_or_else(|| groups.position(&point.group).map_or(Mark::OtherGroup, Mark::Group))
    };
    let top = 44.0 + write_legend(&mut drawing, 44.0, jobs, &groups, mark_of, headings) + 8.0;
    let area = Area { left: MARGIN, top, right: WIDTH - MARGIN, bottom: top + PANEL_HEIGHT };
    let seconds = || points.iter().map(|point| point.seconds);
    let values = || points.iter().map(|point| point.value);
    let x = Axis::fitting(seconds, 0.08);
    let y = if objective.is_share { Axis::around(values(), 0.08) } else { Axis::fitting(values, 0.08) };
    let is_logarithmic = |axis: &Axis| axis.scale() == Scale::Logarithmic;
    let value_axis = strings.metric_axis(&objective.heading, &objective.at_best, jobs.at);
    let value_axis = strings.on_axis(&value_axis, is_logarithmic(&y));
    let time_axis = strings.on_axis(strings.train_seconds_axis, is_logarithmic(&x));
    let panel = Panel::draw(&mut drawing, area, (x, y), (&time_axis, &value_axis));
    let places: Vec<At> = points.iter().map(|point| panel.at(point.seconds, point.value)).collect();
    let clusters = clusters(&places);
    let texts: Vec<Vec<String>> =
        clusters.iter().take(LABELS_MAX).map(|cluster| label_texts(cluster, points, strings)).collect();
    let placed = place_labels(&clusters, &texts, panel.plot);
    for label in placed.iter().filter(|label| label.needs_line) {
        let at = clusters[label.point].at;
        drawing.line(at, label.area.nearest(at), Ink::Soft, 1.0);
    }
    // The best is drawn last, on top.
    for (point, at) in points.iter().zip(&places).rev() {
        let title = strings.job_titled(point.number, &point.label);
        drawing.titled(&title, |drawing| mark_of(point).draw(drawing, *at));
    }
    for label in &placed {
        write_label(&mut drawing, &texts[label.point][label.text], clusters[label.point].at, &label.area);
    }
    let has_numbers = placed.iter().any(|label| label.text > 0 || clusters[label.point].members.len() > 1);
    let labelled: usize = placed.iter().map(|label| clusters[label.point].members.len()).sum();
    let unlabelled = points.len() - labelled;
    let mut notes = notes(jobs, unlabelled, has_numbers, headings);
    if unfinished && jobs.at != AtEpoch::Best {
        notes.insert(0, strings.unfinished_are_last.to_owned());
    }
    Drawn { svg: drawing.finish(area.bottom + 6.0), title, notes }
}

/// What has a mark of its own.
enum Groups<'a> {
    /// Values, in numerical order where they are numbers.
    Values(Vec<&'a str>),
    /// Ranges of numbers, of which there are too many for each to have a mark: the lowest and the highest of each, in order.
    Bands(Vec<(f64, f64)>),
}

/// Ranges in which many numbers are shown: as many as can be told apart at a glance.
const BANDS: usize = 5;

impl Groups<'_> {
    fn position(&self, value: &str) -> Option<usize> {
        match self {
            Self::Values(values) => values.iter().position(|known| *known == value),
            Self::Bands(bands) => {
                let number = value.parse::<f64>().ok()?;
                bands.iter().position(|(low, high)| (*low..=*high).contains(&number))
            }
        }
    }

    /// Its text in the legend; empty for a value that is.
    fn text(&self, group: usize) -> String {
        match self {
            Self::Values(values) if values[group].is_empty() => String::new(),
            Self::Values(values) => short_value(values[group]),
            Self::Bands(bands) => {
                let (low, high) = bands[group];
                format!("{} \u{2013} {}", short(low), short(high))
            }
        }
    }
}

fn groups(points: &[Point]) -> Groups<'_> {
    let done = points.iter().filter(|point| Mark::of_state(point.state).is_none());
    grouped(done.map(|point| point.group.as_str()).collect())
}

fn grouped(mut groups: Vec<&str>) -> Groups<'_> {
    groups.sort_by(|one, two| match (one.parse::<f64>(), two.parse::<f64>()) {
        (Ok(one), Ok(two)) => one.total_cmp(&two),
        _ => one.cmp(two),
    });
    groups.dedup();
    let numbers: Option<Vec<f64>> = groups.iter().map(|text| text.parse().ok()).collect();
    if let Some(numbers) = numbers.filter(|numbers| numbers.len() > GROUPS_MAX) {
        let bands = numbers.chunks(numbers.len().div_ceil(BANDS)).map(|band| (band[0], band[band.len() - 1]));
        return Groups::Bands(bands.collect());
    }
    groups.truncate(GROUPS_MAX);
    Groups::Values(groups)
}

/// Groups of points that look like one, in the order of their best.
fn clusters(places: &[At]) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    for (index, (x, y)) in places.iter().enumerate() {
        let near = |cluster: &&mut Cluster| {
            (cluster.at.0 - x).abs() <= ONE_POINT && (cluster.at.1 - y).abs() <= ONE_POINT
        };
        match clusters.iter_mut().find(near) {
            Some(cluster) => cluster.members.push(index),
            None => clusters.push(Cluster { at: (*x, *y), members: vec![index] }),
        }
    }
    clusters
}

/// The possible texts for a point, the best first: the parameters of a single job, or else the numbers of jobs.
fn label_texts(cluster: &Cluster, points: &[Point], strings: &Strings) -> Vec<String> {
    let mut numbers: Vec<u64> = cluster.members.iter().map(|member| points[*member].number).collect();
    match numbers.len() {
        1 => {
            let point = &points[cluster.members[0]];
            let texts = [point.label.clone(), point.number.to_string()];
            texts.into_iter().filter(|text| !text.is_empty()).collect()
        }
        2..=NUMBERS_MAX => {
            numbers.sort_unstable();
            vec![numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")]
        }
        all => vec![strings.and_others(numbers[0], all - 1)],
    }
}

fn place_labels(clusters: &[Cluster], texts: &[Vec<String>], plot: Area) -> Vec<Placed> {
    let places: Vec<At> = clusters.iter().map(|cluster| cluster.at).collect();
    let size = |text: &String| (width(text, LABEL_SIZE), LABEL_HEIGHT);
    let sizes: Vec<Vec<(f64, f64)>> = texts.iter().map(|texts| texts.iter().map(size).collect()).collect();
    labels::place(&places, &sizes, plot)
}

fn write_label(drawing: &mut Drawing, text: &str, point: At, area: &Area) {
    // The text begins or ends next to its point, whatever its true width is.
    let (anchor, x) = match (area.left > point.0, area.right < point.0) {
        (true, _) => (Anchor::Start, area.left),
        (_, true) => (Anchor::End, area.right),
        _ => (Anchor::Middle, (area.left + area.right) / 2.0),
    };
    drawing.label((x, (area.top + area.bottom) / 2.0), text, LABEL_SIZE, anchor, Ink::Text);
}

/// Writes the marks that occur and what they stand for; returns the height.
fn write_legend(
    drawing: &mut Drawing,
    top: f64,
    jobs: &Jobs<'_>,
    groups: &Groups<'_>,
    mark_of: impl Fn(&Point) -> Mark,
    headings: &Headings,
) -> f64 {
    let strings = headings.strings;
    let mut marks: Vec<Mark> = jobs.points.iter().map(mark_of).collect();
    marks.sort_unstable();
    marks.dedup();
    let name = jobs.group.map_or("", |name| headings.parameter(name));
    let mut entries: Vec<(Option<Mark>, String)> = Vec::new();
    if !name.is_empty() && marks.iter().any(|mark| mark.state().is_none()) {
        entries.push((None, format!("{name}:")));
    }
    let states = marks.iter().position(|mark| mark.state().is_some());
    let has_name = !entries.is_empty();
    for (position, mark) in marks.into_iter().enumerate() {
        if has_name && Some(position) == states {
            entries.push((None, format!("{}:", strings.state)));
        }
        let text = match (mark, mark.state()) {
            (Mark::Group(group), _) if !groups.text(group).is_empty() => groups.text(group),
            (Mark::OtherGroup, _) => strings.other_values.to_owned(),
            (_, state) => strings.state_name(state.unwrap_or("done")).to_owned(),
        };
        entries.push((Some(mark), text));
    }
    for (_, text) in &mut entries {
        *text = fitted(text, LEGEND_SIZE, LEGEND_TEXT_MAX);
    }
    let widths: Vec<f64> = entries
        .iter()
        .map(|(mark, text)| width(text, LEGEND_SIZE) + if mark.is_some() { 16.0 } else { 0.0 })
        .collect();
    let places = legend::flow(&widths, WIDTH - 2.0 * MARGIN);
    for ((mark, text), (left, row)) in entries.iter().zip(&places) {
        let (x, y) = (MARGIN + 4.0 + left, top + (*row as f64 + 0.5) * legend::ROW);
        match mark {
            Some(mark) => {
                mark.draw(drawing, (x + 4.0, y));
                drawing.text((x + 16.0, y), text, LEGEND_SIZE, Anchor::Start, Ink::Text);
            }
            None => drawing.text((x, y), text, LEGEND_SIZE, Anchor::Start, Ink::Soft),
        }
    }
    legend::height(&places)
}

/// What the figure does not show, and what its labels mean.
fn notes(jobs: &Jobs<'_>, unlabelled: usize, has_numbers: bool, headings: &Headings) -> Vec<String> {
    let strings = headings.strings;
    let mut notes = Vec::new();
    if (jobs.points.len() as u64) < jobs.with_results {
        notes.push(strings.points_shown(jobs.points.len(), jobs.with_results));
    }
    if jobs.without_results > 0 {
        notes.push(strings.without_results(jobs.without_results));
    }
    if jobs.without_values > 0 {
        notes.push(strings.without_values(jobs.without_values, &headings.objective().heading));
    }
    if has_numbers {
        notes.push(strings.numbers_are_jobs.to_owned());
    }
    if unlabelled > 0 {
        notes.push(strings.unlabelled(unlabelled));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_look_like_one_have_one_label() {
        let clusters = clusters(&[(10.0, 10.0), (50.0, 10.0), (11.0, 9.0), (10.0, 14.0)]);
        let members: Vec<_> = clusters.iter().map(|cluster| cluster.members.clone()).collect();
        assert_eq!(members, [vec![0, 2, 3], vec![1]]);
    }

    #[test]
    fn values_have_marks_and_numbers_that_are_too_many_have_marks_for_their_ranges() {
        let few = grouped(vec!["10", "9", "10"]);
        assert_eq!(
            (few.text(0), few.text(1), few.position("10")),
            ("9".to_owned(), "10".to_owned(), Some(1))
        );
        let drawn: Vec<String> = (1..=200).map(|number| format!("{}", f64::from(number) / 1e4)).collect();
        let many = grouped(drawn.iter().map(String::as_str).collect());
        assert_eq!(
            (many.text(0), many.text(4)),
            ("0.0001 \u{2013} 0.004".to_owned(), "0.0161 \u{2013} 0.02".to_owned())
        );
        assert!(drawn.iter().all(|value| many.position(value).is_some_and(|band| band < BANDS)));
        let names: Vec<String> = (0..20).map(|number| format!("name{number}")).collect();
        let names = grouped(names.iter().map(String::as_str).collect());
        assert_eq!(
            (names.position("name0"), names.position("name9")),
            (Some(0), None),
            "the others have one mark"
        );
    }
}
