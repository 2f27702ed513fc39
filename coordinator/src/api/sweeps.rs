//! Sweeps: looked at, paused, resumed, and ended.

use engine::{
    Command, Issuer, JobEnd, SweepView,
    command::{Cancel, Pause, Resume, Stop},
    query::ListSweeps,
};
use terms::SweepId;

use super::{Answer, Api, ApiError, Page};

/// A page of sweeps.
#[derive(Debug)]
pub struct SweepsPage {
    /// Newest first.
    pub sweeps: Vec<SweepView>,
    /// The token of the next page; empty on the last.
    pub next: String,
}

impl Api {
    /// One sweep.
    ///
    /// # Errors
    /// There is none of this number.
    pub async fn sweep(&self, sweep: SweepId) -> Result<Answer<SweepView>, ApiError> {
        let place = self.overview().await?;
        Ok(Answer { content: self.view(sweep).await?, _place: place })
    }

    /// A page of all sweeps, newest first.
    ///
    /// # Errors
    /// There is no such page.
    pub async fn sweeps(&self, page: &Page) -> Result<Answer<SweepsPage>, ApiError> {
        let limit = page.limit()? as usize;
        let before = page.number()?.map(SweepId);
        let place = self.overview().await?;
        let sweeps = self.leadership.query(ListSweeps { before, limit }).await?;
        let is_full = sweeps.len() == limit;
        let next = sweeps.last().filter(|_| is_full).map(|last| last.id().to_string()).unwrap_or_default();
        Ok(Answer { content: SweepsPage { sweeps, next }, _place: place })
    }

    /// Starts no more jobs of a sweep until it is resumed.
    ///
    /// # Errors
    /// The sweep has ended.
    pub async fn pause(&self, issuer: Issuer, sweep: SweepId) -> Result<Answer<SweepView>, ApiError> {
        self.command(issuer, Pause(sweep)).await
    }

    /// Starts jobs of a paused sweep again.
    ///
    /// # Errors
    /// The sweep has ended.
    pub async fn resume(&self, issuer: Issuer, sweep: SweepId) -> Result<Answer<SweepView>, ApiError> {
        self.command(issuer, Resume(sweep)).await
    }

    /// Starts no more jobs of a sweep, or no more attempts of one job; what runs comes to its end.
    ///
    /// # Errors
    /// It has ended otherwise.
    pub async fn stop(
        &self,
        issuer: Issuer,
        sweep: SweepId,
        job: Option<u64>,
    ) -> Result<Answer<SweepView>, ApiError> {
        match job {
            None => self.command(issuer, Stop(sweep)).await,
            Some(job) => self.end_job(issuer, sweep, job, JobEnd::Stop).await,
        }
    }

    /// Ends a sweep with all that runs of it, or one job.
    ///
    /// # Errors
    /// It has ended otherwise.
    pub async fn cancel(
        &self,
        issuer: Issuer,
        sweep: SweepId,
        job: Option<u64>,
    ) -> Result<Answer<SweepView>, ApiError> {
        match job {
            None => self.command(issuer, Cancel(sweep)).await,
            Some(job) => self.end_job(issuer, sweep, job, JobEnd::Cancel).await,
        }
    }

    /// Gives a command that is answered with the sweep as it is then.
    async fn command<C: Command<Answer = SweepView>>(
        &self,
        issuer: Issuer,
        command: C,
    ) -> Result<Answer<SweepView>, ApiError> {
        let place = self.answer().await?;
        Ok(Answer { content: self.leadership.command(issuer, command).await?, _place: place })
    }
}
