//! All stores give the same answers, however records are grouped into commits.

use super::*;

/// Commits of records as the engine may write them, for a few jobs that are tried again and again.
pub(super) fn commits(random: &mut Random) -> Vec<Vec<Record>> {
    let mut records = Vec::new();
    let mut attempts = [0_u32; 4];
    for _ in 0..60 {
        let job = random.below(attempts.len() as u64);
        let attempt = &mut attempts[usize::try_from(job).unwrap()];
        let number = job + 1;
        *attempt += 1;
        records.push(granted(number, *attempt));
        if random.below(4) > 0 {
            let key = AttemptKey::new(1, number, *attempt);
            records.push(Record::AttemptStarted { attempt: key, resumed_epochs: *attempt });
            records.extend((1..=u32::try_from(random.below(4)).unwrap()).map(|n| epoch(number, *attempt, n)));
        }
        let states = [
            (AttemptState::Lost, JobState::Pending),
            (AttemptState::Failed, JobState::Failed),
            (AttemptState::Done, JobState::Done),
        ];
        if let Some((state, job_state)) = states.get(usize::try_from(random.below(4)).unwrap()) {
            records.extend(ended(number, *attempt, *state, *job_state));
        }
    }
    let mut commits = vec![vec![submitted(1, "")]];
    while !records.is_empty() {
        let length = usize::try_from(1 + random.below(30)).unwrap().min(records.len());
        commits.push(records.drain(..length).collect());
    }
    commits
}

#[tokio::test]
async fn the_stores_agree_whatever_shares_a_commit() {
    for seed in 0..20 {
        // Without PostgreSQL, two files.
        let (first, second) = (sqlite(), places().last().expect("there is always a file"));
        let (first, second) = (first.open().await, second.open().await);
        for commit in commits(&mut Random(seed)) {
            for record in &commit {
                first.commit(std::slice::from_ref(record)).await.unwrap();
            }
            second.commit(&commit).await.unwrap();
        }
        let sweep = SweepId(1);
        assert_eq!(first.jobs(sweep, 1, 9).await.unwrap(), second.jobs(sweep, 1, 9).await.unwrap(), "{seed}");
        assert_eq!(epochs(first.as_ref(), 1, 9).await, epochs(second.as_ref(), 1, 9).await, "{seed}");
        for job in 1..=4 {
            let key = JobKey { sweep, job };
            assert_eq!(first.attempts(key).await.unwrap(), second.attempts(key).await.unwrap(), "{seed}");
        }
        let (first, second) = (first.load().await.unwrap(), second.load().await.unwrap());
        assert_eq!(format!("{:?}", first[0].open_jobs), format!("{:?}", second[0].open_jobs), "{seed}");
        assert_eq!(
            (first[0].next_unstarted, &first[0].out_of_order, first[0].best),
            (second[0].next_unstarted, &second[0].out_of_order, second[0].best),
            "{seed}"
        );
    }
}
