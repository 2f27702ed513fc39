//! Activations, by their names in sweep files.

use std::str::FromStr;

use tch::{TchError, Tensor};

/// The function that a layer applies to its sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// tanh(x).
    Tanh,
    /// x · (1 + erf(x / √2)) / 2, not the approximation by tanh.
    Gelu,
    /// x, or x / 100 where that is negative.
    LeakyRelu,
    /// x / (1 + exp(-x)).
    Silu,
}

/// All of them, by their names.
const ALL: [(Activation, &str); 6] = [
    (Activation::Relu, "relu"),
    (Activation::Sigmoid, "sigmoid"),
    (Activation::Tanh, "tanh"),
    (Activation::Gelu, "gelu"),
    (Activation::LeakyRelu, "leaky_relu"),
    (Activation::Silu, "silu"),
];

/// An unknown activation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("activation \"{found}\" is not known; use one of {}", ALL.map(|(_, name)| name).join(", "))]
pub struct UnknownActivation {
    /// What was asked for.
    pub found: String,
}

impl FromStr for Activation {
    type Err = UnknownActivation;

    fn from_str(found: &str) -> Result<Self, Self::Err> {
        let named = ALL.into_iter().find(|(_, name)| *name == found);
        named.map(|(activation, _)| activation).ok_or_else(|| UnknownActivation { found: found.to_owned() })
    }
}

impl Activation {
    /// Its name in sweep files.
    pub fn as_str(self) -> &'static str {
        ALL.into_iter().find(|(one, _)| *one == self).map_or("", |(_, name)| name)
    }

    /// Whether it never falls. Then pooling before it gives the same values, with a quarter of the activations.
    pub(super) fn increases(self) -> bool {
        !matches!(self, Self::Gelu | Self::Silu)
    }

    /// In place where its gradient needs only the results: neither pooling nor a linear layer needs its output for its
    /// gradient.
    pub(super) fn apply(self, mut sums: Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Relu => sums.f_relu_(),
            Self::Sigmoid => sums.f_sigmoid_(),
            Self::Tanh => sums.f_tanh_(),
            Self::LeakyRelu => sums.f_leaky_relu_(),
            Self::Gelu | Self::Silu => self.of(&sums),
        }
    }

    /// In a tensor of its own.
    pub(super) fn of(self, sums: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Relu => sums.f_relu(),
            Self::Sigmoid => sums.f_sigmoid(),
            Self::Tanh => sums.f_tanh(),
            Self::Gelu => sums.f_gelu("none"),
            Self::LeakyRelu => sums.f_leaky_relu(),
            Self::Silu => sums.f_silu(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_name_and_an_unknown_one_is_named_with_the_known_ones() {
        for (activation, name) in ALL {
            assert_eq!((name.parse(), activation.as_str()), (Ok(activation), name));
        }
        let message =
            "activation \"elu\" is not known; use one of relu, sigmoid, tanh, gelu, leaky_relu, silu";
        assert_eq!("elu".parse::<Activation>().unwrap_err().to_string(), message);
    }

    #[test]
    fn each_is_its_formula_in_place_or_not() {
        let inputs = [-3.0_f64, -0.5, 0.0, 0.25, 2.0];
        // erf by its series, which converges fast for such numbers.
        let erf = |x: f64| {
            let terms = (0..40).scan(x, |term, n| {
                let own = *term / f64::from(2 * n + 1);
                *term *= -x * x / f64::from(n + 1);
                Some(own)
            });
            terms.sum::<f64>() * 2.0 / std::f64::consts::PI.sqrt()
        };
        let formula = |activation, x: f64| match activation {
            Activation::Relu => x.max(0.0),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
            Activation::Gelu => x * (1.0 + erf(x / 2.0_f64.sqrt())) / 2.0,
            Activation::LeakyRelu => {
                if x < 0.0 {
                    x / 100.0
                } else {
                    x
                }
            }
            Activation::Silu => x / (1.0 + (-x).exp()),
        };
        for (activation, name) in ALL {
            let sums = || Tensor::from_slice(&inputs);
            for found in [activation.of(&sums()), activation.apply(sums())] {
                let found = Vec::<f64>::try_from(found.unwrap()).unwrap();
                for (found, input) in found.iter().zip(inputs) {
                    let expected = formula(activation, input);
                    assert!((found - expected).abs() < 1e-12, "{name} of {input} is {found}, not {expected}");
                }
            }
        }
    }
}
