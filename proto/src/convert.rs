//! Conversions between the generated messages and the vocabulary of `terms`.

use terms::{
    Again, AttemptKey, AttemptState, DatasetSummary, GpuUse, JobState, LeftOut, Outcome, ParameterMap,
    ParameterUse, ParameterValue, SweepState,
};

use crate::v1::{self, parameter_value::Kind};

/// A message lacks a required field, or has a value without meaning there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message lacks the field `{0}`")]
pub struct MissingField(pub &'static str);

impl From<AttemptKey> for v1::AttemptRef {
    fn from(key: AttemptKey) -> Self {
        Self { sweep_id: key.job.sweep.0, job: key.job.job, attempt: key.attempt }
    }
}

impl From<v1::AttemptRef> for AttemptKey {
    fn from(wire: v1::AttemptRef) -> Self {
        Self::new(wire.sweep_id, wire.job, wire.attempt)
    }
}

/// The attempt that a message is about.
///
/// # Errors
/// The message names none.
pub fn attempt_from_wire(wire: Option<v1::AttemptRef>) -> Result<AttemptKey, MissingField> {
    wire.map(AttemptKey::from).ok_or(MissingField("attempt"))
}

impl From<ParameterValue> for v1::ParameterValue {
    fn from(value: ParameterValue) -> Self {
        let kind = match value {
            ParameterValue::Null => Kind::Null(true),
            ParameterValue::Boolean(value) => Kind::Boolean(value),
            ParameterValue::Integer(value) => Kind::Integer(value),
            ParameterValue::Float(value) => Kind::Float(value),
            ParameterValue::Text(value) => Kind::Text(value),
        };
        Self { kind: Some(kind) }
    }
}

/// Parameters in order, for the wire.
pub fn parameters_to_wire(parameters: ParameterMap) -> Vec<v1::Parameter> {
    let parameter =
        |(name, value): (String, ParameterValue)| v1::Parameter { name, value: Some(value.into()) };
    parameters.0.into_iter().map(parameter).collect()
}

/// A job's number and its parameters, for the wire.
pub fn job_point(job: u64, parameters: ParameterMap) -> v1::JobPoint {
    v1::JobPoint { job, parameters: parameters_to_wire(parameters) }
}

/// Parameters from the wire; those without a value are left out.
pub fn parameters_from_wire(wire: Vec<v1::Parameter>) -> ParameterMap {
    let value = |kind| match kind {
        Kind::Null(_) => ParameterValue::Null,
        Kind::Boolean(value) => ParameterValue::Boolean(value),
        Kind::Integer(value) => ParameterValue::Integer(value),
        Kind::Float(value) => ParameterValue::Float(value),
        Kind::Text(value) => ParameterValue::Text(value),
    };
    let pair = |parameter: v1::Parameter| Some((parameter.name, value(parameter.value?.kind?)));
    ParameterMap(wire.into_iter().filter_map(pair).collect())
}

impl From<GpuUse> for v1::GpuUse {
    fn from(gpu: GpuUse) -> Self {
        let GpuUse { device, name, utilization_percent, memory_used_bytes, memory_total_bytes } = gpu;
        let utilization_percent = utilization_percent.map(u32::from);
        Self { device, name, utilization_percent, memory_used_bytes, memory_total_bytes }
    }
}

impl From<LeftOut> for v1::LeftOut {
    fn from(left_out: LeftOut) -> Self {
        let LeftOut { reason, detail, count, examples } = left_out;
        Self { reason, detail, count, examples }
    }
}

impl From<v1::LeftOut> for LeftOut {
    fn from(left_out: v1::LeftOut) -> Self {
        let v1::LeftOut { reason, detail, count, examples } = left_out;
        Self { reason, detail, count, examples }
    }
}

impl From<DatasetSummary> for v1::DatasetSummary {
    fn from(found: DatasetSummary) -> Self {
        Self {
            content_hash: found.content_hash,
            classes: found.classes,
            train_images: found.train_images,
            val_images: found.val_images,
            skipped: found.skipped,
            skipped_count: found.skipped_count,
            train_by_class: found.train_by_class,
            val_by_class: found.val_by_class,
            left_out: found.left_out.into_iter().map(Into::into).collect(),
            validation: found.validation,
        }
    }
}

impl From<v1::DatasetSummary> for DatasetSummary {
    fn from(found: v1::DatasetSummary) -> Self {
        Self {
            content_hash: found.content_hash,
            classes: found.classes,
            train_images: found.train_images,
            val_images: found.val_images,
            skipped: found.skipped,
            skipped_count: found.skipped_count,
            train_by_class: found.train_by_class,
            val_by_class: found.val_by_class,
            left_out: found.left_out.into_iter().map(Into::into).collect(),
            validation: found.validation,
        }
    }
}

impl From<Again> for v1::Again {
    fn from(again: Again) -> Self {
        match again {
            Again::Yes => Self::Unspecified,
            Again::UnlessRepeated => Self::UnlessRepeated,
            Again::No => Self::No,
        }
    }
}

impl From<v1::Again> for Again {
    fn from(wire: v1::Again) -> Self {
        match wire {
            v1::Again::Unspecified => Self::Yes,
            v1::Again::UnlessRepeated => Self::UnlessRepeated,
            v1::Again::No => Self::No,
        }
    }
}

impl From<ParameterUse> for v1::ParameterUse {
    fn from(ParameterUse { read, unread }: ParameterUse) -> Self {
        Self { read: read.into_iter().collect(), unread: unread.into_iter().collect() }
    }
}

impl From<v1::ParameterUse> for ParameterUse {
    fn from(v1::ParameterUse { read, unread }: v1::ParameterUse) -> Self {
        Self { read: read.into_iter().collect(), unread: unread.into_iter().collect() }
    }
}

/// An enum of the wire format and its counterpart in the vocabulary, which lacks the value "unspecified".
macro_rules! same_names {
    ($name:ident: $($variant:ident),+) => {
        impl From<$name> for v1::$name {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant,)+
                }
            }
        }

        impl TryFrom<v1::$name> for $name {
            type Error = MissingField;

            fn try_from(wire: v1::$name) -> Result<Self, MissingField> {
                match wire {
                    v1::$name::Unspecified => Err(MissingField(stringify!($name))),
                    $(v1::$name::$variant => Ok(Self::$variant),)+
                }
            }
        }
    };
}

