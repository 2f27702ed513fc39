//! Checks of a set-up: each says in one line how something is, and what to do where it is not as it should be. Here are those of the
//! machine; what a program has to check besides is its own matter, as is how they are printed.

mod machine;

use serde::Serialize;

pub use self::machine::{clock, descriptors, folder, memory, open_admin, port, shared_memory};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// It works, and may not for long or not well.
    Warning,
    Failed,
    /// It was not looked at.
    Skipped,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub verdict: Verdict,
    /// How it is.
    pub says: String,
    /// What to do; empty where nothing is to be done.
    #[serde(rename = "do")]
    pub cure: String,
}

impl Check {
    fn new(name: &str, verdict: Verdict, says: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name: name.to_owned(), verdict, says: says.into(), cure: cure.into() }
    }

    pub fn ok(name: &str, says: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, says, "")
    }

    pub fn warning(name: &str, says: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(name, Verdict::Warning, says, cure)
    }

    pub fn failed(name: &str, says: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(name, Verdict::Failed, says, cure)
    }

    /// What has failed by a message that may end with what to do, after a semicolon: that is said once, and is better than `cure`, which is for
    /// messages without.
    pub fn failed_with(name: &str, message: &str, cure: &str) -> Self {
        let (says, cure) = message.split_once("; ").unwrap_or((message, cure));
        Self::failed(name, says, cure)
    }

    pub fn skipped(name: &str, why: impl Into<String>) -> Self {
        Self::new(name, Verdict::Skipped, why, "")
    }
}

/// Whether something is not as it has to be.
pub fn has_failed(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.verdict == Verdict::Failed)
}

/// For people: a line for each check, with what to do behind it.
pub fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let line = |check: &Check| {
        let cure = if check.cure.is_empty() { String::new() } else { format!("; {}", check.cure) };
        format!("{:<8} {:<width$}  {}{cure}\n", check.verdict.name(), check.name, check.says)
    };
    checks.iter().map(line).collect()
}

/// All checks and whether none has failed, for programs.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    pub ok: bool,
    pub checks: &'a [Check],
}

impl<'a> Report<'a> {
    pub fn of(checks: &'a [Check]) -> Self {
        Self { ok: !has_failed(checks), checks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_is_said_once() {
        let own = Check::failed_with("coordinator", "no TLS; name it with http://", "start one");
        assert_eq!(own, Check::failed("coordinator", "no TLS", "name it with http://"));
        let none = Check::failed_with("coordinator", "no one answers", "start one");
        assert_eq!(none, Check::failed("coordinator", "no one answers", "start one"));
    }

    #[test]
    fn a_line_has_the_verdict_the_name_how_it_is_and_what_to_do() {
        let checks = [
            Check::ok("store", "it is writable"),
            Check::failed("coordinator", "no one answers", "start one with `sweep serve`"),
            Check::skipped("data set", "none was named"),
        ];
        let expected = "ok       store        it is writable\n\
                        failed   coordinator  no one answers; start one with `sweep serve`\n\
                        skipped  data set     none was named\n";
        assert_eq!(text(&checks), expected);
        assert!(has_failed(&checks) && !has_failed(&checks[..1]) && !Report::of(&checks).ok);
    }
}
