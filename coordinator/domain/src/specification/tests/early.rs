//! Early stopping in a sweep file.

use super::*;

fn early(section: &str) -> Result<Option<EarlyTermination>, SpecificationError> {
    let specification = parse(&format!("{REPORT}early_terminate: {section}\n"))?;
    let stored = Specification::from_stored(&specification.to_yaml(), &Models::default()).unwrap();
    assert_eq!(stored.early_terminate, specification.early_terminate, "{section}");
    Ok(specification.early_terminate)
}

#[test]
fn each_rule_is_read_with_its_usual_numbers_and_survives_being_stored() {
    let hyperband = |rungs, strict| StoppingRule::Hyperband { rungs, eta: 3, strict };
    for (section, rule, promote) in [
        ("{type: asha}", StoppingRule::Asha { min_iter: 1, eta: 3, s: 0 }, true),
        (
            "{type: asha, min_iter: 2, eta: 4, s: 1, promote: false}",
            StoppingRule::Asha { min_iter: 2, eta: 4, s: 1 },
            false,
        ),
        ("{type: hyperband, min_iter: 3}", hyperband(HyperbandRungs::From { min_iter: 3 }, false), true),
        (
            "{type: hyperband, max_iter: 27, s: 2, strict: true}",
            hyperband(HyperbandRungs::Below { max_iter: 27, s: 2 }, true),
            true,
        ),
        (
            "{type: hyperband, min_iter: 1, max_iter: 27}",
            hyperband(HyperbandRungs::Brackets { min_iter: 1, max_iter: 27 }, false),
            true,
        ),
        ("{type: median}", StoppingRule::Median { min_iter: 1, interval: 1, min_jobs: 5 }, false),
        ("{type: top_k, k: 4}", StoppingRule::TopK { min_iter: 1, k: 4 }, true),
    ] {
        assert_eq!(early(section).unwrap(), Some(EarlyTermination { rule, promote }), "{section}");
    }
    assert_eq!(parse(REPORT).unwrap().early_terminate, None);
}

#[test]
fn what_is_wrong_is_reported_with_its_key() {
    for (section, message) in [
        ("{min_iter: 1}", "early_terminate: `type` is missing: asha, hyperband, median or top_k"),
        ("{type: sha}", "expected asha, hyperband, median or top_k, but found `sha`"),
        ("{type: asha, eta: 1}", "expected a whole number from 2 to 100, but found `1`"),
        ("{type: asha, k: 3}", "`k` is not a key of `type: asha`, which has min_iter, eta, s, promote"),
        ("{type: top_k}", "`k` is missing"),
        ("{type: top_k, k: 1, promote: false}", "`promote` must be true with `type: top_k`"),
        ("{type: median, promote: true}", "`promote` must be false with `type: median`"),
        ("{type: hyperband}", "after how many epochs are jobs compared?"),
        ("{type: hyperband, max_iter: 27}", "`s` says at how many rungs jobs are compared"),
        ("{type: hyperband, min_iter: 1, s: 2}", "`s` goes with `max_iter` alone"),
        ("{type: hyperband, min_iter: 9, max_iter: 3}", "`min_iter` is greater than `max_iter`"),
        ("{type: asha, strict: maybe}", "expected true or false, but found `maybe`"),
        ("{type: asha, reduction: 3}", "unknown field `reduction`"),
    ] {
        let error = early(section).unwrap_err().to_string();
        assert!(error.contains(message), "{section}: {error}");
    }
}

#[test]
fn a_program_is_stopped_unless_it_says_that_it_can_pause() {
    let program = |section: &str| {
        let text = format!(
            "program: train.py\nmetric: {{name: loss, goal: minimize}}\nparameters: {{seed: {{values: [1, 2]}}}}\n\
             early_terminate: {section}\n"
        );
        parse(&text).unwrap()
    };
    let stopped = program("{type: asha}");
    assert!(!stopped.early_terminate.unwrap().promote);
    assert!(stopped.notes.iter().any(|note| note.contains("write `promote: true`")), "{:?}", stopped.notes);
    let paused = program("{type: asha, promote: true}");
    assert!(paused.early_terminate.unwrap().promote);
    for paused in [paused, program("{type: top_k, k: 1}")] {
        assert!(
            paused.notes.iter().any(|note| note.contains("`sweep.report` returns True")),
            "{:?}",
            paused.notes
        );
    }
    assert_eq!(program("{type: median, min_jobs: 1}").notes, [""; 0]);
}

