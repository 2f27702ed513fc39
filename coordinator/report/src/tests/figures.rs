//! What the figures of whole reports show, and that nothing leaves them.

use super::{gallery::kinds, *};

/// A text of a drawing: where it is, as wide as the embedded font or a wider one makes it.
#[derive(Debug)]
struct Written {
    #[expect(dead_code, reason = "named where a test fails")]
    text: String,
    left: f64,
    right: f64,
    middle: f64,
    size: f64,
}

fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    element.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

fn number(element: &str, name: &str) -> f64 {
    attribute(element, name)
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("{name}: {element}"))
}

fn texts(svg: &str) -> Vec<Written> {
    svg.split("<text")
        .skip(1)
        .map(|rest| {
            let element = &rest[..rest.find("</text>").unwrap()];
            let (head, text) = element.split_once('>').unwrap();
            let (x, size) = (number(head, "x"), number(head, "font-size"));
            let width: f64 =
                text.chars().map(|sign| if sign.is_ascii() { 0.56 } else { 1.0 }).sum::<f64>() * size;
            let left = match attribute(head, "text-anchor") {
                Some("start") => x,
                Some("middle") => x - width / 2.0,
                _ => x - width,
            };
            Written {
                text: text.to_owned(),
                left,
                right: left + width,
                middle: number(head, "y") - 0.36 * size,
                size,
            }
        })
        .collect()
}

#[test]
fn no_text_leaves_its_figure_or_is_too_small_for_a_telephone() {
    for (name, header, jobs) in kinds() {
        for language in [Language::English, Language::Japanese] {
            let folder = write(&header, &jobs, language);
            let scatter = if header.manifest.is_some() { "accuracy" } else { "objective" };
            let mut figures =
                vec![format!("figures/time-vs-{scatter}.svg"), "figures/learning-curves.svg".to_owned()];
            // Where nothing varies, there are no effects.
            figures.extend(
                ["figures/effects.svg".to_owned()]
                    .into_iter()
                    .filter(|name| folder.path().join(name).exists()),
            );
            for figure in &figures {
                let svg = read(&folder, figure);
                let (width, height) = (number(&svg, "width"), number(&svg, "height"));
                for text in texts(&svg) {
                    let inside = text.left >= 0.0
                        && text.right <= width
                        && text.middle - text.size / 2.0 >= 0.0
                        && text.middle + text.size / 2.0 <= height;
                    assert!(inside, "{name}, {figure}: {text:?}");
                    // The page makes figures no narrower than this many pixels.
                    assert!(text.size * 720.0 / width > 9.0, "{name}, {figure}: {text:?}");
                }
            }
        }
    }
}

#[test]
fn the_figure_is_the_original_reports() {
    let header = header(16, JobCounts { done: 16, ..JobCounts::default() });
    let folder = write(&header, &whole_grid(), Language::Japanese);
    let svg = read(&folder, "figures/time-vs-accuracy.svg");
    for text in [
        "総学習時間と精度の関係(エポック2)",
        "総学習時間 [秒]",
        "エポック2時点の検証精度",
        ">lr=0.0001, bs=32, relu<",
    ] {
        assert!(svg.contains(text), "{text}");
    }
    // Each of the sixteen jobs has its label: its parameters, or its number where those have no place.
    let page = read(&folder, "report.md");
    assert!(!page.contains("ラベルがありません"), "{page}");
    let png = fs::read(folder.path().join("figures/time-vs-accuracy.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG") && png.len() > 20_000, "{}", png.len());
}

#[test]
fn of_many_jobs_the_best_and_the_worst_have_curves_and_the_others_are_counted() {
    let jobs: Vec<_> = (1..=48u64)
        .map(|n| job(point(100 + n, "relu", 1e-5 * n as f64, 32), 0.5 + n as f64 / 200.0, 10.0))
        .collect();
    let header = header(48, JobCounts { done: 48, ..JobCounts::default() });
    for (language, shown) in [
        (Language::English, "Drawn: the best 5 and the worst 3 of 48 jobs; 40 jobs are not drawn."),
        (
            Language::Japanese,
            "全 48 ジョブのうち上位 5 件と下位 3 件を表示しています。残りの 40 件は表示していません。",
        ),
    ] {
        let folder = write(&header, &jobs, language);
        for page in ["report.md", "report.html"] {
            assert!(read(&folder, page).contains(shown), "{}", read(&folder, page));
        }
        let svg = read(&folder, "figures/learning-curves.svg");
        for number in [148, 147, 146, 145, 144, 103, 102, 101] {
            // At both lines' ends and in the legend.
            assert_eq!(svg.matches(&format!(">{number}</text>")).count(), 3, "{number}");
        }
        assert!(svg.contains("lr=0.00048"), "{svg}");
    }
}

