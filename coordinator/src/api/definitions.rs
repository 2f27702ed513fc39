//! Sweep files: checked, submitted, added to a sweep; and changes of a sweep's settings.

use std::sync::Arc;

use domain::{
    definition::{DefinitionError, FILES_CHANGED, SweepDefinition},
    points::LearnedPoints,
    specification::{Change, Models, Specification, SpecificationError, SpecificationSource},
};
use engine::{
    ControlError, Issuer, Revived, SweepView,
    command::{Extend, Submit},
    query::{Define, Defined, ListModels},
};
use terms::{
    ParameterMap, SweepId,
    manifest::{Described, MANIFEST_BYTES_MAX, Manifest, TRAINABLES_MAX},
};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Answer, Api, ApiError,
    error::{task_ended, unreadable},
    text::{lines, plain},
};
use crate::driver::CallError;

/// Most points of a validation's preview.
const PREVIEW_MAX: u32 = 100;
/// How often a change of a sweep is made again because someone else was faster.
const REDEFINE_TRIES_MAX: u32 = 10;
/// Longest request id, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 100;

/// A sweep file and what its sender changes in it.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The file's text.
    pub text: String,
    /// The file's name, for error messages; may be empty.
    pub file_name: String,
    /// Changes in their order, each as `KEY=VALUE`.
    pub overrides: Vec<String>,
    /// Replaces the file's `dataset.path`, where not empty.
    pub dataset_path: String,
    /// The snapshot of the files that the program needs; empty for none.
    pub snapshot: String,
    /// The manifests of models that the file may name, each as JSON.
    pub manifests: Vec<String>,
}

impl Source {
    /// Refuses what no store could keep.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        lines("source.text", &self.text)?;
        plain("source.file_name", &self.file_name)?;
        plain("source.dataset_path", &self.dataset_path)?;
        plain("source.snapshot", &self.snapshot)?;
        self.manifests.iter().try_for_each(|manifest| lines("source.manifests", manifest))?;
        self.overrides.iter().try_for_each(|change| lines("source.overrides", change))
    }

    /// About how much memory it takes up.
    fn bytes(&self) -> usize {
        let texts = [&self.text, &self.file_name, &self.dataset_path, &self.snapshot];
        texts.into_iter().chain(&self.overrides).chain(&self.manifests).map(String::len).sum()
    }

    /// The same for the domain.
    ///
    /// # Errors
    /// A manifest cannot be used.
    pub(crate) fn specification(self) -> Result<SpecificationSource, ApiError> {
        let Self { text, file_name, mut overrides, dataset_path, snapshot, manifests: given } = self;
        let models = Models::given(manifests(&given)?);
        let file_name = if file_name.is_empty() { "sweep file".to_owned() } else { file_name };
        let dataset_path = (!dataset_path.is_empty()).then_some(dataset_path);
        if !snapshot.is_empty() {
            overrides.push(format!("execution.snapshot={snapshot}"));
        }
        Ok(SpecificationSource { text, file_name, overrides, dataset_path, models, is_extension: false })
    }
}

/// Manifests as they come in, each as JSON.
///
/// # Errors
/// They are too many or too long, or one cannot be used.
pub(crate) fn manifests(texts: &[String]) -> Result<Vec<Described>, ApiError> {
    if texts.len() > TRAINABLES_MAX {
        let message = format!("there may be at most {TRAINABLES_MAX} manifests, not {}", texts.len());
        return Err(ApiError::Invalid(message));
    }
    let bytes = texts.iter().map(String::len).sum::<usize>();
    if bytes > MANIFEST_BYTES_MAX {
        let message = format!(
            "the manifests have {bytes} bytes, more than the {MANIFEST_BYTES_MAX} that they may have"
        );
        return Err(ApiError::Invalid(message));
    }
    let read = |text: &String| Manifest::from_json(text).map(Described::new);
    texts.iter().map(read).collect::<Result<_, _>>().map_err(|error| ApiError::Invalid(error.to_string()))
}

/// What a sweep file would make.
#[derive(Debug, Clone)]
pub struct Validated {
    /// The sweep's name.
    pub name: String,
    /// How many jobs it would have.
    pub job_count: u64,
    /// The parameters that differ between jobs, in their order.
    pub varying: Vec<String>,
    /// The first jobs: their numbers and parameters.
    pub first_jobs: Vec<(u64, ParameterMap)>,
    /// What the file says that has no meaning here, for people.
    pub notes: Vec<String>,
}

/// A sweep to make, or jobs to add to one.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The sweep file.
    pub source: Source,
    /// Makes a repeated call harmless; empty for none.
    pub request_id: String,
    /// Adds the points that this sweep does not have to it, instead of making one.
    pub extend: Option<SweepId>,
}

