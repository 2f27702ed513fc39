//! The report as a document: its sections in order, what it concludes, and what it does not claim.

use super::*;

/// The headings of a page in Markdown.
fn sections(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix("## ")).collect()
}

/// What follows a heading.
fn part<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) =
        page.split_once(&format!("# {heading}\n\n")).unwrap_or_else(|| panic!("{heading}: {page}"));
    rest.split("\n#").next().unwrap()
}

fn grid() -> (Sweep, Vec<Trained>) {
    (header(16, JobCounts { done: 16, ..JobCounts::default() }), whole_grid())
}

#[test]
fn a_report_is_a_document_from_its_question_to_how_to_do_it_again() {
    let (header, jobs) = grid();
    let page = |language| read(&write(&header, &jobs, language), "report.md");
    let english = page(Language::English);
    let expected = ["Summary", "Question", "Method", "Results", "Discussion", "Conclusion", "Reproduction"];
    assert_eq!(sections(&english), expected);
    assert_eq!(
        sections(&page(Language::Japanese)),
        ["概要", "目的", "方法", "結果", "考察", "まとめ", "再現方法"]
    );
    let question = part(&english, "Question");
    assert!(
        question.contains("activation, learning rate and batch size give the largest validation accuracy?"),
        "{question}"
    );
    assert!(question.contains("- **Learning rate**: 0.00005, 0.0001, 0.005, 0.01\n"), "{question}");
    for caption in ["Table 1. ", "Table 2. ", "Figure 1. ", "Figure 2. ", "Figure 3. "] {
        assert_eq!(english.matches(&format!("\n{caption}")).count(), 1, "{caption}: {english}");
    }
    insta::assert_snapshot!("document_English", english);
    insta::assert_snapshot!("document_Japanese", page(Language::Japanese));
}

#[test]
fn jobs_are_listed_the_best_first() {
    let (header, jobs) = grid();
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    let rows = part(&page, "Results").lines().filter(|line| line.starts_with('|')).skip(2);
    let values: Vec<f64> = rows
        .take(16)
        .map(|row| row.split('|').nth(6).unwrap().trim_matches(['*', ' ']).parse().unwrap())
        .collect();
    assert!(values.is_sorted_by(|better, worse| better >= worse), "{values:?}");
}

#[test]
fn a_best_that_cannot_be_told_from_the_runner_up_is_called_not_separable_with_the_reason() {
    let (mut header, jobs) = grid();
    // A share of 200 images.
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    let told = part(&page, "The best configuration");
    assert!(told.contains("are not separable: they differ by 0.0050 (95 % interval -0."), "{told}");
    assert!(told.contains("Newcombe"), "{told}");
    assert!(part(&page, "Conclusion").contains("are not separable"), "{page}");
    // Nothing is known of how far other metrics vary.
    header.objective = objective("val_loss", Goal::Minimize, MetricUse::Last);
    let mut jobs = jobs;
    for (place, (job, _)) in jobs.iter_mut().enumerate() {
        set(&mut job.metrics, VAL_LOSS, 0.25 + place as f64 / 64.0);
    }
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    let told = part(&page, "The best configuration");
    assert!(told.contains("No test was possible") && told.contains("trained once each"), "{told}");
    let page = read(&write(&header, &jobs, Language::Japanese), "report.md");
    assert!(part(&page, "最良の設定").contains("検定できません"), "{page}");
}

#[test]
fn a_best_of_smaller_values_is_better_by_what_it_has_less() {
    let (mut header, mut jobs) = repeated(&[("relu", [0.9; 4]), ("tanh", [0.9; 4])]);
    header.objective = objective("val_loss", Goal::Minimize, MetricUse::Last);
    let losses = [0.10, 0.11, 0.12, 0.11, 0.30, 0.31, 0.32, 0.31];
    for ((job, _), loss) in jobs.iter_mut().zip(losses) {
        set(&mut job.metrics, VAL_LOSS, loss);
    }
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    let told = part(&page, "The best configuration");
    let by = "is better than the runner-up, that of job 5, by 0.2000 (95 % interval 0.1";
    assert!(told.contains(by), "{told}");
}

