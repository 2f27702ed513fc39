//! Label smoothing in a pack, whose members may smooth differently: of a smoothed loss, a share ε does not ask for the image's
//! class but evenly for all, as in `torch.nn.CrossEntropyLoss(label_smoothing=ε)`.

use tch::{Device, Kind, Reduction, TchError, Tensor};

use super::training::IGNORED_CLASS;

/// The members' shares, `[M, 1]` each in float32 on the device.
#[derive(Debug)]
pub struct Smoothing {
    /// What the image's class keeps: 1 - ε.
    kept: Tensor,
    /// What each class gets: ε / classes.
    spread: Tensor,
    /// Whether a member smooths nothing.
    is_off: Tensor,
}

impl Smoothing {
    /// Of shares in [0, 1]. Nothing to do if all are 0.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn new(shares: &[f64], classes: i64, device: Device) -> Result<Option<Self>, TchError> {
        if shares.iter().all(|share| *share == 0.0) {
            return Ok(None);
        }
        let of_members = |number: &dyn Fn(f64) -> f64| {
            let numbers: Vec<f64> = shares.iter().map(|share| number(*share)).collect();
            Tensor::f_from_slice(&numbers)?.f_to_kind(Kind::Float)?.f_view([-1, 1])?.f_to_device(device)
        };
        let off: Vec<bool> = shares.iter().map(|share| *share == 0.0).collect();
        Ok(Some(Self {
            kept: of_members(&|share| 1.0 - share)?,
            spread: of_members(&|share| share / classes as f64)?,
            is_off: Tensor::f_from_slice(&off)?.f_view([-1, 1])?.f_to_device(device)?,
        }))
    }

    /// Each member's mean smoothed cross-entropy `[M]` of logits `[M, N, classes]`, against classes `[N]` that all share.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn losses(&self, logits: &Tensor, classes: &Tensor) -> Result<Tensor, TchError> {
        let (members, images, outputs) = logits.size3()?;
        let logs = logits.f_log_softmax(-1, Kind::Float)?;
        let shared = classes.f_unsqueeze(0)?.f_expand([members, images], false)?.f_reshape([-1])?;
        let rows = logs.f_reshape([-1, outputs])?;
        let own = rows.f_nll_loss(&shared, None::<&Tensor>, Reduction::None, IGNORED_CLASS)?;
        let own = own.f_view([members, images])?;
        let all = logs.f_sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float)?.f_neg()?;
        let smoothed = own.f_mul(&self.kept)?.f_add(&all.f_mul(&self.spread)?)?;
        // Not a product with 0, which is no number where another class is impossible.
        let each = own.f_where_self(&self.is_off, &smoothed)?;
        each.f_mean_dim([1_i64].as_slice(), false, Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::pack_model, *};

    fn floats(tensor: &Tensor) -> Vec<f32> {
        Vec::<f32>::try_from(tensor.contiguous().view(-1)).unwrap()
    }

    fn logits() -> Tensor {
        (Tensor::arange(3 * 4 * 5, (Kind::Float, Device::Cpu)) * 0.37).sin().view([3, 4, 5]) * 3.0
    }

    #[test]
    fn each_member_has_the_loss_that_pytorch_smooths_by_its_own_share() {
        let classes = Tensor::from_slice(&[4_i64, 0, 2, 2]);
        let shares = [0.1, 0.0, 1.0];
        let smoothing = Smoothing::new(&shares, 5, Device::Cpu).unwrap().unwrap();
        let found = floats(&smoothing.losses(&logits(), &classes).unwrap());
        for (member, share) in (0..).zip(shares) {
            let own = logits().get(member);
            let expected =
                own.f_cross_entropy_loss(&classes, None::<&Tensor>, Reduction::Mean, IGNORED_CLASS, share);
            let expected = floats(&expected.unwrap())[0];
            let found = found[member as usize];
            assert!((found - expected).abs() < 1e-6 * expected, "{found} is not {expected} at {share}");
        }
    }

    #[test]
    fn a_member_that_smooths_nothing_has_the_bits_of_a_pack_where_no_one_does() {
        assert!(Smoothing::new(&[0.0; 3], 5, Device::Cpu).unwrap().is_none());
        let classes = Tensor::from_slice(&[4_i64, 0, 2, 2]);
        let smoothing = Smoothing::new(&[0.3, 0.0, 0.3], 5, Device::Cpu).unwrap().unwrap();
        let mut gradients = Vec::new();
        for smooths in [false, true] {
            let logits = logits().set_requires_grad(true);
            // Another class of the first image is impossible.
            let certain = logits.slice(2, 0, 4, 1).constant_pad_nd([0, 1]);
            let impossible = Tensor::from_slice(&[0.0, 0.0, 0.0, 0.0, f32::NEG_INFINITY]);
            let certain = certain + impossible;
            let classes = classes.clamp_max(3);
            let losses = if smooths {
                smoothing.losses(&certain, &classes).unwrap()
            } else {
                pack_model::losses(&certain, &classes).unwrap()
            };
            let loss = losses.get(1);
            let gradient = Tensor::run_backward(&[&loss], &[&logits], false, false).remove(0);
            gradients.push((floats(&loss), floats(&gradient.get(1))));
        }
        assert!(gradients[0].0[0].is_finite());
        assert_eq!(gradients[0], gradients[1]);
    }
}
