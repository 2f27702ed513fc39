//! Deliberate faults, one for each rule that keeps the record right. Only test builds (the feature `mutants`) can turn
//! one on, and the simulator must then find it; everywhere else they are constantly off.

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A worker's report on an attempt counts for whatever attempt of the job runs now.
    NoFencing,
    /// Events are acknowledged while their commit still runs.
    AcknowledgeBeforeCommit,
    /// An event without news is acknowledged at once, although the commit of the first of its kind still runs.
    DuplicateOvertakesCommit,
    /// Users get answers while the commit of what they asked for still runs.
    AnswerBeforeCommit,
    /// Jobs are granted while the commit of the grant still runs.
    GrantBeforeCommit,
    /// After a restart, a job's attempts count from 1 again.
    AttemptNumbersForgotten,
    /// An epoch that was sent twice counts twice.
    NoEpochDeduplication,
    /// After a restart, leases end as if there had been none.
    LeasesNotRearmed,
    /// The slot of an attempt that has ended stays occupied.
    SlotsNotFreed,
    /// After a restart, jobs that packs took out of their order count as never started.
    OutOfOrderForgotten,
    /// A lease begins when its grant is decided, although its commit may take longer than the lease.
    LeasesBeginEarly,
    /// Any process that says hello with a name replaces the worker that has it.
    NewcomersReplace,
    /// What a commit without room, or with content that cannot be kept, would have reported is reported.
    RefusedCommitsAreTold,
    /// A coordinator that lost the lead tells what it could not commit.
    LostLeadIsIgnored,
    /// A coordinator takes the lead from one that lives.
    LivingLeadersAreReplaced,
    /// A coordinator that cannot write its beat leads on.
    SilentLeadersGoOn,
    /// A leader says what it knows without knowing that it still leads.
    LeadIsNotConfirmed,
    /// The store keeps a commit whatever the leader's term.
    CommitsAreNotFenced,
    /// A new leader has the term of the one before.
    TermsAreNotRaised,
    /// A job with several GPUs occupies the slot that runs it alone.
    SeveralGpusCountAsOne,
    /// Of the jobs at a rung, the worst are promoted.
    WorstArePromoted,
    /// One job more than the share of a rung is promoted.
    TooManyArePromoted,
    /// A sweep ends although paused jobs may go on.
    SweepsEndBeforePromotions,
    /// A sweep ends without a job that is done, although paused jobs are left.
    NoLastResort,
    /// After a restart, no job has reached a rung.
    RungsForgotten,
    /// The slot of a job that has paused stays occupied.
    PausedJobsKeepTheirSlots,
    /// A job that was promoted can be promoted again.
    PromotedJobsStayPaused,
    /// After a restart, jobs train to their ends, however far they were granted.
    BudgetsForgotten,
    /// After a restart, no job has missed its checkpoint, so that jobs pause again.
    MissedCheckpointsForgotten,
    /// After a restart, a search draws other points.
    OtherPointsAfterRestart,
    /// What a searcher that learns proposes is not recorded.
    ProposalsAreNotRecorded,
    /// Such a searcher knows nothing of the jobs that run.
    RunningJobsDoNotCount,
    /// After a restart, it lacks the last result.
    RestartsForgetResults,
    /// A sweep that has ended goes on with a searcher that knows less than was recorded, or more.
    StaleSearchersWake,
    /// Points that a searcher outside proposes again are new ones.
    RepeatedPointsAreNew,
    /// Such a searcher is not told of jobs that early stopping has paused.
    PausedJobsAreNotLearned,
    /// Where jobs do not pause, early stopping stops none.
    NoneIsStopped,
    /// There, the first job at a rung is stopped, although it is the best so far.
    FirstAtRungIsStopped,
    /// There, the best of the jobs at a rung are stopped.
    BestAreStopped,
    /// All jobs are in the first bracket.
    BracketsForgotten,
    /// Of a rung with a quota that has one job more than the share, only the share is promoted.
    QuotaIsTheShare,
    /// A job's last value is compared with the median of the others, not its best.
    MedianComparesTheLast,
    /// Jobs are compared with a median of fewer jobs than the rule asks for.
    MedianOfTooFew,
    /// After a restart, the median is one of the jobs that were done since.
    DoneJobsAreForgotten,
    /// The best few are promoted before all jobs have come to their rung.
    PromotedBeforeAllHaveCome,
    /// Free slots go to the oldest sweep, whatever its owner has already.
    SharesAreIgnored,
    /// Of one owner's sweeps, the oldest comes first, whatever its priority.
    PrioritiesAreIgnored,
    /// After a restart, there are no quotas.
    QuotasAreForgotten,
    /// Each job of a pack counts as if it held a slot alone.
    PackedJobsHoldSlotsEach,
    /// A job of several GPUs counts as one slot for its owner's share and quota.
    SeveralGpusHoldOneSlot,
    /// No GPUs are kept for a job that takes several.
    NothingIsKept,
    /// Of a quota, nothing is left for a job that takes several GPUs.
    QuotasAreLeftToNoOne,
    /// An attempt that is handed back is charged to its job.
    HandBacksAreCharged,
    /// A job whose memory runs out is charged although a worker has more.
    MemoryIsCharged,
    /// A job whose memory runs out where there is most is charged nothing.
    MemoryIsNeverCharged,
    /// A job whose memory ran out is granted to workers that have no more.
    MemoryIsForgotten,
    /// A worker takes a checkpoint that is on its way for one that was handed over.
    HandOversAreNotAwaited,
}