/// A sweep of one parameter with these values, each trained so often with these accuracies.
fn repeated(values: &[(&str, [f64; 4])]) -> (Sweep, Vec<Trained>) {
    let count = 4 * values.len() as u64;
    let mut header = header(count, JobCounts { done: count, ..JobCounts::default() });
    header.varying = vec!["activation".into(), "seed".into()];
    header.repeats = 4;
    header.dataset = None;
    let mut jobs = Vec::new();
    for (activation, accuracies) in values {
        for (seed, accuracy) in (0..).zip(accuracies) {
            let mut point = point(jobs.len() as u64 + 1, activation, 0.1, 32);
            point.parameters.0[4].1 = ParameterValue::Integer(seed);
            jobs.push(job(point, *accuracy, 1.0));
        }
    }
    (header, jobs)
}

#[test]
fn a_difference_is_significant_only_where_a_test_corrected_for_the_choice_says_so() {
    let apart = [("relu", [0.90, 0.91, 0.92, 0.93]), ("tanh", [0.70, 0.70, 0.73, 0.72])];
    let (header, jobs) = repeated(&apart);
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    assert!(part(&page, "Discussion").contains("significant at the 5 % level"), "{page}");
    // All that there is between two values of the only parameter is between its values, chance included.
    let effects = part(&page, "Effects of the parameters");
    assert!(effects.contains("There is no importance: a single parameter varies"), "{effects}");
    assert!(!page.contains("| Importance |") && !page.contains("left to"), "{page}");
    assert!(part(&page, "The best configuration").contains("is better than the runner-up"), "{page}");
    // By itself p is 0.04; of three values the largest of three differences was chosen.
    let chosen = [
        ("relu", [0.90, 0.92, 0.95, 0.90]),
        ("tanh", [0.88, 0.91, 0.91, 0.89]),
        ("gelu", [0.89, 0.90, 0.91, 0.88]),
    ];
    let (header, jobs) = repeated(&chosen);
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    let discussion = part(&page, "Discussion");
    assert!(discussion.contains("corrected for 3 comparisons): not separable"), "{discussion}");
    let pairs = page.lines().filter(|line| line.contains(" \u{2212} ")).collect::<Vec<_>>();
    assert!(
        pairs.iter().any(|row| row.split('|').nth(6).unwrap().trim().parse::<f64>().unwrap() < 0.05),
        "{pairs:?}"
    );
}

#[test]
fn the_best_and_the_worst_of_many_values_are_tested_with_the_correction_for_all_pairs() {
    let values =
        [0.70, 0.72, 0.74, 0.90, 0.60, 0.71].map(|mean| [mean, mean + 0.01, mean + 0.03, mean - 0.01]);
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut values: Vec<(&str, [f64; 4])> = names.into_iter().zip(values).collect();
    // Not the same difference in every pair.
    values[3].1[0] += 0.01;
    let (header, jobs) = repeated(&values);
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    let discussion = part(&page, "Discussion");
    assert!(discussion.contains("of its 6 values, d has the best mean"), "{discussion}");
    assert!(
        discussion.contains("corrected for 15 comparisons): significant at the 5 % level"),
        "{discussion}"
    );
    assert!(page.contains("| Activation | e \u{2212} d | 4 |"), "{page}");
}

#[test]
fn trainings_without_a_seed_are_compared_by_welchs_test_which_is_named() {
    let (mut header, mut jobs) =
        repeated(&[("relu", [0.90, 0.91, 0.92, 0.93]), ("tanh", [0.70, 0.70, 0.73, 0.72])]);
    header.varying = vec!["activation".into()];
    header.parameters.retain(|name| name != "seed");
    jobs.iter_mut().for_each(|(job, _)| job.parameters.0.truncate(4));
    let page = |language| read(&write(&header, &jobs, language), "report.md");
    let english = page(Language::English);
    let told = "The mean of the first less that of the second is 0.2025 (Welch's t-test of their trainings, p &lt; 0.0001): significant";
    assert!(part(&english, "Discussion").contains(told), "{english}");
    assert!(
        !english.contains("a test needs more pairs") && english.contains("No seed says which"),
        "{english}"
    );
    let told = "平均の差 (前者 − 後者) は 0.2025 (学習間のウェルチの t 検定、p &lt; 0.0001) で、5 % 水準で有意な差です。";
    assert!(part(&page(Language::Japanese), "考察").contains(told));
}

