//! The leader's row in PostgreSQL and the one that the simulator has in its place do the same.

use store::lead::Term;

use super::{row::Row, *};

const COORDINATORS: u64 = 3;
const STEPS: u32 = 60;

/// A coordinator on the database.
struct Coordinator {
    store: Arc<dyn Store>,
    address: String,
    /// In which it led last.
    term: Option<Term>,
}

impl Coordinator {
    /// Takes the lead where the row lets it do so at once; else hears who leads.
    async fn lead(&mut self, row: &mut Row) {
        let (sender, mut told) = mpsc::unbounded_channel();
        let leader = |leader: &str| drop(sender.send(leader.to_owned()));
        let seen = row.read();
        let is_free = seen.vacant || self.term == Some(seen.term);
        tokio::select! {
            led = self.store.lead(&self.address, &leader) => {
                led.unwrap();
                assert!(is_free, "{} took the lead from {seen:?}", self.address);
                self.term = row.replace(&seen, self.address.clone());
                assert!(self.term.is_some());
            }
            Some(leader) = told.recv() => assert!(!is_free && leader == seen.address, "{leader}, {seen:?}"),
        }
    }

    /// Whether a beat was kept.
    async fn beat(&self) -> bool {
        let confirmed = async {
            while !self.store.leads_surely() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            error = self.store.deposed() => {
                assert!(matches!(error, StoreError::Superseded), "{error}");
                false
            }
            () = confirmed => true,
        }
    }

    /// Whether a sweep was kept.
    async fn submit(&self, sweep: u64) -> bool {
        match self.store.commit(&[submitted(sweep, "")]).await {
            Ok(()) => true,
            Err(StoreError::Superseded) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The row in a database, as `psql` prints it, without the beat.
fn printed(row: &Row) -> String {
    let row = row.read();
    format!("{}|{}|{}", row.term.0, if row.vacant { "t" } else { "f" }, row.address)
}

#[tokio::test]
async fn the_row_of_the_simulator_answers_as_that_of_the_database_does() {
    let Some(server) = Postgres::shared() else { return };
    for seed in 0..3 {
        let url = server.database();
        let database = url.split_once("localhost/").unwrap().1.split('?').next().unwrap();
        let (mut random, mut row, mut sweeps) = (Random(seed), Row::new(), 0);
        let mut coordinators = Vec::new();
        for number in 0..COORDINATORS {
            let (store, address) = (open(&url).await.unwrap(), format!("http://{number}"));
            coordinators.push(Coordinator { store, address, term: None });
        }
        coordinators[0].lead(&mut row).await;
        for step in 0..STEPS {
            // Half of the time it is the one that led last, whose lead may be laid down.
            let last = coordinators.iter().position(|one| one.term == Some(row.term()));
            let any = usize::try_from(random.below(COORDINATORS)).unwrap();
            let which = last.filter(|_| random.below(2) == 0).unwrap_or(any);
            let coordinator = &mut coordinators[which];
            let what = format!("seed {seed}, step {step}, coordinator {which}, {:?}", row.read());
            match (random.below(8), coordinator.term) {
                (0 | 1, _) | (_, None) => coordinator.lead(&mut row).await,
                (2 | 3, Some(term)) => assert_eq!(coordinator.beat().await, row.beat(term), "{what}"),
                (4..=6, Some(term)) => {
                    let kept = coordinator.submit(sweeps + 1).await;
                    assert_eq!(kept, row.keeps(term), "{what}");
                    sweeps += u64::from(kept);
                }
                (_, Some(term)) => {
                    coordinator.store.lay_down().await;
                    row.vacate(term);
                }
            }
            let found = server.psql(database, "SELECT epoch, vacant, address FROM leader");
            assert_eq!(found, printed(&row), "{what}");
        }
        let stored = coordinators[0].store.load().await.unwrap();
        let kept: Vec<u64> = stored.iter().map(|sweep| sweep.sweep.0).collect();
        assert_eq!(kept, (1..=sweeps).collect::<Vec<_>>(), "seed {seed}");
        assert!(
            sweeps > 3 && row.term() > Term(3),
            "seed {seed} tries too little: {sweeps}, {:?}",
            row.read()
        );
    }
}
