//! What `sweep search --help` says of the lines that it prints and reads.

use domain::help::entry;

/// Lines that are printed, and what they say.
const PRINTED: &[(&str, &str)] = &[
    (
        "{\"result\":1,\"job\":1,\"point\":1,\"parameters\":{\"learning_rate\":0.01},\"outcome\":\"finished\",\"value\":0.93}",
        "outcome is finished (with the value of the sweep's metric), diverged, stopped (early, or paused, with the value after that epoch; \
         where the job goes on, another result follows), nothing (it failed or was cancelled: nothing is known of the point) or again (that \
         job is tried again: another result follows)",
    ),
    (
        "{\"wanted\":2,\"next_point\":2,\"points_max\":100}",
        "2 points would be trained at once; at least one is wanted while no job waits for a slot or runs; printed again whenever that changes",
    ),
    (
        "{\"accepted\":3,\"point\":2}",
        "the third line that was read is point 2 of the sweep; lines are answered in their order",
    ),
    (
        "{\"error\":\"…\",\"line\":3}",
        "the third line that was read was not taken, and why: a point that it had does not count, so that the next one that is accepted \
         gets its number, and another one may be proposed at once",
    ),
    ("{\"state\":\"finished\"}", "the last line: the sweep has ended"),
];

/// Lines that are read.
const READ: &[(&str, &str)] = &[
    (
        "{\"parameters\":{\"learning_rate\":0.02}}",
        "the next point; parameters that have only one value may be left out",
    ),
    (
        "{\"end\":true}",
        "no other point will come: the sweep ends with those that it has; lines after it are not read",
    ),
];

const AGAIN: &str = "A searcher that starts again gets all results again, or with --after those that it lacks, and goes on with the next point. \
                     Where standard input ends without {\"end\":true}, the command ends and the sweep waits for a searcher.";

/// What stands below the options.
pub(super) fn below() -> String {
    let lines = |of: &[(&str, &str)]| -> String {
        of.iter().map(|(line, text)| format!("  {line}\n{}", entry((6, 0), "", text))).collect()
    };
    format!(
        "Lines that are printed, each one JSON object:\n{}\nLines that are read:\n{}\n{AGAIN}",
        lines(PRINTED),
        lines(READ)
    )
}
