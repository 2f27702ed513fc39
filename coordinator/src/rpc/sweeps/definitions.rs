//! Sweep files, and changes of the sweeps that were made of them.

use std::sync::Arc;

use domain::{
    definition::{DefinitionError, SweepDefinition},
    specification::{Models, Specification, SpecificationError, SpecificationSource},
};
use engine::{
    ControlError, Issuer,
    command::Extend,
    query::{Define, ListModels},
};
use proto::v1;
use terms::SweepId;
use tonic::{Response, Status};

use super::SweepServer;
use crate::{
    driver::CallError,
    rpc::{convert, edge, refused},
};

/// Most points of a validation's preview.
const PREVIEW_MAX: u32 = 100;
/// How often a change of a sweep is made anew because somebody else was faster.
const REDEFINE_TRIES_MAX: u32 = 10;

impl SweepServer {
    /// A sweep file with the models that it may name: those that came with it, those that are built in, and those that
    /// workers have and sweeps had.
    pub(super) async fn with_models(&self, source: v1::SweepSource) -> Result<SpecificationSource, Status> {
        let source = convert::read_source(source)?;
        // Reading the file twice takes time, and what is built in can be checked where no engine answers.
        let (lacks_model, mut source) =
            self.aside(move || Ok::<_, SpecificationError>((source.lacks_model(), source))).await?;
        if lacks_model {
            let heard_of = self.leadership.query(ListModels).await.map_err(refused)?;
            source.models = source.models.or(heard_of);
        }
        Ok(source)
    }

    pub(super) async fn extend(
        &self,
        issuer: Issuer,
        sweep: SweepId,
        source: v1::SweepSource,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let (base, _) = self.definition(sweep).await?;
        let mut given = convert::manifests(&source.manifests)?;
        if let Some(model) = base.specification.trainable.model() {
            // That of the sweep counts, unless one is given that would give other numbers: then they differ.
            given.retain(|given| given.name != model.name || !given.trains(model));
            given.push(model.clone());
        }
        let source = convert::source_from_wire(source, Models::given(given));
        let extension = self.aside(move || Specification::parse_with_grid(&source)).await?;
        let notes = extension.0.notes.clone();
        // Looking for what is new takes a second for a million points.
        let (sweep, added_jobs, changed) = self
            .redefine(issuer, sweep, move |before| {
                before.extended_with(extension.0.clone(), extension.1.clone())
            })
            .await?;
        let sweep = Some(sweep);
        Ok(Response::new(v1::SubmitResponse { sweep, created: false, added_jobs, changed, notes }))
    }

    /// Makes another definition of a sweep's, again where somebody else was faster; the sweep, how many jobs it has more,
    /// and which settings changed.
    pub(super) async fn redefine(
        &self,
        issuer: Issuer,
        sweep: SweepId,
        change: impl Fn(&SweepDefinition) -> Result<SweepDefinition, DefinitionError> + Send + Sync + 'static,
    ) -> Result<(v1::Sweep, u64, Vec<v1::SettingChange>), Status> {
        let change = Arc::new(change);
        let mut tries_left = REDEFINE_TRIES_MAX;
        loop {
            // The engine's own: it takes a change of no other.
            let base = self.leadership.query_engine(Define(sweep)).await.map_err(refused)?.definition;
            let (change, before) = (Arc::clone(&change), Arc::clone(&base));
            let definition = Arc::new(self.aside(move || change(&before)).await?);
            let changed = definition.changes_from(&base).into_iter().map(convert::change).collect();
            let command = Extend { sweep, base, definition };
            tries_left -= 1;
            let _turn = self.turn().await?;
            match self.leadership.command(issuer.clone(), command).await {
                Ok(extended) => return Ok((convert::sweep(&extended.sweep), extended.added_jobs, changed)),
                Err(CallError::Refused(ControlError::Overtaken)) if tries_left > 0 => {}
                Err(error) => return Err(refused(error)),
            }
        }
    }
}

/// A sweep file that is there and that can be text.
pub(super) fn given(source: Option<v1::SweepSource>) -> Result<v1::SweepSource, Status> {
    let source = source.ok_or_else(|| Status::invalid_argument("the field `source` is missing"))?;
    edge::source(&source)?;
    Ok(source)
}

/// Checks a sweep file; takes a while where it is large.
pub(super) fn validate(
    source: &SpecificationSource,
    preview: u32,
) -> Result<v1::ValidateResponse, SpecificationError> {
    let definition = SweepDefinition::parse(source)?;
    let shown = u64::from(preview.min(PREVIEW_MAX)).min(definition.job_count());
    Ok(v1::ValidateResponse {
        job_count: definition.job_count(),
        varying: definition.varying.iter().map(|name| name.to_string()).collect(),
        first_jobs: (1..=shown).map(|job| proto::job_point(job, definition.parameters(job))).collect(),
        name: definition.specification.name,
        notes: definition.specification.notes,
    })
}
