//! What a report says of the best configuration and its runner-up.

use super::*;

/// What a report says of the best configuration, where each is planned to have three trainings, of which the missing ones failed.
fn told(first: &[f64], second: &[f64], language: Language) -> String {
    let mut jobs = Vec::new();
    for (rate, accuracies) in [(0.5, first), (0.25, second)] {
        for seed in 0..3 {
            let mut point = point(jobs.len() as u64 + 1, "relu", rate, 32);
            point.parameters.0[4].1 = ParameterValue::Integer(seed);
            jobs.push(match accuracies.get(seed as usize) {
                Some(accuracy) => job(point, *accuracy, 1.0),
                None => (Job { state: Some(JobState::Failed), ..point }, Vec::new()),
            });
        }
    }
    let mut header = header(jobs.len() as u64, JobCounts::default());
    header.varying.push("seed".into());
    header.dataset = None;
    header.specification = "name: x\nparameters:\n  seed:\n    values: [0, 1, 2]\n".into();
    let page = read(&write(&header, &jobs, language), "report.md");
    let heading = if language == Language::English { "The best configuration" } else { "最良の設定" };
    let (_, rest) = page.split_once(&format!("# {heading}\n\n")).unwrap();
    rest.split("\n#").next().unwrap().to_owned()
}

#[test]
fn a_runner_up_with_the_better_mean_is_never_called_worse() {
    let page = told(&[0.90, 0.91], &[0.75, 0.76, 0.77], Language::English);
    let leads = "The runner-up, the configuration of job 1, has the better mean, but 2 of 3 trainings, and so comes after that of job 4, which \
                 has them all: they differ by -0.1450 (95 % interval -0.";
    assert!(page.contains(leads) && !page.contains("is better than the runner-up"), "{page}");
    assert!(page.contains("In all, the best cannot be said to be better than 1 configuration by"), "{page}");
    let japanese = told(&[0.90, 0.91], &[0.75, 0.76, 0.77], Language::Japanese);
    assert!(
        japanese.contains(
            "平均は次点であるジョブ 1 の設定のほうが優れていますが、値のある学習が 3 回のうち 2 回"
        ),
        "{japanese}"
    );
    assert!(!japanese.contains("次点であるジョブ 1 の設定より優れています"), "{japanese}");
}

#[test]
fn a_configuration_with_a_single_training_left_is_not_said_to_be_trained_once_by_plan() {
    let page = told(&[0.90], &[0.75, 0.76, 0.77], Language::English);
    let why = "has the better mean, but 1 of 3 trainings, and so comes after that of job 4, which has them all. No test was possible: of the \
               configuration of job 4, 3 trainings have a value, and of the runner-up, that of job 1, 1; a test needs at least two of each.";
    assert!(page.contains(why), "{page}");
    assert!(!page.contains("trained once each") && !page.contains("repeats: 3"), "{page}");
    let japanese = told(&[0.90], &[0.75, 0.76, 0.77], Language::Japanese);
    assert!(
        japanese.contains("値のある学習は、ジョブ 4 の設定が 3 回、次点のジョブ 1 の設定が 1 回です。"),
        "{japanese}"
    );
}

#[test]
fn a_configuration_that_was_trained_once_is_never_called_better() {
    let mut header = header(16, JobCounts { done: 16, ..JobCounts::default() });
    header.dataset.as_mut().unwrap().val_images = 200_000;
    let page = read(&write(&header, &whole_grid(), Language::English), "report.md");
    let told = "On these validation images the trained model of job 8 does better than that of the runner-up, job 7, by 0.0050 (95 % interval 0.00";
    let caveat = "Whether its configuration is the better one cannot be said from one training of each; `repeats: 3` in the sweep file trains each \
                  three times.";
    // In the part on the best and in the conclusion.
    assert_eq!((page.matches(told).count(), page.matches(caveat).count()), (2, 2), "{page}");
    assert!(!page.contains("is better than the runner-up"), "{page}");
    let page = read(&write(&header, &whole_grid(), Language::Japanese), "report.md");
    let caveat = "学習が 1 回ずつのため、設定として優れているかどうかはわかりません。スイープのファイルに `repeats: 3` と書くと 3 回ずつ学習します。";
    assert_eq!(page.matches(caveat).count(), 2, "{page}");
    assert!(!page.contains("の設定より優れています"), "{page}");
}
