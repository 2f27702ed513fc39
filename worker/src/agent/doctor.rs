//! `sweep-worker doctor`: whether this machine can train for a coordinator, with the options of `start`. One line for each thing that is looked at, and
//! what to do. Nothing is started but a trainer that says what it finds.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::Context;
use proto::{caller::TakenFor, unreached, v1};
use telemetry::doctor::{
    Check, Report, clock, descriptors, folder, has_failed, memory, open_admin, port, shared_memory, text,
};
use terminal::output::print;
use tonic::Code;

use super::{
    devices,
    membership::{Kind, Membership},
    options::StartOptions,
    own_trainer::OwnTrainer,
    remote::Remote,
    target::{CONNECT_WITHIN, Target, is_misled, urls},
};

/// Who asks where the worker has no name yet.
const NAMELESS: &str = "sweep-doctor";
/// The largest number of a sweep, which none has.
const SWEEP_OF_NO_ONE: u64 = i64::MAX as u64;

/// Descriptors of a worker besides those of its slots, and of each slot.
const DESCRIPTORS_OWN: u64 = 64;
const DESCRIPTORS_A_SLOT: u64 = 16;
/// Memory of a slot's trainer with a small model, and of the worker itself.
const MEMORY_A_SLOT: u64 = 1 << 30;
const MEMORY_OWN: u64 = 256 << 20;

/// Options of `sweep-worker doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorOptions {
    #[command(flatten)]
    start: StartOptions,
    /// Also see whether this data set can be read
    #[arg(long, value_name = "PATH")]
    dataset: Option<PathBuf>,
    /// Form of output
    #[arg(short = 'o', long = "format", value_enum, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A line for each thing, for people
    Table,
    /// One JSON document
    Json,
}

