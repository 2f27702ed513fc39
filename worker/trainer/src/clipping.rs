//! Gradient clipping as in `torch.nn.utils.clip_grad_norm_`: the gradients of a model, taken as one vector, are shortened to a
//! limit. In a pack each member has its own gradients and its own limit.

use tch::{Device, Kind, TchError, Tensor};

/// Added to a norm before it divides, as PyTorch does.
const EPSILON: f64 = 1e-6;

/// The members' limits, `[M]` on the device.
#[derive(Debug)]
pub struct Clipping {
    limits: Tensor,
    /// Whether a member has none.
    is_off: Tensor,
    /// What its gradients are multiplied by then.
    unchanged: Tensor,
}

/// Gradients that are no longer than their limits.
#[derive(Debug)]
pub struct Clipped {
    pub gradients: Vec<Tensor>,
    /// Their norms before, `[M]`.
    pub norms: Tensor,
}

impl Clipping {
    /// Limits of the members' norms, where 0 is none. Nothing to do if that is all.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn new(limits: &[f64], device: Device) -> Result<Option<Self>, TchError> {
        if limits.iter().all(|limit| *limit == 0.0) {
            return Ok(None);
        }
        let off: Vec<bool> = limits.iter().map(|limit| *limit == 0.0).collect();
        let is_off = Tensor::f_from_slice(&off)?.f_to_device(device)?;
        let limits = Tensor::f_from_slice(limits)?.f_to_kind(Kind::Float)?.f_to_device(device)?;
        let unchanged = limits.f_ones_like()?;
        Ok(Some(Self { limits, is_off, unchanged }))
    }

    /// The gradients `[M, …]`, each member's times `min(1, limit / (norm + 1e-6))`, and the norms before.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn apply(&self, gradients: &[Tensor]) -> Result<Clipped, TchError> {
        let norms = norms(gradients)?;
        let factors = self.limits.f_div(&norms.f_add_scalar(EPSILON)?)?.f_clamp_max(1.0)?;
        // A norm that is not finite must not reach the members without a limit.
        let factors = self.unchanged.f_where_self(&self.is_off, &factors)?;
        let clipped = gradients.iter().map(|gradient| {
            let mut shape = vec![1; gradient.dim()];
            shape[0] = -1;
            gradient.f_mul(&factors.f_view(&shape[..])?)
        });
        Ok(Clipped { gradients: clipped.collect::<Result<_, _>>()?, norms })
    }

    /// The same for a single model, whose gradients have no dimension for members.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn apply_to_one(&self, gradients: &[Tensor]) -> Result<Clipped, TchError> {
        let of_one: Vec<Tensor> =
            gradients.iter().map(|gradient| gradient.f_unsqueeze(0)).collect::<Result<_, _>>()?;
        let Clipped { gradients, norms } = self.apply(&of_one)?;
        let gradients =
            gradients.iter().map(|gradient| gradient.f_squeeze_dim(0)).collect::<Result<_, _>>()?;
        Ok(Clipped { gradients, norms })
    }
}

/// The norm of each member's gradients `[M, …]`, all of them as one vector: `[M]`.
fn norms(gradients: &[Tensor]) -> Result<Tensor, TchError> {
    let of_each = gradients.iter().map(|gradient| {
        let own: Vec<i64> = (1..gradient.dim() as i64).collect();
        gradient.f_norm_scalaropt_dim(2, &own[..], false)
    });
    let of_each = Tensor::f_stack(&of_each.collect::<Result<Vec<_>, _>>()?, 0)?;
    of_each.f_norm_scalaropt_dim(2, [0_i64].as_slice(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(tensor: &Tensor) -> Vec<f64> {
        Vec::<f64>::try_from(tensor.contiguous().view(-1).to_kind(Kind::Double)).unwrap()
    }

    /// Of three members the same gradients, whose norm is 13.
    fn gradients() -> [Tensor; 2] {
        let of_all = |values: &[f32]| Tensor::from_slice(values).unsqueeze(0).repeat([3, 1]);
        [of_all(&[3.0, -4.0]).view([3, 2, 1]), of_all(&[12.0])]
    }

    #[test]
    fn each_member_is_shortened_to_its_own_limit_or_left_alone() {
        assert!(Clipping::new(&[0.0; 3], Device::Cpu).unwrap().is_none());
        assert_eq!(floats(&norms(&gradients()).unwrap()), [13.0; 3]);
        let clipping = Clipping::new(&[6.5, 0.0, 20.0], Device::Cpu).unwrap().unwrap();
        let Clipped { gradients: clipped, norms: before } = clipping.apply(&gradients()).unwrap();
        assert_eq!(floats(&before), [13.0; 3]);
        for (found, expected) in floats(&norms(&clipped).unwrap()).into_iter().zip([6.5, 13.0, 13.0]) {
            assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
        }
        assert_eq!(floats(&clipped[0])[2..], [3.0, -4.0, 3.0, -4.0], "bit for bit");
        let one = Clipping::new(&[6.5], Device::Cpu).unwrap().unwrap();
        let alone = one.apply_to_one(&gradients().map(|gradient| gradient.get(0))).unwrap().gradients;
        assert!(alone.iter().zip(&clipped).all(|(alone, packed)| alone.equal(&packed.get(0))));
    }

    #[test]
    fn a_norm_that_is_not_finite_stays_with_its_member() {
        let [first, second] = gradients();
        let _ = second.get(1).fill_(f64::INFINITY);
        let clipping = Clipping::new(&[1.0, 0.0, 0.0], Device::Cpu).unwrap().unwrap();
        let clipped = clipping.apply(&[first, second]).unwrap().gradients;
        assert_eq!(floats(&clipped[0])[2..], [3.0, -4.0, 3.0, -4.0]);
        assert!(floats(&clipped[1])[1].is_infinite());
    }
}
