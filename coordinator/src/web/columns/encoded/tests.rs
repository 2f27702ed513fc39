//! Columns as they are read again.

use terms::ParameterValue;

use super::*;

/// The columns of an answer by name, as a page reads them.
fn decoded(bytes: &[u8]) -> (Value, Vec<(String, Vec<f64>)>) {
    let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    assert_eq!((4 + length) % ALIGNMENT, 0);
    let head: Value = serde_json::from_slice(&bytes[4..4 + length]).unwrap();
    let (mut at, mut columns) = (4 + length, Vec::new());
    for column in head["columns"].as_array().unwrap() {
        if column["kind"] == "f64" {
            at = at.next_multiple_of(8);
        }
        let length = usize::try_from(column["bytes"].as_u64().unwrap()).unwrap();
        let data = &bytes[at..at + length];
        let numbers = match column["kind"].as_str().unwrap() {
            "u8" => data.iter().map(|byte| f64::from(*byte)).collect(),
            "u16" => data.chunks(2).map(|two| u16::from_le_bytes(two.try_into().unwrap()).into()).collect(),
            "u32" => data.chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap()).into()).collect(),
            "f64" => data.chunks(8).map(|eight| f64::from_le_bytes(eight.try_into().unwrap())).collect(),
            _ => data.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()).into()).collect(),
        };
        columns.push((column["name"].as_str().unwrap().to_owned(), numbers));
        at += length.next_multiple_of(4);
    }
    assert_eq!(at, bytes.len());
    (head, columns)
}

#[test]
fn columns_are_read_back_as_they_were() {
    let few = ParameterColumn::Few {
        values: vec![ParameterValue::Text("relu".into()), ParameterValue::Null],
        indexes: vec![1, 0, ParameterColumn::ABSENT],
    };
    let columns = JobColumns {
        jobs: vec![1, 2, 70_000],
        states: vec![JobState::Done, JobState::Running, JobState::Failed],
        epochs_done: vec![300, 1, 0],
        objectives: vec![0.5, f32::NAN, -1.0],
        train_seconds: vec![1.5, 0.0, 0.25],
        pack_sizes: vec![1, 4, 4],
        parameters: vec![
            ("activation".into(), few),
            ("rate".into(), ParameterColumn::Numbers(vec![0.5, 0.25, f32::NAN])),
        ]
        .into(),
        left_out: 7,
        ..JobColumns::default()
    };
    let (head, read) = decoded(&encode(&columns, Part::Exact, "one"));
    assert_eq!((head["rows"].as_u64(), head["left_out"].as_u64()), (Some(3), Some(7)));
    let of = |name: &str| &read.iter().find(|(known, _)| known == name).unwrap().1;
    assert_eq!(*of("job"), [1.0, 2.0, 70_000.0]);
    assert_eq!(*of("epochs_done"), [300.0, 1.0, 0.0]);
    assert_eq!(*of("pack_size"), [1.0, 4.0, 4.0]);
    assert!(of("objective")[1].is_nan() && of("objective")[2] == -1.0);
    assert_eq!(*of("parameter:activation"), [1.0, 0.0, 2.0]);
    assert_eq!(of("parameter:rate")[..2], [0.5, 0.25]);
    let states = head["columns"][1]["values"].as_array().unwrap();
    let shown: Vec<_> = of("state").iter().map(|at| states[*at as usize].as_str().unwrap()).collect();
    assert_eq!(shown, ["done", "running", "failed"]);
}

#[test]
fn integers_are_sent_with_all_their_digits() {
    let columns = JobColumns {
        jobs: vec![1, 2, 3],
        states: vec![JobState::Done; 3],
        epochs_done: vec![1; 3],
        objectives: vec![0.5; 3],
        train_seconds: vec![1.0; 3],
        pack_sizes: vec![1; 3],
        parameters: vec![
            ("seed".into(), ParameterColumn::Exact(vec![123_456_789.0, 0.0, 4_294_967_295.0])),
            ("gap".into(), ParameterColumn::Exact(vec![123_456_789.0, f64::NAN, 1.0])),
            ("long".into(), ParameterColumn::Exact(vec![-1.0, 9_007_199_254_740_991.0, 0.0])),
        ]
        .into(),
        ..JobColumns::default()
    };
    for part in [Part::Exact, Part::Coarse] {
        let (head, read) = decoded(&encode(&columns, part, "one"));
        let of = |name: &str| &read.iter().find(|(known, _)| known == name).unwrap().1;
        assert_eq!(*of("parameter:seed"), [123_456_789.0, 0.0, 4_294_967_295.0]);
        assert_eq!((of("parameter:gap")[0], of("parameter:gap")[1].is_nan()), (123_456_789.0, true));
        assert_eq!(*of("parameter:long"), [-1.0, 9_007_199_254_740_991.0, 0.0]);
        let kinds: Vec<&Value> =
            head["columns"].as_array().unwrap().iter().map(|column| &column["kind"]).collect();
        assert_eq!(kinds[6..], ["u32", "f64", "f64"]);
    }
}