#[test]
fn a_few_jobs_all_have_curves() {
    let header = header(4, JobCounts { done: 2, ..JobCounts::default() });
    let folder = write(&header, &some_jobs()[..2], Language::English);
    assert!(!read(&folder, "report.md").contains("not drawn"));
    let svg = read(&folder, "figures/learning-curves.svg");
    assert!(svg.contains("lr=0.0001, bs=32, relu") && svg.contains("lr=0.00005, bs=64, relu"), "{svg}");
}

#[test]
fn losses_that_exploded_are_marked_at_the_edge_and_mentioned() {
    let mut jobs = whole_grid();
    jobs[2].1.iter_mut().for_each(|epoch| set(&mut epoch.metrics, TRAIN_LOSS, 3.2e14));
    let header = header(3, JobCounts { done: 3, ..JobCounts::default() });
    let folder = write(&header, &jobs[..3], Language::English);
    assert!(
        read(&folder, "report.md").contains("▲: the loss of 1 job goes beyond the axis, up to 3.2e14."),
        "{}",
        read(&folder, "report.md")
    );
    assert!(read(&folder, "figures/learning-curves.svg").contains("beyond the axis"));
}

#[test]
fn the_axis_of_losses_says_where_it_is_logarithmic() {
    let mut jobs = whole_grid();
    set(&mut jobs[0].1[0].metrics, TRAIN_LOSS, 20.0);
    let header = header(3, JobCounts { done: 3, ..JobCounts::default() });
    for (language, name) in [
        (Language::English, "Training loss (logarithmic scale)"),
        (Language::Japanese, "学習損失 (対数目盛)"),
    ] {
        assert!(read(&write(&header, &jobs[..3], language), "figures/learning-curves.svg").contains(name));
        let linear = write(&header, &jobs[1..3], language);
        assert!(!read(&linear, "figures/learning-curves.svg").contains(name));
    }
}

#[test]
fn jobs_that_did_not_finish_have_marks_of_their_own_and_those_without_results_are_counted() {
    let mut jobs = whole_grid();
    jobs[1].0.state = Some(JobState::Cancelled);
    jobs[2].0.state = Some(JobState::Failed);
    jobs.extend(some_jobs().split_off(2));
    let header =
        header(18, JobCounts { done: 14, failed: 2, cancelled: 1, diverged: 1, ..JobCounts::default() });
    for (language, strings) in [
        (Language::English, ["cancelled", "failed", "2 jobs are not drawn, as they have no epoch."]),
        (Language::Japanese, ["取り消し", "失敗", "エポックの記録がない 2 件のジョブは表示していません。"]),
    ] {
        let folder = write(&header, &jobs, language);
        let svg = read(&folder, "figures/time-vs-accuracy.svg");
        assert!(
            svg.contains(&format!(">{}</text>", strings[0]))
                && svg.contains(&format!(">{}</text>", strings[1]))
        );
        assert!(read(&folder, "report.md").contains(strings[2]), "{}", read(&folder, "report.md"));
    }
}

#[test]
fn jobs_at_one_place_have_one_label() {
    let same = |number| job(point(number, "relu", 0.1 * number as f64, 32), 0.5, 10.0);
    let header = |jobs| header(jobs, JobCounts { done: jobs, ..JobCounts::default() });
    for (numbers, language, label) in [
        (vec![3, 7, 9], Language::English, ">3, 7, 9</text>"),
        (vec![3, 4, 5, 6, 7], Language::English, ">3 and 4 others</text>"),
        (vec![3, 4, 5, 6, 7], Language::Japanese, ">3 ほか 4 件</text>"),
    ] {
        let jobs: Vec<_> = numbers.into_iter().map(same).collect();
        let folder = write(&header(jobs.len() as u64), &jobs, language);
        assert!(read(&folder, "figures/time-vs-accuracy.svg").contains(label), "{label}");
    }
}

#[test]
fn signs_that_the_font_lacks_are_replaced_and_mentioned() {
    let header = header(1, JobCounts { done: 1, ..JobCounts::default() });
    let folder = write(&header, &[job(point(1, "鑿", 0.1, 32), 0.5, 10.0)], Language::English);
    assert!(read(&folder, "figures/time-vs-accuracy.svg").contains('鑿'), "a browser has fonts of its own");
    assert!(read(&folder, "report.md").contains("〓 in the PNG stands for a character"));
}

#[test]
fn hostile_values_and_names_draw_nothing() {
    let mut hostile = header(2, JobCounts { done: 2, ..JobCounts::default() });
    let evil = "</text><script>alert(1)</script>\u{1b}[2J\u{0}\u{fffe}\"'&\n";
    hostile.varying = vec!["activation".into(), evil.into()];
    hostile.parameters.push(evil.into());
    hostile.name = evil.into();
    hostile.specification = "description: \"</pre><script>alert(1)</script>\"\nmethod: \"<script>\"\n".into();
    let jobs: Vec<_> = (1..=2)
        .map(|number| {
            let (mut job, epochs) = job(point(number, evil, 0.1, 32), 0.5 + number as f64 / 10.0, 10.0);
            job.parameters.0.push((evil.into(), ParameterValue::Text(format!("{evil}{number}"))));
            job.reason = evil.into();
            (job, epochs)
        })
        .collect();
    let folder = write(&hostile, &jobs, Language::English);
    let figures = ["figures/time-vs-accuracy.svg", "figures/learning-curves.svg", "figures/effects.svg"];
    for name in figures.into_iter().chain(["report.html", "report.md"]) {
        let text = read(&folder, name);
        // The sweep file is a block of code, in which nothing has a meaning.
        let text = if name.ends_with("md") { text.split("```yaml").next().unwrap() } else { &text };
        let own = usize::from(name == "report.html");
        assert_eq!(text.matches("<script").count(), own, "{name}");
        assert!(!text.contains(['\u{1b}', '\0']), "{name}");
    }
}

