//! Notes where the metric that ranks the jobs measures something else in each.

use super::*;

fn notes(metric: &str, parameters: &str) -> Vec<String> {
    let text = format!("metric: {{name: {metric}}}\n{}", with_parameters(parameters));
    parse(&text).unwrap().notes
}

const VARIES: &str = "  label_smoothing: {values: [0.0, 0.1]}";

#[test]
fn a_metric_that_depends_on_what_differs_between_jobs_is_noted_where_it_ranks_them() {
    let note = "`train_loss` ranks the jobs, and what it measures depends on `label_smoothing`, in which they differ, so that it does \
                not tell which is better; rank by `val_accuracy` or `val_loss` or `train_accuracy` instead";
    assert_eq!(notes("train_loss", VARIES), [note]);
    for (metric, parameters) in [
        ("val_loss", VARIES),
        ("train_loss", "  label_smoothing: {value: 0.1}"),
        ("train_loss", "  dropout: {values: [0.0, 0.1]}"),
    ] {
        assert_eq!(notes(metric, parameters), Vec::<String>::new(), "{metric} {parameters}");
    }
    let drawn = format!(
        "method: random\nrun_cap: 9\nmetric: {{name: train_loss}}\n{}",
        with_parameters("  label_smoothing: {min: 0.0, max: 0.2}")
    );
    assert_eq!(parse(&drawn).unwrap().notes, [note]);
}

#[test]
fn an_extension_that_makes_jobs_differ_in_it_is_noted_too() {
    let of = |parameters: &str| {
        parse(&format!("metric: {{name: train_loss}}\n{}", with_parameters(parameters))).unwrap()
    };
    let (plain, smoothed) = (of(""), of("  label_smoothing: {value: 0.1}"));
    // Its first value is that of `smoothed`, and not that of `plain`.
    let both = of("  label_smoothing: {values: [0.1, 0.0]}");
    assert!(smoothed.note_on_metric_after(&plain).unwrap().starts_with("`train_loss` ranks the jobs"));
    assert!(smoothed.note_on_metric_after(&both).is_some());
    assert_eq!(both.note_on_metric_after(&plain), None, "its own note says so");
    assert_eq!(smoothed.note_on_metric_after(&smoothed), None);
}
