//! Work on numbered lots by many threads, handed over in the order of the numbers. What is in memory depends on the
//! number of threads, not on the number of lots.

use std::{
    any::Any,
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

/// Lots for each thread: the one that it fills, and one that waits for those before it or for the one who takes them.
const LOTS_PER_THREAD: usize = 2;

/// What is done with the lots.
pub(super) trait Work: Sync {
    /// What is in a lot; used again and again.
    type Lot: Default + Send;
    /// What a thread keeps from lot to lot.
    type State;
    /// What can go wrong.
    type Error: From<io::Error> + Send;

    /// Begins a thread.
    fn begin(&self) -> Self::State;

    /// Fills the lot with this number, whatever is left in it of another one.
    ///
    /// # Errors
    /// Ends the whole work; of several, that of the smallest number counts.
    fn fill(&self, state: &mut Self::State, number: usize, lot: &mut Self::Lot) -> Result<(), Self::Error>;
}

/// Fills the lots 0 to `count` - 1 with at most `threads` threads and gives them to `take`, in their order.
///
/// # Errors
/// What filling or `take` fails with; a thread that panics; no thread to be had.
pub(super) fn in_order<W: Work>(
    work: &W,
    count: usize,
    threads: usize,
    mut take: impl FnMut(usize, &W::Lot) -> Result<(), W::Error>,
) -> Result<(), W::Error> {
    let (empty, empties) = channel();
    let queue = Mutex::new(Queue { next: 0, empties });
    let (full, filled) = channel();
    thread::scope(|scope| {
        // Both ends go when this returns, however it does, and the threads with them.
        let (empty, filled) = (empty, filled);
        let mut started = 0;
        for _ in 0..threads.clamp(1, count.max(1)) {
            let (queue, full) = (&queue, full.clone());
            let run = move || fill_lots(work, queue, count, &full);
            match thread::Builder::new().name("packing".into()).spawn_scoped(scope, run) {
                Ok(_) => started += 1,
                // Fewer do it too.
                Err(_) if started > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        drop(full);
        for _ in 0..started * LOTS_PER_THREAD {
            // The threads are there, or have ended for good.
            let _ = empty.send(W::Lot::default());
        }
        let mut early = BTreeMap::new();
        for number in 0..count {
            let lot = loop {
                if let Some(lot) = early.remove(&number) {
                    break lot;
                }
                let (number, lot): (_, Result<W::Lot, W::Error>) =
                    filled.recv().map_err(|_| io::Error::other("the threads ended too early"))?;
                early.insert(number, lot);
            };
            let lot = lot?;
            take(number, &lot)?;
            // Nobody wants it when all lots have been handed out.
            let _ = empty.send(lot);
        }
        Ok(())
    })
}

/// Lots that one thread has filled, by number.
type Filled<W> = Sender<(usize, Result<<W as Work>::Lot, <W as Work>::Error>)>;

/// One thread: fills lot after lot, until there is none or nobody waits for it.
fn fill_lots<W: Work>(work: &W, queue: &Mutex<Queue<W::Lot>>, count: usize, full: &Filled<W>) {
    let mut state = work.begin();
    while let Some((number, mut lot)) = next(queue, count) {
        // Whoever waits for this number must hear of it.
        let filled = catch_unwind(AssertUnwindSafe(|| work.fill(&mut state, number, &mut lot)))
            .unwrap_or_else(|panic| Err(io::Error::other(words(&*panic)).into()));
        if full.send((number, filled.map(|()| lot))).is_err() {
            return;
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a thread panicked: {}", text.unwrap_or("it said nothing"))
}

struct Queue<Lot> {
    /// The lot to be filled next.
    next: usize,
    empties: Receiver<Lot>,
}

/// The next lot's number, and memory for it. Numbers go to those who have memory, so that the first lot that is
/// missing is always being filled.
fn next<Lot>(queue: &Mutex<Queue<Lot>>, count: usize) -> Option<(usize, Lot)> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let number = queue.next;
    if number == count {
        return None;
    }
    let lot = queue.empties.recv().ok()?;
    queue.next += 1;
    Some((number, lot))
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Condvar};

    use super::*;

    /// Lots that hold their number, filled by `fill`.
    struct Numbers<F>(F);

    impl<F: Fn(usize) -> io::Result<()> + Sync> Work for Numbers<F> {
        type Lot = Vec<usize>;
        type State = ();
        type Error = io::Error;

        fn begin(&self) {}

        fn fill(&self, (): &mut (), number: usize, lot: &mut Vec<usize>) -> io::Result<()> {
            lot.clear();
            lot.push(number);
            (self.0)(number)
        }
    }

    fn taken(
        count: usize,
        threads: usize,
        fill: impl Fn(usize) -> io::Result<()> + Sync,
    ) -> (Vec<usize>, io::Result<()>) {
        let mut numbers = Vec::new();
        let end = in_order(&Numbers(fill), count, threads, |number, lot| {
            assert_eq!(*lot, [number]);
            numbers.push(number);
            Ok(())
        });
        (numbers, end)
    }

    #[test]
    fn lots_come_in_order_though_each_even_one_is_filled_after_the_next() {
        let (done, news) = (Mutex::new(vec![false; 41]), Condvar::new());
        let (numbers, end) = taken(40, 2, |number| {
            let mut done = done.lock().unwrap();
            // The other thread fills the next one meanwhile.
            while number % 2 == 0 && !done[number + 1] {
                done = news.wait(done).unwrap();
            }
            done[number] = true;
            news.notify_all();
            Ok(())
        });
        end.unwrap();
        assert_eq!(numbers, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn threads_work_at_the_same_time() {
        let both = Barrier::new(2);
        taken(2, 2, |_| {
            both.wait();
            Ok(())
        })
        .1
        .unwrap();
    }

    #[test]
    fn nothing_to_do_is_done_and_no_threads_are_one() {
        assert!(taken(0, 4, |_| Ok(())).1.is_ok());
        assert_eq!(taken(3, 0, |_| Ok(())).0, [0, 1, 2]);
    }

    #[test]
    fn the_first_failure_in_the_order_counts() {
        let (numbers, end) = taken(100, 3, |number| match number {
            20.. => Err(io::Error::other(number.to_string())),
            _ => Ok(()),
        });
        assert_eq!((numbers.len(), end.unwrap_err().to_string()), (20, "20".to_owned()));
    }

    #[test]
    fn a_thread_that_panics_ends_the_work() {
        let (numbers, end) = taken(100, 3, |number| {
            assert_ne!(number, 5, "five");
            Ok(())
        });
        assert_eq!(numbers.len(), 5);
        let error = end.unwrap_err().to_string();
        assert!(error.starts_with("a thread panicked: ") && error.contains("five"), "{error}");
    }

    #[test]
    fn who_takes_lots_may_give_up() {
        let end = in_order(&Numbers(|_| Ok(())), 1_000, 3, |number, _| match number {
            7 => Err(io::Error::other("full")),
            _ => Ok(()),
        });
        assert_eq!(end.unwrap_err().to_string(), "full");
    }
}
