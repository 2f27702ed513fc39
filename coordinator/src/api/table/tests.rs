//! Sorting, filtering and pages of small tables.

use proptest::prelude::*;

use super::*;

fn columns() -> JobColumns {
    let few = |values: Vec<ParameterValue>, indexes: Vec<u32>| ParameterColumn::Few { values, indexes };
    let text = |text: &str| ParameterValue::Text(text.to_owned());
    use JobState::{Done, Failed, Running};
    JobColumns {
        jobs: vec![1, 2, 3, 5, 12],
        states: vec![Done, Done, Failed, Running, Done],
        epochs_done: vec![4, 4, 0, 2, 4],
        objectives: vec![0.5, 0.75, f32::NAN, f32::NAN, 0.5],
        train_seconds: vec![1.0, 2.0, 0.0, 0.5, 3.0],
        best_epochs: vec![4.0, 3.0, f32::NAN, 1.0, 4.0],
        attempts: vec![1, 1, 3, 1, 2],
        workers: few(vec![text("gpu-a"), text("gpu-b")], vec![0, 1, 0, 1, 0]),
        parameters: vec![
            (
                "activation".into(),
                few(
                    vec![text("Tanh"), text("relu"), ParameterValue::Null],
                    vec![0, 1, 2, 1, ParameterColumn::ABSENT],
                ),
            ),
            ("rate".into(), ParameterColumn::Numbers(vec![0.1, 0.01, 0.001, f32::NAN, 0.012])),
            (
                "Seed".into(),
                ParameterColumn::Exact(vec![987_654_321.0, 987_654_322.0, 1.0, f64::NAN, 98_765.0]),
            ),
            (
                "width_rate".into(),
                few(
                    vec![ParameterValue::Integer(16), ParameterValue::Integer(1)],
                    vec![0, 1, ParameterColumn::ABSENT, 0, 0],
                ),
            ),
        ]
        .into(),
        metrics: vec![("loss".into(), vec![2.0, 1.0, f32::NAN, 3.0, 0.5])],
        ..JobColumns::default()
    }
}

fn asked(question: Question) -> Vec<u64> {
    columns()
        .page(&Question { page: question.page.max(1), rows: question.rows.max(100), ..question })
        .unwrap()
        .jobs
}

#[test]
fn jobs_are_sorted_by_any_column_and_those_without_a_value_come_last() {
    for (sort, is_falling, expected) in [
        ("job", true, [12, 5, 3, 2, 1]),
        ("objective", true, [2, 1, 12, 3, 5]),
        ("objective", false, [1, 12, 2, 3, 5]),
        ("state", false, [1, 2, 12, 3, 5]),
        ("epochs_done", false, [3, 5, 1, 2, 12]),
        ("train_seconds", true, [12, 2, 1, 5, 3]),
        ("best_epoch", true, [1, 12, 2, 5, 3]),
        ("attempts", true, [3, 12, 1, 2, 5]),
        ("worker", false, [1, 3, 12, 2, 5]),
        // Names by the alphabet, in which capitals come first.
        ("parameter:activation", false, [1, 3, 2, 5, 12]),
        ("parameter:activation", true, [2, 5, 3, 1, 12]),
        ("parameter:rate", false, [3, 2, 12, 1, 5]),
        ("parameter:Seed", true, [2, 1, 12, 3, 5]),
        ("metric:loss", false, [12, 2, 1, 5, 3]),
        ("metric:unheard", false, [1, 2, 3, 5, 12]),
    ] {
        let found = asked(Question { sort: sort.into(), is_falling, ..Question::default() });
        assert_eq!(found, expected, "{sort} {is_falling}");
    }
    let refused = columns().page(&Question { sort: "odd".into(), ..Question::default() }).unwrap_err();
    assert!(refused.to_string().contains("there is no column \"odd\""), "{refused}");
    for column in TABLE_COLUMNS {
        assert!(refused.to_string().contains(column), "{column}: {refused}");
        assert_eq!(asked(Question { sort: column.into(), ..Question::default() }).len(), 5, "{column}");
    }
    let unknown = Question { sort: "parameter:odd".into(), ..Question::default() };
    assert!(columns().page(&unknown).is_err());
}

