//! Early stopping, as a sweep file has it: which rule decides how far jobs train.

use terms::EPOCHS_MAX;

use super::limits::{NumberKey, Of, within};

/// Rungs are in the proportion 1 : `eta`, where the file does not say.
const ETA_DEFAULT: u32 = 3;
/// Largest proportion of two rungs: more would leave one rung of any training.
const ETA_MAX: u64 = 100;
/// Most rungs that can be skipped or counted: each has at least twice the epochs of the one before.
const S_MAX: u64 = 31;
/// Complete jobs before the median means anything, where the file does not say: Optuna's number.
const MIN_JOBS_DEFAULT: u64 = 5;
/// Most jobs that a rule may wait for, or lets go on: more than a sweep has.
const JOBS_MAX: u64 = 1_000_000_000;

/// How far jobs train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlyTermination {
    pub rule: StoppingRule,
    /// Whether jobs pause at a rung, and go on from there when they are promoted. Otherwise they are stopped.
    pub promote: bool,
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppingRule {
    /// After `min_iter` · `eta`^k epochs, for k from `s` on, the best of `eta` go on.
    Asha { min_iter: u32, eta: u32, s: u32 },
    /// W&B's rule.
    Hyperband {
        rungs: HyperbandRungs,
        eta: u32,
        /// The best of `eta` go on, and not one more.
        strict: bool,
    },
    /// A job that is worse than the median of the complete jobs is stopped.
    Median { min_iter: u32, interval: u32, min_jobs: u64 },
    /// All jobs train `min_iter` epochs, then the best `k` train to their end.
    TopK { min_iter: u32, k: u64 },
}

/// After which epochs jobs are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HyperbandRungs {
    /// After `min_iter` · `eta`^k epochs.
    From { min_iter: u32 },
    /// After `max_iter` / `eta`^k epochs, for k from 1 to `s`.
    Below { max_iter: u32, s: u32 },
    /// As from `min_iter`, with jobs divided among brackets that begin at each of the rungs up to `max_iter`.
    Brackets { min_iter: u32, max_iter: u32 },
}

/// The name of a rule in sweep files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EarlyKind {
    Asha,
    Hyperband,
    Median,
    TopK,
}

impl EarlyKind {
    pub(super) const NAMES: [(Self, &'static str); 4] = [
        (Self::Asha, "asha"),
        (Self::Hyperband, "hyperband"),
        (Self::Median, "median"),
        (Self::TopK, "top_k"),
    ];

    pub(super) fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// The keys that it has besides `type`.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Asha => &["min_iter", "eta", "s", "promote"],
            Self::Hyperband => &["min_iter", "max_iter", "s", "eta", "strict", "promote"],
            Self::Median => &["min_iter", "interval", "min_jobs", "promote"],
            Self::TopK => &["min_iter", "k", "promote"],
        }
    }
}

/// The keys of `early_terminate` that are numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EarlyNumbers {
    min_iter: Option<u64>,
    max_iter: Option<u64>,
    s: Option<u64>,
    eta: Option<u64>,
    k: Option<u64>,
    interval: Option<u64>,
    min_jobs: Option<u64>,
}

/// One of them.
macro_rules! number {
    ($name:ident, $expected:literal, $read:expr) => {
        NumberKey {
            name: stringify!($name),
            expected: $expected,
            is_liftable: false,
            of: Of::All,
            read: $read,
            get: |numbers| numbers.$name,
            set: |numbers, number| numbers.$name = number,
            write: serde_yaml::Value::from,
        }
    };
}

pub(super) const EARLY: &[NumberKey<EarlyNumbers>] = &[
    number!(min_iter, "a number of epochs from 1 to 100000", |value| within(value, EPOCHS_MAX.into())),
    number!(max_iter, "a number of epochs from 1 to 100000", |value| within(value, EPOCHS_MAX.into())),
    number!(s, "a number of rungs from 0 to 31", |value| {
        value.whole().and_then(|number| u64::try_from(number).ok()).filter(|number| *number <= S_MAX)
    }),
    number!(eta, "a whole number from 2 to 100", |value| within(value, ETA_MAX).filter(|eta| *eta > 1)),
    number!(k, "a number of jobs from 1 to 1000000000", |value| within(value, JOBS_MAX)),
    number!(interval, "a number of epochs from 1 to 100000", |value| within(value, EPOCHS_MAX.into())),
    number!(min_jobs, "a number of jobs from 1 to 1000000000", |value| within(value, JOBS_MAX)),
];

/// What a file says of early stopping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    pub(super) kind: EarlyKind,
    pub(super) numbers: EarlyNumbers,
    pub(super) strict: Option<bool>,
    pub(super) promote: Option<bool>,
}

