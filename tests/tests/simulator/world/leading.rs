//! Which coordinator leads: they look at the row, take the lead, show that they live, and step down.

use super::*;

/// How long a coordinator waits for the store's answer, as `store::postgres` does.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);
/// How long a coordinator that lost the lead waits before it wants it again.
const LEAD_AGAIN_MS: u64 = 500;

fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

impl World {
    /// Whether only one coordinator uses the store, as with SQLite.
    pub(super) fn is_alone(&self) -> bool {
        self.coordinators.len() == 1
    }

    pub(super) fn is_current(&self, life: Life) -> bool {
        self.coordinators[life.of].life == life
    }

    pub(super) fn is_cut_off(&self, life: Life) -> bool {
        self.coordinators[life.of].cut_off_until > self.now
    }

    /// Postpones what a frozen coordinator would do; whether it is frozen.
    pub(super) fn sleeps(&mut self, life: Life, event: WorldEvent) -> bool {
        let until = self.coordinators[life.of].frozen_until;
        if until > self.now {
            self.at(until, event);
        }
        until > self.now
    }

    pub(super) fn start_coordinator(&mut self, index: usize) -> Result<(), Broken> {
        if !matches!(self.coordinators[index].part, Part::Gone) {
            return Ok(());
        }
        if self.is_alone() {
            let seen = self.row.read();
            let term = self.row.replace(&seen, String::new()).unwrap_or(seen.term);
            let life = self.begin_to_lead(index, term, None);
            return self.load(life);
        }
        self.coordinators[index].turns_to(Part::Follows(Follower::default()));
        self.after(0, WorldEvent::Looks(self.coordinators[index].life));
        Ok(())
    }

    /// A follower looks at the row. The answer may take a while.
    pub(super) fn look(&mut self, life: Life) {
        if self.sleeps(life, WorldEvent::Looks(life)) {
            return;
        }
        if self.is_cut_off(life) {
            // It begins again after the error.
            self.coordinators[life.of].part = Part::Follows(Follower::default());
            return self.after(ms(ANSWER_WITHIN) + LEAD_AGAIN_MS, WorldEvent::Looks(life));
        }
        let row = self.row.read();
        if let Part::Follows(follower) = &mut self.coordinators[life.of].part {
            follower.looked = Some(row);
        }
        let takes = if !self.calm && self.random.one_in(8) { self.random.below(1_000) } else { 0 };
        self.after(takes, WorldEvent::Saw(life));
    }

    /// A follower has the row, and takes the lead if it may.
    pub(super) fn see(&mut self, life: Life) {
        if self.sleeps(life, WorldEvent::Saw(life)) {
            return;
        }
        let (now, own) = (Duration::from_millis(self.now), self.coordinators[life.of].own);
        let Part::Follows(follower) = &mut self.coordinators[life.of].part else { return };
        let Some(row) = follower.looked.take() else { return };
        let candidate = follower.candidate.get_or_insert_with(|| Candidate::new(own, row.clone(), now));
        candidate.saw(row, now);
        let replaced = match candidate.next_step(now) {
            NextStep::Replace(seen) => self.row.replace(seen, format!("http://{}", life.of)),
            NextStep::Wait(_) => None,
        };
        match replaced {
            Some(term) => {
                let life = self.begin_to_lead(life.of, term, Some(Tenure::new(now)));
                self.after(0, WorldEvent::Beats(life));
                let is_large = self.random.one_in(4);
                let takes = self.random.below(if is_large { 3_000 } else { 100 });
                self.after(takes, WorldEvent::Loads(life));
            }
            None => self.after(ms(LOOK_INTERVAL), WorldEvent::Looks(life)),
        }
    }

    fn begin_to_lead(&mut self, index: usize, term: Term, tenure: Option<Tenure>) -> Life {
        let leader = Leader { term, tenure, since: self.now, last_beat: None, hub: None };
        let coordinator = &mut self.coordinators[index];
        coordinator.turns_to(Part::Leads(Box::new(leader)));
        coordinator.life
    }

    /// A leader makes its engine from the store.
    pub(super) fn load(&mut self, life: Life) -> Result<(), Broken> {
        if self.sleeps(life, WorldEvent::Loads(life)) {
            return Ok(());
        }
        if self.is_cut_off(life) {
            self.step_down(life.of);
            return Ok(());
        }
        if let Some(leader) = self.coordinators[life.of].leader() {
            leader.hub = Some(Hub::start(self.now, &self.durable)?);
            self.after(TICK_MS, WorldEvent::Tick(life));
        }
        Ok(())
    }

