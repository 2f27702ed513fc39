//! What a file may name, depending on what is swept: a model's parameters, or any for a program.

use std::{borrow::Cow, collections::BTreeMap};

use terms::manifest::{InPack, Manifest, ManifestParameter, ParameterKind, Scale, check_parameter_name};

use super::{
    super::{Models, Trainable, models::usual_model},
    suggestion::suggestion,
};
use crate::space::Name;

/// What a file may name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known<'a> {
    /// The parameters of a model.
    Model(&'a Manifest),
    /// Parameters of any name; those listed are in the file that is overridden.
    Program(&'a [Name]),
}

impl<'a> Known<'a> {
    /// What a sweep of `trainable` may name.
    pub(super) fn of(trainable: &'a Trainable) -> Self {
        match trainable {
            Trainable::Model(model) => Self::Model(model),
            Trainable::Program(_) => Self::Program(&[]),
        }
    }

    /// The parameter `name`, or a message that lists the known ones.
    pub(super) fn parameter(self, name: &str) -> Result<Cow<'a, ManifestParameter>, String> {
        match self {
            Self::Model(manifest) => manifest.parameter(name).map(Cow::Borrowed).ok_or_else(|| {
                let hint = suggestion(name, self.names());
                format!("unknown parameter `{name}`, expected one of {}{hint}", self.names().join(", "))
            }),
            Self::Program(_) => {
                check_parameter_name(name)?;
                Ok(Cow::Owned(ManifestParameter {
                    name: name.to_owned(),
                    kind: ParameterKind::Any,
                    default: None,
                    scale: Scale::Linear,
                    in_pack: InPack::Shared,
                    needs: BTreeMap::new(),
                    below: None,
                    meaning: String::new(),
                }))
            }
        }
    }

    /// The names of the known parameters.
    pub(super) fn names(self) -> Vec<&'a str> {
        match self {
            Self::Model(manifest) => {
                manifest.parameters.iter().map(|parameter| parameter.name.as_str()).collect()
            }
            Self::Program(names) => names.iter().map(|name| &**name).collect(),
        }
    }

    /// Whether there is a parameter of this name.
    pub(super) fn has(self, name: &str) -> bool {
        match self {
            Self::Model(manifest) => manifest.parameter(name).is_some(),
            Self::Program(names) => names.iter().any(|known| **known == *name),
        }
    }
}

/// The keys of a file that say what is swept.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Head {
    model: Option<serde_yaml::Value>,
    program: Option<serde::de::IgnoredAny>,
    command: Option<serde::de::IgnoredAny>,
    method: Option<serde_yaml::Value>,
}

impl Head {
    /// What a text and its overrides say. Anything unreadable is left to the second reading, which reports the place.
    pub(super) fn read(text: &str, overrides: &[String]) -> Self {
        let mut head: Self = serde_yaml::from_str(text).unwrap_or_default();
        for (key, value) in overrides.iter().filter_map(|set| set.split_once('=')) {
            match key.trim() {
                "model" => head.model = Some(value.trim().into()),
                "program" => head.program = Some(serde::de::IgnoredAny),
                "command" => head.command = Some(serde::de::IgnoredAny),
                "method" => head.method = Some(value.trim().into()),
                _ => {}
            }
        }
        head
    }

    /// What the file may name. Of a model that is not there, all is taken: that it is not there is what is wrong.
    pub(super) fn known<'a>(&self, models: &'a Models) -> Known<'a> {
        if self.is_of_program() {
            return Known::Program(&[]);
        }
        match self.model() {
            None => Known::Model(usual_model()),
            Some(name) => models.get(name).map_or(Known::Program(&[]), |model| Known::Model(model)),
        }
    }

    /// Whether values may be drawn from a range.
    pub(super) fn draws(&self) -> bool {
        self.method.as_ref().and_then(serde_yaml::Value::as_str).is_some_and(|method| method != "grid")
    }

    /// Whether a model is swept that is not there.
    pub(super) fn lacks_model(&self, models: &Models) -> bool {
        !self.is_of_program() && self.model().is_some_and(|name| models.get(name).is_none())
    }

    fn model(&self) -> Option<&str> {
        self.model.as_ref().and_then(serde_yaml::Value::as_str)
    }

    /// Whether a program is swept.
    pub(super) fn is_of_program(&self) -> bool {
        self.program.is_some() || self.command.is_some()
    }
}
