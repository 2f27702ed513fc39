//! The column `rungs` of a job: what it had reached at the epochs after which jobs are compared, such as `1:0.5>,3:0.75`. The
//! sign `>` says that the job trains on from there; `-` stands for no value. Numbers are written so that they are read
//! unchanged.

use domain::record::Rung;

use super::StoreError;

/// Reads the column.
pub(super) fn decoded(text: Option<&str>) -> Result<Vec<Rung>, StoreError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let rung = |part: &str| {
        let (epoch, rest) = part.split_once(':')?;
        let (value, goes_on) = match rest.strip_suffix('>') {
            Some(value) => (value, true),
            None => (rest, false),
        };
        let value = if value == "-" { None } else { Some(value.parse().ok()?) };
        Some(Rung { epoch: epoch.parse().ok()?, value, goes_on })
    };
    let corrupt = || StoreError::Corrupt(format!("the rungs of a job are {text:?}"));
    text.split(',').map(|part| rung(part).ok_or_else(corrupt)).collect()
}

fn encoded(rungs: &[Rung]) -> String {
    let rung = |Rung { epoch, value, goes_on }: &Rung| {
        let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:?}"));
        format!("{epoch}:{value}{}", if *goes_on { ">" } else { "" })
    };
    rungs.iter().map(rung).collect::<Vec<_>>().join(",")
}

/// The column with one more rung, or with another value at it.
pub(super) fn with(text: Option<&str>, rung: Rung) -> Result<String, StoreError> {
    let mut rungs = decoded(text)?;
    let place = rungs.partition_point(|known| known.epoch < rung.epoch);
    match rungs.get_mut(place).filter(|known| known.epoch == rung.epoch) {
        Some(known) => *known = rung,
        None => rungs.insert(place, rung),
    }
    Ok(encoded(&rungs))
}

/// The column of a job that goes on from its last rung.
pub(super) fn promoted(text: Option<&str>) -> Result<Option<String>, StoreError> {
    let mut rungs = decoded(text)?;
    if let Some(last) = rungs.last_mut() {
        last.goes_on = true;
    }
    Ok(text.map(|_| encoded(&rungs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_are_read_as_they_were_written() {
        let mut text = None;
        let rungs = [(1, Some(0.1 + 0.2)), (3, None), (9, Some(-1.5e-300))];
        for (epoch, value) in rungs {
            text = Some(with(text.as_deref(), Rung { epoch, value, goes_on: false }).unwrap());
            text = promoted(text.as_deref()).unwrap();
        }
        let text = with(text.as_deref(), Rung { epoch: 9, value: Some(2.0), goes_on: false }).unwrap();
        assert_eq!(text, "1:0.30000000000000004>,3:->,9:2.0");
        let read = decoded(Some(&text)).unwrap();
        assert_eq!(read[0], Rung { epoch: 1, value: Some(0.1 + 0.2), goes_on: true });
        assert_eq!(read[1], Rung { epoch: 3, value: None, goes_on: true });
        assert_eq!(read[2], Rung { epoch: 9, value: Some(2.0), goes_on: false });
        assert_eq!(decoded(None).unwrap(), []);
        assert_eq!(promoted(None).unwrap(), None);
    }

    #[test]
    fn what_is_no_list_of_rungs_is_corrupt() {
        for text in ["1", "1:", "x:1.0", "1:0.5,", "1:a>"] {
            assert!(matches!(decoded(Some(text)), Err(StoreError::Corrupt(_))), "{text}");
        }
    }
}
