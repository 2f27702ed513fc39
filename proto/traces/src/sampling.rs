//! Which traces are kept: `OTEL_TRACES_SAMPLER` with `OTEL_TRACES_SAMPLER_ARG`, as the standard has them.

use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

use super::{Context, SettingsError};

/// A sampler of the standard. By the ratio, a trace is kept for its id, so that each process decides the same.
#[derive(Debug, Clone)]
pub(crate) struct Sampling {
    root: Sampler,
    follows_parents: bool,
}

impl Sampling {
    /// Reads the values of the two variables; the default follows parents and keeps everything.
    pub(crate) fn read(name: Option<&str>, argument: Option<&str>) -> Result<Self, SettingsError> {
        let name = name.map_or("parentbased_always_on", str::trim);
        let (kind, follows_parents) = match name.strip_prefix("parentbased_") {
            Some(kind) => (kind, true),
            None => (name, false),
        };
        let root = match kind {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio(argument)?),
            _ => return Err(SettingsError::Sampler(name.to_owned())),
        };
        Ok(Self { root, follows_parents })
    }

    /// Whether the trace of a context is kept.
    pub(crate) fn keeps(&self, context: Context, parent: Option<Context>) -> bool {
        match parent {
            Some(parent) if self.follows_parents => parent.is_sampled(),
            _ => {
                let decided =
                    self.root.should_sample(None, context.trace_id(), "", &SpanKind::Internal, &[], &[]);
                decided.decision == SamplingDecision::RecordAndSample
            }
        }
    }
}

fn ratio(argument: Option<&str>) -> Result<f64, SettingsError> {
    // Without one, everything, as the standard has it.
    let Some(text) = argument else { return Ok(1.0) };
    let ratio = text.trim().parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| SettingsError::Ratio(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(name: &str, argument: Option<&str>, parent: Option<bool>) -> usize {
        let sampling = Sampling::read(Some(name), argument).unwrap();
        let contexts = (0..1_000).map(|number| Context::of_text(&number.to_string()));
        let parent = |context: Context| parent.map(|is_sampled| context.sampled(is_sampled));
        contexts.filter(|context| sampling.keeps(*context, parent(*context))).count()
    }

    #[test]
    fn samplers_of_the_standard_keep_what_they_are_to() {
        assert_eq!(
            (keeps("always_on", None, Some(false)), keeps("always_off", None, Some(true))),
            (1_000, 0)
        );
        assert_eq!(keeps("parentbased_always_on", None, Some(false)), 0);
        assert_eq!(keeps("parentbased_always_off", None, Some(true)), 1_000);
        assert_eq!(keeps("parentbased_traceidratio", Some("0"), Some(true)), 1_000);
        for sampler in ["traceidratio", "parentbased_traceidratio"] {
            let kept = keeps(sampler, Some("0.25"), None);
            assert!((200..300).contains(&kept), "{sampler}: {kept}");
            assert_eq!(keeps(sampler, None, None), 1_000);
        }
    }

    #[test]
    fn what_is_no_sampler_is_refused_with_those_there_are() {
        for name in ["jaeger_remote", "", "always"] {
            let told = Sampling::read(Some(name), None).unwrap_err().to_string();
            assert!(told.contains("parentbased_traceidratio"), "{told}");
        }
        for argument in ["half", "1.5", "-1", "nan"] {
            let told = Sampling::read(Some("traceidratio"), Some(argument)).unwrap_err().to_string();
            assert!(told.contains(argument) && told.contains("0.1"), "{told}");
        }
    }
}