same_names!(SweepState: Running, Paused, Stopping, Finished, Stopped, Cancelled);
same_names!(JobState: Pending, Running, Paused, Done, Diverged, Stopped, Failed, Cancelled);
same_names!(AttemptState: Running, Done, Paused, Diverged, Failed, HandedBack, Revoked, Rejected, Unavailable, Lost);
same_names!(Outcome: Done, Paused, Diverged, Failed, HandedBack, Revoked, Rejected, OutOfMemory, PackLost, Unavailable);

#[cfg(test)]
mod tests {
    use terms::VariantArray;

    use super::*;

    #[test]
    fn an_attempt_survives_the_wire() {
        let key = AttemptKey::new(3, 14, 2);
        assert_eq!(attempt_from_wire(Some(key.into())), Ok(key));
        assert_eq!(attempt_from_wire(None), Err(MissingField("attempt")));
    }

    #[test]
    fn parameters_survive_the_wire_in_order() {
        let parameters = ParameterMap(vec![
            ("activation".into(), ParameterValue::Text("relu".into())),
            ("learning_rate".into(), ParameterValue::Float(0.00005)),
            ("batch_size".into(), ParameterValue::Integer(32)),
            ("nesterov".into(), ParameterValue::Boolean(false)),
            ("scheduler".into(), ParameterValue::Null),
        ]);
        assert_eq!(parameters_from_wire(parameters_to_wire(parameters.clone())), parameters);
    }

    #[test]
    fn every_state_survives_the_wire_and_none_is_made_of_nothing() {
        for state in SweepState::VARIANTS {
            assert_eq!(SweepState::try_from(v1::SweepState::from(*state)), Ok(*state));
        }
        for state in JobState::VARIANTS {
            assert_eq!(JobState::try_from(v1::JobState::from(*state)), Ok(*state));
        }
        for state in AttemptState::VARIANTS {
            assert_eq!(AttemptState::try_from(v1::AttemptState::from(*state)), Ok(*state));
        }
        for outcome in Outcome::VARIANTS {
            assert_eq!(Outcome::try_from(v1::Outcome::from(*outcome)), Ok(*outcome));
        }
        assert!(Outcome::try_from(v1::Outcome::Unspecified).is_err());
    }
}
