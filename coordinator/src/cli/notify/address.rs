//! Where messages go. Such an address is a secret by itself: who knows it may post there. So it is never shown beyond its host.

use std::fmt;

use url::{ParseError, Url};

/// The host of Slack's incoming webhooks.
const SLACK: &str = "hooks.slack.com";
/// Before an address elsewhere that takes Slack's form, as Mattermost and others do.
const SLACK_PREFIX: &str = "slack:";

/// What is said of an address that is none.
const NO_SCHEME: &str = "it begins with neither https://HOST nor http://HOST";

/// What a receiver understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The whole message as JSON.
    Json,
    /// `{"text": …}`.
    Slack,
}

/// A receiver of messages.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) url: Url,
    pub(super) form: Form,
}

impl Address {
    /// Reads an address; what is wrong with it does not repeat it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (form, text) = match text.strip_prefix(SLACK_PREFIX) {
            Some(rest) => (Form::Slack, rest),
            None => (Form::Json, text),
        };
        let url = Url::parse(text).map_err(|error| match error {
            // What the library calls it is for those who resolve links.
            ParseError::RelativeUrlWithoutBase => NO_SCHEME.to_owned(),
            error => error.to_string(),
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(NO_SCHEME.to_owned());
        }
        let form = if url.host_str() == Some(SLACK) { Form::Slack } else { form };
        Ok(Self { url, form })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}://{}", self.url.scheme(), self.url.host_str().unwrap_or_default())?;
        self.url.port().map_or(Ok(()), |port| write!(to, ":{port}"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_form_and_is_shown_without_its_secrets() {
        for (text, form, shown) in [
            ("https://hooks.slack.com/services/T0/B0/secret", Form::Slack, "https://hooks.slack.com"),
            ("slack:http://chat.example:8065/hooks/secret", Form::Slack, "http://chat.example:8065"),
            ("https://user:secret@example.com/in?key=secret#secret", Form::Json, "https://example.com"),
            ("http://[::1]:9/secret", Form::Json, "http://[::1]:9"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.form, address.to_string().as_str()), (form, shown));
            assert_eq!(format!("{address:?}"), shown);
        }
        for wrong in ["", "secret", "file:///secret", "slack:secret", "https://", "mailto:secret@example.com"]
        {
            let error = Address::parse(wrong).unwrap_err();
            assert!(!error.contains("secret"), "{wrong}: {error}");
        }
    }
}
