//! How the lines of the learning curves differ: by colour and dashes.

use super::svg::{DASHES, Ink, SERIES};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    pub(super) ink: Ink,
    pub(super) dash: &'static str,
}

/// The parameters that colours and dashes stand for, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) colour: usize,
    pub(super) dash: Option<usize>,
}

/// The look of each line, of which `values` has the parameters. Colours show the values of one parameter and dashes
/// those of another where that gives every line its own look; otherwise they have no meaning.
pub(super) fn looks(values: &[Vec<String>]) -> (Vec<Look>, Option<Meaning>) {
    if let Some(meaning) = meaning(values) {
        let colours = distinct(values, meaning.colour);
        let dashes = meaning.dash.map(|dash| (dash, distinct(values, dash)));
        let look = |line: &Vec<String>| {
            let position = |of: &[&str], value: &str| of.iter().position(|one| *one == value).unwrap_or(0);
            let dash = dashes.as_ref().map_or(0, |(dash, all)| position(all, &line[*dash]));
            let colour = position(&colours, &line[meaning.colour]);
            Look { ink: Ink::Series(colour), dash: DASHES[dash % DASHES.len()] }
        };
        return (values.iter().map(look).collect(), Some(meaning));
    }
    let look = |line: usize| Look { ink: Ink::Series(line), dash: DASHES[line / SERIES % DASHES.len()] };
    ((0..values.len()).map(look).collect(), None)
}

/// The parameters whose values give every line its own look, the one with more values as colour.
fn meaning(values: &[Vec<String>]) -> Option<Meaning> {
    let parameters = values.iter().map(Vec::len).min()?;
    if values.len() < 2 {
        return None;
    }
    let counts: Vec<usize> = (0..parameters).map(|parameter| distinct(values, parameter).len()).collect();
    let mut colours: Vec<usize> =
        (0..parameters).filter(|parameter| (2..=SERIES).contains(&counts[*parameter])).collect();
    colours.sort_by_key(|parameter| std::cmp::Reverse(counts[*parameter]));
    colours.into_iter().find_map(|colour| {
        if counts[colour] == values.len() {
            return Some(Meaning { colour, dash: None });
        }
        let dash = (0..parameters).find(|dash| {
            let mut pairs: Vec<(&str, &str)> =
                values.iter().map(|line| (line[colour].as_str(), line[*dash].as_str())).collect();
            pairs.sort_unstable();
            pairs.dedup();
            *dash != colour && counts[*dash] <= DASHES.len() && pairs.len() == values.len()
        })?;
        Some(Meaning { colour, dash: Some(dash) })
    })
}

/// The distinct values of a parameter, in numerical order where they are numbers.
fn distinct(values: &[Vec<String>], parameter: usize) -> Vec<&str> {
    let mut all: Vec<&str> = values.iter().map(|line| line[parameter].as_str()).collect();
    all.sort_by(|one, two| match (one.parse::<f64>(), two.parse::<f64>()) {
        (Ok(one), Ok(two)) => one.total_cmp(&two),
        _ => one.cmp(two),
    });
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(values: &[&[&str]]) -> Vec<Vec<String>> {
        values.iter().map(|line| line.iter().map(|value| (*value).to_owned()).collect()).collect()
    }

    #[test]
    fn colours_and_dashes_are_parameters_where_that_tells_all_lines_apart() {
        let grid = lines(&[&["relu", "1e-4"], &["relu", "0.01"], &["sigmoid", "0.001"], &["relu", "0.001"]]);
        let (looks, meaning) = looks(&grid);
        assert_eq!(meaning, Some(Meaning { colour: 1, dash: Some(0) }));
        let colours: Vec<_> = looks.iter().map(|look| look.ink).collect();
        assert_eq!(colours, [0, 2, 1, 1].map(Ink::Series), "in the order of numbers");
        assert_ne!(looks[2].dash, looks[3].dash);
    }

    #[test]
    fn otherwise_every_line_has_a_look_of_its_own_all_the_same() {
        let same = lines(&[&["relu"] as &[&str]; 8]);
        let (looks, meaning) = looks(&same);
        assert_eq!(meaning, None);
        for (position, look) in looks.iter().enumerate() {
            assert!(!looks[position + 1..].contains(look));
        }
        let (one, meaning) = super::looks(&lines(&[&[]]));
        assert_eq!((one.len(), meaning), (1, None));
    }
}