#[test]
fn figures_are_dark_on_a_dark_page_and_their_files_stay_light() {
    let folder = write(&some_header(), &some_jobs(), Language::English);
    let page = read(&folder, "report.html");
    let dark = page.split_once("@media screen and (prefers-color-scheme: dark) {").unwrap().1;
    let dark = dark.split("</style>").next().unwrap();
    let classes = page.split("class=\"").skip(1).filter_map(|rest| rest.split('"').next());
    for class in classes.flat_map(|classes| classes.split(' ')) {
        if class.starts_with("f-") || class.starts_with("s-") {
            assert!(dark.contains(&format!("figure .{class} {{")), "{class}");
        }
    }
    let svg = read(&folder, "figures/learning-curves.svg");
    assert!(svg.contains("fill=\"#ffffff\"") && !svg.contains("<style"));
}

#[test]
fn epochs_beyond_number_cost_no_more_than_can_be_seen() {
    let (mut long, _) = job(point(1, "relu", 0.1, 32), 0.5, 10.0);
    long.epochs_done = 50_000;
    let record =
        |number| Epoch { attempt: 1, number, metrics: MetricRow::new(&[0.5, 0.5]), ..Epoch::default() };
    let header = header(1, JobCounts { done: 1, ..JobCounts::default() });
    let folder = write(&header, &[(long, (1..=50_000).map(record).collect())], Language::English);
    assert!(read(&folder, "figures/learning-curves.svg").len() < 100_000);
}

/// 2 activations, 600 learning rates and 2 batch sizes, in the order of a grid.
fn large_grid() -> Vec<Trained> {
    let values = (0..1_200).flat_map(|value| [(value, 32), (value, 64)]);
    (1..)
        .zip(values)
        .map(|(number, (value, batch_size))| {
            let activation = if value < 600 { "relu" } else { "sigmoid" };
            let learning_rate = 1e-5 * f64::from(1 + value % 600);
            let place = number as f64 / 2_400.0;
            job(point(number, activation, learning_rate, batch_size), place, 10.0 + place)
        })
        .collect()
}

#[test]
fn points_of_a_large_grid_are_a_choice_of_all_its_values() {
    let header = header(2_400, JobCounts { done: 2_400, ..JobCounts::default() });
    let folder = write(&header, &large_grid(), Language::English);
    let svg = read(&folder, "figures/time-vs-accuracy.svg");
    let shown = |text: &str| svg.matches("<title>").count().min(svg.matches(text).count());
    let (small, large) = (shown("bs=32"), shown("bs=64"));
    assert!(small > 800 && large > 800, "{small} {large}");
    assert!(read(&folder, "report.md").contains("of 2400 jobs shown: the best and an even choice"));
}

#[test]
fn a_figure_names_an_epoch_only_where_it_is_that_of_every_job() {
    let header = header(2_400, JobCounts { done: 2_400, ..JobCounts::default() });
    let mut jobs = large_grid();
    let svg = read(&write(&header, &jobs, Language::English), "figures/time-vs-accuracy.svg");
    assert!(svg.contains("Training time and accuracy (epoch 2)"));
    let not_shown = jobs.iter_mut().find(|(job, _)| !svg.contains(&format!("<title>Job {}:", job.number)));
    not_shown.unwrap().0.epochs_done = 1;
    let svg = read(&write(&header, &jobs, Language::English), "figures/time-vs-accuracy.svg");
    assert!(svg.contains("Training time and accuracy (last epoch)"));
}

#[test]
fn points_without_a_label_are_counted_job_by_job() {
    // 60 places of two jobs each: as many as may have labels are labelled.
    let jobs: Vec<_> = (0..120u64)
        .map(|n| {
            let (column, row) = ((n / 2 % 10) as f64, (n / 20) as f64);
            job(point(n + 1, "relu", 0.1, 32), 0.9 - 0.1 * row, 10.0 + column)
        })
        .collect();
    let header = header(120, JobCounts { done: 120, ..JobCounts::default() });
    for (language, told) in [
        (Language::English, "40 points have no label: the best have one, as far as there is room."),
        (Language::Japanese, "40 個の点にはラベルがありません。"),
    ] {
        let page = read(&write(&header, &jobs, language), "report.md");
        assert!(page.contains(told), "{page}");
    }
}
