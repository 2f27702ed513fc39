//! Numbers, parameters and times as JSON has them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;
use terms::ParameterMap;

/// A measurement that may be absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub Option<f64>);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        number(self.0).serialize(serializer)
    }
}

/// A measurement. JSON has no numbers for these, so they are texts.
pub fn number(value: Option<f64>) -> Value {
    match value {
        None => Value::Null,
        Some(value) if value.is_finite() => value.into(),
        Some(value) if value.is_nan() => "nan".into(),
        Some(value) => if value > 0.0 { "inf" } else { "-inf" }.into(),
    }
}

/// Parameters by name, in the order of their space.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters(pub ParameterMap);

impl Serialize for Parameters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(ParameterMap(pairs)) = self;
        let mut map = serializer.serialize_map(Some(pairs.len()))?;
        for (name, value) in pairs {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A moment as programs read it; none for 0.
pub fn time(unix_ms: u64) -> Option<String> {
    moment(unix_ms).map(|moment| humantime::format_rfc3339_millis(moment).to_string())
}

/// A moment for people, to the second; none for 0.
pub fn time_for_people(unix_ms: u64) -> Option<String> {
    moment(unix_ms).map(|moment| humantime::format_rfc3339_seconds(moment).to_string())
}

fn moment(unix_ms: u64) -> Option<SystemTime> {
    // Beyond the year 9999 humantime panics; no clock is that wrong without being wrong otherwise.
    const LAST_MS: u64 = 253_402_300_799_000;
    (unix_ms > 0).then(|| UNIX_EPOCH + Duration::from_millis(unix_ms.min(LAST_MS)))
}
