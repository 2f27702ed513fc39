//! What a rule of early stopping comes to in a sweep: after which epochs it compares jobs, and whether it ever acts.

use terms::{EPOCHS_MAX, ParameterValue, count};

use super::{EarlyTermination, HyperbandRungs, Specification, StoppingRule};
use crate::space::Domain;

/// A sweep, as far as its rule of early stopping is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// How many jobs it has, or may come to have.
    pub(super) jobs: u64,
    /// How many epochs the longest of them trains, where that is known before.
    pub(super) epochs: Option<u32>,
}

impl Specification {
    /// How many epochs the longest job trains; none where that is not known before.
    pub fn epochs_max(&self) -> Option<u32> {
        let manifest = self.manifest();
        let budget = manifest.budget.as_deref()?;
        let axis = self.axes.iter().find(|axis| *axis.name == *budget)?;
        let included = self.include.iter().flatten().filter(|(name, _)| *name == axis.name);
        let listed = axis.values().iter().chain(included.map(|(_, value)| value));
        let highest = match &axis.domain {
            Domain::Integer { high, .. } => Some(*high),
            _ => None,
        };
        let longest = listed.filter_map(ParameterValue::whole).chain(highest).max()?;
        u32::try_from(longest).ok()
    }

    /// Notes what a rule of early stopping does not do in a sweep of that many jobs.
    pub(super) fn note_on_early_stopping(&mut self, jobs: u64) {
        let epochs = self.epochs_max();
        self.notes.extend(self.early_terminate.iter().flat_map(|early| early.notes(Extent { jobs, epochs })));
    }
}

impl EarlyTermination {
    /// After how many epochs jobs are compared, the lowest first, for each bracket; nothing where a rule has no rungs.
    pub fn ladders(&self) -> Vec<Vec<u32>> {
        match self.rule {
            StoppingRule::Asha { min_iter, eta, s } => {
                vec![upwards(min_iter, eta).skip(s as usize).collect()]
            }
            StoppingRule::TopK { min_iter, .. } => vec![vec![min_iter]],
            StoppingRule::Median { .. } => Vec::new(),
            StoppingRule::Hyperband { rungs, eta, .. } => match rungs {
                HyperbandRungs::From { min_iter } => vec![upwards(min_iter, eta).collect()],
                HyperbandRungs::Below { max_iter, s } => {
                    let below = std::iter::successors(Some(max_iter / eta), |epochs| Some(epochs / eta));
                    let mut rungs: Vec<u32> =
                        below.take(s as usize).take_while(|epochs| *epochs > 0).collect();
                    rungs.reverse();
                    vec![rungs]
                }
                HyperbandRungs::Brackets { min_iter, max_iter } => {
                    let begins = upwards(min_iter, eta).take_while(|epochs| *epochs <= max_iter);
                    begins.map(|first| upwards(first, eta).collect()).collect()
                }
            },
        }
    }

    /// What is to be said of a rule that changes nothing in such a sweep, or not what it is there for.
    pub(super) fn notes(&self, extent: Extent) -> Vec<String> {
        self.is_too_late(extent).or_else(|| self.has_too_few(extent.jobs)).into_iter().collect()
    }

    /// All jobs have trained to their end before the rule compares any.
    fn is_too_late(&self, Extent { epochs, .. }: Extent) -> Option<String> {
        let Some(first) = self.first_compared() else { return Some(self.has_no_rung(epochs)) };
        let epochs = epochs?;
        let key = match self.rule {
            StoppingRule::Asha { s: 1.., .. } => "s",
            StoppingRule::Hyperband { rungs: HyperbandRungs::Below { .. }, .. } => "max_iter",
            _ => "min_iter",
        };
        let when = if epochs == 1 { "its only epoch".to_owned() } else { format!("epoch {epochs}") };
        (first >= epochs).then(|| {
            format!(
                "`early_terminate` never acts: it first compares jobs after epoch {first}, and a job ends with {when}; write a \
                 smaller `early_terminate.{key}`, or let jobs train longer"
            )
        })
    }

    /// After which epoch jobs are first compared; none where there is no rung.
    fn first_compared(&self) -> Option<u32> {
        match self.rule {
            StoppingRule::Median { min_iter, .. } => Some(min_iter),
            _ => self.ladders().into_iter().flatten().min(),
        }
    }

    fn has_no_rung(&self, epochs: Option<u32>) -> String {
        match self.rule {
            StoppingRule::Hyperband { rungs: HyperbandRungs::Below { max_iter, s }, .. } => {
                let far =
                    epochs.map_or_else(|| "`max_iter`".to_owned(), |epochs| format!("`max_iter: {epochs}`"));
                format!(
                    "`early_terminate` never acts, as `max_iter: {max_iter}` has no rung below; write {far}, how far the jobs train, and \
                     `s: {s}`"
                )
            }
            _ => format!(
                "`early_terminate` never acts, as it has no rung within {EPOCHS_MAX} epochs, the most that a job trains; write a smaller \
                 `early_terminate.s`"
            ),
        }
    }

    fn has_too_few(&self, jobs: u64) -> Option<String> {
        let counted = count(jobs, "job");
        match self.rule {
            StoppingRule::TopK { k, .. } if k >= jobs => Some(format!(
                "`early_terminate` stops no job: all {counted} are among the best {k}; write a smaller `early_terminate.k`"
            )),
            StoppingRule::Median { min_jobs, .. } if min_jobs >= jobs => Some(format!(
                "`early_terminate` never acts: it waits until {min_jobs} {} done, and the sweep has {counted}; write a smaller \
                 `early_terminate.min_jobs`",
                if min_jobs == 1 { "job is" } else { "jobs are" }
            )),
            StoppingRule::Asha { eta, .. } | StoppingRule::Hyperband { eta, .. } => {
                let brackets = self.ladders().len().max(1) as u64;
                if jobs >= u64::from(eta).saturating_mul(brackets) {
                    return None;
                }
                Some(match brackets {
                    1 => format!(
                        "`early_terminate` compares too few jobs to tell the best of {eta} from the others: the sweep has {counted}; write a \
                         smaller `early_terminate.eta`, or let it have more jobs"
                    ),
                    _ => format!(
                        "`early_terminate` has brackets that are too small to tell the best of {eta} from the others: {counted} among {brackets} \
                         brackets; write a larger `early_terminate.min_iter`, or remove `max_iter`, which makes the brackets"
                    ),
                })
            }
            _ => None,
        }
    }
}

/// `first` · `eta`^k epochs.
fn upwards(first: u32, eta: u32) -> impl Iterator<Item = u32> {
    let next = move |epochs: &u32| epochs.checked_mul(eta.max(2));
    std::iter::successors(Some(first), next).take_while(|epochs| *epochs <= EPOCHS_MAX)
}
