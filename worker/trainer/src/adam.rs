//! Adam (Kingma and Ba, 2015) as in `torch.optim.Adam(parameters, lr, fused=True)`, and AdamW (Loshchilov and Hutter, 2019):
//! one pass over all parameters instead of a dozen temporaries each.

use tch::{Device, Kind, TchError, Tensor};

use super::ffi::{self, AdamTensors};

pub use super::ffi::AdamSettings;

impl AdamSettings {
    /// PyTorch's defaults: no decay of the parameters.
    pub fn pytorch() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, decoupled: false }
    }
}

/// The optimiser's state for one model.
#[derive(Debug)]
pub struct Adam {
    settings: AdamSettings,
    first_moments: Vec<Tensor>,
    second_moments: Vec<Tensor>,
    /// Steps done: one float on the parameters' device, where the kernels read it without a synchronisation.
    step: Tensor,
}

/// A copy of the optimiser's state: contiguous, float32, on the CPU.
#[derive(Debug)]
pub struct AdamState {
    /// Mean of the gradients, in the order of the parameters.
    pub first_moments: Vec<Tensor>,
    /// Mean of the squared gradients.
    pub second_moments: Vec<Tensor>,
    /// Steps done, one number.
    pub step: Tensor,
}

/// A contiguous copy in the CPU's memory.
pub(super) fn host_copy(tensor: &Tensor) -> Result<Tensor, TchError> {
    let mut copy = Tensor::f_empty(tensor.size(), (tensor.kind(), Device::Cpu))?;
    copy.f_copy_(&tensor.f_detach()?)?;
    Ok(copy)
}

