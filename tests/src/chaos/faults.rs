//! Faults planted into what a database went through, each of which the account must find.

use super::ledger::{Change, account};

/// Plants one fault; none where there is no place for it.
type Plant = fn(&mut Vec<Change>) -> Option<()>;

/// Plants each fault in turn.
///
/// # Panics
/// One is not found, or there is no place for it.
pub(super) fn are_found(changes: &[Change], jobs: u64) {
    let faults: [(&str, Plant); 7] = [
        ("another value at a rung", |changes| change_a_value(changes)),
        ("a job promoted that is not among the best", promote_the_worst),
        ("a promotion left out", leave_a_promotion_out),
        ("an epoch that counts twice", repeat_an_epoch),
        ("a job that went past a rung and trains from its beginning", |changes| forget_a_checkpoint(changes)),
        ("a paused job that holds its slot", keep_a_slot),
        ("a rung that is forgotten", |changes| forget_a_rung(changes)),
    ];
    for (what, plant) in faults {
        let mut planted = changes.to_vec();
        plant(&mut planted).unwrap_or_else(|| panic!("there is no place for {what}"));
        assert!(account(&planted, jobs).is_err(), "not found: {what}");
    }
}

/// The first job that was promoted, and where.
fn promotion(changes: &[Change]) -> Option<(usize, u64)> {
    changes.iter().enumerate().find_map(|(index, change)| match change {
        Change::Job { job, row, .. } if row.rungs.iter().any(|rung| rung.goes_on) => Some((index, *job)),
        _ => None,
    })
}

fn change_a_value(changes: &mut [Change]) -> Option<()> {
    changes.iter_mut().find_map(|change| match change {
        Change::Job { row, .. } => row.rungs.first_mut().map(|rung| rung.value /= 2.0),
        _ => None,
    })
}

fn promote_the_worst(changes: &mut Vec<Change>) -> Option<()> {
    let value = |change: &Change| match change {
        Change::Job { row, .. } if row.state == "paused" && row.rungs.len() == 1 => Some(row.rungs[0].value),
        _ => None,
    };
    let worst = changes.iter().filter(|change| value(change).is_some());
    let worst =
        worst.min_by(|one, other| value(one).partial_cmp(&value(other)).unwrap_or(std::cmp::Ordering::Equal));
    let Some(Change::Job { job, mut row, .. }) = worst.cloned() else { return None };
    let paused = row.clone();
    row.rungs[0].goes_on = true;
    row.state = "pending".to_owned();
    changes.push(Change::Job { is_new: false, job, row });
    changes.push(Change::Job { is_new: false, job, row: paused });
    Some(())
}

fn leave_a_promotion_out(changes: &mut Vec<Change>) -> Option<()> {
    let (from, promoted) = promotion(changes)?;
    let mut index = 0;
    changes.retain(|change| {
        index += 1;
        let of = match change {
            Change::Job { job, .. } => *job,
            Change::Attempt { key, .. } | Change::Epoch { key, .. } => key.0,
        };
        index <= from || of != promoted
    });
    Some(())
}

fn repeat_an_epoch(changes: &mut Vec<Change>) -> Option<()> {
    let epoch = changes.iter().find(|change| matches!(change, Change::Epoch { .. }))?.clone();
    changes.push(epoch);
    Some(())
}

fn forget_a_checkpoint(changes: &mut [Change]) -> Option<()> {
    let mut resumed = changes.iter_mut().filter_map(|change| match change {
        Change::Attempt { row, .. } if row.resumed > 0 => Some(&mut row.resumed),
        _ => None,
    });
    *resumed.next()? = 0;
    resumed.for_each(|epochs| *epochs = 0);
    Some(())
}

fn keep_a_slot(changes: &mut Vec<Change>) -> Option<()> {
    let end = changes
        .iter()
        .position(|change| matches!(change, Change::Attempt { row, .. } if row.state == "paused"))?;
    changes.remove(end);
    Some(())
}

fn forget_a_rung(changes: &mut [Change]) -> Option<()> {
    let (from, promoted) = promotion(changes)?;
    let later = changes[from + 1..].iter_mut().find_map(|change| match change {
        Change::Job { job, row, .. } if *job == promoted => Some(row),
        _ => None,
    })?;
    later.rungs.clear();
    Some(())
}