#[test]
fn a_page_of_a_hundred_thousand_jobs_with_eight_parameters_is_sent_in_less_than_three_megabytes() {
    let count = 100_000_u32;
    // Numbers that share nothing.
    let scattered = |place: u32| {
        let number = move |job: u32| (job.wrapping_mul(2_654_435_761).wrapping_add(place << 13) >> 8) as f32;
        (1..=count).map(move |job| number(job) / 16_777_216.0).collect::<Vec<f32>>()
    };
    let mut parameters: Vec<_> =
        (2..10).map(|place| (format!("p{place}"), ParameterColumn::Numbers(scattered(place)))).collect();
    parameters[0].1 = ParameterColumn::Numbers((0..count).map(|job| (job % 1_000) as f32).collect());
    let columns = JobColumns {
        jobs: (1..=count).collect(),
        states: vec![JobState::Done; count as usize],
        epochs_done: vec![3; count as usize],
        objectives: scattered(0),
        train_seconds: scattered(1),
        pack_sizes: vec![1; count as usize],
        parameters: parameters.into(),
        ..JobColumns::default()
    };
    let [exact, coarse, first, parameters] =
        [Part::Exact, Part::Coarse, Part::First, Part::Rest].map(|part| encode(&columns, part, "one"));
    let sent = first.len() + parameters.len();
    assert!(sent < 2_400_000, "{sent} bytes, and {} with all digits", exact.len());
    assert!(first.len() < 800_000, "{} bytes come first", first.len());
    let (first, parameters) = (decoded(&first), decoded(&parameters));
    assert_eq!(decoded(&coarse).1, [&first.1[..], &parameters.1[..]].concat());
    for (part, has_parameters) in [(&first, false), (&parameters, true)] {
        assert_eq!((&part.0["has_parameters"], &part.0["version"]), (&has_parameters.into(), &"one".into()));
        assert_eq!(part.0["parameters"], serde_json::json!(["p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"]));
    }
    let of = |name: &str| {
        let (head, read) = if name.starts_with("parameter:") { &parameters } else { &first };
        let heads = head["columns"].as_array().unwrap();
        heads.iter().zip(read).find(|(head, _)| head["name"] == name).unwrap()
    };
    assert_eq!(of("job").0["run"], serde_json::json!({"first": 1, "step": 1}));
    assert_eq!(of("pack_size").0["run"], serde_json::json!({"first": 1, "step": 0}));
    let objectives = &of("objective").1.1;
    assert!(objectives.iter().zip(&columns.objectives).all(|(sent, known)| *sent == f64::from(*known)));
    assert_eq!((&of("parameter:p2").0["kind"], of("parameter:p2").1.1[999]), (&"u16".into(), 999.0));
    assert_eq!(
        (&of("parameter:p2").0["scale"], &of("parameter:p3").0["scale"]["is_log"]),
        (&Value::Null, &true.into())
    );
}

#[test]
fn jobs_have_another_version_when_anything_of_them_changes_or_a_parameter_begins_to_vary() {
    let columns = || JobColumns {
        jobs: vec![1, 2],
        states: vec![JobState::Done, JobState::Running],
        epochs_done: vec![2, 1],
        objectives: vec![0.5, f32::NAN],
        train_seconds: vec![1.0, 2.0],
        pack_sizes: vec![1, 1],
        parameters: vec![("rate".into(), ParameterColumn::Numbers(vec![0.5, 0.25]))].into(),
        ..JobColumns::default()
    };
    let changes: [fn(&mut JobColumns); 10] = [
        |_| {},
        |columns| columns.jobs[1] = 3,
        |columns| columns.states[1] = JobState::Done,
        |columns| columns.epochs_done[1] = 2,
        |columns| columns.objectives[1] = 0.5,
        |columns| columns.train_seconds[1] = 3.0,
        |columns| columns.pack_sizes[1] = 2,
        |columns| columns.left_out = 1,
        |columns| columns.maximize = true,
        |columns| columns.parameters = Vec::new().into(),
    ];
    let mut versions: Vec<String> = changes
        .iter()
        .map(|change| {
            let mut changed = columns();
            change(&mut changed);
            version(&changed)
        })
        .collect();
    assert_eq!(versions[0], version(&columns()));
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), changes.len());
}
