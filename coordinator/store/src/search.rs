//! The tables of searchers that learn: points that they proposed, and results that they were told.

use domain::{
    proposals::{Learned, LearnedResult, Proposed, Why},
    record::StoredSearch,
};
use terms::{JobKey, ParameterMap, ParameterValue, SweepId};

use super::{
    StoreError,
    cells::{integer, number},
    read::{Queries, select},
    tables::{self, text},
};

/// The row of a point.
pub(super) fn proposal(job: JobKey, proposed: &Proposed) -> Result<tables::Proposal, StoreError> {
    let Proposed { parameters, place, seen, why } = proposed;
    let parameters = serde_json::to_string(&parameters.0)
        .map_err(|error| StoreError::Unfit(format!("the parameters of job {job}: {error}")))?;
    let mut row = tables::Proposal {
        sweep_id: integer(job.sweep.0)?,
        job: integer(job.job)?,
        parameters: text(&parameters)?,
        place: integer(*place)?,
        seen: integer(*seen)?,
        why: why_name(why).into(),
        good: None,
        running: None,
        near: None,
        score: None,
    };
    if let Why::Model { good, running, near, score } = why {
        (row.good, row.running) = (Some(integer(*good)?), Some(integer(*running)?));
        row.near = near.map(integer).transpose()?;
        row.score = Some(*score);
    }
    Ok(row)
}

fn why_name(why: &Why) -> &'static str {
    match why {
        Why::Included => "included",
        Why::Random => "random",
        Why::Model { .. } => "model",
        Why::Left => "left",
        Why::Outside => "outside",
    }
}

fn proposed(row: &tables::Proposal) -> Result<(u64, Proposed), StoreError> {
    let corrupt =
        |what: &str| StoreError::Corrupt(format!("the proposal of job {}/{} {what}", row.sweep_id, row.job));
    let parameters: Vec<(String, ParameterValue)> = serde_json::from_str(&row.parameters)
        .map_err(|error| corrupt(&format!("cannot be read: {error}")))?;
    let why = match (row.why.as_ref(), row.good, row.running, row.score) {
        ("included", ..) => Why::Included,
        ("random", ..) => Why::Random,
        ("left", ..) => Why::Left,
        ("outside", ..) => Why::Outside,
        ("model", Some(good), Some(running), Some(score)) => Why::Model {
            good: number(good, "good")?,
            running: number(running, "running")?,
            near: row.near.map(|near| number(near, "near")).transpose()?,
            score,
        },
        _ => return Err(corrupt("does not say why")),
    };
    let (place, seen) = (number(row.place, "place")?, number(row.seen, "seen")?);
    let proposed = Proposed { parameters: ParameterMap(parameters), place, seen, why };
    Ok((number(row.job, "job")?, proposed))
}

/// The row of what a searcher was told.
pub(super) fn learned(sweep: SweepId, number: u64, learned: &Learned) -> Result<tables::Learned, StoreError> {
    let (result, value, epoch) = match learned.result {
        LearnedResult::Finished(value) => ("finished", Some(value), None),
        LearnedResult::Diverged => ("diverged", None, None),
        LearnedResult::Stopped { epoch, value } => ("stopped", value, Some(epoch.into())),
        LearnedResult::Nothing => ("nothing", None, None),
        LearnedResult::Again => ("again", None, None),
    };
    Ok(tables::Learned {
        sweep_id: integer(sweep.0)?,
        number: integer(number)?,
        job: integer(learned.job)?,
        result: result.into(),
        value,
        epoch,
    })
}

fn told(row: &tables::Learned) -> Result<Learned, StoreError> {
    let result = match (row.result.as_ref(), row.value, row.epoch) {
        ("finished", Some(value), _) => LearnedResult::Finished(value),
        ("diverged", ..) => LearnedResult::Diverged,
        ("stopped", value, Some(epoch)) => LearnedResult::Stopped { epoch: number(epoch, "epoch")?, value },
        ("nothing", ..) => LearnedResult::Nothing,
        ("again", ..) => LearnedResult::Again,
        _ => {
            let result = &row.result;
            return Err(StoreError::Corrupt(format!("sweep {} was told {result:?}", row.sweep_id)));
        }
    };
    Ok(Learned { job: number(row.job, "job")?, result })
}

/// All of a sweep, which has at most as many jobs as one that learns may have. Proposals are read first: each is there with all
/// that it had seen.
pub(super) async fn read(connection: &mut impl Queries, sweep: i64) -> Result<StoredSearch, StoreError> {
    let of_sweep = |order: &str| format!("WHERE sweep_id = $1 ORDER BY {order}");
    let proposals: Vec<tables::Proposal> = select(connection, &of_sweep("job"), &[sweep]).await?;
    let learned: Vec<tables::Learned> = select(connection, &of_sweep("number"), &[sweep]).await?;
    if learned.last().is_some_and(|last| last.number != learned.len() as i64) {
        let missing = format!("what the searcher of sweep {sweep} was told is not one after the other");
        return Err(StoreError::Corrupt(missing));
    }
    Ok(StoredSearch {
        proposals: proposals.iter().map(proposed).collect::<Result<_, _>>()?,
        learned: learned.iter().map(told).collect::<Result<_, _>>()?,
    })
}