#[test]
fn the_rule_cannot_change_while_the_sweep_runs() {
    let with = |section: &str| parse(&format!("{REPORT}early_terminate: {section}\n")).unwrap();
    let changes = with("{type: asha, eta: 4}").changes_from(&with("{type: asha}"));
    assert_eq!(changes.iter().map(|change| &*change.key).collect::<Vec<_>>(), ["early_terminate.eta"]);
    assert!(!is_setting("early_terminate.eta"));
    let overridden = parse_with(REPORT, &["early_terminate.type=asha", "early_terminate.eta=4"]).unwrap();
    assert_eq!(overridden.early_terminate, with("{type: asha, eta: 4}").early_terminate);
}

/// The notes on a rule in a sweep of SimpleCNN that trains this many jobs for so many epochs.
fn notes(section: &str, jobs: u32, epochs: u32) -> Vec<String> {
    let seeds: Vec<String> = (0..jobs).map(|seed| seed.to_string()).collect();
    let text = format!(
        "name: a\nmodel: simple_cnn\nmethod: grid\nmetric: {{name: val_accuracy, goal: maximize}}\ndataset: {{path: d}}\n\
         parameters: {{seed: {{values: [{}]}}, epochs: {{value: {epochs}}}}}\nearly_terminate: {section}\n",
        seeds.join(", ")
    );
    parse(&text).unwrap().notes
}

#[test]
fn a_rule_that_never_acts_is_noted_with_what_to_change() {
    for (section, jobs, epochs, wanted) in [
        (
            "{type: asha, min_iter: 9}",
            9,
            9,
            "first compares jobs after epoch 9, and a job ends with epoch 9; write a smaller `early_terminate.min_iter`",
        ),
        ("{type: asha, s: 2}", 9, 9, "smaller `early_terminate.s`"),
        ("{type: hyperband, max_iter: 27, s: 1}", 9, 9, "smaller `early_terminate.max_iter`"),
        (
            "{type: hyperband, max_iter: 2, s: 1}",
            9,
            9,
            "`max_iter: 2` has no rung below; write `max_iter: 9`",
        ),
        ("{type: top_k, k: 1}", 9, 1, "a job ends with its only epoch"),
        ("{type: median, min_iter: 5}", 9, 5, "smaller `early_terminate.min_iter`"),
        ("{type: top_k, k: 9}", 9, 9, "all 9 jobs are among the best 9; write a smaller `early_terminate.k`"),
        ("{type: median, min_jobs: 1}", 1, 9, "until 1 job is done, and the sweep has 1 job"),
        (
            "{type: asha, eta: 100, s: 3}",
            100,
            9,
            "has no rung within 100000 epochs, the most that a job trains",
        ),
        ("{type: asha}", 2, 9, "write a smaller `early_terminate.eta`"),
        ("{type: hyperband, min_iter: 1, max_iter: 27}", 11, 81, "11 jobs among 4 brackets"),
    ] {
        let notes = notes(section, jobs, epochs);
        assert!(notes.len() == 1 && notes[0].contains(wanted), "{section}: {notes:?}");
    }
    for (section, jobs, epochs) in [
        ("{type: asha, min_iter: 8}", 9, 9),
        ("{type: asha, s: 1}", 9, 9),
        ("{type: hyperband, max_iter: 27, s: 3}", 9, 9),
        ("{type: top_k, k: 8}", 9, 9),
        ("{type: median, min_jobs: 8, min_iter: 8}", 9, 9),
        ("{type: asha}", 3, 9),
        ("{type: hyperband, min_iter: 1, max_iter: 27}", 12, 81),
    ] {
        assert_eq!(notes(section, jobs, epochs), [""; 0], "{section}");
    }
}

#[test]
fn a_rule_without_rungs_is_noted_where_the_epochs_of_jobs_are_not_known() {
    let values: Vec<String> = (1..=9).map(|value| value.to_string()).collect();
    let text = format!(
        "program: train.py\nmetric: {{name: loss, goal: minimize}}\nparameters: {{x: {{values: [{}]}}}}\n\
         early_terminate: {{type: hyperband, max_iter: 2, s: 1, promote: true}}\n",
        values.join(", ")
    );
    let notes = parse(&text).unwrap().notes;
    let wanted = "`max_iter: 2` has no rung below; write `max_iter`, how far the jobs train, and `s: 1`";
    assert!(notes.iter().any(|note| note.contains(wanted)), "{notes:?}");
}
