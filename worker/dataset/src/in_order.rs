//! Processes numbered chunks in many threads and hands them over in order. Memory depends on the number of threads, not
//! on the number of chunks.

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

/// Chunks for each thread: one being filled, and one that waits for its turn or for the consumer.
const CHUNKS_PER_THREAD: usize = 2;

/// How to process the chunks.
pub(super) trait Work: Sync {
    /// The content of a chunk, which is reused.
    type Chunk: Default + Send;
    /// What a thread keeps from chunk to chunk.
    type State;
    /// What can go wrong.
    type Error: From<io::Error> + Send;

    fn begin(&self) -> Self::State;

    /// Fills the chunk with this number, which may hold another chunk's content.
    ///
    /// # Errors
    /// Ends all work; of several errors, that of the smallest number counts.
    fn fill(
        &self,
        state: &mut Self::State,
        number: usize,
        chunk: &mut Self::Chunk,
    ) -> Result<(), Self::Error>;
}

/// Fills the chunks 0 to `count` - 1 with at most `threads` threads and gives them to `take`, in order.
///
/// # Errors
/// An error of filling or `take`; a thread that panics; no threads.
pub(super) fn in_order<W: Work>(
    work: &W,
    count: usize,
    threads: usize,
    mut take: impl FnMut(usize, &W::Chunk) -> Result<(), W::Error>,
) -> Result<(), W::Error> {
    let (empty, empties) = channel();
    let queue = Mutex::new(Queue { next: 0, empties });
    let (full, filled) = channel();
    thread::scope(|scope| {
        // Both ends are dropped when this returns, in any way, and the threads end.
        let (empty, filled) = (empty, filled);
        let mut started = 0;
        for _ in 0..threads.clamp(1, count.max(1)) {
            let (queue, full) = (&queue, full.clone());
            let run = move || fill_chunks(work, queue, count, &full);
            match thread::Builder::new().name("packing".into()).spawn_scoped(scope, run) {
                Ok(_) => started += 1,
                // Fewer are enough.
                Err(_) if started > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        drop(full);
        for _ in 0..started * CHUNKS_PER_THREAD {
            // The threads are running, or have ended.
            let _ = empty.send(W::Chunk::default());
        }
        let mut early = BTreeMap::new();
        for number in 0..count {
            let chunk = loop {
                if let Some(chunk) = early.remove(&number) {
                    break chunk;
                }
                let (number, chunk): (_, Result<W::Chunk, W::Error>) =
                    filled.recv().map_err(|_| io::Error::other("the threads ended too early"))?;
                early.insert(number, chunk);
            };
            let chunk = chunk?;
            take(number, &chunk)?;
            // No one wants it when all chunks have been handed out.
            let _ = empty.send(chunk);
        }
        Ok(())
    })
}

/// Chunks that one thread has filled, by number.
type Filled<W> = Sender<(usize, Result<<W as Work>::Chunk, <W as Work>::Error>)>;

/// One thread: fills chunk after chunk, until there are none left or no one waits for them.
fn fill_chunks<W: Work>(work: &W, queue: &Mutex<Queue<W::Chunk>>, count: usize, full: &Filled<W>) {
    let mut state = work.begin();
    while let Some((number, mut chunk)) = next(queue, count) {
        // The consumer waits for this number, so an error must reach it.
        let filled = catch_unwind(AssertUnwindSafe(|| work.fill(&mut state, number, &mut chunk)))
            .unwrap_or_else(|panic| Err(io::Error::other(words(&*panic)).into()));
        if full.send((number, filled.map(|()| chunk))).is_err() {
            return;
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a thread panicked: {}", text.unwrap_or("it said nothing"))
}

struct Queue<Chunk> {
    /// The chunk to be filled next.
    next: usize,
    empties: Receiver<Chunk>,
}

/// The next chunk's number, and memory for it. A number is only taken together with memory, so that the first missing
/// chunk is always being filled.
fn next<Chunk>(queue: &Mutex<Queue<Chunk>>, count: usize) -> Option<(usize, Chunk)> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let number = queue.next;
    if number == count {
        return None;
    }
    let chunk = queue.empties.recv().ok()?;
    queue.next += 1;
    Some((number, chunk))
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Condvar};

    use super::*;

    /// Chunks that hold their number, filled by `fill`.
    struct Numbers<F>(F);

    impl<F: Fn(usize) -> io::Result<()> + Sync> Work for Numbers<F> {
        type Chunk = Vec<usize>;
        type State = ();
        type Error = io::Error;

        fn begin(&self) {}

        fn fill(&self, (): &mut (), number: usize, chunk: &mut Vec<usize>) -> io::Result<()> {
            chunk.clear();
            chunk.push(number);
            (self.0)(number)
        }
    }

    fn taken(
        count: usize,
        threads: usize,
        fill: impl Fn(usize) -> io::Result<()> + Sync,
    ) -> (Vec<usize>, io::Result<()>) {
        let mut numbers = Vec::new();
        let end = in_order(&Numbers(fill), count, threads, |number, chunk| {
            assert_eq!(*chunk, [number]);
            numbers.push(number);
            Ok(())
        });
        (numbers, end)
    }

    #[test]
    fn chunks_come_in_order_though_each_even_one_is_filled_after_the_next() {
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
