//! Searchers outside of the coordinator: their points decoded, and what they are told encoded.

use domain::proposals::LearnedResult;
use engine::{
    Difference,
    query::{SearchNews, SearchResult},
};
use proto::{parameters_from_wire, parameters_to_wire, v1};
use terms::SweepId;

use crate::api::{Proposal, Verified};

/// Points that a message names; more would fill the screen.
const DIFFERENCES_MAX: usize = 100;

/// Points for a sweep.
pub(in crate::rpc) fn proposal(wire: v1::ProposePointsRequest) -> Proposal {
    let v1::ProposePointsRequest { sweep_id, first_point, points, seen, is_exhausted } = wire;
    let points = points.into_iter().map(|point| parameters_from_wire(point.parameters)).collect();
    Proposal { sweep: SweepId(sweep_id), first_point, points, seen, is_exhausted }
}

/// What is new.
pub(in crate::rpc) fn search_news(news: SearchNews) -> v1::FollowSearchResponse {
    let SearchNews { results, has_more: _, wanted, next_point, points_max, state } = news;
    v1::FollowSearchResponse {
        results: results.into_iter().map(result).collect(),
        wanted,
        next_point,
        points_max,
        state: v1::SweepState::from(state).into(),
    }
}

fn result(result: SearchResult) -> v1::SearchResult {
    let SearchResult { number, job, point, parameters, result } = result;
    let (outcome, value, epoch) = match result {
        LearnedResult::Finished(value) => (v1::SearchOutcome::Finished, Some(value), 0),
        LearnedResult::Diverged => (v1::SearchOutcome::Diverged, None, 0),
        LearnedResult::Stopped { epoch, value } => (v1::SearchOutcome::Stopped, value, epoch),
        LearnedResult::Nothing => (v1::SearchOutcome::Nothing, None, 0),
        LearnedResult::Again => (v1::SearchOutcome::Again, None, 0),
    };
    let parameters = parameters_to_wire(parameters);
    v1::SearchResult { number, job, point, parameters, outcome: outcome.into(), value, epoch }
}

/// What came of making each proposal again.
pub(in crate::rpc) fn verified(verified: Verified) -> v1::VerifySearchResponse {
    let Verified { proposals, results, differences } = verified;
    let differing = differences.len() as u64;
    let point = |parameters| v1::SearchPoint { parameters: parameters_to_wire(parameters) };
    let difference = |Difference { point: number, recorded, computed }| v1::ProposalDifference {
        point: number,
        recorded: Some(point(recorded)),
        computed: computed.map(point),
    };
    let differences = differences.into_iter().take(DIFFERENCES_MAX).map(difference).collect();
    v1::VerifySearchResponse { proposals, results, differing, differences }
}
