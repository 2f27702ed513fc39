//! A coordinator that leads: the driver's real pipeline and the real engine, over a simulated disk.

use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc, sync::Arc, time::Duration};

use coordinator::driver::{Asked, Batch, Input, Moment, Pipeline};
use domain::definition::SweepDefinition;
use engine::{
    Command, EndsSeen, Engine, Issued, Issuer, Now, Output, Query, SessionId, SweepView,
    query::{AskSearch, Define, PlaceCheckpoint, SearchNews, SeeEnds},
};
use store::StoreError;
use terms::{AttemptKey, SweepId};

use super::{durable::Durable, watched::Watched};

/// Wall-clock time at the start of all simulations, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// Who waits for an answer: the user, who asks again until one comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Question {
    Submit,
    Other,
}

/// What an engine makes of a wish: what came out, and the sweep as it is then.
type Told = dyn Fn(&mut Engine, Now) -> (Output, Option<SweepView>);

/// What a user wants or asks, with the answer.
#[derive(Clone)]
pub(super) struct Wish {
    pub(super) question: Question,
    is_query: bool,
    tell: Rc<Told>,
    /// How much had happened to the sweep when the driver took it.
    pub(super) taken_at: usize,
    /// The sweep that the answer shows; none where it shows none, or the wish was refused.
    pub(super) sweep: Option<SweepView>,
    /// What a searcher is told.
    news: Rc<RefCell<Option<SearchNews>>>,
}

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a wish ({:?})", self.question)
    }
}

impl Wish {
    /// A command; `shown` finds the sweep in its answer.
    pub(super) fn order<C: Command>(
        question: Question,
        command: C,
        shown: fn(C::Answer) -> Option<SweepView>,
    ) -> Self {
        let tell = move |engine: &mut Engine, now| {
            let issued = Issued { command: command.clone(), issuer: Issuer::local() };
            let (answer, output) = engine.execute(now, issued);
            (output, answer.ok().and_then(shown))
        };
        Self { question, is_query: false, tell: Rc::new(tell), taken_at: 0, sweep: None, news: Rc::default() }
    }

    /// A question that is answered with a sweep.
    pub(super) fn ask<Q: Query<Answer = SweepView>>(query: Q) -> Self {
        let tell = move |engine: &mut Engine, now| (Output::default(), engine.ask(now, &query).ok());
        Self::of_query(Rc::new(tell), Rc::default())
    }

    fn of_query(tell: Rc<Told>, news: Rc<RefCell<Option<SearchNews>>>) -> Self {
        Self { question: Question::Other, is_query: true, tell, taken_at: 0, sweep: None, news }
    }

    /// What a searcher outside asks.
    pub(super) fn search(query: AskSearch) -> Self {
        let news = Rc::<RefCell<Option<SearchNews>>>::default();
        let heard = Rc::clone(&news);
        let tell = move |engine: &mut Engine, now| {
            *heard.borrow_mut() = engine.ask(now, &query).ok();
            (Output::default(), None)
        };
        Self::of_query(Rc::new(tell), news)
    }

    /// What a searcher is told, where this was its question.
    pub(super) fn news(&self) -> Option<SearchNews> {
        self.news.borrow().clone()
    }
}

impl Asked<Watched> for Wish {
    fn is_query(&self) -> bool {
        self.is_query
    }

    fn apply(&mut self, core: &mut Watched, now: Now) -> Output {
        let (output, sweep) = core.carry_out(now, &*self.tell);
        self.sweep = sweep;
        output
    }
}

/// A coordinator that runs.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) pipeline: Pipeline<Wish, Watched>,
    started_at: u64,
    /// What waits for the driver.
    pub(super) inbox: Vec<Input<Wish>>,
    pub(super) committing: Option<Batch<Wish>>,
    /// What became of it in the store, while it is not known here yet.
    pub(super) kept: Option<Result<(), StoreError>>,
    /// What leaves next had a commit.
    pub(super) tells_a_commit: bool,
    /// Whether no other can lead now.
    pub(super) leads_surely: bool,
    /// It was asked to stop: it takes nothing new.
    pub(super) stops: bool,
    /// The driver's next turn is on its way.
    pub(super) turn_is_due: bool,
    pub(super) links: BTreeMap<SessionId, usize>,
    last_session: u64,
}