/// What came of a [`Submission`].
#[derive(Debug)]
pub struct Submitted {
    /// The sweep as it is then.
    pub sweep: SweepView,
    /// Whether it is new.
    pub created: bool,
    /// How many jobs an extension added.
    pub added_jobs: u64,
    /// The settings that an extension changed.
    pub changes: Vec<Change>,
    /// What the file says that has no meaning here, for people.
    pub notes: Vec<String>,
}

/// A sweep with another definition.
#[derive(Debug)]
pub struct Changed {
    /// The sweep as it is then.
    pub sweep: SweepView,
    /// How many jobs it has more.
    pub added_jobs: u64,
    /// The settings that have another value.
    pub changes: Vec<Change>,
}

/// Said where a program could only fail, as none of its files are there.
const UNSENT: &str = "execution.files: the program's files were not sent before its sweep; `sweep submit` and `sweep run` send them";

fn refuse_unsent(specification: &Specification) -> Result<(), ApiError> {
    match specification.trainable.program() {
        Some(program) if program.snapshot.is_none() && !program.files.is_empty() => {
            Err(ApiError::Invalid(UNSENT.to_owned()))
        }
        _ => Ok(()),
    }
}

impl Api {
    /// Checks a sweep file without keeping it, and shows its first `preview` jobs, at most 100.
    ///
    /// # Errors
    /// The file is wrong, or too many are being read.
    pub async fn validate(&self, source: Source, preview: u32) -> Result<Validated, ApiError> {
        source.check()?;
        let _place = self.reading.admit(source.bytes())?;
        let source = self.with_models(source.specification()?).await?;
        self.read(move || {
            let definition = SweepDefinition::parse(&source)?;
            let shown = u64::from(preview.min(PREVIEW_MAX)).min(definition.job_count());
            Ok::<_, DefinitionError>(Validated {
                job_count: definition.job_count(),
                varying: definition.varying.iter().map(|name| name.to_string()).collect(),
                first_jobs: (1..=shown).map(|job| (job, definition.parameters(job))).collect(),
                name: definition.specification.name,
                notes: definition.specification.notes,
            })
        })
        .await
    }

    /// Makes a sweep and starts it, or adds jobs to one. Durable when it is answered.
    ///
    /// # Errors
    /// The file is wrong, the sweep to extend is another one, or there is no room.
    pub async fn submit(
        &self,
        issuer: Issuer,
        submission: Submission,
    ) -> Result<Answer<Submitted>, ApiError> {
        let Submission { source, request_id, extend } = submission;
        if request_id.len() > REQUEST_ID_BYTES_MAX {
            return Err(ApiError::Invalid(format!("a request id has at most {REQUEST_ID_BYTES_MAX} bytes")));
        }
        plain("request_id", &request_id)?;
        source.check()?;
        // Until the answer: what was read takes up memory as well.
        let _place = self.reading.admit(source.bytes())?;
        let source = source.specification()?;
        if let Some(sweep) = extend {
            return self.extend(issuer, sweep, source).await;
        }
        let source = self.with_models(source).await?;
        let definition = Box::new(self.read(move || SweepDefinition::parse(&source)).await?);
        let snapshot = definition.specification.snapshot();
        refuse_unsent(&definition.specification)?;
        // Until it is marked, so that its files are not taken for ones that no sweep needs.
        let _held = match snapshot {
            Some(id) => Some(self.hold_snapshot(id).await?),
            None => None,
        };
        let notes = definition.specification.notes.clone();
        let owner = issuer.owner();
        let command = self.read(move || Submit::new(definition, request_id)).await?.owned_by(owner);
        let place = self.answer().await?;
        let submitted = self.leadership.command(issuer, command).await?;
        if let Some(id) = snapshot {
            self.mark_snapshot(id).await;
        }
        let engine::command::Submitted { sweep, created } = submitted;
        let content = Submitted { sweep, created, added_jobs: 0, changes: Vec::new(), notes };
        Ok(Answer { content, _place: place })
    }

    /// A sweep file that may also name the models that workers have and sweeps had.
    async fn with_models(&self, source: SpecificationSource) -> Result<SpecificationSource, ApiError> {
        // Reading the file twice takes time, and what is built in can be checked where no engine answers.
        let (lacks_model, mut source) =
            self.read(move || Ok::<_, SpecificationError>((source.lacks_model(), source))).await?;
        if lacks_model {
            let heard_of = self.leadership.query(ListModels).await?;
            source.models = source.models.or(heard_of);
        }
        Ok(source)
    }

