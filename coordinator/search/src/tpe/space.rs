//! The space in numbers: dimensions, the conditions under which they have a value, and points. Names, texts and types of
//! values are the caller's.

use rand_chacha::ChaCha8Rng;

use super::normal::uniform;

/// Two numbers are the same value of a dimension if they differ by less than this part of a step.
const SAME_CELL: f64 = 1e-9;

/// One parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    /// Its values.
    pub domain: Domain,
    /// What must hold for it to have a value: all of them. Usually empty.
    pub when: Vec<Condition>,
}

/// The values of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Domain {
    /// Any number of a range; with a step, `low`, `low + step` and so on up to `high`.
    Float { low: f64, high: f64, log: bool, step: Option<f64> },
    /// Whole numbers, `step` apart. They are numbers of 64 bits here, so exact up to 2⁵³.
    Integer { low: i64, high: i64, step: i64, log: bool },
    /// One of so many choices. A value is the index of one.
    Categorical { choices: u32 },
}

/// Requires of another dimension that it has one of some values.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// Its index.
    pub dimension: usize,
    pub values: Vec<f64>,
}

/// For each dimension its value, or none where its conditions do not hold.
pub type Point = Vec<Option<f64>>;

/// Why there is no space of some dimensions. Each names the index of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    #[error("dimension {0} has no value, or only one: its range is empty")]
    Empty(usize),
    #[error(
        "dimension {0} has a number without a logarithm on its logarithmic scale, or reaches to infinity"
    )]
    Logarithm(usize),
    #[error("dimension {0} depends on one that does not exist, or on itself")]
    Condition(usize),
}

/// The dimensions, ready to compute with.
#[derive(Debug, Clone)]
pub(super) struct Space {
    pub(super) scales: Vec<Scale>,
    conditions: Vec<Vec<Condition>>,
    /// The indexes of the dimensions, each after those that it depends on.
    order: Vec<usize>,
}

/// How values of a dimension become coordinates, in which densities are computed: the logarithm of the value on a logarithmic scale,
/// else the value. What has no value has the coordinate NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// `low` and `high` are coordinates, `least` and `most` the values there.
    Continuous {
        low: f64,
        high: f64,
        least: f64,
        most: f64,
        log: bool,
    },
    Discrete(Cells),
    Categorical {
        choices: u32,
    },
}

/// Values at equal distances. Each stands for the cell of half a step to both sides of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cells {
    /// The first value.
    first: f64,
    step: f64,
    pub(super) count: u64,
    log: bool,
    /// The coordinates of the lower end of the first cell and the upper end of the last.
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Cells {
    fn new(first: f64, last: f64, step: f64, log: bool) -> Self {
        // Steps such as 0.1 do not divide their range exactly.
        let count = libm::floor((last - first) / step + SAME_CELL) + 1.0;
        let coordinate = |value: f64| if log { libm::log(value) } else { value };
        let low = coordinate(Self::lower_end(first, step, log));
        let high = coordinate(first + (count - 0.5) * step);
        Self { first, step, count: count as u64, log, low, high }
    }

    /// Half a step below a value. Where that is not above zero, which has no logarithm, half the value.
    fn lower_end(value: f64, step: f64, log: bool) -> f64 {
        let end = value - 0.5 * step;
        if log && end <= 0.0 { 0.5 * value } else { end }
    }

    fn value(&self, cell: u64) -> f64 {
        self.first + cell as f64 * self.step
    }

    /// The cell whose value is closest.
    fn of(&self, value: f64) -> u64 {
        let cell = libm::round((value - self.first) / self.step);
        (cell.max(0.0) as u64).min(self.count - 1)
    }

    /// The coordinates of the ends of the cell of a value, given as its coordinate.
    pub(super) fn ends(&self, coordinate: f64) -> (f64, f64) {
        if !self.log {
            return (coordinate - 0.5 * self.step, coordinate + 0.5 * self.step);
        }
        let value = self.value(self.of(libm::exp(coordinate)));
        (libm::log(Self::lower_end(value, self.step, true)), libm::log(value + 0.5 * self.step))
    }
}

impl Scale {
    fn new(domain: Domain) -> Option<Self> {
        match domain {
            Domain::Float { low, high, log, step: None } if low < high => {
                let coordinate = |value: f64| if log { libm::log(value) } else { value };
                Some(Self::Continuous {
                    low: coordinate(low),
                    high: coordinate(high),
                    least: low,
                    most: high,
                    log,
                })
            }
            Domain::Float { low, high, log, step: Some(step) } if low <= high && step > 0.0 => {
                Some(Self::Discrete(Cells::new(low, high, step, log)))
            }
            Domain::Integer { low, high, step, log } if low <= high && step > 0 => {
                Some(Self::Discrete(Cells::new(low as f64, high as f64, step as f64, log)))
            }
            Domain::Categorical { choices } if choices > 0 => Some(Self::Categorical { choices }),
            _ => None,
        }
    }

    /// Whether each coordinate is a number, a logarithm of something positive, and so is their distance.
    fn is_finite(&self) -> bool {
        match *self {
            Self::Continuous { low, high, .. } | Self::Discrete(Cells { low, high, .. }) => {
                low.is_finite() && high.is_finite() && (high - low).is_finite()
            }
            Self::Categorical { .. } => true,
        }
    }

    /// How many values there are; none where they cannot be counted.
    fn count(&self) -> Option<u64> {
        match self {
            Self::Continuous { .. } => None,
            Self::Discrete(cells) => Some(cells.count),
            Self::Categorical { choices } => Some(u64::from(*choices)),
        }
    }

