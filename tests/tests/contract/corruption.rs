//! Rows and files that differ from what was written.

use super::{agreement::commits, *};

#[tokio::test]
async fn a_corrupt_row_is_reported_with_what_helps_for_its_store() {
    for place in places() {
        let store = place.open().await;
        store.commit(&[submitted(1, ""), granted(1, 1)]).await.unwrap();
        store.close().await;
        drop(store);
        let hint = place.change("UPDATE jobs SET epochs_done = 7");
        let said = place.open().await.load().await.unwrap_err().to_string();
        assert!(said.contains("corrupt") && said.contains(hint), "{said}");
        assert_eq!(said.contains("sqlite3"), hint == "sqlite3", "{said}");
    }
}

/// Everything that can be read from a store, as text.
pub(super) async fn dump(store: &dyn Store) -> Result<String, StoreError> {
    let rows = (store.load().await?, store.tokens().await?, store.quotas().await?);
    let mut text = format!("{rows:?}\n");
    for sweep in [1, 2].map(SweepId) {
        let (jobs, epochs) = (store.jobs(sweep, 1, 99).await?, all_epochs(store, sweep).await?);
        text += &format!(
            "{jobs:?}\n{epochs:?}\n{:?}\n",
            store.jobs_in_state(sweep, JobState::Failed, 1, 99).await?
        );
        for job in 1..=4 {
            text += &format!("{:?}\n", store.attempts(JobKey { sweep, job }).await?);
        }
    }
    Ok(text)
}

/// Opens a file and reads everything in it.
async fn read_all(path: &Path) -> Result<String, StoreError> {
    let store = open(&format!("sqlite:{}", path.display())).await?;
    let read = dump(store.as_ref()).await;
    store.close().await;
    read
}

/// Changes a file as a fault might.
fn corrupt(bytes: &mut Vec<u8>, random: &mut Random) -> &'static str {
    const PAGE: usize = 4_096;
    let below = |random: &mut Random, bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
    let length = bytes.len();
    let at = below(random, length);
    let (page, other) = (at / PAGE * PAGE, below(random, length) / PAGE * PAGE);
    match random.below(7) {
        0 | 1 => {
            bytes[at] ^= 1 << random.below(8);
            "a flipped bit"
        }
        2 => {
            let end = (at + 1 + below(random, 600)).min(length);
            bytes[at..end].iter_mut().for_each(|byte| *byte = random.draw().to_le_bytes()[0]);
            "garbage"
        }
        3 => {
            let end = (page + PAGE).min(length);
            bytes[page..end].fill(0);
            "a page of zeros"
        }
        4 => {
            let end = (other + PAGE).min(length) - other;
            bytes.copy_within(other..other + end.min(length - page), page);
            "a page in another's place"
        }
        5 => {
            bytes.truncate(at);
            "a cut"
        }
        _ => {
            bytes[at] = bytes[at].wrapping_add(1);
            "a number that is off by one"
        }
    }
}

/// A database with two sweeps: its file and its log as a crash would leave them, and what could be read after each
/// commit, the last one last.
async fn history_of_a_database(folder: &Path) -> (Vec<u8>, Vec<u8>, Vec<String>) {
    let path = folder.join("sweep.db");
    let store = open(&format!("sqlite:{}", path.display())).await.unwrap();
    let mut dumps = vec![dump(store.as_ref()).await.unwrap()];
    let second = Record::SweepSubmitted {
        sweep: SweepId(2),
        name: "second".into(),
        request_id: "key".into(),
        // As long as files are, next to pages of tables and indexes that have few rows.
        specification: format!("name: y\n# {}", "as files are ".repeat(1_000)),
        manifest: String::new(),
        objective: objective("train_loss"),
        job_count: 5,
        created_unix_ms: 1_000,
        owner: None,
    };
    let mut all = commits(&mut Random(1));
    all.push(vec![second]);
    for commit in all {
        store.commit(&commit).await.unwrap();
        dumps.push(dump(store.as_ref()).await.unwrap());
    }
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let crashed = (fs::read(&path).unwrap(), fs::read(log).unwrap());
    store.close().await;
    (crashed.0, crashed.1, dumps)
}

/// Corrupts a file or its log `count` times: what is read is right, or an error.
async fn corrupt_files_are_refused(seeds: Range<u64>, with_log: bool) {
    let folder = tempfile::tempdir().unwrap();
    let (file, log, dumps) = history_of_a_database(folder.path()).await;
    let whole = fs::read(folder.path().join("sweep.db")).unwrap();
    let (mut refused, mut unharmed) = (0, 0);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let mut random = Random(seed);
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("sweep.db");
        let (mut file, mut log) =
            if with_log { (file.clone(), log.clone()) } else { (whole.clone(), Vec::new()) };
        let what = corrupt(if with_log { &mut log } else { &mut file }, &mut random);
        fs::write(&path, &file).unwrap();
        if with_log {
            fs::write(place.path().join("sweep.db-wal"), &log).unwrap();
        }
        match read_all(&path).await {
            Err(_) => refused += 1,
            // What a log holds after corruption is taken for a commit that a crash cut off.
            Ok(read) if with_log => assert!(dumps.contains(&read), "seed {seed}: {what} gave what never was"),
            Ok(read) => {
                assert!(Some(&read) == dumps.last(), "seed {seed}: {what} was not noticed");
                unharmed += 1;
            }
        }
    }
    println!("{count} corrupt: {refused} refused, {unharmed} unharmed");
    assert!(with_log || refused > count / 2, "most corruption hits something that is read");
}

#[tokio::test]
async fn a_corrupt_file_is_refused_or_read_right() {
    corrupt_files_are_refused(0..1_000, false).await;
}

#[tokio::test]
async fn a_corrupt_log_is_refused_or_ends_at_a_commit() {
    corrupt_files_are_refused(0..300, true).await;
}
