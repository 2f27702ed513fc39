//! What the pages say, in both languages, and how they are laid out.

use super::*;

#[test]
fn failures_are_grouped_with_the_numbers_of_their_jobs() {
    let jobs: Vec<_> = (1..=31)
        .map(|number| {
            let failed = Job {
                state: Some(JobState::Failed),
                reason: format!("the trainer was killed by SIGSEGV in epoch {number}"),
                ..point(number, "relu", 0.1, 32)
            };
            (failed, Vec::new())
        })
        .collect();
    let header = header(31, JobCounts { failed: 31, ..JobCounts::default() });
    for (language, what, why) in [
        (Language::English, "failed, 31 jobs", "the trainer was killed by SIGSEGV in epoch … (jobs 1–31)"),
        (
            Language::Japanese,
            "失敗, 31 ジョブ",
            "エポック … でトレーナーが SIGSEGV により強制終了されました (ジョブ 1–31)",
        ),
    ] {
        let folder = write(&header, &jobs, language);
        assert!(read(&folder, "report.md").contains(&format!("- **{what}**: {why}\n")));
        assert!(read(&folder, "report.html").contains(&format!("<li><strong>{what}</strong>: {why}</li>")));
    }
}

#[test]
fn a_table_that_is_too_wide_for_paper_is_printed_in_parts_that_have_every_column() {
    let (_, header, jobs) = gallery::kinds().into_iter().find(|(name, ..)| *name == "long-names").unwrap();
    let page = read(&write(&header, &jobs, Language::English), "report.html");
    let headings = |table: &str| -> Vec<String> {
        let head = table.split("</thead>").next().unwrap();
        head.split("</th>").filter_map(|cell| Some(cell.rsplit_once('>')?.1.to_owned())).collect()
    };
    let tables: Vec<&str> = page.split("<table").skip(1).collect();
    assert!(tables[0].starts_with(" class=\"sorts screen\""));
    let whole = headings(tables[0]);
    let mut printed = vec!["Job".to_owned()];
    for table in tables[1..].iter().take_while(|table| table.starts_with(" class=\"paper\"")) {
        let part = headings(table);
        assert_eq!(part[0], "Job");
        printed.extend(part.into_iter().skip(1).filter(|heading| !heading.is_empty()));
    }
    assert_eq!(printed, whole.into_iter().filter(|heading| !heading.is_empty()).collect::<Vec<_>>());
}

#[test]
fn the_objective_is_next_to_the_job_where_many_parameters_would_hide_it() {
    let headings = |kind: &str| -> Vec<String> {
        let (_, header, jobs) = gallery::kinds().into_iter().find(|(name, ..)| *name == kind).unwrap();
        let page = read(&write(&header, &jobs, Language::English), "report.html");
        let head = page.split("</thead>").next().unwrap();
        head.split("</th>").filter_map(|cell| Some(cell.rsplit_once('>')?.1.to_owned())).collect()
    };
    let many = headings("many-parameters");
    assert_eq!(many[..2], ["Job", "Validation accuracy"], "{many:?}");
    assert!(many[2].starts_with("a_parameter_with_a_long_name"), "{many:?}");
    let few = headings("ties");
    assert_eq!(few[1], "Activation", "{few:?}");
}

#[test]
fn a_japanese_report_says_nothing_in_english_that_is_its_own() {
    let (_, mut header, jobs) = gallery::kinds().into_iter().find(|(name, ..)| *name == "troubled").unwrap();
    let dataset = header.dataset.as_mut().unwrap();
    dataset.skipped = vec!["cat.1.jpg".into()];
    dataset.skipped_count = 9;
    let folder = write(&header, &jobs, Language::Japanese);
    for name in ["report.md", "report.html", "figures/time-vs-accuracy.svg", "figures/learning-curves.svg"] {
        let text = read(&folder, name);
        let text = text.split_once("</style>").map_or(text.as_str(), |(_, body)| body);
        for english in [
            "done",
            "failed",
            "cancelled",
            "job ",
            "jobs",
            "epoch ",
            "more",
            "request",
            "scale",
            "loss",
            " s<",
        ] {
            let known =
                ["val_loss", "job_timeout"].iter().fold(text.to_owned(), |text, own| text.replace(own, ""));
            let tags = known.contains(english)
                && known
                    .split('<')
                    .any(|part| part.split_once('>').is_some_and(|(_, text)| text.contains(english)));
            assert!(
                !tags && (name.ends_with("html") || name.ends_with("svg") || !known.contains(english)),
                "{name}: {english}"
            );
        }
    }
    assert!(read(&folder, "report.md").contains("cat.1.jpg、ほか 8 件"));
}

#[test]
fn times_of_packs_are_named_as_such_and_their_sum_as_an_estimate() {
    let jobs: Vec<_> = (1..=4)
        .map(|number| {
            let (mut job, epochs) = job(point(number, "relu", 0.0001, 32), 0.7, 100.0);
            job.pack_size = if number < 4 { 3 } else { 1 };
            (job, epochs)
        })
        .collect();
    let header = some_header();
    for (language, told) in [
        (Language::English, ["is that of its whole pack", "about 200.0 s (an estimate"]),
        (
            Language::Japanese,
            ["まとめたジョブすべて", "およそ 200.0 秒 (まとめて学習したジョブがあるため概数)"],
        ),
    ] {
        let folder = write(&header, &jobs, language);
        for name in ["report.md", "report.html"] {
            let page = read(&folder, name);
            assert!(!page.contains("counts once") && !page.contains("ひとつとして"), "{page}");
            assert!(told.iter().all(|text| page.contains(text)), "{page}");
        }
        assert!(read(&folder, "results.csv").lines().nth(1).unwrap().contains(",0.7,0.5,3,"));
    }
    let alone = write(&header, &some_jobs(), Language::English);
    let page = read(&alone, "report.md");
    assert!(!page.contains("Jobs at a time") && !page.contains("estimate"), "{page}");
}

