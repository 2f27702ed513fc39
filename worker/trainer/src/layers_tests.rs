//! The CPU's own layers against libtorch's operations and their gradients, one by one.

use tch::{Device, Kind, Reduction, Tensor};

use super::{FusedActivation as Activation, dense, features};
use crate::layers::Layer;

/// Five images, so that the last group of them is not full.
const IMAGES: i64 = 5;
const SIDE: i64 = 12;

fn wave(shape: &[i64], frequency: f64) -> Tensor {
    let count = shape.iter().product::<i64>();
    ((Tensor::arange(count, (Kind::Float, Device::Cpu)) * frequency).sin() * 0.4).view(shape)
}

/// Values of a kind that layers compute with. Of bfloat16 multiples of 1/32: their products add up exactly in float32, so that
/// the sums are the same in any order. Processors add up several images in different orders, and of two bfloat16 sums the one
/// that is larger by its last bit gets the whole gradient.
fn of_kind(values: &Tensor, kind: Kind) -> Tensor {
    if kind == Kind::BFloat16 { (values * 32.0).round() / 32.0 } else { values.shallow_clone() }
}

/// Weights and biases of two convolutions of three colours, in need of gradients, to be computed with in that kind.
fn parameters(widths: [i64; 2], kind: Kind) -> [Tensor; 4] {
    let [one, two] = widths;
    [vec![one, 3, 3, 3], vec![one], vec![two, one, 3, 3], vec![two]]
        .map(|shape| of_kind(&wave(&shape, 0.7 + shape.len() as f64), kind).set_requires_grad(true))
}

/// The two convolutions of these parameters.
fn layers([weight1, bias1, weight2, bias2]: &[Tensor; 4]) -> [Layer<'_>; 2] {
    [Layer { weight: weight1, bias: bias1 }, Layer { weight: weight2, bias: bias2 }]
}

/// With libtorch's operations, in the same order: activated before they are pooled, bfloat16 values that were different become
/// equal, and then the gradient goes to another place.
fn expected_features(
    images: &Tensor,
    parameters: &[Tensor; 4],
    activation: Activation,
    kind: Kind,
) -> Tensor {
    let activate = |sums: Tensor| match activation {
        Activation::Relu => sums.relu(),
        Activation::Sigmoid => sums.sigmoid(),
    };
    let [w1, b1, w2, b2] = parameters.each_ref().map(|parameter| parameter.to_kind(kind));
    let one = activate(images.conv2d(&w1, Some(&b1), 1, 1, 1, 1).max_pool2d(2, 2, 0, 1, false));
    activate(one.conv2d(&w2, Some(&b2), 1, 1, 1, 1).max_pool2d(2, 2, 0, 1, false)).flatten(1, -1)
}

/// Gradients of a loss in which each value weighs differently, and none is subtracted: gradients that nearly cancel would be
/// mostly roundings.
fn gradients(values: &Tensor, parameters: &[Tensor]) -> Vec<Tensor> {
    let weights = wave(&values.size(), 1.3) + 0.5;
    let loss = (values.to_kind(Kind::Float) * weights).sum(Kind::Float);
    Tensor::run_backward(&[loss], parameters, false, false)
}

/// The largest difference, as a share of the largest value.
fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    let [found, expected] = [found, expected].map(|tensor| tensor.to_kind(Kind::Double));
    ((found - &expected).abs().max() / expected.abs().max()).double_value(&[])
}

