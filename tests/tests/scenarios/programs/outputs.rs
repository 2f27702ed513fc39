//! The files that a job of a program leaves: several, with folders, kept together and fetched by name.

use serde_json::Value;

use super::*;
use crate::{
    artifacts::{folder_of, until_more_came},
    commands::refused,
};

/// Leaves files in folders, and what is no file.
const LEAVES: &str = "\
import os, sweep
p = sweep.parameters(size=1000)
folder = sweep.output()
os.makedirs(os.path.join(folder, 'figures', 'more'))
def write(name, content):
    with open(os.path.join(folder, name), 'wb') as file:
        file.write(content)
write('notes.txt', b'size %d' % p.size)
write('figures/loss.svg', b'<svg/>')
write('figures/more/empty', b'')
write('model.bin', bytes(range(256)) * (p.size // 256))
os.symlink('/etc/passwd', os.path.join(folder, 'link'))
os.mkfifo(os.path.join(folder, 'figures', 'pipe'))
sweep.report(1, loss=p.size)
";

fn submit(cluster: &Cluster, sizes: &str) {
    let sweep = format!(
        "program: train.py\nmetric: {{name: loss, goal: minimize}}\nartifacts: {{keep: all}}\n\
         parameters: {{size: {{values: {sizes}}}}}\n"
    );
    let file = project(&cluster.folder.path().join("own"), LEAVES, &sweep);
    printed(cluster, &["submit", file.to_str().unwrap()]);
}

/// Waits until what a job left is kept.
async fn until_kept(cluster: &Cluster, job: u64) {
    let kept = async {
        while cluster.job(1, job).await.job.unwrap().weights != "kept" {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::time::timeout(tests::PATIENCE, kept).await.expect("it is kept");
}

fn model(size: usize) -> Vec<u8> {
    (0..=255).cycle().take(size / 256 * 256).collect()
}

#[tokio::test]
async fn all_files_of_a_job_are_kept_listed_and_fetched_by_name() {
    let cluster = permissive();
    let _worker = cluster.worker("one");
    submit(&cluster, "[1000, 300000]");
    cluster.watch(1).await.until_end().await;
    until_kept(&cluster, 1).await;
    until_kept(&cluster, 2).await;
    let listed: Value =
        serde_json::from_str(&printed(&cluster, &["artifact", "files", "1/2", "-o", "json"])).unwrap();
    let listed = listed.as_array().unwrap();
    let paths: Vec<&str> = listed.iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["figures/loss.svg", "figures/more/empty", "model.bin", "notes.txt"]);
    assert_eq!(listed[2]["bytes"], 299_776);
    let shown = printed(&cluster, &["show", "1/2"]);
    assert!(
        shown.contains("figures/loss.svg") && shown.contains("links are not followed: 1 (link)"),
        "{shown}"
    );
    let place = cluster.folder.path().join("got");
    let get = |more: &[&str]| {
        let arguments = [&["artifact", "get", "1/2", "--output", place.to_str().unwrap()], more].concat();
        command(&cluster, &arguments)
    };
    let told = get(&["--file", "figures", "--file", "notes.txt"]);
    assert!(told.status.success(), "{told:?}");
    assert_eq!(fs::read(place.join("files/notes.txt")).unwrap(), b"size 300000");
    assert_eq!(fs::read(place.join("files/figures/loss.svg")).unwrap(), b"<svg/>");
    assert!(!place.join("files/model.bin").exists());
    let told = get(&["--file", "other"]);
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(!told.status.success() && said.contains("sweep artifact files 1/2"), "{said}");
    let told = get(&[]);
    assert!(told.status.success(), "{told:?}");
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(said.contains("4 files") && said.contains("it is neither a file nor a folder: 1"), "{said}");
    assert_eq!(fs::read(place.join("files/model.bin")).unwrap(), model(300_000));
    assert!(place.join("files/figures/more/empty").is_file() && !place.join("files/link").exists());
    let facts: Value = serde_json::from_slice(&fs::read(place.join("model.json")).unwrap()).unwrap();
    assert_eq!((&facts["job"], facts["files"].as_array().unwrap().len()), (&2.into(), 4));
    assert_eq!(facts["left_out"].as_array().unwrap().len(), 2);
    // Any tar reads what is kept.
    let kept = folder_of(&cluster);
    let archives = fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path());
    let archives = archives.filter(|path| !path.ends_with("incoming") && !path.ends_with("snapshots"));
    let count = archives
        .filter(|path| !path.ends_with("contents"))
        .flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()))
        .map(|archive| Command::new("tar").arg("-tf").arg(archive).output().unwrap())
        .filter(|listed| String::from_utf8_lossy(&listed.stdout).contains("files/model.bin"))
        .count();
    assert_eq!(count, 2);
}

#[tokio::test]
async fn a_program_that_leaves_no_files_is_told_of_files_and_no_log_speaks_of_weights() {
    let cluster = permissive();
    let worker = cluster.worker("one");
    let sweep = "program: train.py\nartifacts: {keep: all}\nmetric: {name: recall}\nparameters: {rate: {values: [1, 2]}}\n";
    let file = project(&cluster.folder.path().join("own"), REPORTING, sweep);
    printed(&cluster, &["submit", file.to_str().unwrap()]);
    cluster.watch(1).await.until_end().await;
    for (of, says) in [("1/1", "the program left none in SWEEP_OUTPUT_DIR"), ("1", "its program wrote none")]
    {
        let told = refused(&cluster, &["artifact", "files", of]);
        assert!(told.contains(says) && told.contains("no files of") && !told.contains("weights"), "{told}");
    }
    tests::terminate(worker.pid());
    let (_, log) = worker.end();
    assert!(!log.contains("weights"), "{log}");
}

#[tokio::test]
async fn the_files_of_a_job_survive_kills_while_they_are_handed_over() {
    const SIZE: usize = 64 << 20;
    let mut cluster = permissive();
    let folder = folder_of(&cluster);
    let worker = cluster.worker("one");
    submit(&cluster, &format!("[{SIZE}]"));
    let before = until_more_came(&folder, 0);
    cluster.replace_coordinator();
    let before = until_more_came(&folder, before);
    worker.kill();
    assert!(before < SIZE as u64, "they were on their way");
    let _worker = cluster.worker("one");
    until_kept(&cluster, 1).await;
    let place = cluster.folder.path().join("got");
    printed(&cluster, &["artifact", "get", "1/1", "--output", place.to_str().unwrap()]);
    assert!(fs::read(place.join("files/model.bin")).unwrap() == model(SIZE));
    assert_eq!(cluster.job(1, 1).await.attempts.len(), 1, "handing over is no part of the attempt");
}
