//! What goes wrong, and its end.

use super::*;

impl World {
    pub(super) fn go_wrong(&mut self) {
        let node = self.random.below(self.nodes.len() as u64) as usize;
        let link = self.nodes[node].link;
        let coordinator = self.some_coordinator();
        // Where coordinators compete, more happens to them.
        match self.random.below(if self.is_alone() { 20 } else { 26 }) {
            0 => self.end_process(coordinator, false),
            1 => self.stop_coordinator(coordinator),
            2 | 3 => self.crash_node(node),
            4 => self.nodes[node].frozen_until = self.now + self.random.below(5_000),
            5 => self.freeze(coordinator, 4_000),
            6 | 7 => {
                if let Some(link) = link {
                    self.break_link(link);
                }
            }
            8 | 9 => {
                // A partition, one way or both; the streams stay.
                if let Some(link) = link {
                    let until = self.now + self.random.within(100..6_000);
                    let sides = self.random.below(3);
                    if sides != 0 {
                        self.links[link].up.stalled_until = until;
                    }
                    if sides != 1 {
                        self.links[link].down.stalled_until = until;
                    }
                }
            }
            10 => self.change_mind(),
            11 => self.refusals.full_until = self.now + self.random.within(100..4_000),
            12 => self.refusals.next_epoch = true,
            13 if self.is_alone() => self.refusals.lead_is_lost = true,
            14 => self.slow_disk = !self.slow_disk,
            15 => self.end_process(coordinator, false),
            16..20 => self.leave(node),
            20..23 => self.freeze(coordinator, 10_000),
            _ => self.coordinators[coordinator].cut_off_until = self.now + self.random.below(10_000),
        }
        let pause = self.random.within(100..1_500);
        self.after(pause, WorldEvent::Fault);
    }

    /// One of them, more likely one that leads.
    fn some_coordinator(&mut self) -> usize {
        let leads = self.coordinators.iter().position(Coordinator::has_hub);
        let any = self.random.below(self.coordinators.len() as u64) as usize;
        leads.filter(|_| !self.random.one_in(3)).unwrap_or(any)
    }

    /// A coordinator stands still. Workers may notice it.
    fn freeze(&mut self, index: usize, at_most: u64) {
        let until = self.now + self.random.below(at_most);
        let coordinator = &mut self.coordinators[index];
        // It wakes once.
        coordinator.frozen_until = coordinator.frozen_until.max(until);
        for node in 0..self.nodes.len() {
            if let Some(link) = self.nodes[node].link
                && self.links[link].coordinator == self.coordinators[index].life
                && self.random.one_in(2)
            {
                let notices = self.random.within(500..4_000);
                self.after(notices, WorldEvent::Breaks(link));
            }
        }
    }

    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.refusals = Refusals { epochs: std::mem::take(&mut self.refusals.epochs), ..Refusals::default() };
        (0..self.coordinators.len()).for_each(|index| self.after(0, WorldEvent::CoordinatorStarts(index)));
        (0..self.nodes.len()).for_each(|node| self.after(0, WorldEvent::NodeStarts(node)));
        if self.random.one_in(4) {
            let later = self.random.below(5_000);
            self.after(later, WorldEvent::Extends);
        }
    }
}
