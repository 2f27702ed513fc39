//! Which contexts sweeps and attempts have.

use terms::{Goal, MetricUse, Objective};
use traces::Options;

use super::*;

/// Traces that go nowhere, as no one listens there.
fn traced() -> Traced {
    let options = Options::to("http://127.0.0.1:1");
    Traced::new(Traces::start(&options, "test").unwrap())
}

fn submitted(sweep: u64, request_id: &str) -> Record {
    Record::SweepSubmitted {
        sweep: SweepId(sweep),
        name: "a".to_owned(),
        request_id: request_id.to_owned(),
        specification: String::new(),
        manifest: String::new(),
        objective: Objective { name: "loss".into(), goal: Goal::Minimize, used: MetricUse::Last },
        job_count: 1_000,
        created_unix_ms: 1,
        owner: None,
    }
}

/// The span that a worker is told for an attempt.
fn granted(traced: &Traced, sweep: u64, job: u64) -> Option<Context> {
    let attempt = Some(AttemptKey::new(sweep, job, 1).into());
    let job = v1::JobAssignment { attempt, ..v1::JobAssignment::default() };
    let message = Some(Message::Grant(v1::Grant { slot: 0, jobs: vec![job] }));
    let told = traced.with_contexts(v1::CoordinatorMessage { message });
    let Some(Message::Grant(grant)) = told.message else { panic!("it is a grant") };
    Context::read(&grant.jobs[0].traceparent)
}

const REQUEST: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

fn request(id: &str, caller: Option<Context>) -> Request<v1::SubmitRequest> {
    let mut request =
        Request::new(v1::SubmitRequest { request_id: id.to_owned(), ..v1::SubmitRequest::default() });
    if let Some(caller) = caller {
        request.metadata_mut().insert(TRACEPARENT, caller.to_string().parse().unwrap());
    }
    request
}

#[tokio::test]
async fn the_first_jobs_are_in_the_trace_of_the_request_and_each_later_one_in_its_own() {
    let traced = traced();
    let caller = trace_of_request(REQUEST).unwrap().sampled(true);
    let called = traced.called(&request(REQUEST, Some(caller)));
    traced.committed(&[submitted(7, REQUEST)], Duration::ZERO);
    drop(called);
    let of_job = |job| granted(&traced, 7, job).unwrap();
    assert!(of_job(1).is_of_trace(caller) && of_job(JOBS_IN_TRACE_MAX).is_of_trace(caller));
    let [one, other] = [101, 102].map(of_job);
    assert!(!one.is_of_trace(caller) && !one.is_of_trace(other) && one.is_sampled());
    assert_eq!(granted(&traced, 8, 1), None, "of a sweep that is not there");
}

#[tokio::test]
async fn another_coordinator_gives_the_same_attempts_the_same_spans() {
    for request_id in [REQUEST, "serve", ""] {
        let (before, after) = (traced(), traced());
        before.committed(&[submitted(7, request_id)], Duration::ZERO);
        after.restored([(SweepId(7), request_id, 1)].into_iter());
        for job in [1, 500] {
            let told = granted(&before, 7, job);
            assert!(told.is_some() && told == granted(&after, 7, job), "{request_id}");
        }
    }
}

#[tokio::test]
async fn a_trace_that_its_caller_does_not_keep_is_not_kept() {
    let traced = traced();
    let caller = trace_of_request(REQUEST).unwrap().sampled(false);
    let called = traced.called(&request(REQUEST, Some(caller)));
    traced.committed(&[submitted(7, REQUEST)], Duration::ZERO);
    drop(called);
    assert!(!granted(&traced, 7, 1).unwrap().is_sampled());
    assert!(locked(&traced.0.as_ref().unwrap().callers).is_empty());
}

#[test]
fn without_a_collector_nothing_is_told_and_nothing_kept() {
    let traced = Traced::new(Traces::default());
    traced.committed(&[submitted(7, REQUEST)], Duration::ZERO);
    assert_eq!(granted(&traced, 7, 1), None);
    let answer = traced.answered(SweepId(7), Response::new(()));
    assert!(answer.metadata().is_empty() && traced.0.is_none());
}