#[test]
fn words_are_found_in_numbers_states_workers_and_parameters() {
    for (text, expected) in [
        ("", vec![1, 2, 3, 5, 12]),
        ("RELU", vec![2, 5]),
        ("activation=tanh", vec![1]),
        ("activation", vec![1, 2, 3, 5]),
        ("activation=", vec![1, 2, 3, 5]),
        ("activation=rel", vec![]),
        ("activation=null", vec![3]),
        ("null", vec![3]),
        ("rate=0.01", vec![2]),
        ("rate=1e-2", vec![2]),
        ("rate=0.0", vec![]),
        ("rate=", vec![1, 2, 3, 12]),
        ("=0.1", vec![1]),
        ("rate", vec![1, 2, 3, 5, 12]),
        ("0.01", vec![2, 12]),
        ("seed=987654321", vec![1]),
        ("seed=987654336", vec![]),
        ("seed>987654321", vec![2]),
        ("seed<=98765", vec![3, 12]),
        ("987654322", vec![2]),
        ("width_rate=1", vec![2]),
        ("width_rate=16.0", vec![1, 5, 12]),
        ("width_rate=", vec![1, 2, 5, 12]),
        ("odd_rate=1", vec![]),
        ("rate<0.012", vec![2, 3]),
        ("rate<=0.01", vec![2, 3]),
        ("rate>0.01", vec![1, 12]),
        ("rate>=0.1", vec![1]),
        ("done", vec![1, 2, 12]),
        ("gpu-b", vec![2, 5]),
        ("gpu-b relu done", vec![2]),
        ("12", vec![12]),
        ("other=1", vec![]),
        ("rate<", vec![]),
    ] {
        assert_eq!(asked(Question { text: text.into(), ..Question::default() }), expected, "{text}");
    }
}

#[test]
fn conditions_are_ranges_or_values_and_all_must_hold() {
    let condition = |column: &str, ranges: &[(Option<f64>, Option<f64>)], values: Vec<ParameterValue>| {
        Condition { column: column.into(), ranges: ranges.to_vec(), values }
    };
    let found = |conditions: Vec<Condition>| asked(Question { conditions, ..Question::default() });
    let rate = f64::from(0.01_f32);
    assert_eq!(found(vec![condition("parameter:rate", &[(None, Some(rate))], vec![])]), [2, 3]);
    let two = [(None, Some(0.005)), (Some(0.05), None)];
    assert_eq!(found(vec![condition("parameter:rate", &two, vec![])]), [1, 3]);
    let texts = vec![ParameterValue::Text("relu".into()), ParameterValue::Null];
    assert_eq!(found(vec![condition("parameter:activation", &[], texts.clone())]), [2, 3, 5]);
    let seed = vec![ParameterValue::Integer(987_654_322)];
    assert_eq!(found(vec![condition("parameter:Seed", &[], seed)]), [2]);
    assert_eq!(
        found(vec![condition("parameter:Seed", &[(Some(2.0), Some(987_654_321.0))], vec![])]),
        [1, 12]
    );
    let both = vec![
        condition("parameter:activation", &[], texts),
        condition("objective", &[(Some(0.6), None)], vec![]),
    ];
    assert_eq!(found(both), [2]);
    assert_eq!(found(vec![condition("state", &[], vec![ParameterValue::Text("failed".into())])]), [3]);
    assert_eq!(found(vec![condition("epochs_done", &[], vec![ParameterValue::Integer(2)])]), [5]);
    assert_eq!(found(vec![condition("job", &[], vec![])]), Vec::<u64>::new(), "nothing is one of no values");
}

#[test]
fn states_are_counted_whether_they_match_or_not() {
    let states = BTreeSet::from([JobState::Failed, JobState::Running]);
    let page = columns().page(&Question { states, page: 1, rows: 1, ..Question::default() }).unwrap();
    assert_eq!((page.jobs, page.matching, page.page), (vec![3], 2, 1));
    let counts = [(JobState::Running, 1), (JobState::Done, 3), (JobState::Failed, 1)];
    assert_eq!(page.states, BTreeMap::from(counts));
}

proptest! {
    /// All pages together are all matching jobs in their order, and a page beyond the last is the last.
    #[test]
    fn pages_follow_each_other(
        objectives in prop::collection::vec((0_u8..7).prop_map(|value| if value == 6 { f32::NAN } else { value.into() }), 0..40),
        size in 1_usize..9,
        is_falling: bool,
    ) {
        let count = objectives.len();
        let columns = JobColumns {
            jobs: (1..).take(count).collect(),
            states: vec![JobState::Done; count],
            objectives: objectives.clone(),
            ..JobColumns::default()
        };
        let page = |page| {
            let question = Question { sort: "objective".into(), is_falling, page, rows: size, ..Question::default() };
            columns.page(&question).unwrap()
        };
        let pages = count.div_ceil(size).max(1);
        let all: Vec<u64> = (1..=pages).flat_map(|number| page(number).jobs).collect();
        let last = page(pages + 3);
        prop_assert_eq!((last.page, last.matching), (pages, count));
        // Sorting keeps what is equal in the order of numbers.
        let mut expected: Vec<u64> = (1..).take(count).collect();
        expected.sort_by_key(|job| match objectives[*job as usize - 1] {
            value if value.is_nan() => i32::MAX,
            value if is_falling => -(value as i32),
            value => value as i32,
        });
        prop_assert_eq!(all, expected);
    }
}
