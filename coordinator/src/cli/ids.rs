//! Sweeps and jobs as the command line names them.

use std::{path::Path, str::FromStr};

/// A sweep's number, or a job as SWEEP/JOB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TargetId {
    pub(super) sweep: u64,
    pub(super) job: Option<u64>,
}

impl FromStr for TargetId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<u64>().ok().filter(|number| *number > 0);
        let target = match text.split_once('/') {
            None => number(text).map(|sweep| Self { sweep, job: None }),
            Some((sweep, job)) => {
                number(sweep).zip(number(job)).map(|(sweep, job)| Self { sweep, job: Some(job) })
            }
        };
        target.ok_or_else(|| {
            "give a sweep's number, such as 3, or a job, such as 3/14; see `sweep ls`".to_owned()
                + &of_folder(text)
        })
    }
}

/// A sweep's number, for commands that take no job.
pub(super) fn sweep_id(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(TargetId { sweep, job: None }) => Ok(sweep),
        Ok(TargetId { sweep, job: Some(_) }) => {
            Err(format!("give the sweep alone, as in {sweep}: this is not for one job"))
        }
        Err(_) => Err("give a sweep's number, such as 3; see `sweep ls`".to_owned() + &of_folder(text)),
    }
}

/// How to come to the sweep of a run's folder, where someone named one.
fn of_folder(text: &str) -> String {
    if !Path::new(text).is_dir() {
        return String::new();
    }
    format!(
        ". Folders of `sweep run` are for `sweep export`, `report` and `compare`; other commands ask a coordinator, which \
         `sweep serve --store sqlite:{}` is for such a folder",
        Path::new(text).join("sweep.db").display()
    )
}

/// A job as SWEEP/JOB, for commands that take no sweep.
pub(super) fn job_id(text: &str) -> Result<TargetId, String> {
    let target: TargetId = text.parse()?;
    if target.job.is_none() { Err("give a job as SWEEP/JOB, such as 3/14".to_owned()) } else { Ok(target) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_a_folder_is_told_what_is_for_folders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        for told in [path.parse::<TargetId>().unwrap_err(), sweep_id(path).unwrap_err()] {
            assert!(told.contains(&format!("sweep serve --store sqlite:{path}/sweep.db")), "{told}");
        }
        assert!(!sweep_id("no/such/folder").unwrap_err().contains("serve"));
    }

    #[test]
    fn sweeps_and_jobs_are_named_by_numbers() {
        assert_eq!("3".parse(), Ok(TargetId { sweep: 3, job: None }));
        assert_eq!("3/14".parse(), Ok(TargetId { sweep: 3, job: Some(14) }));
        for wrong in ["", "0", "3/", "3/0", "-1", "a", "3/14/1"] {
            assert!(wrong.parse::<TargetId>().is_err(), "{wrong:?}");
        }
        assert!(job_id("3").is_err());
    }
}
