//! `make chaos KILLS=N`: kills coordinators, then workers and trainers, then leaders on PostgreSQL, and prints the
//! account.

use tests::chaos::{Account, FailOvers, Victim, fail_over, run};

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
    let rounds = (kills / 10).max(2);
    if let Some(FailOvers { times, jobs, told, attempts }) = fail_over(rounds, seed).await {
        let seconds = |time: Option<&std::time::Duration>| time.map_or(0.0, std::time::Duration::as_secs_f64);
        println!(
            "Leader: {} killed or frozen (seed {seed}), the other led after {:.1} to {:.1} s (median {:.1} s), {jobs} jobs done \
             once in {attempts} attempts, {told} epochs told before, 0 lost, 0 twice",
            times.len(),
            seconds(times.first()),
            seconds(times.last()),
            seconds(times.get(times.len() / 2))
        );
    }
}