#[test]
fn a_mean_of_equal_results_has_a_dash_in_place_of_an_interval() {
    let (header, jobs) = repeated(&[("relu", [0.90, 0.91, 0.92, 0.93]), ("tanh", [0.5014; 4])]);
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    assert!(page.contains("| Activation | tanh | 4 | 0.5014 | 0.0000 | \u{2013} |"), "{page}");
    assert!(
        page.contains("A dash stands in place of the interval") && !page.contains("0.5014 to 0.5014"),
        "{page}"
    );
    assert!(part(&page, "Discussion").contains("0.5014 (n = 4) with tanh"), "{page}");
    let page = read(&write(&header, &jobs, Language::Japanese), "report.md");
    assert!(part(&page, "パラメーターの影響").contains("区間の代わりに – を示します。"), "{page}");
}

#[test]
fn the_method_names_the_devices_of_the_jobs_that_have_epochs() {
    let (header, mut jobs) = grid();
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    assert!(!page.contains("- **Devices**"), "a record without them says nothing: {page}");
    for (place, (job, _)) in jobs.iter_mut().enumerate() {
        job.device = if place < 15 { format!("cuda:{}", place % 2) } else { "cpu".into() };
    }
    let unbegun =
        Job { device: "cuda:7".into(), state: Some(JobState::Failed), ..point(17, "relu", 0.1, 32) };
    jobs.push((unbegun, Vec::new()));
    let page = |language| read(&write(&header, &jobs, language), "report.md");
    let english = page(Language::English);
    assert!(
        part(&english, "Method").contains("- **Devices**: cpu (1 job), cuda:0 (8 jobs), cuda:1 (7 jobs)\n"),
        "{english}"
    );
    assert!(page(Language::Japanese).contains("- **デバイス**: cpu (1 件), cuda:0 (8 件), cuda:1 (7 件)\n"));
    // Beyond those that are told apart, jobs are counted together.
    let (one, epochs) = jobs[0].clone();
    for device in 2..66 {
        jobs.push((Job { device: format!("cuda:{device}"), ..one.clone() }, epochs.clone()));
    }
    let many = read(&write(&header, &jobs, Language::English), "report.md");
    assert!(part(&many, "Method").contains(", others (3 jobs)\n"), "{many}");
}

#[test]
fn what_was_not_counted_is_said_with_its_numbers() {
    let mut header = some_header();
    let mut jobs = some_jobs();
    header.counts.stopped = 1;
    header.job_count = 5;
    jobs.push((
        Job { state: Some(JobState::Stopped), epochs_done: 1, ..point(5, "relu", 0.1, 32) },
        Vec::new(),
    ));
    for (language, heading, told) in [
        (
            Language::English,
            "What was left out",
            ["2 jobs (1 stopped, 1 failed)", "**Diverged**: 1 job, counted"],
        ),
        (Language::Japanese, "集計に含めていないもの", ["2 件 (打ち切り 1, 失敗 1)", "**発散**: 1 件。"]),
    ] {
        let page = read(&write(&header, &jobs, language), "report.md");
        let left_out = part(&page, heading);
        assert!(told.iter().all(|text| left_out.contains(text)), "{left_out}");
    }
    let (header, jobs) = grid();
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    assert!(part(&page, "What was left out").contains("Nothing: "), "{page}");
}

