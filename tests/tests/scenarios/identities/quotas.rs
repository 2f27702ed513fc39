//! Quotas and priorities: set, shown, kept by a coordinator that starts again.

use super::*;

/// A sweep whose jobs never end, of an owner.
fn submit(cluster: &Cluster, folder: &Path, token: &str, name: &str, priority: i32) {
    let text = tests::source("{epochs: {value: 10000}}").text;
    let file =
        write(folder, &format!("{name}.yaml"), &format!("{text}\nexecution: {{priority: {priority}}}\n"));
    let (code, said) = sweep(cluster, &["--token-file", token, "submit", &file]);
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn a_quota_is_set_by_admins_shown_to_all_and_kept_by_the_next_coordinator() {
    let (mut cluster, folder, admin) = guarded(&[]);
    let place = (folder.path(), admin.as_str());
    let (_, ann) = create(&cluster, place, "submitter", "ann");
    let of = |cluster: &Cluster, token: &str, arguments: &[&str]| {
        sweep(cluster, &[&["--token-file", token], arguments].concat())
    };
    let refused = of(&cluster, &ann, &["quota", "set", "ann", "--slots", "9"]);
    assert!(
        refused.0 == Some(1) && refused.1.contains("for the role submitter, and this is for admin"),
        "{refused:?}"
    );
    let nothing = of(&cluster, &admin, &["quota", "set", "ann"]);
    assert_eq!(nothing.0, Some(2), "{nothing:?}");
    let (code, said) = of(&cluster, &admin, &["quota", "set", "ann", "--slots", "0", "--weight", "2"]);
    assert!(code == Some(0) && !said.contains("note:"), "{said}");
    let (code, said) = of(&cluster, &admin, &["quota", "set", "nemo", "--slots", "1"]);
    assert!(code == Some(0) && said.contains("note: no token and no sweep is of \"nemo\" yet"), "{said}");
    let (code, said) = of(&cluster, &admin, &["quota", "remove", "nemo"]);
    assert!(code == Some(0) && said.starts_with("the quota of nemo is removed: no limit"), "{said}");
    // What is not named stays.
    assert_eq!(of(&cluster, &admin, &["quota", "set", "ann", "--weight", "3"]).0, Some(0));
    submit(&cluster, folder.path(), &ann, "first", 0);
    submit(&cluster, folder.path(), &ann, "second", -5);
    let before = of(&cluster, &ann, &["quota", "list", "-o", "csv"]);
    assert!(before.1.lines().any(|line| line.starts_with("ann,0,3,0,")), "{before:?}");
    let shown = of(&cluster, &ann, &["show", "1", "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.1).unwrap();
    assert_eq!(shown["waiting"], "the jobs of ann hold 0 slots of a quota of 0");
    assert_eq!(shown["share"], serde_json::json!({"slots": 0, "quota": 0, "weight": 3}));
    cluster.replace_coordinator();
    cluster.coordinator.until_it_leads(true).await;
    assert_eq!(of(&cluster, &ann, &["quota", "list", "-o", "csv"]), before);
    let listed = of(&cluster, &ann, &["ls"]);
    for column in ["OWNER", "PRIORITY", "OWNER_SLOTS", "OWNER_QUOTA", "-5"] {
        assert!(listed.1.contains(column), "{column}: {}", listed.1);
    }
    let changed = of(&cluster, &ann, &["set", "2", "execution.priority=7"]);
    assert!(changed.0 == Some(0) && changed.1.contains("execution.priority"), "{changed:?}");
    let wrong = of(&cluster, &ann, &["set", "2", "execution.priority=1001"]);
    assert!(wrong.1.contains("a whole number from -1000 to 1000"), "{wrong:?}");
    assert_eq!(of(&cluster, &admin, &["quota", "remove", "ann"]).0, Some(0));
    let none = of(&cluster, &admin, &["quota", "remove", "ann"]);
    assert!(none.0 == Some(1) && none.1.contains("there is no quota for \"ann\""), "{none:?}");
    let log = cluster.coordinator.log();
    assert!(
        log.contains(r#""what":"set the quota of \"ann\" to 0 slots, weight 3","result":"done""#),
        "{log}"
    );
    assert!(log.contains(r#""what":"set the quota of \"nemo\" to 1 slot, weight 1""#), "{log}");
}

#[tokio::test]
async fn slots_are_shared_among_owners_and_not_among_sweeps() {
    let (mut cluster, folder, admin) = guarded(&[]);
    let place = (folder.path(), admin.as_str());
    let (_, ann) = create(&cluster, place, "submitter", "ann");
    let (_, ben) = create(&cluster, place, "submitter", "ben");
    let (_, farm) = create(&cluster, place, "worker", "farm");
    let grid = tests::source("{epochs: {value: 10000}, seed: {values: [1, 2, 3, 4, 5]}}").text;
    let file = write(folder.path(), "grid.yaml", &grid);
    for token in [&ann, &ann, &ann, &ben] {
        assert_eq!(sweep(&cluster, &["--token-file", token, "submit", &file]).0, Some(0));
    }
    cluster.workers_get(vec!["--token-file".to_owned(), farm]);
    let workers = ["one", "two", "three", "four"].map(|name| cluster.worker(name));
    // The welcome of each and its job are of one commit.
    workers.iter().for_each(|worker| worker.until_connected());
    let token = fs::read_to_string(&admin).unwrap().trim().to_owned();
    let request = with_token(v1::ListSweepsRequest::default(), &token);
    let sweeps = cluster.client().await.list_sweeps(request).await.unwrap().into_inner().sweeps;
    let running: Vec<u64> = sweeps.iter().map(|sweep| sweep.counts.unwrap_or_default().running).collect();
    // Newest first.
    assert_eq!(running, [2, 0, 0, 2]);
}