impl Adam {
    /// An optimiser before its first step, for parameters with these shapes and layouts.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn new(parameters: &[Tensor], settings: AdamSettings) -> Result<Self, TchError> {
        let zeros = || parameters.iter().map(|one| one.f_detach()?.f_zeros_like()).collect::<Result<_, _>>();
        let device = parameters.first().map_or(Device::Cpu, Tensor::device);
        Ok(Self {
            settings,
            first_moments: zeros()?,
            second_moments: zeros()?,
            step: Tensor::f_zeros([1], (Kind::Float, device))?,
        })
    }

    /// An optimiser that continues from `state`, laid out in memory as `parameters` are.
    ///
    /// # Errors
    /// What libtorch says, and states whose shapes differ from the parameters'.
    pub fn resume(
        parameters: &[Tensor],
        settings: AdamSettings,
        state: &AdamState,
    ) -> Result<Self, TchError> {
        let mut adam = Self::new(parameters, settings)?;
        ffi::check_alike(&adam.first_moments, &[&state.first_moments, &state.second_moments])?;
        let moments = adam.first_moments.iter_mut().chain(&mut adam.second_moments);
        for (moment, kept) in moments.zip(state.first_moments.iter().chain(&state.second_moments)) {
            moment.f_copy_(kept)?;
        }
        adam.step.f_copy_(&state.step)?;
        Ok(adam)
    }

    /// A copy of everything that later steps depend on.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn state(&self) -> Result<AdamState, TchError> {
        let copies = |moments: &[Tensor]| moments.iter().map(host_copy).collect::<Result<Vec<_>, _>>();
        Ok(AdamState {
            first_moments: copies(&self.first_moments)?,
            second_moments: copies(&self.second_moments)?,
            step: host_copy(&self.step)?,
        })
    }

    /// Moves `parameters` against `gradients`, which are in the same order, by about `learning_rate`.
    ///
    /// # Errors
    /// What libtorch says, and tensors that do not match those of [`Adam::new`].
    pub fn step(
        &mut self,
        learning_rate: f64,
        parameters: &[Tensor],
        gradients: &[Tensor],
    ) -> Result<(), TchError> {
        let _ = self.step.f_add_scalar_(1.0)?;
        let tensors = AdamTensors {
            parameters,
            gradients,
            first_moments: &self.first_moments,
            second_moments: &self.second_moments,
            step: &self.step,
        };
        ffi::fused_adam(&tensors, &self.settings, learning_rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The papers' formulas in f64, one value at a time.
    fn reference(start: f64, gradients: &[f64], rate: f64, settings: &AdamSettings) -> f64 {
        let (mut value, mut first, mut second) = (start, 0.0, 0.0);
        for (index, gradient) in gradients.iter().enumerate() {
            let decay = settings.weight_decay * value;
            let gradient = if settings.decoupled { *gradient } else { gradient + decay };
            value -= if settings.decoupled { rate * decay } else { 0.0 };
            first = settings.beta1 * first + (1.0 - settings.beta1) * gradient;
            second = settings.beta2 * second + (1.0 - settings.beta2) * gradient * gradient;
            let steps = index as i32 + 1;
            let mean = first / (1.0 - settings.beta1.powi(steps));
            let spread = second / (1.0 - settings.beta2.powi(steps));
            value -= rate * mean / (spread.sqrt() + settings.epsilon);
        }
        value
    }

    fn floats(tensor: &Tensor) -> Vec<f64> {
        Vec::<f64>::try_from(tensor.detach().contiguous().view(-1).to_kind(Kind::Double)).unwrap()
    }

    #[test]
    fn a_fused_step_is_the_papers_formula() {
        let plain = AdamSettings::pytorch();
        let decayed = AdamSettings { weight_decay: 0.3, ..plain };
        for settings in [plain, decayed, AdamSettings { decoupled: true, ..decayed }] {
            assert_is_the_formula(settings);
        }
    }

    fn assert_is_the_formula(settings: AdamSettings) {
        let start = Tensor::arange(40, (Kind::Float, Device::Cpu)).sin();
        let parameters = [start.copy().view([4, 10]), start.slice(0, 0, 3, 1).copy()];
        let mut adam = Adam::new(&parameters, settings).unwrap();
        let gradient = |step: i64| (Tensor::arange(40, (Kind::Float, Device::Cpu)) * 0.7 + step * 3).cos();
        for step in 0..5 {
            let gradients = [gradient(step).view([4, 10]), gradient(step).slice(0, 0, 3, 1)];
            adam.step(0.01, &parameters, &gradients).unwrap();
        }
        let history: Vec<Vec<f64>> = (0..5).map(|step| floats(&gradient(step))).collect();
        for parameter in &parameters {
            for (index, (value, start)) in floats(parameter).iter().zip(floats(&start)).enumerate() {
                let gradients: Vec<f64> = history.iter().map(|step| step[index]).collect();
                let expected = reference(start, &gradients, 0.01, &settings);
                assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
            }
        }
    }

    #[test]
    fn a_gradient_may_lie_otherwise_in_memory_than_its_parameter() {
        let settings = AdamSettings::pytorch();
        let gradient = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]) - 2.5;
        let stepped =
            [gradient.copy(), gradient.transpose(0, 1).contiguous().transpose(0, 1)].map(|gradient| {
                let parameters = [Tensor::zeros([2, 3], (Kind::Float, Device::Cpu))];
                Adam::new(&parameters, settings).unwrap().step(0.1, &parameters, &[gradient]).unwrap();
                floats(&parameters[0])
            });
        assert_eq!(stepped[0], stepped[1]);
        assert!((stepped[0][0] - 0.1).abs() < 1e-6, "the first step has the learning rate's length");
    }

    #[test]
    fn tensors_that_do_not_match_are_an_error() {
        let parameters = [Tensor::zeros([2, 3], (Kind::Float, Device::Cpu))];
        let mut adam = Adam::new(&parameters, AdamSettings::pytorch()).unwrap();
        assert!(adam.step(0.1, &parameters, &[]).is_err());
        assert!(adam.step(0.1, &parameters, &[Tensor::zeros([3, 2], (Kind::Float, Device::Cpu))]).is_err());
        // libtorch itself notices it, and its exception becomes an error.
        assert!(adam.step(0.1, &parameters, &[Tensor::zeros([2, 3], (Kind::Int64, Device::Cpu))]).is_err());
    }
}
