//! In which language someone reads: what they have chosen on the page, else what their browser asks for first of the two. Programs that ask for
//! none read English.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, header, request::Parts},
};
use report::{
    Language, reason,
    view::{Attempts, Job, Sweep, Worker},
};

/// The cookie with the language that a reader has chosen.
const LANGUAGE_COOKIE: &str = "sweep-language";

/// Who reads an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reader(Language);

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Reader {
    /// Of answers that are made for many readers at once.
    pub(super) const JAPANESE: Self = Self(Language::Japanese);

    /// Who sends these headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text =
            |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let chosen = text(header::COOKIE).split(';').filter_map(|pair| pair.trim().split_once('='));
        let chosen = chosen.filter(|(name, _)| *name == LANGUAGE_COOKIE).map(|(_, language)| language);
        let wanted = text(header::ACCEPT_LANGUAGE).split(',').map(|language| language.trim());
        for language in chosen.chain(wanted) {
            match language.get(..2).map(str::to_ascii_lowercase).as_deref() {
                Some("ja") => return Self(Language::Japanese),
                Some("en") => return Self(Language::English),
                _ => {}
            }
        }
        Self(Language::English)
    }

    pub(super) fn is_japanese(self) -> bool {
        self.0 == Language::Japanese
    }

    /// The language's name in HTML.
    pub(super) fn code(self) -> &'static str {
        if self.is_japanese() { "ja" } else { "en" }
    }

    /// A reason that the system gives, in the reader's language.
    pub(super) fn reason(self, text: &str) -> String {
        reason(self.0, text)
    }

    fn put(self, text: &mut String) {
        if self.is_japanese() {
            *text = self.reason(text);
        }
    }

    fn put_each<'t>(self, texts: impl IntoIterator<Item = &'t mut Option<String>>) {
        texts.into_iter().flatten().for_each(|text| self.put(text));
    }

    /// A sweep with its sentences in the reader's language.
    pub(super) fn sweep(self, mut sweep: Sweep) -> Sweep {
        if let Some(details) = &mut sweep.details {
            self.put_each([&mut details.waiting, &mut details.why_stopped, &mut details.cannot_pause]);
        }
        self.put_each([&mut sweep.weights]);
        sweep
    }

    /// The same of a job.
    pub(super) fn job(self, mut job: Job) -> Job {
        self.put(&mut job.reason);
        self.put_each([&mut job.proposal]);
        if let Attempts::List(attempts) = &mut job.attempts {
            attempts.iter_mut().for_each(|attempt| self.put(&mut attempt.reason));
        }
        job
    }

    /// The same of a worker.
    pub(super) fn worker(self, mut worker: Worker) -> Worker {
        self.put(&mut worker.reason);
        worker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_has_chosen_comes_before_what_the_browser_asks_for() {
        let of = |cookie: &str, accepted: &str| {
            let headers = [("cookie", cookie), ("accept-language", accepted)];
            let headers =
                headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            Reader::of(&headers.collect()).code()
        };
        assert_eq!(of("", ""), "en");
        assert_eq!(of("", "ja-JP,en;q=0.5"), "ja");
        assert_eq!(of("", "de, ja;q=0.8, en;q=0.5"), "ja");
        assert_eq!(of("a=b; sweep-language=en", "ja"), "en");
        assert_eq!(of("sweep-language=ja", "en"), "ja");
        assert_eq!(of("sweep-language=xx", "日本"), "en");
    }
}
