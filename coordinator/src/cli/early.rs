//! A rule of early stopping for people: in a line, and how much it is expected to train.

use domain::specification::{EarlyTermination, StoppingRule};

/// Rungs that a line names; of more it says that there are more.
const RUNGS_SHOWN_MAX: usize = 6;

/// The rule in a line, for jobs that train that many epochs, where that is known.
pub(super) fn described(early: EarlyTermination, epochs: Option<u32>) -> String {
    let StoppingRule::Median { min_iter, interval, min_jobs } = early.rule else {
        let acts = |rung: &u32| epochs.is_none_or(|epochs| *rung < epochs);
        let mut ladders = early.ladders();
        ladders.iter_mut().for_each(|rungs| rungs.retain(acts));
        ladders.retain(|rungs| !rungs.is_empty());
        let (name, best) = (name(early.rule), best(early.rule));
        let among = match ladders.as_slice() {
            [] => return format!("{name}, no rung before the last epoch"),
            [one] if one.len() == 1 => "rung at epoch ",
            [_] => "rungs at epochs ",
            _ => "brackets with rungs at epochs ",
        };
        let ladders: Vec<String> = ladders.iter().map(|rungs| shown(rungs)).collect();
        let does = match early.promote {
            true => format!("pauses jobs there, and {best} on"),
            false => format!("stops jobs there, and only {best} on"),
        };
        return format!("{name}, {among}{}; {does}", ladders.join(" | "));
    };
    let often = match interval {
        1 => "each epoch".to_owned(),
        _ => format!("each {interval} epochs"),
    };
    format!(
        "median, after {often} from epoch {min_iter} on, once {min_jobs} {} done; stops jobs whose best value is worse than the \
         median of those",
        if min_jobs == 1 { "job is" } else { "jobs are" }
    )
}

/// About how many of `epochs` one of `jobs` jobs trains on average; nothing where it cannot be known before. Jobs are taken to be
/// divided evenly among brackets, and no job to go on too early or beyond its share.
pub(super) fn expected_epochs(early: EarlyTermination, jobs: u64, epochs: u32) -> Option<f64> {
    let goes_on = match early.rule {
        StoppingRule::Median { .. } => return None,
        StoppingRule::TopK { k, .. } => (k as f64 / jobs.max(1) as f64).min(1.0),
        StoppingRule::Asha { eta, .. } | StoppingRule::Hyperband { eta, .. } => 1.0 / f64::from(eta),
    };
    let of = |rungs: &Vec<u32>| {
        let ends = rungs.iter().copied().filter(|rung| *rung < epochs).chain([epochs]);
        let (mut expected, mut before, mut share) = (0.0, 0, 1.0);
        for end in ends {
            expected += share * f64::from(end - before);
            (before, share) = (end, share * goes_on);
        }
        expected
    };
    let ladders = early.ladders();
    Some(ladders.iter().map(of).sum::<f64>() / ladders.len().max(1) as f64)
}

fn name(rule: StoppingRule) -> &'static str {
    match rule {
        StoppingRule::Asha { .. } => "asha",
        StoppingRule::Hyperband { .. } => "hyperband",
        StoppingRule::Median { .. } => "median",
        StoppingRule::TopK { .. } => "top_k",
    }
}

/// Which jobs go on from a rung.
fn best(rule: StoppingRule) -> String {
    let share = |eta: u32| match eta {
        2 => "half".to_owned(),
        3 => "third".to_owned(),
        4 => "quarter".to_owned(),
        eta => format!("1 of {eta}"),
    };
    match rule {
        StoppingRule::TopK { k: 1, .. } => "the best one of all goes".to_owned(),
        StoppingRule::TopK { k, .. } => format!("the best {k} of all go"),
        StoppingRule::Hyperband { eta, strict: false, .. } => {
            format!("the best {} and one more go", share(eta))
        }
        StoppingRule::Asha { eta, .. } | StoppingRule::Hyperband { eta, .. } => {
            format!("the best {} goes", share(eta))
        }
        StoppingRule::Median { .. } => String::new(),
    }
}

/// `1, 3, 9`.
fn shown(rungs: &[u32]) -> String {
    let mut shown: Vec<String> = rungs.iter().take(RUNGS_SHOWN_MAX).map(u32::to_string).collect();
    if rungs.len() > RUNGS_SHOWN_MAX {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use domain::specification::{Specification, SpecificationSource};

    use super::*;

    fn early(section: &str) -> EarlyTermination {
        let text = format!(
            "name: a\ndataset: {{path: d}}\nparameters: {{epochs: {{value: 9}}}}\nearly_terminate: {section}\n"
        );
        let source = SpecificationSource { text, ..SpecificationSource::default() };
        Specification::parse(&source).unwrap().early_terminate.unwrap()
    }

    #[test]
    fn a_rule_is_described_with_its_rungs() {
        for (section, epochs, wanted) in [
            (
                "{type: asha}",
                Some(9),
                "asha, rungs at epochs 1, 3; pauses jobs there, and the best third goes on",
            ),
            (
                "{type: asha, eta: 2, promote: false}",
                None,
                "asha, rungs at epochs 1, 2, 4, 8, 16, 32, …; stops jobs there, and only the best half goes on",
            ),
            (
                "{type: hyperband, min_iter: 1, max_iter: 9}",
                Some(27),
                "hyperband, brackets with rungs at epochs 1, 3, 9 | 3, 9 | 9; pauses jobs there, and the best third and one more go on",
            ),
            (
                "{type: hyperband, max_iter: 27, s: 2, strict: true}",
                Some(27),
                "hyperband, rungs at epochs 3, 9; pauses jobs there, and the best third goes on",
            ),
            (
                "{type: top_k, min_iter: 2, k: 4}",
                Some(9),
                "top_k, rung at epoch 2; pauses jobs there, and the best 4 of all go on",
            ),
            ("{type: asha, min_iter: 9}", Some(9), "asha, no rung before the last epoch"),
            (
                "{type: median}",
                Some(9),
                "median, after each epoch from epoch 1 on, once 5 jobs are done; stops jobs whose best value is worse than the median \
                 of those",
            ),
        ] {
            assert_eq!(described(early(section), epochs), wanted, "{section}");
        }
    }
}
