//! Sweeps that train each point several times.

use super::*;

/// Jobs with these accuracies, `repeats` to a point, whose seeds differ; those without one failed.
fn trained(repeats: usize, accuracies: &[Option<f64>]) -> (Sweep, Vec<Trained>) {
    let mut header = header(accuracies.len() as u64, JobCounts::default());
    header.repeats = repeats as u32;
    header.varying.push("seed".into());
    let each = accuracies.iter().enumerate().map(|(place, accuracy)| {
        let mut point = point(place as u64 + 1, "relu", 0.5 / (place / repeats + 1) as f64, 32);
        point.parameters.0[4].1 = ParameterValue::Integer((place % repeats) as i64);
        match accuracy {
            Some(accuracy) => job(point, *accuracy, 1.0),
            None => (Job { state: Some(JobState::Failed), ..point }, Vec::new()),
        }
    });
    let jobs = each.collect();
    (header, jobs)
}

#[test]
fn the_means_of_repeated_trainings_are_shown_with_their_spread_and_incomplete_points_come_last() {
    let accuracies =
        [Some(0.5), Some(0.7), Some(0.9), Some(0.97), None, Some(0.95), Some(0.8), Some(0.81), Some(0.82)];
    let (header, jobs) = trained(3, &accuracies);
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    let (_, table) = page.split_once("\n### Points\n\n").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).take(5).collect();
    let headings = "| Point | Jobs | Activation | Learning rate | Batch size | Done | Mean | Standard deviation | Smallest | Largest |";
    assert_eq!(rows[0], headings);
    assert_eq!(
        rows[2..],
        [
            "| **3** | **7–9** | **relu** | **0.16666666666666666** | **32** | **3** | **0.8100** | **0.0100** | **0.8000** | **0.8200** |",
            "| 1 | 1–3 | relu | 0.5 | 32 | 3 | 0.7000 | 0.2000 | 0.5000 | 0.9000 |",
            "| 2 | 4–6 | relu | 0.25 | 32 | 2 | 0.9600 | 0.0141 | 0.9500 | 0.9700 |",
        ]
    );
    let best = "- **Best**: Validation accuracy 0.8100 (mean of 3, ± 0.0100) — ";
    assert!(
        page.contains(best) && page.contains("- **Best single training**: Validation accuracy 0.9700 — "),
        "{page}"
    );
    assert!(table.contains("over the 3 trainings of each point"), "{table}");
    let html = read(&write(&header, &jobs, Language::Japanese), "report.html");
    assert!(html.contains("<h3>条件ごとの平均</h3>") && html.contains("各条件の 3 回の学習"), "{html}");
    assert!(html.contains("0.8100 (3 回の平均、± 0.0100)") && html.contains("最良の学習 (1 回)"), "{html}");
}

#[test]
fn points_that_are_trained_once_or_not_at_all_have_no_means() {
    let (header, jobs) = trained(1, &[Some(0.5), Some(0.7)]);
    assert!(!read(&write(&header, &jobs, Language::English), "report.md").contains("## Points"));
    let (header, jobs) = trained(2, &[None, None]);
    assert!(!read(&write(&header, &jobs, Language::English), "report.md").contains("## Points"));
}
