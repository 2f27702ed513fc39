//! A searcher outside of the coordinators, who asks and proposes by calls that are lost, late and said twice, and now and then
//! begins again with nothing.

use domain::proposals::Proposed;
use engine::{
    command::ProposePoints,
    query::{AskSearch, SearchNews},
};
use terms::{ParameterMap, ParameterValue};

use super::*;

/// More points than a sweep of this world has.
const POINTS: u64 = 40;
/// Lives whose points differ: those of the next are the first's again.
const LIVES: u64 = 20;
/// The distance of two points.
const STEP: f64 = 1e-4;
const LOWEST: f64 = 0.001;

/// What the searcher remembers.
#[derive(Debug, Default)]
pub(super) struct Searcher {
    /// The number of the last result that it has.
    after: u64,
    lives: u64,
}

/// The point of a number in a life.
fn point(life: u64, number: u64) -> ParameterMap {
    let rate = LOWEST + (life % LIVES * POINTS + number) as f64 * STEP;
    let seed = ParameterValue::Integer(1 + (number % 2) as i64);
    ParameterMap(vec![("learning_rate".to_owned(), ParameterValue::Float(rate)), ("seed".to_owned(), seed)])
}

/// Whether the searcher would have proposed this point of that number, in some life.
pub(in super::super) fn is_proposal(number: u64, Proposed { parameters, .. }: &Proposed) -> bool {
    let mut lives = (0..LIVES).map(|life| point(life, number));
    lives.any(|ParameterMap(own)| own.iter().all(|(name, value)| parameters.get(name) == Some(value)))
}

impl World {
    pub(super) fn search(&mut self) {
        let is_from_outside = self.definition.learned().is_some_and(|points| points.are_from_outside());
        if !self.submitted || !is_from_outside {
            return;
        }
        if !self.calm && self.random.one_in(10) {
            self.searcher = Searcher { after: 0, lives: self.searcher.lives + 1 };
        }
        let after = self.searcher.after;
        self.tell_a_leader(Wish::search(AskSearch { sweep: SWEEP, after }));
    }

    /// What a searcher is told is durable, and the next is what it lacks.
    pub(super) fn hear_news(&mut self, news: &SearchNews) -> Result<(), Broken> {
        for result in &news.results {
            self.durable.check_searcher(SWEEP, result)?;
            // Of answers that are late, it knows some already.
            if result.number == self.searcher.after + 1 {
                self.searcher.after += 1;
            }
        }
        let is_exhausted = !self.calm && news.next_point > 1 && self.random.one_in(20);
        if news.wanted == 0 && !is_exhausted {
            return Ok(());
        }
        // At the end all that are left, so that it comes soon.
        let count = if self.calm { news.points_max + 1 - news.next_point } else { news.wanted };
        let numbers = news.next_point..news.next_point + count;
        let definition = self.definition.clone();
        let check = definition.learned().ok_or("the sweep has no searcher")?.check();
        let checked =
            |number| check.of(&point(self.searcher.lives, number)).map_err(|error| error.to_string());
        let command = ProposePoints {
            sweep: SWEEP,
            first_point: news.next_point,
            points: numbers.map(checked).collect::<Result<_, _>>()?,
            seen: self.searcher.after,
            is_exhausted,
        };
        let wish = Wish::order(Question::Other, command, |_| None);
        for _ in 0..1 + self.random.below(2) {
            self.tell_a_leader(wish.clone());
        }
        Ok(())
    }
}
