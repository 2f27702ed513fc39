//! `sweep doctor`: whether a set-up is as it has to be, one line for each thing that is looked at, and what to do. What concerns training (libtorch,
//! GPUs, data sets) is seen by `sweep-worker doctor` on the machine that trains.

mod reached;

use std::{net::SocketAddr, path::PathBuf};

use object_store::ObjectStoreExt;
use storage::{EmptyFolders, Storage};
use telemetry::doctor::{
    Check, Report, Verdict, descriptors, folder, has_failed, memory, open_admin, port, text,
};
use terminal::output::print;

use super::{client::Target, failure::Failure, output::Format};
use crate::rpc::DESCRIPTORS_MIN;

/// Connections of a small cluster; a coordinator takes more where it may.
const DESCRIPTORS_WANTED: u64 = 1_024;
/// What a coordinator needs besides what its sweeps do: little.
const MEMORY_BYTES_MIN: u64 = 256 << 20;
/// What workers are started from.
const PROGRAMS: [&str; 2] = ["sweep-worker", "sweep-trainer"];

/// Arguments of `sweep doctor`. The coordinator is the one of the other commands.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArguments {
    /// Also look at this store, as `sweep serve` would use it
    #[arg(long, env = "SWEEP_STORE", hide_env_values = true, value_name = "URL")]
    store: Option<String>,
    /// Also look at this place for trained weights
    #[arg(long, env = "SWEEP_ARTIFACTS", value_name = "URL")]
    artifacts: Option<String>,
    /// Also see whether `sweep serve` can listen on this address
    #[arg(long, env = "SWEEP_LISTEN", value_name = "ADDR", value_parser = terminal::listen_address)]
    listen: Option<SocketAddr>,
    /// Also see whether the page can be served on this address
    #[arg(long, env = "SWEEP_HTTP", value_name = "ADDR", value_parser = terminal::listen_address)]
    http: Option<SocketAddr>,
    /// Also see whether probes can be answered on this address
    #[arg(long, env = "SWEEP_ADMIN", value_name = "ADDR", value_parser = terminal::listen_address)]
    admin: Option<SocketAddr>,
}

/// `sweep doctor`. `is_named` says whether someone has named a coordinator.
pub(super) async fn doctor(
    arguments: &DoctorArguments,
    (target, is_named): (&Target, bool),
    format: Format,
) -> Result<(), Failure> {
    let mut checks =
        vec![programs(), descriptors(DESCRIPTORS_MIN, DESCRIPTORS_WANTED), memory(MEMORY_BYTES_MIN)];
    checks.extend(store(arguments.store.as_deref()).await);
    checks.push(artifacts(arguments.artifacts.as_deref()).await);
    let addresses =
        [("--listen", arguments.listen), ("--http", arguments.http), ("--admin", arguments.admin)];
    let ports = addresses.into_iter().filter_map(|(option, address)| Some(port(address?, option)));
    checks.extend(ports);
    checks.extend(arguments.admin.and_then(open_admin));
    checks.extend(match is_named {
        true => reached::checks(target).await,
        false => reached::check_usual(target).await,
    });
    match format {
        Format::Table => print(&text(&checks))?,
        Format::Json => {
            let json = serde_json::to_string_pretty(&Report::of(&checks)).map_err(anyhow::Error::from)?;
            print(&terminal::text::json(&format!("{json}\n")))?;
        }
        _ => return Err(Failure::usage("`sweep doctor` prints a table or JSON: -o table or -o json")),
    }
    match has_failed(&checks) {
        true => Err(Failure::operation("something is not as it has to be; the lines above say what to do")),
        false => Ok(()),
    }
}

/// The programs that `sweep run` starts lie next to this one.
fn programs() -> Check {
    const NAME: &str = "programs";
    let version = env!("CARGO_PKG_VERSION");
    let own = std::env::current_exe().ok();
    let folder = own.as_deref().and_then(std::path::Path::parent).map(PathBuf::from).unwrap_or_default();
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(|name| !folder.join(name).is_file()).collect();
    if missing.is_empty() {
        return Check::ok(NAME, format!("sweep {version}, with {} next to it", PROGRAMS.join(" and ")));
    }
    Check::warning(
        NAME,
        format!("sweep {version}, without {} next to it", missing.join(" and ")),
        "install the programs of `make build` into one folder where this machine trains",
    )
}

/// The store itself and, where it is a file, its folder.
async fn store(url: Option<&str>) -> Vec<Check> {
    const NAME: &str = "store";
    let Some(url) = url else { return vec![Check::skipped(NAME, "none was named with --store")] };
    let shown = store::without_secrets(url);
    let mut checks = Vec::new();
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        checks.push(folder("store's folder", parent.unwrap_or(std::path::Path::new(".")), "--store"));
    }
    checks.push(match store::look(url).await {
        Ok(says) => Check::ok(NAME, says),
        Err(error) => Check::failed_with(
            NAME,
            &format!("{shown}: {error}"),
            "make it usable, or name another with --store",
        ),
    });
    checks
}

/// A small file can be written, read and removed where weights are kept.
async fn artifacts(location: Option<&str>) -> Check {
    const NAME: &str = "artifacts";
    const CURE: &str =
        "check its address and the cloud's credentials, or name another place with --artifacts";
    let Some(location) = location else { return Check::skipped(NAME, "no place was named with --artifacts") };
    // It would be made by looking; one that is missing may be a share that is not mounted.
    if let Ok(Some(missing)) = storage::folder_of(location).map(|folder| folder.filter(|path| !path.exists()))
    {
        let found = folder(NAME, &missing, "--artifacts");
        return match found.verdict {
            Verdict::Ok => Check::warning(
                NAME,
                found.says,
                "`sweep serve` makes it; see whether it is the right place, such as a share that is not mounted",
            ),
            _ => found,
        };
    }
    let tried = async {
        let place = Storage::open(location, EmptyFolders::Kept)?;
        let name = place.root.clone().join(format!("sweep-doctor-{}", uuid::Uuid::new_v4()));
        place.store.put(&name, bytes::Bytes::from_static(b"sweep doctor").into()).await?;
        let read = place.store.get(&name).await?.bytes().await;
        place.store.delete(&name).await?;
        anyhow::ensure!(&read?[..] == b"sweep doctor", "what was read is not what was written");
        anyhow::Ok(())
    };
    match tokio::time::timeout(reached::ANSWER_WITHIN, tried).await {
        Ok(Ok(())) => Check::ok(NAME, format!("{location} can be written and read")),
        Ok(Err(error)) => {
            Check::failed(NAME, format!("{location}: {}", terminal::output::with_causes(&error)), CURE)
        }
        Err(_) => Check::failed(
            NAME,
            format!("{location} does not answer within {} s", reached::ANSWER_WITHIN.as_secs()),
            CURE,
        ),
    }
}
