//! Number formats of the layers, by their names in sweep files.

use std::str::FromStr;

use tch::{Kind, TchError, Tensor};

/// The number format that a model computes with. Parameters, their gradients, the optimiser and the loss are always float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// float32 throughout, as PyTorch by default.
    Fp32,
    /// bfloat16 within the layers, as under `torch.autocast(dtype=torch.bfloat16)`.
    Bf16,
}

/// An unknown precision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("precision \"{found}\" is not known; use \"fp32\" or \"bf16\"")]
pub struct UnknownPrecision {
    /// What was asked for.
    pub found: String,
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "fp32" => Ok(Self::Fp32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(UnknownPrecision { found: name.to_owned() }),
        }
    }
}

impl Precision {
    /// Its name in sweep files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        }
    }

    /// The tensor in the format that layers compute with; its gradient comes back in its own.
    pub(super) fn of(self, tensor: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Fp32 => Ok(tensor.shallow_clone()),
            Self::Bf16 => tensor.f_to_kind(Kind::BFloat16),
        }
    }
}