    pub(super) fn coordinate(&self, value: f64) -> f64 {
        match self {
            Self::Continuous { log: true, .. } => libm::log(value),
            Self::Discrete(cells) => {
                let value = cells.value(cells.of(value));
                if cells.log { libm::log(value) } else { value }
            }
            _ => value,
        }
    }

    /// The value at a coordinate: of a discrete dimension the closest one.
    pub(super) fn value(&self, coordinate: f64) -> f64 {
        match self {
            // Rounding may lead just outside.
            Self::Continuous { least, most, log, .. } => {
                let value = if *log { libm::exp(coordinate) } else { coordinate };
                value.clamp(*least, *most)
            }
            Self::Discrete(cells) => {
                let value = if cells.log { libm::exp(coordinate) } else { coordinate };
                cells.value(cells.of(value))
            }
            Self::Categorical { .. } => coordinate,
        }
    }

    /// The same value as the dimension itself has it: with a step such as 0.1, sums of steps differ from what is written
    /// in the last digits.
    fn own_value(&self, value: f64) -> f64 {
        match self {
            Self::Discrete(cells) => {
                let own = cells.value(cells.of(value));
                if (own - value).abs() <= SAME_CELL * cells.step { own } else { value }
            }
            _ => value,
        }
    }

    /// The number of a value among those of the dimension.
    fn digit(&self, value: f64) -> u64 {
        match self {
            Self::Discrete(cells) => cells.of(value),
            _ => value as u64,
        }
    }

    fn value_of_digit(&self, digit: u64) -> f64 {
        match self {
            Self::Discrete(cells) => cells.value(digit),
            _ => digit as f64,
        }
    }

    /// A value drawn evenly, on a logarithmic scale by its logarithm.
    fn draw(&self, random: &mut ChaCha8Rng) -> f64 {
        let share = uniform(random);
        match self {
            Self::Continuous { low, high, .. } | Self::Discrete(Cells { low, high, .. }) => {
                self.value(low + share * (high - low))
            }
            Self::Categorical { choices } => libm::floor(share * f64::from(*choices)),
        }
    }
}

impl Space {
    pub(super) fn new(dimensions: &[Dimension]) -> Result<Self, SpaceError> {
        let mut scales = Vec::new();
        for (index, dimension) in dimensions.iter().enumerate() {
            let scale = Scale::new(dimension.domain).ok_or(SpaceError::Empty(index))?;
            if !scale.is_finite() {
                return Err(SpaceError::Logarithm(index));
            }
            scales.push(scale);
        }
        let own = |condition: &Condition| {
            let scale = scales.get(condition.dimension);
            let values =
                condition.values.iter().map(|value| scale.map_or(*value, |scale| scale.own_value(*value)));
            Condition { values: values.collect(), ..*condition }
        };
        let conditions: Vec<Vec<Condition>> =
            dimensions.iter().map(|dimension| dimension.when.iter().map(own).collect()).collect();
        let mut order: Vec<usize> = Vec::new();
        while order.len() < conditions.len() {
            let is_ready = |index: &usize| {
                !order.contains(index)
                    && conditions[*index].iter().all(|condition| order.contains(&condition.dimension))
            };
            let ready: Vec<usize> = (0..conditions.len()).filter(is_ready).collect();
            if ready.is_empty() {
                let open = (0..conditions.len()).find(|index| !order.contains(index));
                return Err(SpaceError::Condition(open.unwrap_or_default()));
            }
            order.extend(ready);
        }
        Ok(Self { scales, conditions, order })
    }

    pub(super) fn has_conditions(&self) -> bool {
        self.conditions.iter().any(|conditions| !conditions.is_empty())
    }

    /// Makes a point: each dimension whose conditions hold gets the value that `value` gives it.
    pub(super) fn point(&self, mut value: impl FnMut(usize) -> f64) -> Point {
        let mut point = vec![None; self.scales.len()];
        for dimension in &self.order {
            let holds = |condition: &Condition| {
                point[condition.dimension].is_some_and(|value| condition.values.contains(&value))
            };
            if self.conditions[*dimension].iter().all(holds) {
                point[*dimension] = Some(value(*dimension));
            }
        }
        point
    }

    /// A point drawn evenly.
    pub(super) fn draw(&self, random: &mut ChaCha8Rng) -> Point {
        self.point(|dimension| self.scales[dimension].draw(random))
    }

    pub(super) fn coordinates(&self, point: &[Option<f64>]) -> Vec<f64> {
        let value = |index: usize| point.get(index).copied().flatten();
        let coordinate =
            |(index, scale): (usize, &Scale)| value(index).map_or(f64::NAN, |value| scale.coordinate(value));
        self.scales.iter().enumerate().map(coordinate).collect()
    }

    /// How many combinations of values there are, conditions aside; none where they cannot be counted.
    pub(super) fn combinations(&self) -> Option<u64> {
        self.scales.iter().try_fold(1_u64, |product, scale| product.checked_mul(scale.count()?))
    }

    /// The number of a point among the combinations. A parameter without a value counts as one with its first.
    pub(super) fn number(&self, point: &[Option<f64>]) -> u64 {
        self.scales.iter().zip(point).fold(0, |number, (scale, value)| {
            number * scale.count().unwrap_or(1) + value.map_or(0, |value| scale.digit(value))
        })
    }

    /// The point with this number; that of another number where it has parameters without a value.
    pub(super) fn point_of_number(&self, number: u64) -> Point {
        let mut rest = number;
        let mut digits = vec![0; self.scales.len()];
        for (digit, scale) in digits.iter_mut().zip(&self.scales).rev() {
            let count = scale.count().unwrap_or(1);
            *digit = rest % count;
            rest /= count;
        }
        self.point(|dimension| self.scales[dimension].value_of_digit(digits[dimension]))
    }
}