#[test]
fn what_was_loaded_and_what_was_not_used_is_shown_in_both_languages() {
    let mut header = some_header();
    let dataset = header.dataset.as_mut().unwrap();
    dataset.train_by_class = vec![500, 300];
    dataset.val_by_class = vec![120, 80];
    dataset.validation = "val".into();
    let (reason, detail, count) = ("other_format".into(), ".gif".into(), 16);
    dataset.left_out = vec![LeftOut { reason, detail, count, examples: vec!["cat/1.gif".into()] }];
    for (language, left_out) in
        [(Language::English, "files that are not read"), (Language::Japanese, "読み込まない形式のファイル")]
    {
        let folder = write(&header, &some_jobs(), language);
        let page = read(&folder, "report.md");
        for told in ["800 (cat 500, dog 300)", "200 (cat 120, dog 80)", left_out, ".gif: 16", ": val\n"] {
            assert!(page.contains(told), "{told}: {page}");
        }
        let json: serde_json::Value = serde_json::from_str(&read(&folder, "results.json")).unwrap();
        assert_eq!(json["sweep"]["dataset"]["left_out"][0]["count"], 16);
    }
}

#[test]
fn jobs_of_trainers_and_versions_that_say_less_are_shown_as_they_are() {
    let (mut job, mut epochs) = job(point(1, "relu", 0.0001, 32), 0.788, 296.99);
    (job.best_epoch, job.best_metrics) = (None, MetricRow::default());
    (job.started_unix_ms, job.ended_unix_ms) = (0, 0);
    for row in epochs.iter_mut().map(|epoch| &mut epoch.metrics).chain([&mut job.metrics]) {
        [VAL_LOSS, TRAIN_ACCURACY].into_iter().for_each(|place| set(row, place, MISSING));
    }
    let header = header(1, JobCounts { done: 1, ..JobCounts::default() });
    let folder = write(&header, &[(job, epochs)], Language::English);
    let page = read(&folder, "report.md");
    assert!(!page.contains("Validation loss") && !page.contains("Training accuracy"), "{page}");
    assert!(page.contains("| Best epoch |"), "which was the best is known all the same: {page}");
    assert!(read(&folder, "results.csv").ends_with(",0.788,0.5,1,,,2,0.788,,,\n"));
    assert!(read(&folder, "epochs.csv").ends_with(",0.788,148.495,,\n"));
}

#[test]
fn where_all_jobs_failed_the_page_says_that_none_is_done() {
    let failed = some_jobs().split_off(3);
    let header = header(1, JobCounts { failed: 1, ..JobCounts::default() });
    for (language, told) in
        [(Language::English, ": no job is done\n"), (Language::Japanese, ": 完了したジョブはありません\n")]
    {
        let page = read(&write(&header, &failed, language), "report.md");
        assert!(page.contains(told) && !page.contains("yet") && !page.contains("まだありません"), "{page}");
        // What happened stands in the place of a table and figures without a number.
        let happened = [
            "an epoch, so that there is neither a table of results nor a figure: 1 job (1 failed)",
            "(1 件: 失敗 1)",
        ];
        assert!(happened.iter().any(|text| page.contains(text)), "{page}");
        assert!(
            !page.contains("Table 1") && !page.contains("表1") && !page.contains("figures/time"),
            "{page}"
        );
    }
}

#[test]
fn jobs_that_never_started_are_shown_as_such() {
    let never = Job { state: Some(JobState::Cancelled), ..point(5, "relu", 0.1, 32) };
    let header = header(5, JobCounts { cancelled: 1, ..JobCounts::default() });
    for (language, told) in [
        (Language::English, "cancelled, 1 job**: never started; the sweep was stopped or cancelled (job 5)"),
        (
            Language::Japanese,
            "取り消し, 1 ジョブ**: 開始されませんでした (スイープが停止または取り消されました) (ジョブ 5)",
        ),
    ] {
        let page = read(&write(&header, &[(never.clone(), Vec::new())], language), "report.md");
        assert!(page.contains(told), "{page}");
    }
}

#[test]
fn a_target_that_was_reached_is_named() {
    let reached = Sweep {
        state: Some(SweepState::Stopped),
        stopped: Some("job 1 reached the target of 0.9 with val_accuracy = 0.91".to_owned()),
        ..some_header()
    };
    for (language, told) in [
        (Language::English, "**Stopped**: job 1 reached the target of 0.9 with val\\_accuracy = 0.91"),
        (Language::Japanese, "ジョブ 1 が目標値 0.9 に達しました (val\\_accuracy = 0.91)"),
    ] {
        let page = read(&write(&reached, &some_jobs(), language), "report.md");
        assert!(page.contains(told), "{page}");
    }
}

#[test]
fn the_parameters_of_a_job_are_written_so_that_they_can_be_typed_again() {
    let rate = 0.000_340_123_456_789_012_3;
    let jobs = [job(point(1, "relu", rate, 32), 0.9, 1.0), job(point(2, "relu", 0.01, 32), 0.8, 1.0)];
    let folder = write(&header(2, JobCounts { done: 2, ..JobCounts::default() }), &jobs, Language::English);
    // In the question, in the line of the best job, in its row (a page has rows for screens and for paper), in the conclusion.
    for (page, times) in [("report.md", 4), ("report.html", 5)] {
        assert_eq!(read(&folder, page).matches(&rate.to_string()).count(), times, "{page}");
    }
}
