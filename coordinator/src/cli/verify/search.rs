//! `sweep verify SWEEP --search`: whether the points of a search that learns follow from the results that it had seen.

use proto::{parameters_from_wire, v1};
use serde_json::{Map, Value, json};
use terminal::text;
use terms::ParameterMap;

use super::undecided;
use crate::cli::{
    client::Target,
    failure::Failure,
    output::{Format, count, parameter_json, print, print_json},
};

/// Exits with 1 where something differs, and with 2 where nothing can be compared, as of a grid.
pub(super) async fn verify(sweep: u64, target: &Target, format: Format) -> Result<(), Failure> {
    let request = v1::VerifySearchRequest { sweep_id: sweep };
    let answer = target.call(async |client| client.verify_search(request).await).await.map_err(undecided)?;
    match format {
        Format::Json => print_json(&object(sweep, &answer))?,
        _ => print(&words(sweep, &answer))?,
    }
    match answer.differing {
        0 => Ok(()),
        differing => Err(Failure::operation(format!(
            "{differing} of {} of sweep {sweep} do not follow from what its search had seen: records were changed, or this \
             version proposes otherwise than the one that ran the sweep",
            count(answer.proposals, "point")
        ))),
    }
}

fn words(sweep: u64, answer: &v1::VerifySearchResponse) -> String {
    let v1::VerifySearchResponse { proposals, results, differing, differences } = answer;
    let mut lines = Vec::new();
    for difference in differences {
        let point = |point: &Option<v1::SearchPoint>| {
            let point = point.as_ref().map(|point| parameters_from_wire(point.parameters.clone()));
            point.map_or("no point".to_owned(), |parameters| written(&parameters))
        };
        let v1::ProposalDifference { point: number, recorded, computed } = difference;
        lines.push(format!(
            "point {number}: {} is recorded, {} is computed",
            point(recorded),
            point(computed)
        ));
    }
    let left_out = differing.saturating_sub(differences.len() as u64);
    if left_out > 0 {
        lines.push(format!("and {left_out} more"));
    }
    lines.push(format!(
        "{} of {} of sweep {sweep} follow from what its search had seen ({})",
        proposals - differing,
        count(*proposals, "point"),
        count(*results, "result")
    ));
    lines.join("\n") + "\n"
}

fn written(ParameterMap(parameters): &ParameterMap) -> String {
    let each = parameters.iter().map(|(name, value)| format!("{name}={value}"));
    text::line(&each.collect::<Vec<_>>().join(" ")).into_owned()
}

fn object(sweep: u64, answer: &v1::VerifySearchResponse) -> Value {
    let point = |point: &Option<v1::SearchPoint>| match point {
        None => Value::Null,
        Some(point) => {
            let parameters = parameters_from_wire(point.parameters.clone()).0;
            let each = parameters.into_iter().map(|(name, value)| (name, parameter_json(&value)));
            Value::Object(each.collect::<Map<_, _>>())
        }
    };
    let difference = |difference: &v1::ProposalDifference| {
        let v1::ProposalDifference { point: number, recorded, computed } = difference;
        json!({"point": number, "recorded": point(recorded), "computed": point(computed)})
    };
    json!({
        "sweep": sweep,
        "proposals": answer.proposals,
        "results": answer.results,
        "differing": answer.differing,
        "differences": answer.differences.iter().map(difference).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use proto::parameters_to_wire;
    use terms::ParameterValue;

    use super::*;

    fn point(rate: f64) -> Option<v1::SearchPoint> {
        let parameters = ParameterMap(vec![("rate".to_owned(), ParameterValue::Float(rate))]);
        Some(v1::SearchPoint { parameters: parameters_to_wire(parameters) })
    }

    #[test]
    fn points_that_differ_are_named_and_those_left_out_counted() {
        let differences = vec![
            v1::ProposalDifference { point: 3, recorded: point(0.5), computed: point(0.25) },
            v1::ProposalDifference { point: 4, recorded: point(1.0), computed: None },
        ];
        let answer = v1::VerifySearchResponse { proposals: 9, results: 7, differing: 5, differences };
        assert_eq!(
            words(1, &answer),
            "point 3: rate=0.5 is recorded, rate=0.25 is computed\n\
             point 4: rate=1 is recorded, no point is computed\n\
             and 3 more\n\
             4 of 9 points of sweep 1 follow from what its search had seen (7 results)\n"
        );
        let json = object(1, &answer);
        assert_eq!(
            (&json["differing"], &json["differences"][0]["computed"]["rate"]),
            (&json!(5), &json!(0.25))
        );
        assert_eq!(json["differences"][1]["computed"], Value::Null);
    }
}