    /// A leader begins a beat.
    pub(super) fn beat(&mut self, life: Life) {
        if self.sleeps(life, WorldEvent::Beats(life)) {
            return;
        }
        let now = Duration::from_millis(self.now);
        let tenure = self.coordinators[life.of].leader().and_then(|leader| leader.tenure);
        let Some(tenure) = tenure else { return };
        let limit = ms(tenure.patience(now).min(ANSWER_WITHIN));
        let is_slow = !self.calm && self.random.one_in(10);
        let takes = self.random.below(if is_slow { 3_000 } else { 5 });
        let begun = self.now;
        if takes > limit || self.is_cut_off(life) {
            self.after(limit, WorldEvent::BeatEnds { life, begun, beat: Beat::Failed });
        } else {
            self.after(takes, WorldEvent::BeatArrives { life, begun });
        }
    }

    /// A beat is at the store.
    pub(super) fn take_beat(&mut self, life: Life, begun: u64) {
        let Some(leader) = self.coordinators[life.of].leader() else { return };
        let beat = match self.row.beat(leader.term) {
            true => Beat::Kept,
            false => Beat::Refused,
        };
        self.end_beat(life, begun, beat);
    }

    /// A leader knows what became of its beat.
    pub(super) fn end_beat(&mut self, life: Life, begun: u64, beat: Beat) {
        if self.sleeps(life, WorldEvent::BeatEnds { life, begun, beat }) {
            return;
        }
        let now = Duration::from_millis(self.now);
        let Some(leader) = self.coordinators[life.of].leader() else { return };
        let Some(tenure) = &mut leader.tenure else { return };
        if tenure.beat_ended(Duration::from_millis(begun), now, beat).is_err() {
            return self.step_down(life.of);
        }
        if beat == Beat::Kept {
            leader.last_beat = Some(begun);
        }
        self.at(begun + ms(BEAT_INTERVAL), WorldEvent::Beats(life));
    }

    /// A leader gives up the lead and follows.
    pub(super) fn step_down(&mut self, index: usize) {
        if self.coordinators[index].hub(self.now).is_some_and(|hub| hub.stops) {
            return self.end_process(index, true);
        }
        let follows = Part::Follows(Follower::default());
        let lays_down = !self.is_cut_off(self.coordinators[index].life);
        self.coordinators[index].own = self.end_lead(index, follows, lays_down);
        self.after(LEAD_AGAIN_MS, WorldEvent::Looks(self.coordinators[index].life));
    }

    /// A process is asked to stop. What came in is still done.
    pub(super) fn stop_coordinator(&mut self, index: usize) {
        match self.coordinators[index].hub(self.now) {
            Some(hub) => {
                hub.stops = true;
                self.turn_soon(index);
            }
            None => self.end_process(index, true),
        }
    }

    /// A process ends; it gives up the lead, or dies without doing so.
    pub(super) fn end_process(&mut self, index: usize, lays_down: bool) {
        if matches!(self.coordinators[index].part, Part::Gone) {
            return;
        }
        let lays_down = lays_down && !self.is_cut_off(self.coordinators[index].life);
        self.end_lead(index, Part::Gone, lays_down);
        let coordinator = &mut self.coordinators[index];
        (coordinator.own, coordinator.frozen_until, coordinator.cut_off_until) = (None, 0, 0);
        let pause = self.random.within(10..3_000);
        self.after(pause, WorldEvent::CoordinatorStarts(index));
    }

    /// Ends what a coordinator did as the leader; its term.
    fn end_lead(&mut self, index: usize, part: Part, lays_down: bool) -> Option<Term> {
        let life = self.coordinators[index].life;
        let Part::Leads(mut leader) = self.coordinators[index].turns_to(part) else { return None };
        // What is in the store already is not on its way any more.
        let hub = leader.hub.as_mut().filter(|hub| hub.kept.is_none());
        if let Some(batch) = hub.and_then(|hub| hub.committing.take())
            && self.random.one_in(2)
        {
            // The store may have it all the same, now or later; no one hears of it.
            self.orphans.push((life, leader.term, batch.records().to_vec()));
            let takes = if self.is_alone() { 0 } else { self.random.below(3_000) };
            self.after(takes, WorldEvent::OrphanArrives(self.orphans.len() - 1));
        }
        if lays_down {
            self.row.vacate(leader.term);
        }
        for link in 0..self.links.len() {
            if self.links[link].coordinator == life {
                self.break_link(link);
            }
        }
        Some(leader.term)
    }

    /// What must hold of those who lead, whatever happened.
    pub(super) fn check_leaders(&self) -> Result<(), Broken> {
        if self.is_alone() {
            return Ok(());
        }
        let confirmed = self.coordinators.iter().filter(|one| one.is_confirmed(self.now)).count();
        if confirmed > 1 {
            return Err(format!("{confirmed} coordinators have a lead that is confirmed"));
        }
        let silent = |coordinator: &&Coordinator| coordinator.is_silent(self.now, ms(BEAT_INTERVAL));
        match self.coordinators.iter().find(silent) {
            Some(silent) => Err(format!("coordinator {} leads on without a beat", silent.life.of)),
            None => Ok(()),
        }
    }
}
