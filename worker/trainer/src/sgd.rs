//! Stochastic gradient descent as in `torch.optim.SGD(parameters, lr, momentum, weight_decay=…, fused=True)`, without dampening
//! and without Nesterov.

use tch::{TchError, Tensor};

use super::{adam::host_copy, ffi};

/// The optimiser's state for one model.
#[derive(Debug)]
pub struct Sgd {
    momentum: f64,
    weight_decay: f64,
    /// What the gradients so far add up to, each step `momentum` times the sum before plus its gradient; empty without a
    /// momentum.
    velocities: Vec<Tensor>,
}

impl Sgd {
    /// An optimiser before its first step, for parameters with these shapes and layouts.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn new(parameters: &[Tensor], momentum: f64, weight_decay: f64) -> Result<Self, TchError> {
        let parameters = if momentum == 0.0 { &[] } else { parameters };
        let velocities = parameters.iter().map(|one| one.f_detach()?.f_zeros_like());
        Ok(Self { momentum, weight_decay, velocities: velocities.collect::<Result<_, _>>()? })
    }

    /// Continues from velocities of [`Self::velocities`].
    ///
    /// # Errors
    /// What libtorch says, and other velocities than those of this model.
    pub fn resume(mut self, kept: &[Tensor]) -> Result<Self, TchError> {
        if kept.len() != self.velocities.len() {
            return Err(TchError::Shape("the kept velocities are not those of this optimiser".into()));
        }
        for (velocity, kept) in self.velocities.iter_mut().zip(kept) {
            velocity.f_copy_(kept)?;
        }
        Ok(self)
    }

    /// Copies of all that later steps depend on: contiguous, float32, on the CPU.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn velocities(&self) -> Result<Vec<Tensor>, TchError> {
        self.velocities.iter().map(host_copy).collect()
    }

    /// Moves `parameters` against `gradients`, which are in the same order.
    ///
    /// # Errors
    /// What libtorch says, and tensors that do not match those of [`Sgd::new`].
    pub fn step(
        &mut self,
        learning_rate: f64,
        parameters: &[Tensor],
        gradients: &[Tensor],
    ) -> Result<(), TchError> {
        let momentum = (self.momentum != 0.0).then_some((self.momentum, self.velocities.as_slice()));
        ffi::fused_sgd(parameters, gradients, momentum, self.weight_decay, learning_rate)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn floats(tensor: &Tensor) -> Vec<f64> {
        Vec::<f64>::try_from(tensor.detach().contiguous().view(-1).to_kind(Kind::Double)).unwrap()
    }

    #[test]
    fn steps_are_pytorchs_formula() {
        for (momentum, decay) in [(0.0, 0.0), (0.9, 0.0), (0.0, 0.2), (0.9, 0.2)] {
            let start = Tensor::arange(40, (Kind::Float, Device::Cpu)).sin();
            let parameters = [start.copy().view([4, 10])];
            let mut sgd = Sgd::new(&parameters, momentum, decay).unwrap();
            let gradient =
                |step: i64| (Tensor::arange(40, (Kind::Float, Device::Cpu)) * 0.7 + step * 3).cos();
            let (mut expected, mut velocity) = (floats(&start), vec![0.0; 40]);
            for step in 0..5 {
                // As another layout in memory.
                let laid_out = gradient(step).view([4, 10]).transpose(0, 1).contiguous().transpose(0, 1);
                sgd.step(0.1, &parameters, &[laid_out]).unwrap();
                for ((value, velocity), gradient) in
                    expected.iter_mut().zip(&mut velocity).zip(floats(&gradient(step)))
                {
                    *velocity = momentum * *velocity + gradient + decay * *value;
                    *value -= 0.1 * *velocity;
                }
            }
            for (found, expected) in floats(&parameters[0]).iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-5, "{found} is not {expected} at {momentum}, {decay}");
            }
        }
    }

    #[test]
    fn tensors_that_do_not_match_are_an_error() {
        let parameters = [Tensor::zeros([2, 3], (Kind::Float, Device::Cpu))];
        let mut sgd = Sgd::new(&parameters, 0.9, 0.0).unwrap();
        assert!(sgd.step(0.1, &parameters, &[]).is_err());
        assert!(sgd.step(0.1, &parameters, &[Tensor::zeros([3, 2], (Kind::Float, Device::Cpu))]).is_err());
        assert!(sgd.resume(&[]).is_err());
    }
}