impl Mutant {
    pub const ALL: [Self; 57] = [
        Self::NoFencing,
        Self::AcknowledgeBeforeCommit,
        Self::DuplicateOvertakesCommit,
        Self::AnswerBeforeCommit,
        Self::GrantBeforeCommit,
        Self::AttemptNumbersForgotten,
        Self::NoEpochDeduplication,
        Self::LeasesNotRearmed,
        Self::SlotsNotFreed,
        Self::OutOfOrderForgotten,
        Self::LeasesBeginEarly,
        Self::NewcomersReplace,
        Self::RefusedCommitsAreTold,
        Self::LostLeadIsIgnored,
        Self::LivingLeadersAreReplaced,
        Self::SilentLeadersGoOn,
        Self::LeadIsNotConfirmed,
        Self::CommitsAreNotFenced,
        Self::TermsAreNotRaised,
        Self::SeveralGpusCountAsOne,
        Self::WorstArePromoted,
        Self::TooManyArePromoted,
        Self::SweepsEndBeforePromotions,
        Self::NoLastResort,
        Self::RungsForgotten,
        Self::PausedJobsKeepTheirSlots,
        Self::PromotedJobsStayPaused,
        Self::BudgetsForgotten,
        Self::MissedCheckpointsForgotten,
        Self::OtherPointsAfterRestart,
        Self::ProposalsAreNotRecorded,
        Self::RunningJobsDoNotCount,
        Self::RestartsForgetResults,
        Self::StaleSearchersWake,
        Self::RepeatedPointsAreNew,
        Self::PausedJobsAreNotLearned,
        Self::NoneIsStopped,
        Self::FirstAtRungIsStopped,
        Self::BestAreStopped,
        Self::BracketsForgotten,
        Self::QuotaIsTheShare,
        Self::MedianComparesTheLast,
        Self::MedianOfTooFew,
        Self::DoneJobsAreForgotten,
        Self::PromotedBeforeAllHaveCome,
        Self::SharesAreIgnored,
        Self::PrioritiesAreIgnored,
        Self::QuotasAreForgotten,
        Self::PackedJobsHoldSlotsEach,
        Self::SeveralGpusHoldOneSlot,
        Self::NothingIsKept,
        Self::QuotasAreLeftToNoOne,
        Self::HandBacksAreCharged,
        Self::MemoryIsCharged,
        Self::MemoryIsNeverCharged,
        Self::MemoryIsForgotten,
        Self::HandOversAreNotAwaited,
    ];
}

#[cfg(feature = "mutants")]
thread_local! {
    static ON: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Turns one mutant on for this thread, or all off.
#[cfg(feature = "mutants")]
pub fn turn_on(mutant: Option<Mutant>) {
    ON.set(mutant);
}

/// Whether a mutant is on.
#[cfg(feature = "mutants")]
pub fn is_on(mutant: Mutant) -> bool {
    ON.get() == Some(mutant)
}

/// No mutant is ever on.
#[cfg(not(feature = "mutants"))]
pub const fn is_on(_mutant: Mutant) -> bool {
    false
}
