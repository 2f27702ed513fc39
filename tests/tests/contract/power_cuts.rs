//! Power cuts under SQLite: whatever the disk kept of unsynced writes, everything acknowledged is there, once, and
//! nothing else.

use domain::record::Record;
use store::{Store, StoreError, open};
use terms::SweepId;
use tests::{
    Random,
    power_cut::{Recording, mark},
};

use super::{agreement::commits, corruption::dump};

/// Random cuts; `POWER_CUTS` asks for more.
const CUTS: u64 = 300;
/// Enough cuts to notice a missing rule in some of them.
const CUTS_OF_A_MUTANT: u64 = 300;
/// Sweeps, one after the other.
const SWEEPS: std::ops::RangeInclusive<u64> = 1..=10;
/// Sweeps after which the program is restarted, which writes the log into the database. After the others the log grows
/// until SQLite writes it into the database by itself.
const RESTARTS: std::ops::RangeInclusive<u64> = 1..=2;

fn cuts() -> u64 {
    std::env::var("POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(CUTS)
}

/// The commits of a sweep with its own history.
fn of_sweep(number: u64) -> Vec<Vec<Record>> {
    let id = SweepId(number);
    let mut commits = commits(&mut Random(number));
    for record in commits.iter_mut().flatten() {
        match record {
            Record::SweepSubmitted { sweep, .. } => *sweep = id,
            Record::AttemptGranted { attempt, .. }
            | Record::AttemptStarted { attempt, .. }
            | Record::EpochRecorded { attempt, .. }
            | Record::AttemptEnded { attempt, .. } => attempt.job.sweep = id,
            Record::JobChanged { job, .. } => job.sweep = id,
            other => panic!("histories have no {other:?}"),
        }
    }
    commits
}

/// Everything that can be read.
async fn whole(store: &dyn Store) -> Result<String, StoreError> {
    let mut text = dump(store).await?;
    for sweep in SWEEPS.map(SweepId) {
        text +=
            &format!("{:?}\n{:?}\n", store.jobs(sweep, 1, 99).await?, super::all_epochs(store, sweep).await?);
    }
    Ok(text)
}

/// The recorded program: commits, each marked when it was acknowledged, and a restart after some sweeps.
#[tokio::test]
#[ignore = "run by the tests below, recorded"]
async fn commits_that_are_recorded() {
    let Some(folder) = Recording::folder() else { return };
    let url = format!("sqlite:{}", folder.join("sweep.db").display());
    let mut acknowledged = 0;
    let mut store = open(&url).await.unwrap();
    for sweep in SWEEPS {
        for commit in of_sweep(sweep) {
            store.commit(&commit).await.unwrap();
            acknowledged += 1;
            mark(acknowledged);
        }
        if RESTARTS.contains(&sweep) {
            store.close().await;
            drop(store);
            store = open(&url).await.unwrap();
        }
    }
}

/// What can be read after each number of commits.
async fn dumps() -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&format!("sqlite:{}", folder.path().join("sweep.db").display())).await.unwrap();
    let mut dumps = vec![whole(store.as_ref()).await.unwrap()];
    for commit in SWEEPS.flat_map(of_sweep) {
        store.commit(&commit).await.unwrap();
        dumps.push(whole(store.as_ref()).await.unwrap());
    }
    store.close().await;
    dumps
}

/// Starts on what each cut left; returns how many were wrong, and the first of them.
async fn wrong(recording: &Recording, dumps: &[String], cuts: u64, seed: u64) -> (u64, Option<String>) {
    let (mut wrong, mut first) = (0, None);
    // Nothing here needs a disk that is slow to sync.
    let memory = std::path::Path::new("/dev/shm");
    for (number, cut) in recording.cuts(cuts, seed).enumerate() {
        let place = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let place = place.unwrap();
        cut.restore(place.path());
        let told = match open(&format!("sqlite:{}", place.path().join("sweep.db").display())).await {
            Ok(store) => {
                let read = whole(store.as_ref()).await.map_err(|error| error.to_string());
                store.close().await;
                read
            }
            Err(error) => Err(error.to_string()),
        };
        // The commit in progress may be there.
        let acknowledged = usize::try_from(cut.mark).unwrap();
        let may_be = &dumps[acknowledged..(acknowledged + 2).min(dumps.len())];
        if !told.as_ref().is_ok_and(|read| may_be.contains(read)) {
            let what = match told {
                Ok(read) => format!("it holds {:?} commits", dumps.iter().position(|dump| *dump == read)),
                Err(error) => error,
            };
            wrong += 1;
            first.get_or_insert_with(|| format!("cut {number}: {acknowledged} were acknowledged; {what}"));
        }
    }
    (wrong, first)
}

#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_acknowledged() {
    let Some(recording) = Recording::of_test("power_cuts::commits_that_are_recorded") else { return };
    let (dumps, cuts) = (dumps().await, cuts());
    let seed = std::env::var("POWER_CUT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (found, first) = wrong(&recording, &dumps, cuts, seed).await;
    println!("{cuts} cuts among {} calls, {} commits: {found} wrong", recording.len(), dumps.len() - 1);
    assert_eq!(found, 0, "{first:?}");
    // What SQLite would do with synchronous = OFF and NORMAL.
    for (rule, mutant) in
        [("OFF", recording.without_syncs()), ("NORMAL", recording.with_syncs_of_checkpoints())]
    {
        let (found, _) = wrong(&mutant, &dumps, CUTS_OF_A_MUTANT, seed).await;
        println!("with synchronous = {rule}, {found} of {CUTS_OF_A_MUTANT} cuts took something");
        assert!(found > 0, "cuts do not notice synchronous = {rule}");
    }
}
