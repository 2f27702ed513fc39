//! Rules between the parameters of a trainable: values that are right one by one and wrong together.

use super::{Manifest, ManifestParameter, ParameterKind};
use crate::ParameterValue;

impl ManifestParameter {
    /// The parameters that its rules name.
    pub fn partners(&self) -> impl Iterator<Item = &str> {
        self.needs.keys().chain(&self.below).map(String::as_str)
    }

    /// Whether its value and that of its partner `other` are right together, as far as its rules go.
    ///
    /// # Errors
    /// What would be right.
    pub fn check_with(
        &self,
        own: &ParameterValue,
        other: &str,
        value: &ParameterValue,
    ) -> Result<(), String> {
        // Asked for each pair of values of a sweep, so that nothing is written where all is right.
        let name = &self.name;
        if let Some(allowed) = self.needs.get(other)
            && self.default.as_ref() != Some(own)
            && !allowed.contains(value)
        {
            let default = self.default.as_ref().map(ParameterValue::written).unwrap_or_default();
            let allowed: Vec<String> = allowed.iter().map(ParameterValue::written).collect();
            return Err(format!(
                "`{name}` must be {default} unless `{other}` is {}, but is {} where `{other}` is {}",
                allowed.join(" or "),
                own.written(),
                value.written()
            ));
        }
        if self.below.as_deref() == Some(other)
            && let (Some(number), Some(end)) = (own.whole(), value.whole())
            && number >= end
        {
            return Err(format!(
                "`{name}` must be less than `{other}`, but is {} where `{other}` is {}",
                own.written(),
                value.written()
            ));
        }
        Ok(())
    }
}

impl Manifest {
    /// Checks values of a job, each of which is allowed by itself, against each other.
    ///
    /// # Errors
    /// The first values that are wrong together, and what would be right.
    pub fn check_together<'a>(
        &self,
        value: impl Fn(&str) -> Option<&'a ParameterValue>,
    ) -> Result<(), String> {
        for parameter in &self.parameters {
            for other in parameter.partners() {
                if let (Some(own), Some(others)) = (value(&parameter.name), value(other)) {
                    parameter.check_with(own, other, others)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the rules of a parameter make sense.
    pub(super) fn check_rules(&self, parameter: &ManifestParameter) -> Result<(), String> {
        let name = &parameter.name;
        for other in parameter.partners() {
            if other == name || self.parameter(other).is_none() {
                return Err(format!("the parameter `{name}` names `{other}`, which is no other parameter"));
            }
        }
        // A job may have no value of it, so that what depends on it could not be decided.
        let conditional = |other: &&str| self.parameter(other).is_some_and(|other| !other.needs.is_empty());
        if let Some(other) = parameter.partners().find(conditional) {
            return Err(format!(
                "the parameter `{name}` names `{other}`, which has `needs` itself; name what that one needs"
            ));
        }
        if !parameter.needs.is_empty() && parameter.default.is_none() {
            return Err(format!("the parameter `{name}` has `needs` and no `default` that is free of them"));
        }
        for (other, values) in &parameter.needs {
            let wrong = |value: &&ParameterValue| {
                self.parameter(other).is_some_and(|other| other.check(value).as_ref() != Ok(*value))
            };
            if let Some(value) = values.iter().find(wrong) {
                let value = value.written();
                return Err(format!(
                    "the parameter `{name}` needs `{other}` to be {value}, which it cannot be"
                ));
            }
        }
        let is_whole = |name: &str| {
            self.parameter(name).is_some_and(|one| matches!(one.kind, ParameterKind::Integer { .. }))
        };
        match &parameter.below {
            Some(other) if !is_whole(name) || !is_whole(other) => {
                Err(format!("the parameter `{name}` may be `below` `{other}` only where both are integers"))
            }
            _ => Ok(()),
        }
    }
}
