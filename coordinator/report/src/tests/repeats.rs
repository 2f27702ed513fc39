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

#[test]
fn of_a_grid_that_lists_seeds_the_whole_report_is_about_the_same_best_configuration() {
    // The luckiest training is that of the worse configuration; a grid has the seeds of one side by side, or far from each other.
    let of_rate = |rate: f64, seed: i64| match (rate < 0.4, seed) {
        (true, 0) => 0.99,
        (true, _) => 0.70,
        (false, seed) => 0.90 + 0.01 * seed as f64,
    };
    let mut jobs = Vec::new();
    for seed in 0..3 {
        for rate in [0.5, 0.25] {
            let mut point = point(jobs.len() as u64 + 1, "relu", rate, 32);
            point.parameters.0[4].1 = ParameterValue::Integer(seed);
            jobs.push(job(point, of_rate(rate, seed), 1.0));
        }
    }
    let mut header = header(6, JobCounts { done: 6, ..JobCounts::default() });
    header.varying = vec!["learning_rate".into(), "seed".into()];
    header.specification = "name: x\nparameters:\n  seed:\n    values: [0, 1, 2]\n".into();
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    for told in [
        "- **Best**: Validation accuracy 0.9100 (mean of 3, ± 0.0100) — Job 1: lr=0.5\n",
        "- **Best single training**: Validation accuracy 0.9900 — Job 2: ",
        "- **Repeats**: planned: each point 3 times; with a value: 6 trainings of 2 configurations\n",
        "| **1** | **0.5** | **3** | **0.9100** | **0.0100** | **0.8852 to 0.9348** |\n| 2 | 0.25 | 3 | 0.7967 | 0.1674 |",
        "those with all 3 trainings come first. The summary, the verdict on the best and the conclusion go by these means; the table of jobs",
        "The best mean validation accuracy is 0.9100 with a standard deviation of 0.0100 over 3 trainings, that of the configuration of job 1: lr=0.5.",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    let page = read(&write(&header, &jobs, Language::Japanese), "report.md");
    assert!(
        page.contains("3 回の学習がそろった設定を先に示します。") && page.contains("計画は各点 3 回"),
        "{page}"
    );
}

#[test]
fn where_a_search_took_a_point_again_the_best_configuration_may_have_a_single_training() {
    let mut jobs = Vec::new();
    for (seed, (rate, accuracy)) in (0..).zip([(0.5, 0.95), (0.5, 0.65), (0.25, 0.85)]) {
        let mut point = point(jobs.len() as u64 + 1, "relu", rate, 32);
        point.parameters.0[4].1 = ParameterValue::Integer(seed);
        jobs.push(job(point, accuracy, 1.0));
    }
    let mut header = header(3, JobCounts { done: 3, ..JobCounts::default() });
    header.varying = vec!["learning_rate".into(), "seed".into()];
    header.specification = "name: x\nmethod: random\n".into();
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    for told in [
        "- **Best**: Validation accuracy 0.8500 — Job 3: lr=0.25\n",
        "- **Best single training**: Validation accuracy 0.9500 — Job 1: ",
        "The best validation accuracy is 0.8500, that of job 3 (lr=0.25).",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
}
