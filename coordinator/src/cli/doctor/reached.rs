//! Whether the coordinators that are named can be reached, take the token, have this version, and which of them leads.

use std::time::{Duration, SystemTime};

use telemetry::doctor::{Check, Verdict, clock};
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    cli::client::{Asked, Stand, Target},
    rpc::VERSION_METADATA,
};

/// How long what is asked may take to answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// One for each coordinator, one for who leads where there are several, and one for the clock.
pub(super) async fn checks(target: &Target) -> Vec<Check> {
    let (mut checks, mut leaders, mut theirs) = (Vec::new(), 0, None);
    let urls: Vec<&str> = target.url.split(',').map(str::trim).collect();
    for url in &urls {
        let (check, asked) = coordinator(target, url).await;
        checks.push(check);
        if let Some(asked) = asked {
            leaders += usize::from(asked.stand == Stand::Leads);
            theirs = theirs.or_else(|| asked.answer.ok().and_then(|headers| date(&headers)));
        }
    }
    let any_reached = checks.iter().any(|check| check.verdict != Verdict::Failed);
    if urls.len() > 1 && any_reached && leaders != 1 {
        checks.push(Check::failed(
            "leader",
            format!("{leaders} of {} coordinators lead", urls.len()),
            "name coordinators that share one database; while none leads, look at their logs and the database",
        ));
    }
    checks.extend(theirs.map(|theirs| clock(theirs, SystemTime::now())));
    checks
}

async fn coordinator(target: &Target, url: &str) -> (Check, Option<Asked>) {
    const NAME: &str = "coordinator";
    let asked = match target.asked(url).await {
        Err(failure) => {
            return (
                Check::failed(NAME, failure.to_string(), "correct the option or the file that it names"),
                None,
            );
        }
        Ok(Err(reason)) => {
            let says = format!("no one answers at {url}: {reason}");
            let cure = "start one there with `sweep serve`, or see whether a firewall, its --listen or --tls-ca is in the way";
            return (Check::failed(NAME, says, cure), None);
        }
        Ok(Ok(asked)) => asked,
    };
    let check = match (&asked.answer, asked.stand) {
        (Ok(headers), _) => version(url, headers),
        (Err(_), Stand::StandsBy) => Check::ok(NAME, format!("{url} stands by for another one")),
        (Err(status), _) => refused(url, status),
    };
    (check, Some(asked))
}

fn version(url: &str, headers: &MetadataMap) -> Check {
    const NAME: &str = "coordinator";
    let own = env!("CARGO_PKG_VERSION");
    match headers.get(VERSION_METADATA).and_then(|version| version.to_str().ok()) {
        Some(theirs) if theirs == own => {
            Check::ok(NAME, format!("{url} leads, with version {theirs}, and lets this user in"))
        }
        theirs => Check::warning(
            NAME,
            format!(
                "{url} has {}, and these programs {own}",
                theirs.map_or("an older version".to_owned(), |theirs| format!("version {theirs}"))
            ),
            "install the same version everywhere, the coordinator's first",
        ),
    }
}

fn refused(url: &str, status: &Status) -> Check {
    let says = format!("{url} answers: {}", status.message());
    let cure = match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => "give the coordinator's token with --token-file",
        Code::InvalidArgument => {
            "correct --coordinator: its scheme, and the port of the coordinator's --listen"
        }
        _ => "see what its log says",
    };
    Check::failed("coordinator", says, cure)
}

/// When an answer was made, by the other machine's clock, in whole seconds.
fn date(headers: &MetadataMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get("date")?.to_str().ok()?).ok()
}