#[test]
fn the_limits_say_what_was_chosen_by_results() {
    let (mut header, jobs) = grid();
    let limits = |header: &Sweep, language, heading| {
        part(&read(&write(header, &jobs, language), "report.md"), heading).to_owned()
    };
    let (points, stopped) =
        ("The points were chosen by the results of earlier ones", "Early stopping ended 1 job: ");
    for (method, is_chosen) in [("grid", false), ("random", false), ("tpe", true), ("external", true)] {
        header.specification = format!("name: x\nmethod: {method}\n");
        let told = limits(&header, Language::English, "Limits");
        assert_eq!((told.contains(points), told.contains(stopped)), (is_chosen, false), "{method}: {told}");
    }
    header.counts.stopped = 1;
    assert!(limits(&header, Language::English, "Limits").contains(stopped));
    let japanese = limits(&header, Language::Japanese, "結果の限界");
    assert!(japanese.contains("設定は先の結果に基づいて選ばれたため"), "{japanese}");
    assert!(japanese.contains("1 件のジョブは早期に打ち切られました"), "{japanese}");
}

#[test]
fn of_a_sweep_with_very_many_jobs_a_choice_is_analysed_and_the_rest_is_counted() {
    let (mut header, jobs) = grid();
    header.job_count = u64::MAX;
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    let left_out = part(&page, "What was left out");
    assert!(left_out.contains("**Not analysed**: 16 jobs"), "{left_out}");
    assert!(part(&page, "The best configuration").contains("too many jobs"), "{page}");
}

#[test]
fn a_report_says_how_to_do_it_again() {
    let mut header = some_header();
    header.specification = "name: x\ndescription: Which is best?\nprogram: train.py\nmethod: grid\nexecution:\n  files:\n  - train.py\n  \
                            snapshot: 0123abcd\n---\nname: x\n"
        .into();
    header.manifest = None;
    let folder = write(&header, &some_jobs(), Language::English);
    let page = read(&folder, "report.md");
    let again = part(&page, "Reproduction");
    assert!(again.contains("```sh\nsweep run sweep.yaml --output again\n```"), "{again}");
    assert!(again.contains("(train.py)") && again.contains("0123abcd"), "{again}");
    assert!(again.contains("extended by 1 more file"), "{again}");
    assert!(part(&page, "Question").starts_with("Which is best?\n"), "{page}");
    assert!(part(&page, "Method").contains("- **Program**: train.py\n"), "{page}");
    // A file that names files of another coordinator is refused.
    assert!(!page.contains("snapshot:") && !read(&folder, "report.html").contains("snapshot:"), "{page}");
    let japanese = read(&write(&header, &some_jobs(), Language::Japanese), "report.md");
    assert!(
        part(&japanese, "再現方法").contains("sweep run sweep.yaml --output again --lang ja"),
        "{japanese}"
    );
}

#[test]
fn where_trainings_were_repeated_the_conclusion_is_about_the_best_mean_and_not_the_luckiest_training() {
    let (header, jobs) = repeated(&[("relu", [0.90, 0.91, 0.92, 0.93]), ("tanh", [0.99, 0.70, 0.73, 0.72])]);
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    let conclusion = part(&page, "Conclusion");
    let told =
        "The best mean validation accuracy is 0.9150 with a standard deviation of 0.0129 over 4 trainings";
    assert!(conclusion.contains(told) && conclusion.contains("of job 1: relu."), "{conclusion}");
    assert!(!conclusion.contains("0.99"), "{conclusion}");
    let page = read(&write(&header, &jobs, Language::Japanese), "report.md");
    assert!(part(&page, "まとめ").contains("4 回の平均で 0.9150 (標準偏差 0.0129)"), "{page}");
}

