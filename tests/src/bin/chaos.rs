//! `make chaos KILLS=N`: kills, freezes, drains and cuts off processes at random, and prints the results.
//! `chaos KILLS SEED early-stopping` only kills during sweeps that stop early.

use tests::chaos::{
    Accounted, FailOvers, Freezes, Kills, Leavings, Partitions, Rungs, Victim, fail_over, freezes, kills,
    leavings, partitions, rungs, rungs_of_leaders,
};

/// How long networks are cut, in seconds.
const CUT_SECONDS: std::ops::Range<u64> = 5..60;

/// The part that can be run alone.
const EARLY_STOPPING: &str = "early-stopping";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "inside-partitions") {
        return inside_partitions(&arguments[1..]).await;
    }
    let number = |index: usize| arguments.get(index).and_then(|text| text.parse().ok());
    let kills_wanted: u32 = number(0).map_or(200, |number: u64| number as u32);
    let seed = number(1).unwrap_or(0);
    if arguments.get(2).is_some_and(|part| part == EARLY_STOPPING) {
        return sweeps_that_stop_early(kills_wanted, seed).await;
    }
    for victim in [Victim::Coordinator, Victim::Worker, Victim::Packer] {
        let Kills { kills, jobs, told, attempts, begun_again, took } =
            kills(victim, kills_wanted, seed).await;
        println!(
            "{victim:?}: {kills} kills (seed {seed}), {jobs} jobs done once in {attempts} attempts ({begun_again} begun again), {told} epochs told \
             before kills, 0 lost, 0 twice, database clean, {:.0} s",
            took.as_secs_f64()
        );
    }
    sweeps_that_stop_early(kills_wanted, seed).await;
    let Freezes { rounds, taken, lost, jobs, told } = freezes(kills_wanted.div_ceil(2), seed).await;
    println!(
        "Freeze: {taken} times past the lease with a job, of {rounds} ({lost} attempts fenced), {jobs} jobs done once, \
         {told} epochs told before, 0 lost, 0 twice, database clean"
    );
    let Leavings { rounds, handed_back, jobs, told } = leavings(kills_wanted.div_ceil(2), seed).await;
    println!(
        "SIGTERM: {rounds} times, {handed_back} attempts handed back, 0 charged, {jobs} jobs done once, {told} epochs told \
         before, 0 lost, 0 twice, database clean"
    );
    if let Some(account) = partitions(kills_wanted.div_ceil(4), CUT_SECONDS, "20s", seed) {
        println!("{account}");
    }
    if let Some(FailOvers { times, jobs, told, attempts }) = fail_over((kills_wanted / 10).max(2), seed).await
    {
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

async fn sweeps_that_stop_early(kills: u32, seed: u64) {
    for pack in [1, 4] {
        println!("{}", early_stopping(rungs(kills, pack, seed).await, pack, seed, "processes"));
    }
    if let Some(account) = rungs_of_leaders((kills / 10).max(2), 4, seed).await {
        println!("{}", early_stopping(account, 4, seed, "leaders"));
    }
}

fn early_stopping(account: Rungs, pack: u32, seed: u64, killed: &str) -> String {
    let Rungs { kills, accounted, told, took } = account;
    let Accounted { jobs, done, reached, promoted, attempts, interrupted, trained_again } = accounted;
    format!(
        "Early stopping, up to {pack} jobs at a time: {kills} {killed} killed (seed {seed}), {jobs} jobs, of which {done} done and the others \
         paused at their rungs, rungs reached {reached} times, {promoted} promotions as the records imply, {attempts} attempts \
         ({interrupted} interrupted, {trained_again} epochs trained again for them, none past a rung), {told} epochs told before kills, \
         0 lost, 0 twice, {:.0} s",
        took.as_secs_f64()
    )
}

/// The part of [`partitions`] that runs in the coordinator's namespace.
async fn inside_partitions(arguments: &[String]) {
    let [name, lease, numbers @ ..] = arguments else { panic!("{arguments:?}") };
    let numbers: Vec<u64> = numbers.iter().map(|text| text.parse().expect("a number")).collect();
    let [cuts, from, to, seed] = numbers[..] else { panic!("{numbers:?}") };
    let lease = lease.clone().leak();
    let Partitions { cuts, lost, jobs, told } =
        Partitions::inside(name.clone(), lease, cuts as u32, from..to, seed).await;
    println!(
        "Partition: {cuts} of {from} to {to} s, one way and both, lease {lease} ({lost} attempts lost), {jobs} jobs done once, \
         {told} epochs told, 0 lost, 0 twice, database clean"
    );
}