#[test]
fn values_and_gradients_are_libtorchs() {
    // Sixteen and thirty-two channels are vectors; five and seven are not.
    for (widths, activation, kind, error_max) in [
        ([16, 32], Activation::Relu, Kind::Float, 1e-5),
        ([16, 32], Activation::Sigmoid, Kind::Float, 1e-5),
        ([5, 7], Activation::Relu, Kind::Float, 1e-5),
        ([5, 7], Activation::Sigmoid, Kind::Float, 1e-5),
        // A bfloat16 has eight bits of significand, and gradients add up several roundings.
        ([16, 32], Activation::Sigmoid, Kind::BFloat16, 0.03),
        ([5, 7], Activation::Sigmoid, Kind::BFloat16, 0.03),
    ] {
        let images = of_kind(&wave(&[IMAGES, 3, SIDE, SIDE], 0.37), kind).to_kind(kind);
        let parameters = parameters(widths, kind);
        let found = features(&images, layers(&parameters), activation).unwrap();
        let expected = expected_features(&images, &parameters, activation, kind);
        assert_eq!((found.kind(), found.size()), (kind, expected.size()));
        assert!(difference(&found, &expected) < error_max, "{widths:?} {activation:?} {kind:?}");
        let found = gradients(&found, &parameters);
        for (found, expected) in found.iter().zip(gradients(&expected, &parameters)) {
            assert_eq!((found.kind(), found.size()), (Kind::Float, expected.size()));
            let difference = difference(found, &expected);
            assert!(difference < error_max, "{widths:?} {activation:?} {kind:?}: {difference}");
        }
    }
}

#[test]
fn of_equal_values_the_first_gets_the_gradient_and_nan_goes_through() {
    // Even images give equal sums away from the border; a loss over one row tells the places apart.
    for widths in [[16, 32], [5, 7]] {
        let even = Tensor::ones([IMAGES, 3, SIDE, SIDE], (Kind::Float, Device::Cpu)) * 0.5;
        let parameters = parameters(widths, Kind::Float);
        let found = gradients(&features(&even, layers(&parameters), Activation::Relu).unwrap(), &parameters);
        let expected =
            gradients(&expected_features(&even, &parameters, Activation::Relu, Kind::Float), &parameters);
        for (found, expected) in found.iter().zip(&expected) {
            assert!(difference(found, expected) < 1e-5, "{widths:?}");
        }
        let _ = even.get(1).get(2).get(4).get(7).fill_(f64::NAN);
        let found = features(&even, layers(&parameters), Activation::Relu).unwrap().isnan();
        let expected = expected_features(&even, &parameters, Activation::Relu, Kind::Float).isnan();
        assert!(expected.any().int64_value(&[]) == 1 && found.equal(&expected), "{widths:?}");
    }
}

#[test]
fn a_dense_layer_is_libtorchs() {
    let inputs = wave(&[IMAGES, 640], 0.21).set_requires_grad(true);
    let parameters =
        [wave(&[33, 640], 0.9).set_requires_grad(true), wave(&[33], 0.5).set_requires_grad(true)];
    let of = [&inputs, &parameters[0], &parameters[1]].map(Tensor::shallow_clone);
    let found = dense(&inputs, Layer { weight: &parameters[0], bias: &parameters[1] }).unwrap();
    let expected = inputs.linear(&parameters[0], Some(&parameters[1]));
    assert!(difference(&found, &expected) < 1e-5);
    for (found, expected) in gradients(&found, &of).iter().zip(gradients(&expected, &of)) {
        assert_eq!(found.size(), expected.size());
        assert!(difference(found, &expected) < 1e-5);
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let images = wave(&[IMAGES, 3, SIDE + 2, SIDE], 0.37);
    assert!(
        features(&images, layers(&parameters([16, 32], Kind::Float)), Activation::Relu).is_err(),
        "14 is no multiple of 4"
    );
    assert!(
        dense(&wave(&[2, 3], 0.1), Layer { weight: &wave(&[4, 5], 0.1), bias: &wave(&[4], 0.1) }).is_err()
    );
}

#[test]
fn a_step_with_these_layers_lowers_the_loss() {
    let parameters = parameters([16, 32], Kind::Float);
    let images = wave(&[IMAGES, 3, SIDE, SIDE], 0.37);
    let targets = Tensor::from_slice(&[0_i64, 1, 2, 3, 4]);
    let loss = || {
        let logits = features(&images, layers(&parameters), Activation::Relu).unwrap();
        logits.cross_entropy_loss(&targets, None::<&Tensor>, Reduction::Mean, -100, 0.0)
    };
    let before = loss();
    let slopes = Tensor::run_backward(&[&before], &parameters, false, false);
    tch::no_grad(|| {
        for (parameter, slope) in parameters.iter().zip(&slopes) {
            let _ = parameter.shallow_clone().f_sub_(&(slope * 0.01)).unwrap();
        }
    });
    assert!(loss().double_value(&[]) < before.double_value(&[]));
}
