//! The optimisers, by their names in sweep files, with PyTorch's meaning.

use tch::{TchError, Tensor};

use super::{
    adam::{Adam, AdamSettings, AdamState},
    sgd::Sgd,
};

/// An optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptimiserKind {
    /// Weight decay enters the gradients.
    Adam,
    /// Weight decay shrinks the parameters themselves.
    AdamW,
    /// Stochastic gradient descent, with a momentum if asked for.
    Sgd,
}

impl OptimiserKind {
    /// The one of this name in sweep files.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "adam" => Some(Self::Adam),
            "adamw" => Some(Self::AdamW),
            "sgd" => Some(Self::Sgd),
            _ => None,
        }
    }
}

/// How parameters are moved, the learning rate aside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimiserSettings {
    pub kind: OptimiserKind,
    /// Share of its velocity that each step of SGD keeps, in [0, 1); 0 for the others.
    pub momentum: f64,
    /// How strongly parameters are drawn to 0.
    pub weight_decay: f64,
}

impl OptimiserSettings {
    fn of_adam(&self) -> AdamSettings {
        let decoupled = self.kind == OptimiserKind::AdamW;
        AdamSettings { weight_decay: self.weight_decay, decoupled, ..AdamSettings::pytorch() }
    }
}

/// An optimiser with its state for one model.
#[derive(Debug)]
pub enum Optimiser {
    Adam(Adam),
    Sgd(Sgd),
}

/// A copy of all that an optimiser's later steps depend on: contiguous, float32, on the CPU.
#[derive(Debug)]
pub enum OptimiserState {
    Adam(AdamState),
    /// In the order of the parameters; empty without a momentum.
    Sgd {
        velocities: Vec<Tensor>,
    },
}

impl OptimiserState {
    /// All of its tensors.
    pub fn tensors(&self) -> Vec<&Tensor> {
        match self {
            Self::Adam(AdamState { first_moments, second_moments, step }) => {
                first_moments.iter().chain(second_moments).chain([step]).collect()
            }
            Self::Sgd { velocities } => velocities.iter().collect(),
        }
    }
}

impl Optimiser {
    /// An optimiser for parameters with these shapes and layouts, before its first step or with what was `kept` of it.
    ///
    /// # Errors
    /// What libtorch says, and the state of another optimiser or of a model of other shapes.
    pub fn new(
        parameters: &[Tensor],
        settings: &OptimiserSettings,
        kept: Option<&OptimiserState>,
    ) -> Result<Self, TchError> {
        let sgd = || Sgd::new(parameters, settings.momentum, settings.weight_decay);
        match (settings.kind, kept) {
            (OptimiserKind::Sgd, None) => Ok(Self::Sgd(sgd()?)),
            (OptimiserKind::Sgd, Some(OptimiserState::Sgd { velocities })) => {
                Ok(Self::Sgd(sgd()?.resume(velocities)?))
            }
            (OptimiserKind::Adam | OptimiserKind::AdamW, None) => {
                Ok(Self::Adam(Adam::new(parameters, settings.of_adam())?))
            }
            (OptimiserKind::Adam | OptimiserKind::AdamW, Some(OptimiserState::Adam(state))) => {
                Ok(Self::Adam(Adam::resume(parameters, settings.of_adam(), state)?))
            }
            _ => Err(TchError::Shape("the kept state is that of another optimiser".into())),
        }
    }

    /// A copy of everything that later steps depend on.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn state(&self) -> Result<OptimiserState, TchError> {
        Ok(match self {
            Self::Adam(adam) => OptimiserState::Adam(adam.state()?),
            Self::Sgd(sgd) => OptimiserState::Sgd { velocities: sgd.velocities()? },
        })
    }

    /// Moves `parameters` against `gradients`, which are in the same order.
    ///
    /// # Errors
    /// What libtorch says, and tensors that do not match those of [`Optimiser::new`].
    pub fn step(
        &mut self,
        learning_rate: f64,
        parameters: &[Tensor],
        gradients: &[Tensor],
    ) -> Result<(), TchError> {
        match self {
            Self::Adam(adam) => adam.step(learning_rate, parameters, gradients),
            Self::Sgd(sgd) => sgd.step(learning_rate, parameters, gradients),
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn the_state_of_another_optimiser_is_refused() {
        let parameters = [Tensor::zeros([2], (Kind::Float, Device::Cpu))];
        let settings = |kind| OptimiserSettings { kind, momentum: 0.0, weight_decay: 0.0 };
        let [adam, sgd] = [OptimiserKind::Adam, OptimiserKind::Sgd].map(settings);
        let of_adam = Optimiser::new(&parameters, &adam, None).unwrap().state().unwrap();
        let of_sgd = Optimiser::new(&parameters, &sgd, None).unwrap().state().unwrap();
        assert_eq!((of_adam.tensors().len(), of_sgd.tensors().len()), (3, 0));
        assert!(Optimiser::new(&parameters, &adam, Some(&of_sgd)).is_err());
        assert!(Optimiser::new(&parameters, &sgd, Some(&of_adam)).is_err());
        let with_momentum = OptimiserSettings { momentum: 0.5, ..sgd };
        assert!(Optimiser::new(&parameters, &with_momentum, Some(&of_sgd)).is_err());
    }
}
