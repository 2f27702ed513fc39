//! `sweep verify`: whether what is recorded of a sweep comes out the same when it is done again: the points of a search that
//! learns, or the numbers of a job.

mod alone;
mod compare;
mod files;
mod job;
mod record;
mod search;
mod training;

use std::path::PathBuf;

use super::{client::Target, failure::Failure, ids::TargetId, output::Format, run::workers::WorkersOptions};

const EXIT_CODES: &str = "Exit codes: 0 all is the same, 1 something came out different, 2 it cannot be told (the reason is \
said), 3 the coordinator cannot be reached, 4 it does not answer in time, 130 interrupted.";

/// `sweep verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct VerifyArguments {
    /// The job to train again here, as SWEEP/JOB; or a sweep's number, with --search
    #[arg(value_name = "SWEEP[/JOB]")]
    target: TargetId,
    /// Make each point of a search that learns again from the results that it had seen, and compare
    #[arg(long)]
    search: bool,
    #[command(flatten)]
    again: Again,
}

/// How a job is trained again.
#[derive(Debug, clap::Args)]
struct Again {
    #[command(flatten)]
    images: Images,
    /// Run the program of the sweep on this machine, with all rights of your account: whoever submitted the sweep wrote it
    #[arg(long, conflicts_with = "search")]
    allow_commands: bool,
    /// Train and compare only the first epochs
    #[arg(long, value_name = "N", conflicts_with = "search", value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// How far two values may be apart, as a share of the larger one; on a GPU, shares of the validation images also by three
    /// images [default: 0 on the CPU, where a difference as small as another kind of CPU gives is no verdict; 0.02 on a GPU, a rule of
    /// thumb: what is further apart there is no verdict]
    #[arg(long, value_name = "SHARE", conflicts_with = "search", value_parser = tolerance)]
    tolerance: Option<f64>,
    #[command(flatten)]
    options: WorkersOptions,
}

/// Where the images lie here.
#[derive(Debug, Clone, Default, clap::Args)]
struct Images {
    /// The images that the job was trained on, where they do not lie at the recorded path
    #[arg(long, value_name = "PATH", conflicts_with = "search")]
    dataset: Option<PathBuf>,
    /// Its validation images, where the sweep file has `dataset.val_path` and they do not lie there
    #[arg(long, value_name = "PATH", conflicts_with = "search")]
    val_dataset: Option<PathBuf>,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| "write a share from 0 to 1, such as 0.001".to_owned())
}

/// Exits with 1 where something differs, and with 2 where that cannot be told.
pub(super) async fn verify(
    arguments: &VerifyArguments,
    target: &Target,
    format: Format,
) -> Result<(), Failure> {
    if matches!(format, Format::Csv | Format::Name) {
        return Err(Failure::usage("`sweep verify` has no list: leave out -o, or use -o json"));
    }
    let TargetId { sweep, job } = arguments.target;
    match job {
        Some(job) if !arguments.search => job::verify(&arguments.again, (sweep, job), target, format).await,
        Some(_) => Err(Failure::usage(format!(
            "--search is for a sweep: `sweep verify {sweep} --search`; a job alone is trained again"
        ))),
        None if arguments.search => search::verify(sweep, target, format).await,
        None => Err(Failure::usage(format!(
            "say what to verify: `sweep verify {sweep}/1` trains job 1 again here and compares its numbers, and `sweep verify {sweep} \
             --search` makes each point of a search that learns (`method: tpe`) again"
        ))),
    }
}

/// What failed before anything was compared, with the exit code of what cannot be told.
fn undecided(failure: Failure) -> Failure {
    match failure {
        Failure::Operation(reason) | Failure::Refused(reason) | Failure::Usage(reason) => {
            Failure::Undecided(reason)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_is_a_share() {
        assert_eq!((tolerance("0"), tolerance("1e-3")), (Ok(0.0), Ok(0.001)));
        for wrong in ["1", "-0.1", "nan", "a"] {
            assert!(tolerance(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_told_has_an_exit_code_of_its_own() {
        let told = undecided(Failure::operation("away"));
        assert!(matches!(told, Failure::Undecided(reason) if reason == "away"));
        assert!(matches!(undecided(Failure::Interrupted), Failure::Interrupted));
    }
}
