//! The use cases of a coordinator: all that users and workers can ask of it, in the types of the domain, whichever interface they come
//! through. An interface (`rpc`, gRPC) decodes a request, calls one use case and encodes its answer. A use case checks what it was given, asks
//! the driver and the store, and answers with what is known then, or with an [`ApiError`].
//!
//! The limits that protect a coordinator from what it is asked are here too, as they hold for all interfaces together: files being
//! read, answers being made, reports, downloads. How long messages are and how slowly they may be read is a matter of an interface.
//!
//! Nothing here knows a wire format; `tests/tests/walls.rs` reads these files.

mod analysis;
mod checkpoints;
mod columns;
mod curves;
mod definitions;
mod enrolment;
mod error;
mod jobs;
mod outputs;
mod page;
mod pages;
mod quotas;
mod reading;
mod report;
mod retry;
mod rungs;
mod search;
mod snapshots;
mod sweeps;
mod table;
mod text;
mod timeline;
mod tokens;
mod verify;
mod watch;
mod weights;
mod workers;

use std::sync::Arc;

use domain::definition::SweepDefinition;
use engine::{
    SweepView,
    query::{Define, Defined, DescribeSweep},
};
use store::Store;
use terms::SweepId;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

pub use self::{
    analysis::Analyzed,
    columns::{CELLS_MAX, JobColumns, JobParameters, ParameterColumn, RungColumn},
    curves::Curve,
    definitions::{Changed, Source, Submission, Submitted, Validated},
    enrolment::Enrolled,
    error::ApiError,
    jobs::{JobDetail, JobTimes, JobView, JobsPage, WantedJobs},
    page::{PAGE_ROWS_MAX, Page},
    quotas::{QUOTA_SLOTS_MAX, QuotaChange, WEIGHT_MAX},
    report::{Report, ReportRow},
    retry::RetryRequest,
    rungs::{JobAtRung, RungView, Rungs},
    search::{Proposal, SearchFollower},
    snapshots::ContentState,
    table::{Condition, Question, TABLE_COLUMNS, TablePage},
    text::{for_people, lines, plain},
    timeline::Timeline,
    tokens::NewToken,
    verify::Verified,
    watch::{EpochSeen, JobSeen, Snapshots, Watch, WatchEvent},
    weights::{Download, Offer, WeightsReply},
};
pub(crate) use self::{
    analysis::take_in, definitions::manifests, error::task_ended, page::token, pages::ROWS_READ,
};
use self::{reading::Reading, report::REPORTS_MAX, weights::DOWNLOADS_MAX};
use crate::{access::Identities, artifacts::MaybeArtifacts, driver::Leadership};

/// Answers with sweeps that are made at the same time, to questions and to others: each may hold specifications of
/// megabytes.
const ANSWERS_MADE_MAX: usize = 32;

/// The use cases; cheap to clone.
#[derive(Debug, Clone)]
pub struct Api {
    leadership: Leadership,
    store: Arc<dyn Store>,
    artifacts: MaybeArtifacts,
    /// What goes on when its caller hangs up.
    tasks: TaskTracker,
    /// One retry at a time, so that none acts on failures that another has taken up.
    retries: Arc<Mutex<()>>,
    reading: Reading,
    answers: Arc<Semaphore>,
    /// The same for overviews, which do not wait until others have changed something.
    overviews: Arc<Semaphore>,
    reports: Arc<Semaphore>,
    /// One at a time, as it takes a processor for seconds.
    verifications: Arc<Semaphore>,
    /// Likewise.
    analyses: Arc<Semaphore>,
    /// One searcher of a sweep that has ended is made again at a time.
    revivals: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    /// Who may call, for those who say it.
    identities: Identities,
    /// What gives workers certificates, if anything does.
    giving: Option<enrolment::Giving>,
    /// One change of them at a time.
    tokens_change: Arc<Mutex<()>>,
}

/// What a use case answers with. It holds its place among the answers that are made at the same time until it is encoded.
#[derive(Debug)]
pub struct Answer<T> {
    content: T,
    _place: OwnedSemaphorePermit,
}

impl<T> Answer<T> {
    /// Makes of it what is sent.
    pub fn encode<U>(self, encode: impl FnOnce(T) -> U) -> U {
        encode(self.content)
    }
}

impl Api {
    /// The use cases of a coordinator with this store and place for files. What must come to its end runs in `tasks`.
    pub fn new(
        leadership: Leadership,
        store: Arc<dyn Store>,
        artifacts: MaybeArtifacts,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            leadership,
            store,
            artifacts,
            tasks,
            retries: Arc::default(),
            reading: Reading::default(),
            answers: Arc::new(Semaphore::new(ANSWERS_MADE_MAX)),
            overviews: Arc::new(Semaphore::new(ANSWERS_MADE_MAX)),
            reports: Arc::new(Semaphore::new(REPORTS_MAX)),
            verifications: Arc::new(Semaphore::new(1)),
            analyses: Arc::new(Semaphore::new(1)),
            revivals: Arc::new(Semaphore::new(1)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS_MAX)),
            identities: Identities::default(),
            giving: None,
            tokens_change: Arc::default(),
        }
    }

    /// How many reports, and how many files, are being read.
    pub fn readers(&self) -> (u64, u64) {
        let reports = REPORTS_MAX.saturating_sub(self.reports.available_permits());
        let downloads = DOWNLOADS_MAX.saturating_sub(self.downloads.available_permits());
        (reports as u64, downloads as u64)
    }

    /// The same, where these may call.
    #[must_use]
    pub fn for_those(self, identities: Identities) -> Self {
        Self { identities, ..self }
    }

    /// The right to make an answer to a command.
    async fn answer(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.answers).acquire_owned().await.map_err(|_| task_ended())
    }

    /// The same where sweeps are only looked at.
    async fn overview(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.overviews).acquire_owned().await.map_err(|_| task_ended())
    }

    async fn view(&self, sweep: SweepId) -> Result<SweepView, ApiError> {
        Ok(self.leadership.query(DescribeSweep::new(sweep)).await?)
    }

    async fn defined(&self, sweep: SweepId) -> Result<Defined, ApiError> {
        Ok(self.leadership.query(Define(sweep)).await?)
    }

    async fn definition(&self, sweep: SweepId) -> Result<Arc<SweepDefinition>, ApiError> {
        Ok(self.defined(sweep).await?.definition)
    }
}

#[cfg(test)]
pub(crate) mod leader;
#[cfg(test)]
mod tests;
