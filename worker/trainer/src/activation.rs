//! Activations, by their names in sweep files.

use std::str::FromStr;

use tch::{TchError, Tensor};

/// The function that a layer applies to its sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
}

/// An unknown activation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("activation \"{found}\" is not known; use \"relu\" or \"sigmoid\"")]
pub struct UnknownActivation {
    /// What was asked for.
    pub found: String,
}

impl FromStr for Activation {
    type Err = UnknownActivation;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "relu" => Ok(Self::Relu),
            "sigmoid" => Ok(Self::Sigmoid),
            _ => Err(UnknownActivation { found: name.to_owned() }),
        }
    }
}

impl Activation {
    /// Its name in sweep files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Sigmoid => "sigmoid",
        }
    }

    /// In place: neither pooling nor a linear layer needs its output for its gradient.
    pub(super) fn apply(self, mut sums: Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Relu => sums.f_relu_(),
            Self::Sigmoid => sums.f_sigmoid_(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_activation_is_named_with_the_known_ones() {
        let message = "activation \"tanh\" is not known; use \"relu\" or \"sigmoid\"";
        assert_eq!("tanh".parse::<Activation>().unwrap_err().to_string(), message);
    }
}
