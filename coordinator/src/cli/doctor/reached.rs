//! Whether the coordinators that are named can be reached, take the token, have this version, and which of them leads.

use std::time::{Duration, SystemTime};

use proto::{
    caller::TakenFor,
    leader::{NotFollowed, elsewhere},
};
use telemetry::doctor::{Check, Verdict, clock};
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    cli::client::{Asked, Stand, Target},
    rpc::VERSION_METADATA,
};

/// How long what is asked may take to answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How it begins where nothing listens.
const NO_ONE: &str = "no one answers at";

/// The same of the coordinator that commands take where none is named. That no one answers there is no fault: none may be wanted.
pub(super) async fn check_usual(target: &Target) -> Vec<Check> {
    let checks = checks(target).await;
    if !checks.iter().any(|check| check.says.starts_with(NO_ONE)) {
        return checks;
    }
    let why = format!(
        "none was named (--coordinator URL, SWEEP_COORDINATOR or the settings file), and {NO_ONE} {}, where commands look then",
        target.url
    );
    vec![Check::skipped("coordinator", why)]
}

/// One for each coordinator, one for who leads where there are several, and one for the clock.
pub(super) async fn checks(target: &Target) -> Vec<Check> {
    let (mut checks, mut leaders, mut theirs, mut leader) = (Vec::new(), 0, None, None);
    let urls: Vec<&str> = target.url.split(',').map(str::trim).collect();
    for url in &urls {
        let (check, asked) = coordinator(target, url).await;
        checks.push(check);
        if let Some(asked) = asked {
            leaders += usize::from(asked.stand == Stand::Leads);
            leader = leader.or_else(|| stands_by_for(&asked, url)?.ok().flatten());
            theirs = theirs.or_else(|| asked.answer.ok().and_then(|headers| date(&headers)));
        }
    }
    // It alone knows each token.
    if leaders == 0
        && let Some(leader) = &leader
    {
        let (check, asked) = coordinator(target, leader).await;
        checks.push(check);
        leaders += usize::from(asked.is_some_and(|asked| asked.stand == Stand::Leads));
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
                Check::failed_with(
                    NAME,
                    &failure.to_string(),
                    "correct the option or the file that it names",
                ),
                None,
            );
        }
        Ok(Err(reason)) => {
            return (unreached(url, &reason), None);
        }
        Ok(Ok(asked)) => asked,
    };
    let check = match (&asked.answer, asked.stand) {
        (Ok(headers), _) => version(url, headers),
        (Err(status), _) => match stands_by_for(&asked, url) {
            Some(Ok(Some(leader))) => Check::ok(NAME, format!("{url} stands by for the one at {leader}")),
            Some(Err(not_followed)) => {
                Check::failed_with(NAME, &not_followed.to_string(), "give all the same scheme")
            }
            Some(Ok(None)) if status.code() == Code::Unavailable => Check::failed(
                NAME,
                format!("{url} stands by, and knows of none that leads"),
                "see whether its database is away, and what its log says",
            ),
            _ => refused(url, status),
        },
    };
    (check, Some(asked))
}

/// For which coordinator one that stands by does so, where it says so; none where it does not stand by.
fn stands_by_for(asked: &Asked, url: &str) -> Option<Result<Option<String>, NotFollowed>> {
    let status = asked.answer.as_ref().err()?;
    (asked.stand == Stand::StandsBy).then(|| elsewhere(status, url))
}

fn version(url: &str, headers: &MetadataMap) -> Check {
    const NAME: &str = "coordinator";
    let own = env!("CARGO_PKG_VERSION");
    match headers.get(VERSION_METADATA).and_then(|version| version.to_str().ok()) {
        Some(theirs) if theirs == own => {
            let taken_for = TakenFor::read(headers).map(|caller| format!(" {caller}")).unwrap_or_default();
            Check::ok(NAME, format!("{url} leads, with version {theirs}, and lets this user in{taken_for}"))
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

/// Nothing answers there; or something does with which no connection comes about, of which the reason says what to do.
fn unreached(url: &str, reason: &str) -> Check {
    const NAME: &str = "coordinator";
    match reason.split_once("; ") {
        Some((says, cure)) => Check::failed(NAME, format!("no connection to {url}: {says}"), cure),
        None => Check::failed(
            NAME,
            format!("{NO_ONE} {url}: {reason}"),
            "start one there with `sweep serve`, or see whether a firewall or its --listen is in the way",
        ),
    }
}

fn refused(url: &str, status: &Status) -> Check {
    let cure = match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => "give the coordinator's token with --token-file",
        Code::InvalidArgument => {
            "correct --coordinator: its scheme, and the port of the coordinator's --listen"
        }
        _ => "see what its log says",
    };
    Check::failed_with("coordinator", &format!("{url} answers: {}", status.message()), cure)
}

/// When an answer was made, by the other machine's clock, in whole seconds.
fn date(headers: &MetadataMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get("date")?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_without_a_connection_is_not_taken_for_no_one() {
        let check = unreached("https://a:1", "invalid peer certificate; name it with --tls-ca");
        assert_eq!(
            (check.says.as_str(), check.cure.as_str()),
            ("no connection to https://a:1: invalid peer certificate", "name it with --tls-ca",)
        );
        let check = unreached("http://a:1", "Connection refused");
        assert!(check.says.starts_with(NO_ONE) && !check.cure.contains("--tls-ca"), "{check:?}");
    }
}