    async fn extend(
        &self,
        issuer: Issuer,
        sweep: SweepId,
        mut source: SpecificationSource,
    ) -> Result<Answer<Submitted>, ApiError> {
        let base = self.leadership.query(Define(sweep)).await?.definition;
        source.is_extension = true;
        if let Some(model) = base.specification.trainable.model() {
            source.models = source.models.of_sweep(model);
        }
        let extension = self.read(move || Specification::parse_with_jobs(&source)).await?;
        refuse_unsent(&extension.0)?;
        let mut notes = extension.0.notes.clone();
        notes.extend(extension.0.note_on_metric_after(&base.specification));
        notes.extend(base.note_on_cap(&extension.0));
        let files = (base.specification.snapshot(), extension.0.snapshot());
        // Looking for what is new takes a second for a million points.
        let extended = self
            .redefine(issuer, sweep, move |before| {
                before.extended_with(extension.0.clone(), extension.1.clone())
            })
            .await;
        let extended = match extended {
            Err(ApiError::Invalid(reason)) if reason == FILES_CHANGED => {
                return Err(ApiError::Invalid(format!("{reason}{}", self.changed_files(files).await)));
            }
            extended => extended?,
        };
        let Answer { content: Changed { sweep, added_jobs, changes }, _place } = extended;
        Ok(Answer { content: Submitted { sweep, created: false, added_jobs, changes, notes }, _place })
    }

    /// Changes settings of a sweep, each as `KEY=VALUE`. Durable when it is answered.
    ///
    /// # Errors
    /// A setting is wrong or cannot be changed.
    pub async fn set(
        &self,
        issuer: Issuer,
        sweep: SweepId,
        settings: Vec<String>,
    ) -> Result<Answer<Changed>, ApiError> {
        let _place = self.reading.admit(settings.iter().map(String::len).sum())?;
        settings.iter().try_for_each(|setting| lines("settings", setting))?;
        if settings.is_empty() {
            return Err(ApiError::Invalid(
                "nothing is set; give KEY=VALUE, as in execution.max_parallel=8".to_owned(),
            ));
        }
        self.redefine(issuer, sweep, move |before| before.set(&settings)).await
    }

    /// Gives a sweep another definition, made of its own; once more where someone else was faster.
    pub(super) async fn redefine(
        &self,
        issuer: Issuer,
        sweep: SweepId,
        change: impl Fn(&SweepDefinition) -> Result<SweepDefinition, DefinitionError> + Send + Sync + 'static,
    ) -> Result<Answer<Changed>, ApiError> {
        let change = Arc::new(change);
        let mut tries_left = REDEFINE_TRIES_MAX;
        loop {
            // The engine's own: it takes a change of no other.
            let Defined { definition: base, state, .. } = self.leadership.query_engine(Define(sweep)).await?;
            let (change, before) = (Arc::clone(&change), Arc::clone(&base));
            let definition = Arc::new(self.read(move || change(&before)).await?);
            let changes = definition.changes_from(&base).into_iter().collect();
            let goes_on = state.is_final() && definition.job_count() > base.job_count();
            let (revived, _only) = if goes_on { self.revived(&base).await? } else { Default::default() };
            let command = Extend { sweep, base, definition, revived };
            tries_left -= 1;
            let place = self.answer().await?;
            match self.leadership.command(issuer.clone(), command).await {
                Ok(engine::command::Extended { sweep, added_jobs }) => {
                    return Ok(Answer { content: Changed { sweep, added_jobs, changes }, _place: place });
                }
                Err(CallError::Refused(ControlError::Overtaken)) if tries_left > 0 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The searcher of a sweep that has ended, where it has one of its own, to go on with: it gets again all results that it had, outside
    /// of the engine's turn; the engine takes it if that is still all. Together with the place of the only one, as each takes megabytes: to be kept
    /// until the engine has answered.
    pub(super) async fn revived(
        &self,
        definition: &Arc<SweepDefinition>,
    ) -> Result<(Revived, Option<OwnedSemaphorePermit>), ApiError> {
        if definition.learned().is_none_or(LearnedPoints::are_from_outside) {
            return Ok((Revived::default(), None));
        }
        let place = Arc::clone(&self.revivals).acquire_owned().await.map_err(|_| task_ended())?;
        let stored = self.store.search(definition.id).await.map_err(unreadable)?;
        let definition = Arc::clone(definition);
        let revived = self.read(move || Revived::new(&definition, &stored)).await?;
        Ok((revived, Some(place)))
    }

    /// Works on specifications off the runtime's threads: a large one takes a while.
    pub(super) async fn read<T: Send + 'static, E: std::error::Error + Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.reading.run(work).await?.map_err(|error| ApiError::Invalid(error.to_string()))
    }
}
