//! The analysis of small sweeps whose answers are known, and of those that are degenerate.

mod bounds;
mod golden;
mod interaction;
mod pairs;
mod rounding;
mod verdict;

use terms::{
    DatasetSummary, Goal, MetricUse, Objective, ParameterMap, ParameterValue,
    manifest::{Manifest, builtins_described},
};

use super::*;

/// A job: its parameters, and how it ended.
type Job = (Vec<(&'static str, ParameterValue)>, End);

fn text(text: &str) -> ParameterValue {
    ParameterValue::Text(text.to_owned())
}

fn whole(number: i64) -> ParameterValue {
    ParameterValue::Integer(number)
}

/// A collector for a sweep of the built-in model, which has a seed and, as its objective, a share of images, if there are some.
fn collector(goal: Goal, varying: &[String], images: u64, jobs: u64) -> Collector {
    let objective = Objective { name: "val_accuracy".into(), goal, used: MetricUse::Last };
    let manifest = builtins_described()[0].manifest();
    let dataset = DatasetSummary { val_images: images, ..DatasetSummary::default() };
    Collector::new(&objective, varying, Some(manifest), Some(&dataset), jobs)
}

fn collected(goal: Goal, varying: &[&str], jobs: &[Job]) -> Collector {
    with_images(goal, varying, 0, jobs)
}

fn with_images(goal: Goal, varying: &[&str], images: u64, jobs: &[Job]) -> Collector {
    let names: Vec<String> = varying.iter().map(|name| (*name).to_owned()).collect();
    let mut collector = collector(goal, &names, images, jobs.len() as u64);
    for (number, (parameters, end)) in (1..).zip(jobs) {
        let map = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        collector.job(number, &ParameterMap(map.collect()), *end);
    }
    collector
}

fn analysis(varying: &[&str], jobs: &[Job]) -> Analysis {
    collected(Goal::Maximize, varying, jobs).analyze()
}

/// The experiment of the original report: both activations, four rates, both batch sizes.
fn experiment(seeds: i64) -> Vec<Job> {
    let mut jobs = Vec::new();
    for activation in ["relu", "sigmoid"] {
        for rate in [0.01, 0.005, 0.0001, 0.00005] {
            for batch in [32, 64] {
                for seed in 0..seeds {
                    let learns = activation == "relu" && rate < 0.001;
                    let value = if learns { 0.788 } else { 0.5 };
                    let value = value + batch as f64 * 1e-5 + ((seed * 7 + batch) % 5) as f64 * 1e-4;
                    let parameters = vec![
                        ("activation", text(activation)),
                        ("learning_rate", ParameterValue::Float(rate)),
                        ("batch_size", whole(batch)),
                        ("seed", whole(seed)),
                    ];
                    jobs.push((parameters, End::Done(Some(value))));
                }
            }
        }
    }
    jobs
}

const VARYING: [&str; 3] = ["activation", "learning_rate", "batch_size"];
const WITH_SEED: [&str; 4] = ["activation", "learning_rate", "batch_size", "seed"];

#[test]
fn a_complete_grid_has_exact_shares_and_no_intervals() {
    let analysis = analysis(&VARYING, &experiment(1));
    let Importance { method, items, rest, no_interval, .. } = &analysis.importance;
    assert_eq!((*method, *no_interval), (Method::GridAnova, Some(NoInterval::TrainedOnce)));
    let share = |name: &str| items.iter().find(|item| item.parameter == name).unwrap().share;
    // A product of two halves has a third of its variance in each, and a third in their interaction.
    for name in ["activation", "learning_rate"] {
        assert!((share(name) - 1.0 / 3.0).abs() < 1e-3, "{name} {}", share(name));
    }
    assert!(share("batch_size") < 1e-4 && (rest.unwrap() - 1.0 / 3.0).abs() < 1e-3);
    assert!(items.iter().all(|item| item.interval.is_none()));
}

#[test]
fn a_grid_that_was_trained_with_several_seeds_has_repeats() {
    let analysis = analysis(&WITH_SEED, &experiment(3));
    assert_eq!((analysis.points, analysis.jobs.counted), (16, 48));
    assert_eq!(analysis.importance.method, Method::GridAnova);
    assert_eq!(analysis.importance.items.len(), 3, "the seed is no parameter");
    assert!(analysis.importance.items.iter().all(|item| item.interval.is_none()));
    assert_eq!(analysis.importance.no_interval, Some(NoInterval::NotComputed));
    let repeats = analysis.repeats.unwrap();
    assert_eq!((repeats.points, repeats.items.len(), repeats.items[0].count), (16, 16, 3));
    assert!(repeats.items[0].interval.unwrap().contains(repeats.items[0].mean));
    let verdict = analysis.best.unwrap();
    assert_eq!((verdict.test, verdict.best.count), (Some(Test::Welch), 3));
    assert_eq!(verdict.separable, Some(false));
    // Its neighbour in the rate; those with the other batch size and those that do not learn are told from it.
    assert_eq!(verdict.not_separable, Some(1));
}

#[test]
fn an_effect_has_a_mean_for_each_value_and_differences_between_equal_points() {
    let analysis = analysis(&VARYING, &experiment(1));
    let batch = &analysis.effects[2];
    assert_eq!(batch.parameter, "batch_size");
    assert_eq!(batch.levels.iter().map(|level| level.count).collect::<Vec<_>>(), [8, 8]);
    let [pair] = batch.pairs.as_slice() else { panic!("{:?}", batch.pairs) };
    assert_eq!((&pair.first, &pair.second, pair.pairs), (&whole(32), &whole(64), 8));
    assert!((pair.difference - 0.00052).abs() < 1e-9, "{pair:?}");
    // The levels lie far apart from each other for other reasons, which are in their intervals and not in the pairs.
    assert!(batch.levels[0].interval.unwrap().contains(batch.levels[1].mean.unwrap()));
    let rates = &analysis.effects[1];
    assert_eq!((rates.levels.len(), rates.pairs.len()), (4, 6));
    assert_eq!(rates.levels[0].value, Some(ParameterValue::Float(0.00005)));
    assert_eq!(rates.pairs[0].pairs, 4);
}

#[test]
fn only_a_metric_that_counts_images_has_the_error_of_a_proportion() {
    let mut manifest = builtins_described()[0].manifest().as_ref().clone();
    let dataset = DatasetSummary { val_images: 100, ..DatasetSummary::default() };
    let objective = Objective { name: "val_accuracy".into(), goal: Goal::Maximize, used: MetricUse::Last };
    let tested = |manifest: &Manifest| {
        let names = ["activation".to_owned()];
        let mut collector = Collector::new(&objective, &names, Some(manifest), Some(&dataset), 2);
        for (number, name, value) in [(1, "relu", 0.9), (2, "gelu", 0.5)] {
            let parameters = ParameterMap(vec![("activation".to_owned(), text(name))]);
            collector.job(number, &parameters, End::Done(Some(value)));
        }
        collector.analyze().best.unwrap().test
    };
    assert_eq!(tested(&manifest), Some(Test::Newcombe));
    manifest.metrics.iter_mut().for_each(|metric| metric.share_of = None);
    assert_eq!(tested(&manifest), None, "its name says nothing");
}

#[test]
fn trainings_that_diverged_beyond_all_others_are_in_ranges_of_their_own() {
    let job = |rate: f64, end| (vec![("rate", ParameterValue::Float(rate))], end);
    let mut jobs: Vec<Job> = (1..=40).map(|n| job(f64::from(n) / 400.0, End::Done(Some(0.5)))).collect();
    jobs.extend((1..=10).map(|n| job(0.1 + f64::from(n), End::Diverged)));
    jobs.push(job(0.0001, End::Diverged));
    let analysis = analysis(&["rate"], &jobs);
    let levels = &analysis.effects[0].levels;
    let diverged: Vec<u64> = levels.iter().map(|level| level.diverged).collect();
    assert_eq!((diverged.first(), diverged.last()), (Some(&1), Some(&10)), "{levels:?}");
    assert_eq!(diverged.iter().sum::<u64>(), 11);
    let (first, last) = (levels[0].range.unwrap(), levels.last().unwrap().range.unwrap());
    assert_eq!((first.from, first.to, last.from, last.to), (0.0001, 0.0001, 1.1, 10.1));
}

#[test]
fn trainings_are_compared_by_seed_where_a_single_parameter_varies() {
    let job = |rate, seed, value| {
        (vec![("rate", ParameterValue::Float(rate)), ("seed", whole(seed))], End::Done(Some(value)))
    };
    let jobs: Vec<Job> = (0..4)
        .flat_map(|seed| {
            let noise = [0.0, 0.3, -0.2, 0.1][seed as usize];
            [job(0.1, seed, 0.5 + noise), job(0.2, seed, 0.51 + noise + 0.001 * seed as f64)]
        })
        .collect();
    let analysis = analysis(&["rate", "seed"], &jobs);
    assert_eq!(analysis.effects[0].levels[0].count, 4);
    let pair = &analysis.effects[0].pairs[0];
    assert_eq!(pair.pairs, 4);
    // What the seed brings falls out.
    assert!(pair.interval.unwrap().low > 0.0 && pair.p.unwrap() < 0.05, "{pair:?}");
}

#[test]
fn where_several_parameters_vary_trainings_of_a_point_count_once() {
    let analysis = analysis(&WITH_SEED, &experiment(5));
    assert_eq!(analysis.effects[2].levels[0].count, 8);
    assert_eq!(analysis.effects[2].pairs[0].pairs, 8);
}

#[test]
fn shares_of_images_are_told_apart_by_their_number() {
    let job = |activation, value| (vec![("activation", text(activation))], End::Done(Some(value)));
    let jobs = [job("a", 0.80), job("b", 0.79), job("c", 0.5)];
    let verdict =
        |images| with_images(Goal::Maximize, &["activation"], images, &jobs).analyze().best.unwrap();
    let small = verdict(5_000);
    assert_eq!(
        (small.test, small.models),
        (Some(Test::Newcombe), Some(Models { differ: false, not_told: 1 }))
    );
    assert!(small.best.interval.unwrap().contains(0.80) && small.p.is_none());
    let large = verdict(500_000);
    assert_eq!(large.models, Some(Models { differ: true, not_told: 0 }));
    // What one training of each says is nothing of their configurations.
    for once in [small, large] {
        assert_eq!((once.separable, once.not_separable), (None, None));
    }
    // No number of images, or none of which it would be a share.
    let untested = analysis(&["activation"], &jobs).best.unwrap();
    assert_eq!((untested.test, untested.not_tested), (None, Some(NotTested::NoRepeats)));
    assert_eq!((untested.separable, untested.models), (None, None));
    assert!((untested.difference.unwrap() - 0.01).abs() < 1e-12);
    let beyond = [job("a", 1.5), job("b", 0.79)];
    let beyond = with_images(Goal::Maximize, &["activation"], 100, &beyond).analyze().best.unwrap();
    assert_eq!(beyond.not_tested, Some(NotTested::NoRepeats));
}

#[test]
fn jobs_that_are_no_values_are_counted_and_enter_no_mean() {
    let job = |rate: i64, end| (vec![("rate", whole(rate))], end);
    let jobs = [
        job(1, End::Done(Some(0.5))),
        job(1, End::Done(Some(f64::NAN))),
        job(1, End::Done(Some(f64::INFINITY))),
        job(1, End::Done(None)),
        job(2, End::Diverged),
        job(2, End::Unfinished),
    ];
    let analysis = analysis(&["rate"], &jobs);
    let Counted { counted, diverged, without_value, unfinished, not_looked_at } = analysis.jobs;
    assert_eq!((counted, diverged, without_value, unfinished, not_looked_at), (1, 1, 3, 1, 0));
    let levels = &analysis.effects[0].levels;
    assert_eq!((levels[0].count, levels[0].mean, levels[0].interval), (1, Some(0.5), None));
    assert_eq!((levels[1].count, levels[1].mean, levels[1].diverged), (0, None, 1));
    assert_eq!(analysis.best.unwrap().not_tested, Some(NotTested::OnlyOne));
    assert_eq!(analysis.importance.method, Method::AllEqual);
}

#[test]
fn nothing_is_said_of_nothing() {
    let nothing = analysis(&["rate"], &[]);
    assert_eq!((nothing.best, nothing.best_of.len(), nothing.points), (None, 0, 0));
    assert_eq!(nothing.importance.method, Method::NothingVaries);
    let one = analysis(&[], &[(vec![], End::Done(Some(1.0)))]);
    assert_eq!((one.effects.len(), one.best_of.len()), (0, 1));
    assert_eq!(one.importance.method, Method::NothingVaries);
    let unfinished = analysis(&["rate"], &[(vec![("rate", whole(1))], End::Unfinished)]);
    assert_eq!((unfinished.jobs.unfinished, unfinished.best), (1, None));
    let diverged = analysis(
        &["rate"],
        &[(vec![("rate", whole(1))], End::Diverged), (vec![("rate", whole(2))], End::Diverged)],
    );
    assert_eq!((diverged.best, diverged.points), (None, 0));
    let alike: Vec<Job> = (0..30).map(|rate| (vec![("rate", whole(rate))], End::Done(Some(0.5)))).collect();
    let alike = analysis(&["rate"], &alike);
    assert_eq!(alike.importance.method, Method::AllEqual);
    assert!(alike.best_of.iter().all(|best| (best.expected - 0.5).abs() < 1e-12));
}

#[test]
fn a_few_points_that_are_no_grid_have_no_importance() {
    let job = |a: i64, b: i64, value| (vec![("a", whole(a)), ("b", whole(b))], End::Done(Some(value)));
    let three = analysis(&["a", "b"], &[job(1, 1, 0.1), job(1, 2, 0.2), job(2, 1, 0.3)]);
    assert_eq!(
        (three.importance.method, three.importance.no_interval),
        (Method::TooFew, Some(NoInterval::NotComputed))
    );
    let four = analysis(&["a", "b"], &[job(1, 1, 0.1), job(1, 2, 0.2), job(2, 1, 0.3), job(2, 2, 0.4)]);
    assert_eq!(four.importance.method, Method::GridAnova);
    let rest = four.importance.rest.unwrap();
    assert!(rest < 1e-12, "effects that add up leave nothing: {rest}");
}

#[test]
fn a_parameter_that_not_every_job_has_is_compared_among_those_that_have_it() {
    let sgd = |momentum, value| {
        (
            vec![("optimizer", text("sgd")), ("momentum", ParameterValue::Float(momentum))],
            End::Done(Some(value)),
        )
    };
    let adam = (vec![("optimizer", text("adam"))], End::Done(Some(0.9)));
    let analysis = analysis(&["optimizer", "momentum"], &[sgd(0.0, 0.5), sgd(0.9, 0.7), adam]);
    let momentum = &analysis.effects[1];
    assert_eq!(momentum.levels.len(), 3);
    assert!(momentum.levels[2].absent && momentum.levels[2].value.is_none());
    assert_eq!(momentum.pairs.len(), 1);
    assert!((momentum.pairs[0].difference - 0.2).abs() < 1e-12);
    assert!(analysis.effects[0].pairs.is_empty(), "no sgd is equal to adam in its momentum");
}

#[test]
fn a_few_numbers_are_shown_each_by_itself() {
    let jobs: Vec<Job> = (1..=6)
        .map(|n| (vec![("rate", ParameterValue::Float(0.1 * f64::from(n)))], End::Done(Some(f64::from(n)))))
        .collect();
    let analysis = analysis(&["rate"], &jobs);
    let means: Vec<Option<f64>> = analysis.effects[0].levels.iter().map(|level| level.mean).collect();
    assert_eq!(means, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(Some));
}

#[test]
fn many_numbers_are_put_into_ranges_with_as_many_points_each() {
    let jobs: Vec<Job> = (0..100)
        .map(|n| (vec![("rate", ParameterValue::Float(0.1 * f64::from(n)))], End::Done(Some(f64::from(n)))))
        .collect();
    let analysis = analysis(&["rate"], &jobs);
    let levels = &analysis.effects[0].levels;
    assert_eq!(levels.len(), 8);
    assert!(levels.iter().all(|level| (12..=13).contains(&level.count)), "{levels:?}");
    assert!(levels.windows(2).all(|two| two[0].range.unwrap().to < two[1].range.unwrap().from));
    assert_eq!((levels[0].range.unwrap().from, levels[7].range.unwrap().to), (0.0, 0.1 * 99.0));
    assert!(analysis.effects[0].pairs.is_empty());
}

#[test]
fn the_only_parameter_has_no_importance_as_nothing_else_could_have_it() {
    let job = |rate: i64, value| (vec![("rate", whole(rate)), ("seed", whole(rate))], End::Done(Some(value)));
    // A complete grid of one parameter, and a search in which a point came twice; chance alone would give all of the variance to it.
    for count in [3, 30] {
        let mut jobs: Vec<Job> = (0..count).map(|rate| job(rate, mixed(rate as u64) as f64)).collect();
        for _ in 0..2 {
            let importance = analysis(&["rate", "seed"], &jobs).importance;
            assert_eq!((importance.method, importance.rest), (Method::OneParameter, None));
            assert!(importance.items.is_empty(), "{importance:?}");
            jobs.push(job(0, 0.5));
        }
    }
}

#[test]
fn of_many_texts_those_with_the_most_points_are_listed_and_the_rest_counted() {
    let jobs: Vec<Job> = (0..90)
        .map(|n: i64| {
            (vec![("name", text(&format!("n{}", n % 30))), ("x", whole(n))], End::Done(Some(n as f64)))
        })
        .collect();
    let analysis = analysis(&["name", "x"], &jobs);
    assert_eq!((analysis.effects[0].levels.len(), analysis.effects[0].left_out), (20, 10));
}

#[test]
fn of_many_texts_those_at_which_everything_diverged_are_listed_and_those_left_out_are_counted() {
    let job = |name: i64, x: i64, end| (vec![("name", text(&format!("n{name}"))), ("x", whole(x))], end);
    let mut jobs: Vec<Job> = (0..24).map(|name| job(name, name, End::Done(Some(0.5)))).collect();
    jobs.push(job(23, 24, End::Diverged));
    jobs.extend((0..3).map(|x| job(30, 30 + x, End::Diverged)));
    jobs.extend((0..10).map(|name| job(40 + name, 40 + name, End::Diverged)));
    let effect = &analysis(&["name", "x"], &jobs).effects[0];
    let at = |name: &str| effect.levels.iter().find(|level| level.value == Some(text(name)));
    assert_eq!(at("n30").map(|level| (level.count, level.diverged)), Some((0, 3)), "{effect:?}");
    assert_eq!(at("n23").map(|level| (level.count, level.diverged)), Some((1, 1)), "{effect:?}");
    assert_eq!((effect.levels.len(), effect.left_out, effect.diverged_left_out), (20, 15, 10));
}

#[test]
fn the_same_jobs_give_the_same_analysis() {
    let jobs: Vec<Job> = (0..200_i64)
        .map(|n| {
            let rate = ParameterValue::Float(mixed(n as u64) as f64);
            let parameters =
                vec![("rate", rate), ("name", text(&format!("n{}", n % 7))), ("seed", whole(n % 3))];
            (parameters, End::Done(Some((n % 13) as f64)))
        })
        .collect();
    let names = ["rate", "name", "seed"];
    assert_eq!(analysis(&names, &jobs), analysis(&names, &jobs));
    let items = analysis(&names, &jobs).importance.items;
    assert!(items.iter().all(|item| item.interval.is_some() && item.by_chance.is_none()), "{items:?}");
}

#[test]
fn of_too_many_jobs_an_even_choice_is_looked_at_and_the_rest_counted() {
    let count = 4 * JOBS_MAX;
    let mut collector = collector(Goal::Maximize, &["a".to_owned(), "b".to_owned()], 0, count);
    for number in 1..=count {
        let value = number as f64;
        let parameters = vec![
            ("a".to_owned(), whole((number % 2) as i64)),
            ("b".to_owned(), ParameterValue::Float(value)),
        ];
        collector.job(number, &ParameterMap(parameters), End::Done(Some(value)));
    }
    let analysis = collector.analyze();
    let looked_at = analysis.jobs.counted;
    assert_eq!(looked_at + analysis.jobs.not_looked_at, count);
    assert!((looked_at as f64 / JOBS_MAX as f64 - 1.0).abs() < 0.02, "{looked_at}");
    let levels = &analysis.effects[0].levels;
    assert!((levels[0].count as f64 / levels[1].count as f64 - 1.0).abs() < 0.02, "{levels:?}");
    assert_eq!(analysis.best, None, "it may not have been looked at");
}

proptest::proptest! {
    #[test]
    fn nothing_makes_it_fail(
        jobs in proptest::collection::vec(
            (0_i64..4, 0_usize..6, proptest::num::f64::ANY, proptest::option::of(0_i64..3), 0_u8..6), 0..80),
        maximize: bool,
        images in 0_u64..3,
    ) {
        let jobs: Vec<Job> = jobs.into_iter().map(|(a, b, value, c, end)| {
            let mut parameters = vec![("a", whole(a)), ("b", match b {
                0 => ParameterValue::Null,
                1 => ParameterValue::Boolean(true),
                2 => ParameterValue::Float(1.0),
                3 => whole(1),
                n => text(&n.to_string()),
            })];
            parameters.extend(c.map(|c| ("c", ParameterValue::Float(c as f64 * 1e300))));
            if value.is_finite() {
                parameters.push(("d", ParameterValue::Float(value.floor())));
            }
            parameters.push(("seed", whole(a + 1)));
            let end = match end { 0 => End::Diverged, 1 => End::Unfinished, 2 => End::Done(None), _ => End::Done(Some(value)) };
            (parameters, end)
        }).collect();
        let goal = if maximize { Goal::Maximize } else { Goal::Minimize };
        let analysis = with_images(goal, &["a", "b", "c", "d", "seed"], images, &jobs).analyze();
        proptest::prop_assert!(serde_json::to_string(&analysis).is_ok());
        let counted = analysis.jobs;
        let all = counted.counted + counted.diverged + counted.without_value + counted.unfinished;
        proptest::prop_assert_eq!(all, jobs.len() as u64);
        for item in &analysis.importance.items {
            proptest::prop_assert!(item.share.is_nan() || (-1e-9..=1.0 + 1e-9).contains(&item.share));
        }
    }
}

#[test]
fn the_seed_of_a_program_is_no_parameter_of_interest() {
    let objective = Objective { name: "score".into(), goal: Goal::Maximize, used: MetricUse::Last };
    let names = ["rate".to_owned(), "seed".to_owned()];
    let mut collector = Collector::new(&objective, &names, None, None, 4);
    for (number, (rate, seed, score)) in (1..).zip([(1, 1, 0.5), (1, 2, 0.7), (2, 1, 0.6), (2, 2, 0.8)]) {
        let map = [("rate".to_owned(), whole(rate)), ("seed".to_owned(), whole(seed))];
        collector.job(number, &ParameterMap(map.into()), End::Done(Some(score)));
    }
    let analysis = collector.analyze();
    assert_eq!(analysis.points, 2, "trainings of one rate are one point");
    assert!(analysis.effects.iter().all(|effect| effect.parameter != "seed"));
    let best = analysis.best.unwrap().best;
    assert_eq!((best.job, best.count), (3, 2));
}
