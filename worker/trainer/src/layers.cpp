// SimpleCNN's layers on the CPU as two functions with gradients of their own, where libtorch's way from operation to
// operation loses time: a batch's convolution sums (34 MB at 32 images) leave the cache before pooling reads them, its
// pooling walks bytes one by one, and its float32 matrix products do not use AVX-512 on every processor.
//
// The numbers are those of the operations by themselves; only sums over a batch are added in another order.

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sigmoid_backward.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "activation.h"
#include "guard.h"
#include "pooling.h"

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Images that go through all convolutions before the next: their sums, 1 MB an image at the first layer in float32, stay
// in the cache, and more would not pay for the calls any better.
constexpr int64_t IMAGES_AT_ONCE = 4;

Tensor convolution(const Tensor &images, const Tensor &weight, const Tensor &bias) {
  const auto sums = at::convolution(images, weight, bias, /*stride=*/{1, 1}, /*padding=*/{1, 1}, /*dilation=*/{1, 1},
                                    /*transposed=*/false, /*output_padding=*/{0, 0}, /*groups=*/1);
  return sums.contiguous(at::MemoryFormat::ChannelsLast);
}

Tensor channels_last(at::IntArrayRef sizes, const at::TensorOptions &options) {
  return at::empty(sizes, options, at::MemoryFormat::ChannelsLast);
}

// Calls `action` with pointers to what the tensors hold: float, or bfloat16 by its bits.
template <typename Action>
void with_values(const Tensor &one, const Tensor &other, Action action) {
  if (one.scalar_type() == at::kFloat) {
    action(one.data_ptr<float>(), other.data_ptr<float>());
  } else {
    action(reinterpret_cast<pooling::Half *>(one.data_ptr<at::BFloat16>()),
           reinterpret_cast<pooling::Half *>(other.data_ptr<at::BFloat16>()));
  }
}

pooling::Shape shape_of(const Tensor &sums) { return {sums.size(2), sums.size(3), sums.size(1)}; }

// Pools `sums` into `pooled`, with the activation after it.
void pool(const Tensor &sums, Activation activation, Tensor pooled, Tensor codes) {
  const auto shape = shape_of(sums);
  const int64_t inputs = shape.rows * shape.columns * shape.channels, outputs = inputs / 4;
  auto *code = codes.data_ptr<uint8_t>();
  with_values(sums, pooled, [&](auto *from, auto *to) {
    at::parallel_for(0, sums.size(0), 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        pooling::pool(from + i * inputs, shape, activation, to + i * outputs, code + i * outputs);
      }
    });
  });
  if (activation == Activation::Sigmoid) at::sigmoid_(pooled);
}

// The gradient of the sums from that of the pooled and activated values.
void unpool(const Tensor &slopes, const Tensor &codes, const Tensor &sums) {
  const auto shape = shape_of(sums);
  const int64_t inputs = shape.rows * shape.columns * shape.channels, outputs = inputs / 4;
  const auto *code = codes.data_ptr<uint8_t>();
  with_values(slopes, sums, [&](auto *from, auto *to) {
    at::parallel_for(0, sums.size(0), 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        pooling::unpool(from + i * outputs, code + i * outputs, shape, to + i * inputs);
      }
    });
  });
}

// What is kept of one convolution for its gradient.
struct Layer {
  Tensor weight, pooled, codes;
};

// A convolution's gradients for some images; the weights' are added to `weight_slope` and `bias_slope`, in float32.
Tensor layer_backward(const Layer &layer, const Tensor &inputs, Tensor slopes, int64_t first,
                      Activation activation, bool of_inputs, Tensor weight_slope, Tensor bias_slope) {
  const auto pooled = layer.pooled.narrow(0, first, inputs.size(0));
  slopes = slopes.contiguous(at::MemoryFormat::ChannelsLast);
  if (activation == Activation::Sigmoid) slopes = at::sigmoid_backward(slopes, pooled);
  const auto sums = channels_last({inputs.size(0), layer.weight.size(0), inputs.size(2), inputs.size(3)},
                                  inputs.options());
  unpool(slopes, layer.codes.narrow(0, first, inputs.size(0)), sums);
  auto [of_input, of_weight, of_bias] = at::convolution_backward(
      sums, inputs, layer.weight, {layer.weight.size(0)}, /*stride=*/{1, 1}, /*padding=*/{1, 1}, /*dilation=*/{1, 1},
      /*transposed=*/false, /*output_padding=*/{0, 0}, /*groups=*/1, {of_inputs, true, true});
  weight_slope.add_(of_weight);
  bias_slope.add_(of_bias);
  return of_input;
}

