//! `sweep certs`: an authority of sweep's own, for coordinators that other machines reach.

use std::path::PathBuf;

use serde_json::json;

use super::{
    failure::Failure,
    output::{Format, print, print_json},
};
use crate::access::{AUTHORITY_CERTIFICATE, Authority};

/// What `sweep certs` does.
#[derive(Debug, clap::Subcommand)]
pub(super) enum CertsCommand {
    /// Make an authority in a folder, and a certificate of it for coordinators
    Init(InitArguments),
    /// Make another certificate for coordinators, of the authority that is there; running coordinators take it
    Renew(RenewArguments),
}

/// Arguments of `sweep certs init`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "`sweep serve --authority DIR` then serves TLS, and gives certificates to workers that join. Commands trust it with \
--tls-ca DIR/ca.pem. Keep DIR/ca.key: who has it can pass for any worker and any coordinator. The coordinator's certificate holds for \
a year; `sweep certs renew DIR` makes another one."
)]
pub(super) struct InitArguments {
    /// Folder for the files
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A name or an IP address by which coordinators are reached; may be given several times
    #[arg(long = "host", value_name = "HOST", required = true)]
    hosts: Vec<String>,
}

/// Arguments of `sweep certs renew`.
#[derive(Debug, clap::Args)]
pub(super) struct RenewArguments {
    /// Folder of the authority
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A name or an IP address by which coordinators are reached; may be given several times [default: those of the certificate that
    /// is there]
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
}

/// `sweep certs`.
pub(super) fn certs(command: &CertsCommand, format: Format) -> Result<(), Failure> {
    if !matches!(format, Format::Table | Format::Json) {
        return Err(Failure::usage("`sweep certs` prints a table or JSON: -o table or -o json"));
    }
    let (folder, made, next) = match command {
        CertsCommand::Init(InitArguments { folder, hosts }) => {
            let made = Authority::init(folder, hosts).map(|authority| (authority, hosts.clone()));
            (
                folder,
                made,
                "give a token with --token-file, and let workers join: `sweep token create --role worker --name NAME --join`",
            )
        }
        CertsCommand::Renew(RenewArguments { folder, hosts }) => {
            let next = "running coordinators take the new certificate within seconds";
            (folder, Authority::renew(folder, hosts), next)
        }
    };
    let (authority, hosts) = made.map_err(|error| Failure::operation(format!("{error:#}")))?;
    let trusted = folder.join(AUTHORITY_CERTIFICATE);
    if format == Format::Json {
        return print_json(&json!({
            "authority": authority.hash,
            "folder": folder.display().to_string(),
            "hosts": hosts,
            "trust": trusted.display().to_string(),
        }));
    }
    print(&format!(
        "authority   {}\ncoordinator {}\nserve with  sweep serve --authority {}\ntrust with  --tls-ca {}\n",
        authority.hash,
        hosts.join(", "),
        folder.display(),
        trusted.display()
    ))?;
    terminal::output::say(next);
    Ok(())
}
