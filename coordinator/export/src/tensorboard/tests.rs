//! What is written where; that TensorBoard reads it is tested with TensorBoard.

use std::collections::BTreeSet;

use super::*;
use crate::samples;

#[test]
fn each_job_that_began_has_a_run_and_the_others_are_counted() {
    let (sweep, parameters, jobs) = samples::sweep();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs");
    let mut export = Box::new(TensorBoardFolder::create(&path, &sweep, parameters).unwrap());
    for (job, epochs) in &jobs {
        export.job(job, epochs).unwrap();
    }
    assert_eq!(export.finish().unwrap(), ["1 of the jobs never began, and have no run in TensorBoard"]);
    let names = |folder: &Path| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let all = names(&path);
    let expected = ["events.out.tfevents.1700000000.sweep", "job-1", "job-2", "sweep-export.json"];
    assert_eq!(all, expected.map(str::to_owned).into());
    assert!(all.iter().all(|name| is_own(name)) && !is_own("events.out.tfevents.1.host") && !is_own("job-x"));
    assert_eq!(names(&path.join("job-1")), ["events.out.tfevents.1700000001.sweep".to_owned()].into());
}

#[test]
fn runs_sort_by_the_numbers_of_their_jobs() {
    assert_eq!(
        [run_name(7, 9), run_name(7, 1_000), run_name(1_000, 1_000)],
        ["job-7", "job-0007", "job-1000"]
    );
}