// conv1 · pool · activation · conv2 · pool · activation · flatten. The images' numbers are those that are computed
// with; the parameters are float32, and so are their gradients.
struct Features : torch::autograd::Function<Features> {
  static Tensor forward(AutogradContext *context, const Tensor &given, const Tensor &weight1, const Tensor &bias1,
                        const Tensor &weight2, const Tensor &bias2,
                        Activation activation) {
    const auto images = given.contiguous(at::MemoryFormat::ChannelsLast);
    const auto options = images.options();
    const int64_t count = images.size(0), rows = images.size(2), columns = images.size(3);
    TORCH_CHECK(rows % 4 == 0 && columns % 4 == 0, "two poolings need sides that are multiples of 4");
    const auto kind = images.scalar_type();
    const std::array<Tensor, 2> weights{weight1.to(kind), weight2.to(kind)}, biases{bias1.to(kind), bias2.to(kind)};
    std::array<Layer, 2> layers;
    for (int64_t i = 0; i < 2; ++i) {
      const std::array<int64_t, 4> sizes{count, weights[i].size(0), rows >> (i + 1), columns >> (i + 1)};
      layers[i] = {weights[i], channels_last(sizes, options), channels_last(sizes, options.dtype(at::kByte))};
    }
    for (int64_t first = 0; first < count; first += IMAGES_AT_ONCE) {
      const int64_t size = std::min(IMAGES_AT_ONCE, count - first);
      auto inputs = images.narrow(0, first, size);
      for (int64_t i = 0; i < 2; ++i) {
        auto pooled = layers[i].pooled.narrow(0, first, size);
        pool(convolution(inputs, weights[i], biases[i]), activation, pooled,
             layers[i].codes.narrow(0, first, size));
        inputs = pooled;
      }
    }
    context->save_for_backward({images, layers[0].weight, layers[0].pooled, layers[0].codes, layers[1].weight,
                                layers[1].pooled, layers[1].codes});
    context->saved_data["activation"] = static_cast<int64_t>(activation);
    // In the order channel, row, column, as PyTorch flattens, whatever the layout in memory.
    return layers[1].pooled.contiguous().view({count, -1});
  }

  static variable_list backward(AutogradContext *context, variable_list slopes) {
    const auto saved = context->get_saved_variables();
    const auto &images = saved[0];
    const Layer layer1{saved[1], saved[2], saved[3]}, layer2{saved[4], saved[5], saved[6]};
    const auto activation = static_cast<Activation>(context->saved_data["activation"].toInt());
    const auto single = [](const Tensor &like) { return at::zeros_like(like, like.options().dtype(at::kFloat)); };
    const auto of_bias = [](const Tensor &weight) {
      return at::zeros({weight.size(0)}, weight.options().dtype(at::kFloat));
    };
    const auto weight1 = single(layer1.weight), weight2 = single(layer2.weight);
    const auto bias1 = of_bias(layer1.weight), bias2 = of_bias(layer2.weight);
    const auto outer = slopes[0].view_as(layer2.pooled);
    for (int64_t first = 0; first < images.size(0); first += IMAGES_AT_ONCE) {
      const int64_t size = std::min(IMAGES_AT_ONCE, images.size(0) - first);
      const auto inner = layer_backward(layer2, layer1.pooled.narrow(0, first, size), outer.narrow(0, first, size),
                                        first, activation, true, weight2, bias2);
      layer_backward(layer1, images.narrow(0, first, size), inner, first, activation, false, weight1, bias1);
    }
    return {Tensor(), weight1, bias1, weight2, bias2, Tensor()};
  }
};

// inputs · weightᵀ + bias through oneDNN, which has kernels for every processor; libtorch's own choice in float32 is
// MKL, which on processors that are not Intel's leaves half of their width unused.
Tensor product(const Tensor &inputs, const Tensor &weight, const std::optional<Tensor> &bias) {
  using Linear = Tensor(const Tensor &, const Tensor &, const std::optional<Tensor> &, std::string_view,
                        c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
  static const auto operation = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  if (!operation) return at::linear(inputs, weight, bias);
  static const auto linear = operation->typed<Linear>();
  return linear.call(inputs, weight, bias, "none", c10::List<std::optional<at::Scalar>>(), "");
}

// A linear layer in float32.
struct Dense : torch::autograd::Function<Dense> {
  static Tensor forward(AutogradContext *context, const Tensor &inputs, const Tensor &weight, const Tensor &bias) {
    context->save_for_backward({inputs, weight});
    return product(inputs, weight, bias);
  }

  static variable_list backward(AutogradContext *context, variable_list slopes) {
    const auto saved = context->get_saved_variables();
    const auto slope = slopes[0].contiguous(), transposed = slope.t().contiguous();
    const auto of_inputs = product(slope, saved[1].t(), std::nullopt);
    return {of_inputs, product(transposed, saved[0].t(), std::nullopt), slope.sum(0)};
  }
};

}  // namespace

extern "C" {

// The two convolutions with pooling and activation; gives `[N, features]`.
char *sweep_features(at::Tensor *images, at::Tensor *const *parameters, Activation activation, at::Tensor **result) {
  return guarded([&] {
    *result = new Tensor(
        Features::apply(*images, *parameters[0], *parameters[1], *parameters[2], *parameters[3], activation));
  });
}

// A linear layer on float32 tensors.
char *sweep_dense(at::Tensor *inputs, at::Tensor *weight, at::Tensor *bias, at::Tensor **result) {
  return guarded([&] { *result = new Tensor(Dense::apply(*inputs, *weight, *bias)); });
}

}  // extern "C"