impl Hub {
    /// Goes on from the disk.
    pub(super) fn start(now_ms: u64, durable: &Durable) -> Result<Self, String> {
        let now = Now { monotonic_ms: 0, unix_ms: EPOCH_MS + now_ms };
        Ok(Self {
            pipeline: Pipeline::new(Watched::restore(now, durable)?),
            started_at: now_ms,
            inbox: Vec::new(),
            committing: None,
            kept: None,
            tells_a_commit: false,
            leads_surely: false,
            stops: false,
            turn_is_due: false,
            links: BTreeMap::new(),
            last_session: 0,
        })
    }

    /// A name for a stream that says hello.
    pub(super) fn open(&mut self, link: usize) -> SessionId {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        self.links.insert(session, link);
        session
    }

    pub(super) fn moment(&self, now_ms: u64) -> Moment {
        Moment {
            since_start: Duration::from_millis(now_ms - self.started_at),
            unix_ms: EPOCH_MS + now_ms,
            waiting: self.inbox.len(),
            leads_surely: self.leads_surely,
        }
    }

    /// What the engine takes for the jobs of a sweep.
    pub(super) fn define(&mut self, now_ms: u64, sweep: SweepId) -> Option<Arc<SweepDefinition>> {
        let now = self.pipeline.now(self.moment(now_ms));
        self.pipeline.core().engine.ask(now, &Define(sweep)).ok().map(|defined| defined.definition)
    }

    /// What the engine wants to see with jobs that have ended, where nothing is on its way to the disk: only then would the
    /// service have its answer by now.
    pub(super) fn see_ends(&mut self, now_ms: u64, sweep: SweepId) -> Option<EndsSeen> {
        let is_quiet = self.leads_surely && !self.pipeline.is_committing() && self.pipeline.inputs() == 0;
        let now = self.pipeline.now(self.moment(now_ms));
        self.pipeline.core().engine.ask(now, &SeeEnds(sweep)).ok().filter(|_| is_quiet)
    }

    /// Whether an attempt runs, as far as a coordinator knows that leads surely: then it takes its checkpoint.
    pub(super) fn runs(&mut self, now_ms: u64, attempt: AttemptKey) -> Option<bool> {
        let now = self.pipeline.now(self.moment(now_ms));
        let placed = self
            .pipeline
            .core()
            .engine
            .ask(now, &PlaceCheckpoint(attempt))
            .ok()
            .filter(|_| self.leads_surely)?;
        Some(placed.is_some())
    }

    /// Whether everything that it took has left.
    pub(super) fn is_idle(&self) -> bool {
        self.inbox.is_empty() && !self.pipeline.is_committing()
    }

    /// Takes what waits, as long as there is room for it; so much had happened to the sweep.
    pub(super) fn take_turn(&mut self, now_ms: u64, history_length: usize) {
        let mut inputs = std::mem::take(&mut self.inbox).into_iter();
        while self.pipeline.has_room()
            && let Some(mut input) = inputs.next()
        {
            if let Input::Asked(wish) = &mut input {
                wish.taken_at = history_length;
            }
            let moment = Moment { waiting: inputs.len(), ..self.moment(now_ms) };
            self.pipeline.received(moment, input);
        }
        self.inbox = inputs.collect();
    }

    /// The engine as the disk has it.
    pub(super) fn restore(&mut self, now_ms: u64, durable: &Durable) -> Result<(), String> {
        let moment = self.moment(now_ms);
        let now = self.pipeline.now(moment);
        self.pipeline.restored(moment, Watched::restore(now, durable)?);
        Ok(())
    }
}
