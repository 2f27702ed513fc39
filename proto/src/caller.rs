//! With each answer, a coordinator says as whom it took the call: checks of a set-up show it.

use std::fmt;

use tonic::metadata::MetadataMap;

/// The metadata with the caller, next to an answer or a refusal of someone who was let in: `ROLE NAME`, or `ROLE` alone of a coordinator
/// that asks no one who they are.
pub const CALLER_METADATA: &str = "sweep-caller";

/// As whom a coordinator took a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenFor {
    pub role: String,
    /// None where no one is asked.
    pub name: Option<String>,
}

impl TakenFor {
    /// What the metadata of an answer say; none of a coordinator of an older version.
    pub fn read(metadata: &MetadataMap) -> Option<Self> {
        // Names of an organisation's people may be in any script.
        let text = String::from_utf8_lossy(metadata.get(CALLER_METADATA)?.as_bytes()).into_owned();
        let (role, name) =
            text.split_once(' ').map_or((text.as_str(), None), |(role, name)| (role, Some(name)));
        Some(Self { role: role.to_owned(), name: name.map(str::to_owned) })
    }

    /// As the metadata have it.
    pub fn written(&self) -> String {
        let Self { role, name } = self;
        name.as_ref().map_or_else(|| role.clone(), |name| format!("{role} {name}"))
    }
}

impl fmt::Display for TakenFor {
    /// For the end of a sentence: `as ann, in the role submitter`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, name } = self;
        match name {
            Some(name) => write!(f, "as {name}, in the role {role}"),
            None => write!(f, "in the role {role}, as anyone: it asks no one for a token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataValue;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_said_in_any_script() {
        for (role, name, said) in [
            ("submitter", Some("ann"), "as ann, in the role submitter"),
            ("viewer", Some("oidc:花子 山田"), "as oidc:花子 山田, in the role viewer"),
            ("admin", None, "in the role admin, as anyone: it asks no one for a token"),
        ] {
            let caller = TakenFor { role: role.to_owned(), name: name.map(str::to_owned) };
            let mut metadata = MetadataMap::new();
            metadata.insert(CALLER_METADATA, MetadataValue::try_from(caller.written().as_bytes()).unwrap());
            assert_eq!(TakenFor::read(&metadata), Some(caller.clone()));
            assert_eq!(caller.to_string(), said);
        }
        assert_eq!(TakenFor::read(&MetadataMap::new()), None);
    }
}
