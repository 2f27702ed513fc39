//! `sweep token`: who may call a coordinator.

use std::time::Duration;

use proto::{
    join::JoinToken,
    v1::{self, access_service_client::AccessServiceClient},
};
use serde_json::json;
use terminal::output;
use terms::{Role, VariantArray};

use super::{
    client::Target,
    failure::Failure,
    output::{Cell, Format, Printer, print, print_json},
    tables::names,
};

/// What `sweep token` does.
#[derive(Debug, clap::Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it; it is shown this once
    Create(CreateArguments),
    /// List the tokens, without their secrets
    List,
    /// Let the holder of a token in no more, and end their streams
    Revoke {
        /// What the token begins with, before the point
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Arguments of `sweep token create`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Roles: a viewer looks at everything; a submitter also submits sweeps and changes those of its name; a worker \
trains; an admin does everything. Tokens of one name own the same sweeps, so that a new one takes the place of an old one."
)]
pub(super) struct CreateArguments {
    /// What its holder may do: viewer, worker, submitter, admin
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: v1::Role,
    /// Whose it is; sweeps belong to names
    #[arg(long, value_name = "NAME")]
    name: String,
    /// For how long it holds, such as 90d or 52w; a year, 1y, is 365.25 days [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = super::time)]
    expires: Option<Duration>,
    /// Workers join with it: each makes a key, and gets and renews a certificate until the token is revoked. The token itself holds for
    /// 24h, unless --expires says otherwise
    #[arg(long)]
    join: bool,
}

/// How long a join token holds: until the machines are set up that are to join.
const JOIN_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

fn role(name: &str) -> Result<v1::Role, String> {
    match Role::from_name(name) {
        Some(Role::Viewer) => Ok(v1::Role::Viewer),
        Some(Role::Worker) => Ok(v1::Role::Worker),
        Some(Role::Submitter) => Ok(v1::Role::Submitter),
        Some(Role::Admin) => Ok(v1::Role::Admin),
        None => {
            let known: Vec<_> = Role::VARIANTS.iter().map(|role| role.as_str()).collect();
            Err(format!("use one of {}", known.join(", ")))
        }
    }
}

/// The name of a role as it came.
fn role_name(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Viewer => Role::Viewer.as_str(),
        v1::Role::Worker => Role::Worker.as_str(),
        v1::Role::Submitter => Role::Submitter.as_str(),
        v1::Role::Admin => Role::Admin.as_str(),
        v1::Role::Unspecified => "unknown",
    }
}

/// `sweep token`.
pub(super) async fn token(command: &TokenCommand, target: &Target, format: Format) -> Result<(), Failure> {
    let mut client = target.connect_for_access().await?;
    match command {
        TokenCommand::Create(arguments) => create(&mut client, arguments, target, format).await,
        TokenCommand::List => {
            let answer = target.in_time(client.list_tokens(v1::ListTokensRequest {})).await?;
            let mut printer = Printer::new(format, names(&COLUMNS));
            printer.page(&answer.into_inner().tokens.iter().map(row).collect::<Vec<_>>())?;
            printer.finish()
        }
        TokenCommand::Revoke { id } => {
            let request = v1::RevokeTokenRequest { id: id.clone() };
            let token = target.in_time(client.revoke_token(request)).await?.into_inner();
            let mut printer = Printer::new(format, names(&COLUMNS));
            printer.page(&[row(&token)])?;
            printer.finish()
        }
    }
}

async fn create(
    client: &mut AccessServiceClient<super::client::Called>,
    arguments: &CreateArguments,
    target: &Target,
    format: Format,
) -> Result<(), Failure> {
    let CreateArguments { role, name, expires, join } = arguments;
    if *join && *role != v1::Role::Worker {
        return Err(Failure::usage("--join is for workers; give --role worker"));
    }
    let expires = if *join { expires.or(Some(JOIN_WITHIN)) } else { *expires };
    // On the wire, 0 stands for a token that does not end.
    if expires.is_some_and(|lasts| lasts.as_millis() == 0) {
        return Err(Failure::usage(
            "--expires: a token holds for a while; leave the option out for one that holds until it is revoked",
        ));
    }
    let lasts = expires.map_or(Ok(0), |lasts| u64::try_from(lasts.as_millis()));
    let lasts_ms = lasts.map_err(|_| Failure::usage("--expires: a token holds for ten years at most"))?;
    let request = v1::CreateTokenRequest { role: (*role).into(), name: name.clone(), lasts_ms, join: *join };
    let answer = target.in_time(client.create_token(request)).await?.into_inner();
    let mut secret = answer.secret;
    if *join {
        secret = JoinToken { token: secret, authority: answer.authority_hash }.to_string();
    }
    if format == Format::Json {
        let id = answer.token.map(|token| token.id).unwrap_or_default();
        return print_json(&json!({"id": id, "token": secret}));
    }
    // Alone on standard output, so that it goes into a file.
    print(&format!("{secret}\n"))?;
    output::say("keep it in a file that only its holder can read; it is shown this once");
    Ok(())
}

const COLUMNS: [&str; 7] = ["id", "name", "role", "created", "created_by", "expires", "revoked"];

fn row(token: &v1::Token) -> Vec<Cell> {
    vec![
        Cell::Text(token.id.clone()),
        Cell::Text(token.name.clone()),
        Cell::Text(role_name(token.role()).to_owned()),
        Cell::Time(token.created_unix_ms),
        Cell::Text(token.created_by.clone()),
        Cell::Time(token.expires_unix_ms),
        Cell::Time(token.revoked_unix_ms),
    ]
}