impl EarlyTermination {
    /// The rule that a file stands for; `pauses` says whether what is swept can pause. Otherwise what is wrong.
    pub(super) fn said(said: &Said, pauses: bool) -> Result<Self, String> {
        let Said { kind, numbers, strict, promote } = said;
        let name = kind.as_str();
        let given = EARLY.iter().filter(|key| (key.get)(numbers).is_some()).map(|key| key.name);
        let given = given.chain(strict.map(|_| "strict")).chain(promote.map(|_| "promote"));
        if let Some(key) = given.into_iter().find(|key| !kind.keys().contains(key)) {
            let keys = kind.keys().join(", ");
            return Err(format!("`{key}` is not a key of `type: {name}`, which has {keys}"));
        }
        let narrowed = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        let (min_iter, max_iter) = (narrowed(numbers.min_iter), narrowed(numbers.max_iter));
        let (eta, s) = (narrowed(numbers.eta).unwrap_or(ETA_DEFAULT), narrowed(numbers.s));
        let rule = match kind {
            EarlyKind::Asha => StoppingRule::Asha { min_iter: min_iter.unwrap_or(1), eta, s: s.unwrap_or(0) },
            EarlyKind::Hyperband => StoppingRule::Hyperband {
                rungs: hyperband_rungs(min_iter, max_iter, s)?,
                eta,
                strict: strict.unwrap_or(false),
            },
            EarlyKind::Median => StoppingRule::Median {
                min_iter: min_iter.unwrap_or(1),
                interval: narrowed(numbers.interval).unwrap_or(1),
                min_jobs: numbers.min_jobs.unwrap_or(MIN_JOBS_DEFAULT),
            },
            EarlyKind::TopK => StoppingRule::TopK {
                min_iter: min_iter.unwrap_or(1),
                k: numbers.k.ok_or("`k` is missing: how many jobs train to their end, as in `k: 10`")?,
            },
        };
        let promote = match (kind, promote) {
            (EarlyKind::Median, Some(true)) => {
                return Err("`promote` must be false with `type: median`, which only stops jobs".to_owned());
            }
            (EarlyKind::Median, _) => false,
            (EarlyKind::TopK, Some(false)) => {
                return Err(
                    "`promote` must be true with `type: top_k`, as its best jobs go on later".to_owned()
                );
            }
            (EarlyKind::TopK, _) => true,
            (_, promote) => promote.unwrap_or(pauses),
        };
        Ok(Self { rule, promote })
    }

    /// The way back.
    pub(super) fn to_said(self) -> Said {
        let mut numbers = EarlyNumbers::default();
        let (kind, mut strict) = match self.rule {
            StoppingRule::Asha { .. } => (EarlyKind::Asha, None),
            StoppingRule::Hyperband { .. } => (EarlyKind::Hyperband, None),
            StoppingRule::Median { .. } => (EarlyKind::Median, None),
            StoppingRule::TopK { .. } => (EarlyKind::TopK, None),
        };
        let some = |number: u32| Some(u64::from(number));
        match self.rule {
            StoppingRule::Asha { min_iter, eta, s } => {
                (numbers.min_iter, numbers.eta, numbers.s) = (some(min_iter), some(eta), some(s));
            }
            StoppingRule::Hyperband { rungs, eta, strict: is_strict } => {
                (numbers.eta, strict) = (some(eta), Some(is_strict));
                match rungs {
                    HyperbandRungs::From { min_iter } => numbers.min_iter = some(min_iter),
                    HyperbandRungs::Below { max_iter, s } => {
                        (numbers.max_iter, numbers.s) = (some(max_iter), some(s));
                    }
                    HyperbandRungs::Brackets { min_iter, max_iter } => {
                        (numbers.min_iter, numbers.max_iter) = (some(min_iter), some(max_iter));
                    }
                }
            }
            StoppingRule::Median { min_iter, interval, min_jobs } => {
                (numbers.min_iter, numbers.interval) = (some(min_iter), some(interval));
                numbers.min_jobs = Some(min_jobs);
            }
            StoppingRule::TopK { min_iter, k } => (numbers.min_iter, numbers.k) = (some(min_iter), Some(k)),
        }
        Said { kind, numbers, strict, promote: Some(self.promote) }
    }
}

fn hyperband_rungs(
    min_iter: Option<u32>,
    max_iter: Option<u32>,
    s: Option<u32>,
) -> Result<HyperbandRungs, String> {
    match (min_iter, max_iter, s) {
        (Some(min_iter), None, None) => Ok(HyperbandRungs::From { min_iter }),
        (None, Some(max_iter), Some(s)) if s > 0 => Ok(HyperbandRungs::Below { max_iter, s }),
        (Some(min_iter), Some(max_iter), None) if min_iter <= max_iter => {
            Ok(HyperbandRungs::Brackets { min_iter, max_iter })
        }
        (Some(_), Some(_), None) => Err("`min_iter` is greater than `max_iter`".to_owned()),
        (None, Some(_), _) => Err("with `max_iter`, `s` says at how many rungs jobs are compared, as in `s: 2`".to_owned()),
        (Some(_), _, Some(_)) => Err("`s` goes with `max_iter` alone; remove it, or `min_iter`".to_owned()),
        (None, None, _) => Err(
            "after how many epochs are jobs compared? Add `min_iter: 1` (and each time three times as many), or `max_iter: 27` \
             and `s: 2` (27 / 3 and 27 / 9)"
                .to_owned(),
        ),
    }
}
