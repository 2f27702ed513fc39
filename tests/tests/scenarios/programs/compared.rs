//! Sweeps next to each other, by `sweep compare`.

use super::*;

/// A value that depends on the sweep's own surroundings and on which training of its point this is.
const SCRIPT: &str = "\
import os, sweep
p = sweep.parameters(rate=0.5)
sweep.report(1, value=p.rate * float(os.environ['FACTOR']) + 0.01 * int(os.environ['SWEEP_REPEAT']))
";

/// Three rates, two trainings each.
fn file(name: &str, goal: &str, factor: u32) -> String {
    format!(
        "name: {name}\nprogram: train.py\nmetric: {{name: value, goal: {goal}}}\nrepeats: 2\n\
         parameters: {{rate: {{values: [0.5, 0.25, 0.125]}}}}\nexecution: {{env: {{FACTOR: '{factor}'}}}}\n"
    )
}

#[tokio::test]
async fn sweeps_are_compared_by_their_files_their_bests_and_what_both_have() {
    let cluster = permissive();
    let _worker = cluster.worker("one");
    for (place, (name, goal, factor)) in
        [("once", "minimize", 1), ("twice", "minimize", 2), ("other", "maximize", 1)].into_iter().enumerate()
    {
        let folder = cluster.folder.path().join(name);
        printed(&cluster, &["submit", project(&folder, SCRIPT, &file(name, goal, factor)).to_str().unwrap()]);
        assert!(command(&cluster, &["wait", &(place + 1).to_string()]).status.success());
    }
    let compared: serde_json::Value =
        serde_json::from_str(&printed(&cluster, &["compare", "1", "2", "3", "-o", "json"])).unwrap();
    let [first, second] = [&compared["sweeps"][0], &compared["sweeps"][1]];
    assert_eq!(
        (&first["name"], &first["trainings"], &first["best_job"]),
        (&"once".into(), &2.into(), &5.into())
    );
    assert!((first["best"].as_f64().unwrap() - 0.13).abs() < 0.011, "{first}");
    // Whoever is asked names the same best: its mean, of how many trainings, and its first job. The luckiest training is job 5 or 6 alone.
    let shown: serde_json::Value =
        serde_json::from_str(&printed(&cluster, &["show", "1", "-o", "json"])).unwrap();
    assert_eq!((&shown["best"], &shown["best_job"]), (&first["best"], &first["best_job"]), "{shown}");
    assert_eq!((&shown["best_trainings"], &shown["best_parameters"]), (&2.into(), &first["best_parameters"]));
    let listed = printed(&cluster, &["ls"]);
    assert!(listed.contains("(mean of 2)"), "{listed}");
    assert_eq!(second["epochs"], 6, "{second}");
    let pair = &compared["against_first"][0];
    let difference = pair["bests"]["difference"].as_f64().unwrap();
    assert!(
        (difference - 0.125).abs() < 1e-9 && pair["bests"]["interval"]["low"].as_f64() > Some(0.0),
        "{pair}"
    );
    assert_eq!((&pair["common"], &pair["first_better"]), (&3.into(), &3.into()), "{pair}");
    let paired = pair["paired"]["difference"].as_f64().unwrap();
    assert!((paired - 0.875 / 3.0).abs() < 1e-9 && pair["paired"]["separable"] == false, "{pair}");
    assert_eq!(compared["against_first"][1]["not_compared"], "other_metric");
    let keys = compared["differences"].as_array().unwrap();
    assert!(
        keys.iter().any(|one| one["key"] == "execution.env.FACTOR" && one["values"][1] == "2"),
        "{compared}"
    );
    let told = printed(&cluster, &["compare", "1", "2"]);
    for expected in [
        "once",
        "twice",
        "The best of sweep 1 is ahead of the best of sweep 2 by 0.1250",
        "this is no test",
        "3 configurations are in both",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    for wrong in [&["compare", "1"] as &[&str], &["compare", "1", "1"], &["compare", "1", "x"]] {
        assert_eq!(command(&cluster, wrong).status.code(), Some(2), "{wrong:?}");
    }
    let missing = command(&cluster, &["compare", "1", "9"]);
    assert_eq!(missing.status.code(), Some(1));
}

#[tokio::test]
async fn folders_of_runs_are_compared_while_one_is_still_held_and_their_databases_stay_as_they_are() {
    let cluster = permissive();
    let folders = [("once", 1), ("twice", 2)].map(|(name, factor)| {
        let place = cluster.folder.path().join(name);
        run(&place, SCRIPT, &file(name, "minimize", factor)).display().to_string()
    });
    let database = || fs::read(format!("{}/sweep.db", folders[1])).unwrap();
    let before = database();
    // As a run that goes on holds it.
    let held = store::open(&format!("sqlite:{}/sweep.db", folders[0])).await.unwrap();
    let compare = |more: &[&str]| {
        let ended = Command::new(program("sweep")).arg("compare").args(&folders).args(more).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    let compared: serde_json::Value = serde_json::from_str(&compare(&["-o", "json"])).unwrap();
    let [first, second] = [&compared["sweeps"][0], &compared["sweeps"][1]];
    assert_eq!((&first["id"], &first["folder"]), (&1.into(), &folders[0].as_str().into()));
    assert_eq!((&second["id"], &second["folder"]), (&2.into(), &folders[1].as_str().into()));
    assert_eq!(
        (&first["name"], &second["name"], &first["best_job"]),
        (&"once".into(), &"twice".into(), &5.into())
    );
    assert_eq!((&first["trainings"], &second["epochs"]), (&2.into(), &6.into()));
    assert!(compare(&[]).contains("3 configurations are in both"));
    held.close().await;
    assert!(before == database(), "it is only read");
    // A folder that is none is said before anything else is read.
    let empty = cluster.folder.path().join("once").display().to_string();
    for (named, says) in
        [([&folders[0], &empty], "holds no sweep.db"), ([&"1".to_owned(), &empty], "holds no sweep.db")]
    {
        let nowhere = ["--coordinator", "http://127.0.0.1:1", "compare"];
        let refused = Command::new(program("sweep")).args(nowhere).args(named).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(says), "{refused:?}");
    }
}

#[tokio::test]
async fn a_runs_folder_is_exported_and_reported_while_it_is_held_and_without_its_coordinator() {
    let cluster = permissive();
    let folder = run(&cluster.folder.path().join("once"), SCRIPT, &file("once", "minimize", 1));
    let held = store::open(&format!("sqlite:{}/sweep.db", folder.display())).await.unwrap();
    let results = fs::read(folder.join("results.csv")).unwrap();
    let sweep = |arguments: &[&str]| {
        let mut command = Command::new(program("sweep"));
        command.args(arguments).env("SWEEP_COORDINATOR", "http://127.0.0.1:1").output().unwrap()
    };
    let path = folder.to_str().unwrap();
    let exported = sweep(&["export", path, "--to", "csv", "--output", "-"]);
    assert!(exported.status.success(), "{exported:?}");
    assert_eq!(String::from_utf8_lossy(&exported.stdout), String::from_utf8_lossy(&results));
    let tables = cluster.folder.path().join("tables");
    let exported = sweep(&["export", path, "--to", "parquet", "--output", tables.to_str().unwrap()]);
    assert!(exported.status.success() && tables.join("epochs.parquet").is_file(), "{exported:?}");
    let (english, japanese) = (folder.join("report.md"), cluster.folder.path().join("report"));
    let reported = sweep(&["report", path, "--lang", "ja", "--output", japanese.to_str().unwrap()]);
    assert!(reported.status.success(), "{reported:?}");
    let japanese = fs::read_to_string(japanese.join("report.md")).unwrap();
    assert!(japanese.contains("once") && japanese != fs::read_to_string(english).unwrap(), "{japanese}");
    held.close().await;
    // Other commands ask a coordinator, and say which one is for the folder.
    let shown = sweep(&["show", path]);
    assert_eq!(shown.status.code(), Some(2));
    let says = format!("sweep serve --store sqlite:{path}/sweep.db");
    assert!(String::from_utf8_lossy(&shown.stderr).contains(&says), "{shown:?}");
    let missing = sweep(&["export", "no/such/folder", "--to", "csv"]);
    assert!(
        String::from_utf8_lossy(&missing.stderr).contains("there is no folder no/such/folder"),
        "{missing:?}"
    );
}