/// Looks at everything; exit status 1 where something is not as it has to be.
///
/// # Errors
/// Standard output cannot be written.
pub fn doctor(options: &DoctorOptions) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let checks = runtime.block_on(checks(options));
    // A hanging name lookup must not delay the end.
    runtime.shutdown_background();
    match options.format {
        Format::Table => print(&text(&checks))?,
        Format::Json => {
            let json = serde_json::to_string_pretty(&Report::of(&checks))?;
            print(&terminal::text::json(&format!("{json}\n")))?;
        }
    }
    Ok(if has_failed(&checks) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn checks(options: &DoctorOptions) -> Vec<Check> {
    let start = &options.start;
    let (trainer, mut checks) = trainer(start).await;
    let slots = devices::slots(&start.device, start.slots, trainer.as_ref()).await;
    let count = slots.as_ref().map_or(1, Vec::len) as u64;
    checks.push(match slots {
        Ok(slots) => Check::ok("devices", described(&slots)),
        Err(error) => Check::failed("devices", error.to_string(), "correct --device, or the driver"),
    });
    let needed = DESCRIPTORS_OWN + DESCRIPTORS_A_SLOT * count;
    checks.push(descriptors(needed, needed));
    checks.push(memory(MEMORY_OWN + MEMORY_A_SLOT * count));
    checks.push(shared_memory());
    checks.extend(folders(start));
    checks.extend(start.admin.map(|address| port(address, "--admin")));
    checks.extend(start.admin.and_then(open_admin));
    checks.push(dataset(options.dataset.as_deref(), start));
    let all = target(start);
    for url in urls(&all) {
        match membership(start, url) {
            Some(membership) => checks.push(joining(url, &membership).await),
            None => checks.extend(coordinator(&Target { url: url.to_owned(), ..all.clone() }).await),
        }
    }
    checks
}

/// How this worker would be known at this coordinator by a certificate, if it would. No name is chosen for it.
fn membership(start: &StartOptions, url: &str) -> Option<Membership> {
    let named = || start.spool_folder(start.name.as_ref()?).ok();
    let spool = start.spool.clone().or_else(named).unwrap_or_default();
    let name = start.name.clone().or_else(|| Membership::kept_name(&spool));
    let name = name.or_else(|| NAMELESS.parse().ok())?;
    StartOptions { coordinator: url.to_owned(), ..start.clone() }.membership(&name, &spool)
}

/// Asks for a certificate, which only workers are given, and throws it away.
async fn joining(url: &str, membership: &Membership) -> Check {
    const NAME: &str = "coordinator";
    match membership.would_get_one().await {
        Ok(()) => Check::ok(NAME, format!("{url} gives this worker a certificate")),
        Err(why) => {
            let says = format!("this worker cannot join: {}", why.finding());
            match why.kind() {
                Kind::NotNow => Check::warning(NAME, says, why.advice()),
                Kind::Unanswered | Kind::Misdirected | Kind::Refused => {
                    Check::failed(NAME, says, why.advice())
                }
            }
        }
    }
}

fn target(start: &StartOptions) -> Target {
    Target {
        url: start.coordinator.clone(),
        token_file: start.credentials.token_file.clone(),
        tls_ca: start.credentials.tls_ca.clone(),
        identity: None,
    }
}

/// The trainer that comes with this program, which is the one with libtorch.
async fn trainer(start: &StartOptions) -> (Option<OwnTrainer>, Vec<Check>) {
    const NAME: &str = "libtorch";
    const CURE: &str = "let LD_LIBRARY_PATH name the torch/lib of a PyTorch 2.11.0, or run programs alone with --allow-commands --programs-only";
    if start.programs_only {
        return (None, vec![Check::skipped(NAME, "--programs-only: no model is trained here")]);
    }
    let found = async { OwnTrainer::find()?.checked().await };
    match found.await {
        // tch takes no other than 2.11.0, and a program that was linked with it loads no other.
        Ok(trainer) => {
            let version = env!("CARGO_PKG_VERSION");
            let says = format!("sweep-trainer {version} is there and loads libtorch 2.11.0");
            (Some(trainer), vec![Check::ok(NAME, says)])
        }
        Err(error) => (None, vec![Check::failed(NAME, format!("{error:#}"), CURE)]),
    }
}

fn described(slots: &[v1::Slot]) -> String {
    let count = terms::count(slots.len() as u64, "slot");
    match slots.first() {
        Some(first) => format!("{count}, the first on {}: {}", first.device, first.description),
        None => count,
    }
}

fn folders(start: &StartOptions) -> Vec<Check> {
    let spool = start.name.as_ref().map_or_else(
        || start.spool.clone().context("the folder of the spool is chosen with the name"),
        |name| start.spool_folder(name),
    );
    let mut checks = Vec::new();
    match spool {
        Ok(spool) => checks.push(folder("spool", &spool, "--spool")),
        Err(error) => checks.push(Check::skipped("spool", error.to_string())),
    }
    checks.push(folder("cache", &start.files_cache(), "--cache-dir"));
    checks.push(match &start.checkpoints {
        None => Check::skipped("checkpoints", "--checkpoints names no place: what is killed starts over, and what leaves as well, unless the coordinator has a place for files"),
        Some(place) if place.contains("://") => Check::skipped(
            "checkpoints",
            format!("{place} is reached by trainers alone; `sweep doctor --artifacts` looks at such places"),
        ),
        Some(place) => folder("checkpoints", Path::new(place), "--checkpoints"),
    });
    checks
}

fn dataset(path: Option<&Path>, start: &StartOptions) -> Check {
    const NAME: &str = "data set";
    let Some(path) = path else { return Check::skipped(NAME, "none was named with --dataset") };
    let root = match start.absolute_data_root() {
        Ok(root) => root,
        Err(error) => return Check::failed(NAME, error.to_string(), "correct --data-root"),
    };
    match dataset::look(&root.join(path)) {
        Ok(says) => Check::ok(NAME, says),
        Err(error) => {
            Check::failed(NAME, error.to_string(), "correct the path, or --data-root where it is relative")
        }
    }
}

/// One coordinator, and the clock where it was told.
async fn coordinator(target: &Target) -> Vec<Check> {
    const NAME: &str = "coordinator";
    let url = target.url.as_str();
    let remote = match Remote::new(target.clone()) {
        Ok(remote) => remote,
        Err(error) => {
            return vec![Check::failed_with(NAME, &error.to_string(), "correct --coordinator")];
        }
    };
    // Of a job that there is not. Only workers may ask it: others are refused, and whoever is let in is told that there is none.
    let attempt = Some(v1::AttemptRef { sweep_id: SWEEP_OF_NO_ONE, job: 1, attempt: 1 });
    let request = v1::GetCheckpointRequest { attempt, offset: 0 };
    let answer = remote.once(request, &async |client, request| client.get_checkpoint(request).await).await;
    let Err(status) = answer else { return vec![Check::ok(NAME, format!("{url} lets this worker in"))] };
    let taken_for = TakenFor::read(status.metadata()).map(|caller| format!(" {caller}")).unwrap_or_default();
    let date = status.metadata().get("date").and_then(|date| date.to_str().ok());
    let theirs = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let message = unreached::explained(url, status.message().to_owned(), CONNECT_WITHIN).await;
    let check = match status.code() {
        // What a port says that is not the one for calls, or that speaks TLS.
        _ if is_misled(&status) => Check::failed_with(
            NAME,
            &format!("{url} is not where workers are answered: {message}"),
            "correct --coordinator: its scheme, and the port of the coordinator's --listen",
        ),
        Code::NotFound => Check::ok(NAME, format!("{url} lets this worker in{taken_for}")),
        Code::Unavailable if status.metadata().get(proto::leader::LEADER_METADATA).is_some() => {
            Check::ok(NAME, format!("{url} answers: {message}"))
        }
        Code::Unauthenticated | Code::PermissionDenied => Check::failed_with(
            NAME,
            &format!("{url} refuses this worker: {message}"),
            "give a worker's token with --token-file, or a join token with --join-file",
        ),
        // Something is there, and what to do about it is said.
        _ if message.contains("; ") => {
            Check::failed_with(NAME, &format!("no connection to {url}: {message}"), "")
        }
        _ => Check::failed(
            NAME,
            format!("{url} does not answer: {message}"),
            "start one with `sweep serve`, or see whether a firewall or its --listen is in the way",
        ),
    };
    [Some(check), theirs.map(|theirs| clock(theirs, SystemTime::now()))].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use proto::join::{JoinToken, authority_hash};
    use telemetry::doctor::Verdict;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::{super::membership::JoinFrom, *};

    /// What is said of a worker that has a join token, and this address for a coordinator.
    async fn joining_at(url: &str) -> Check {
        let folder = tempfile::tempdir().unwrap();
        let token = JoinToken { token: "a.secret".to_owned(), authority: authority_hash(b"one") };
        let from = Some(JoinFrom::Token(token.to_string()));
        let name = "one".parse().unwrap();
        joining(url, &Membership::new(url, from, folder.path().to_owned(), &name).unwrap()).await
    }

    #[tokio::test]
    async fn who_names_a_wrong_address_is_told_to_correct_it_and_not_to_get_another_join_token() {
        // No one listens there any more.
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let refused = joining_at(&format!("https://{free}")).await;
        assert!(refused.cure.starts_with("correct --coordinator"), "{refused:?}");
        // A port that speaks no TLS, as that of the page.
        let page = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = format!("https://{}", page.local_addr().unwrap());
        let answers = async {
            let (mut stream, _) = page.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            stream
        };
        let (other, _stream) = tokio::join!(joining_at(&other), answers);
        assert!(other.cure.contains("--listen") && !other.cure.contains("http://"), "{other:?}");
        let plain = joining_at("http://127.0.0.1:1").await;
        assert!(plain.cure.contains("https://HOST:PORT"), "{plain:?}");
        let none = joining_at("nowhere").await;
        assert!(none.cure.starts_with("correct --coordinator"), "{none:?}");
        for check in [refused, other, plain, none] {
            assert_eq!(check.verdict, Verdict::Failed, "{check:?}");
            assert!(!check.cure.contains("token") && !check.cure.contains("; "), "{check:?}");
            assert!(!check.says.contains("; "), "{check:?}");
        }
    }
}