#[test]
fn of_a_parameter_with_very_many_values_those_that_are_not_shown_are_counted() {
    let jobs: Vec<_> = (1..=25u64)
        .flat_map(|value| {
            let name = format!("activation_{value}");
            let of = move |batch_size: i64| (name.clone(), value, batch_size);
            [of(32), of(64)]
        })
        .zip(1..)
        .map(|((name, value, batch_size), number)| {
            job(point(number, &name, 0.1, batch_size), 0.5 + value as f64 / 100.0, 1.0)
        })
        .collect();
    let mut header = header(50, JobCounts { done: 50, ..JobCounts::default() });
    header.varying = vec!["activation".into(), "batch_size".into()];
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    assert!(part(&page, "Discussion").contains("of the 20 values shown"), "{page}");
    let left_out = part(&page, "What was left out");
    assert!(
        left_out.contains("- **Values of Activation without a row in the tables of effects**: 5\n"),
        "{left_out}"
    );
    assert!(
        part(&page, "Effects of the parameters").contains("Activation: 5 more values not shown"),
        "{page}"
    );
}

#[test]
fn where_trainings_diverged_at_many_values_the_others_are_added_up() {
    let mut jobs: Vec<Trained> = Vec::new();
    for value in 1..=30_u64 {
        let next = || jobs.len() as u64 + 1;
        let mut diverged = point(next(), &format!("activation_{value}"), 0.1, 32);
        let ends_well = job(point(next() + 1, &format!("activation_{value}"), 0.1, 64), 0.5, 1.0);
        diverged.state = Some(JobState::Diverged);
        jobs.extend([(diverged, Vec::new()), ends_well]);
    }
    let mut header = header(60, JobCounts { done: 30, diverged: 30, ..JobCounts::default() });
    header.varying = vec!["activation".into(), "batch_size".into()];
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    let told = "30 trainings diverged (activation\\_1: 1, activation\\_2: 1, activation\\_3: 1, activation\\_4: 1, other values: 26), which no mean holds.";
    assert!(part(&page, "Discussion").contains(told), "{page}");
    let page = read(&write(&header, &jobs, Language::Japanese), "report.md");
    assert!(part(&page, "考察").contains("ほかの値: 26)、平均には含まれません。"), "{page}");
}

#[test]
fn a_model_of_ones_own_is_done_again_with_its_trainer() {
    let mut header = some_header();
    let mut manifest = builtin("simple_cnn").cloned().unwrap();
    manifest.name = "my_net".into();
    header.manifest = Some(manifest.into());
    let page = read(&write(&header, &some_jobs(), Language::English), "report.md");
    let again = part(&page, "Reproduction");
    assert!(again.contains("sweep run sweep.yaml --trainer COMMAND --output again\n"), "{again}");
    assert!(again.contains("my\\_net") && !again.contains("to the bit"), "{again}");
}

#[test]
fn two_parameters_that_act_together_have_a_table_and_where_it_would_have_holes_a_reason() {
    let (header, mut jobs) = grid();
    let heading = ["Two parameters together", "2 つのパラメーターの組み合わせ"];
    let page = read(&write(&header, &jobs, Language::English), "report.md");
    let told = part(&page, heading[0]);
    assert!(told.contains("looked at") && told.contains("of the variance between configurations"), "{told}");
    assert!(told.contains("Chance is in this share, too") && told.contains("on average"), "{told}");
    let rows: Vec<&str> = told.lines().filter(|line| line.starts_with('|')).collect();
    // The rate has more values than the other, so that it has the rows.
    assert_eq!(rows.len(), 2 + 4, "{told}");
    assert!(
        rows[0].starts_with("| Learning rate | ")
            && rows.iter().skip(2).all(|row| row.matches("(n = ").count() == 2),
        "{told}"
    );
    // One in the sentence that explains it.
    assert_eq!(told.matches('★').count(), 2, "{told}");
    let html = read(&write(&header, &jobs, Language::Japanese), "report.html");
    assert!(html.contains(heading[1]) && html.contains("組み合わせの効果が最も大きいのは"), "{html}");
    // One that failed leaves a hole.
    jobs[5].0.state = Some(JobState::Failed);
    for (language, heading, why) in [
        (Language::English, heading[0], "no complete grid"),
        (Language::Japanese, heading[1], "完全な格子になっておらず"),
    ] {
        let page = read(&write(&header, &jobs, language), "report.md");
        let told = part(&page, heading);
        assert!(told.contains(why) && !told.contains('|'), "{told}");
    }
}
