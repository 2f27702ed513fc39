// What tch does not bind of libtorch: the fused steps of optimisers and the switches for deterministic kernels.
// Every function returns nullptr when it succeeded, else a message from malloc that the caller frees. Tensors are
// `at::Tensor *`, as tch's `Tensor::as_ptr` gives them; they are only borrowed.

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/GradMode.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty_like.h>

#include <cstddef>
#include <vector>

#include "guard.h"

namespace {

std::vector<at::Tensor> tensors(at::Tensor *const *pointers, size_t count) {
  std::vector<at::Tensor> list;
  list.reserve(count);
  for (size_t i = 0; i < count; ++i) list.push_back(*pointers[i]);
  return list;
}

// The gradients, each laid out in memory as its parameter: the kernels walk raw memory.
std::vector<at::Tensor> aligned(at::Tensor *const *gradients, const std::vector<at::Tensor> &parameters) {
  auto slopes = tensors(gradients, parameters.size());
  for (size_t i = 0; i < slopes.size(); ++i) {
    if (slopes[i].strides() != parameters[i].strides()) slopes[i] = at::empty_like(parameters[i]).copy_(slopes[i]);
  }
  return slopes;
}

}  // namespace

extern "C" {

// One step of Adam over `count` parameters at once, as torch.optim.Adam(fused=True) does it, or with `decoupled` as
// torch.optim.AdamW(fused=True). `step` is a float tensor of one element on the parameters' device: the number of steps,
// this one included; the kernels only read it, so that all parameters share one.
char *sweep_fused_adam(size_t count, at::Tensor *const *parameters, at::Tensor *const *gradients,
                       at::Tensor *const *first_moments, at::Tensor *const *second_moments, at::Tensor *step,
                       double learning_rate, double beta1, double beta2, double epsilon, double weight_decay,
                       bool decoupled) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    const auto updated = tensors(parameters, count);
    const auto slopes = aligned(gradients, updated);
    const auto first = tensors(first_moments, count), second = tensors(second_moments, count);
    const std::vector<at::Tensor> steps(count, *step);
    const auto run = [&](auto fused) {
      fused(updated, slopes, first, second, /*max_exp_avg_sqs=*/at::TensorList{}, steps, learning_rate, beta1, beta2,
            weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false);
    };
    if (decoupled) {
      run([](auto &&...arguments) { at::_fused_adamw_(arguments...); });
    } else {
      run([](auto &&...arguments) { at::_fused_adam_(arguments...); });
    }
  });
}

// One step of torch.optim.SGD(fused=True), without dampening and without Nesterov. `velocities` is null without momentum.
char *sweep_fused_sgd(size_t count, at::Tensor *const *parameters, at::Tensor *const *gradients,
                      at::Tensor *const *velocities, double learning_rate, double momentum, double weight_decay) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    const auto updated = tensors(parameters, count);
    // The velocities begin at 0, so that the first step needs no rule of its own.
    at::_fused_sgd_(updated, aligned(gradients, updated), tensors(velocities, velocities ? count : 0), weight_decay,
                    momentum, learning_rate, /*dampening=*/0.0, /*nesterov=*/false, /*maximize=*/false,
                    /*is_first_step=*/false);
  });
}

// Kernels that give the same bits in each run: cuDNN's and oneDNN's deterministic ones, and no benchmark runs,
// whose winner may differ from run to run.
char *sweep_set_deterministic() {
  return guarded([] {
    at::globalContext().setDeterministicCuDNN(true);
    at::globalContext().setBenchmarkCuDNN(false);
    at::globalContext().setDeterministicMkldnn(true);
  });
}

// Waits for what the CUDA device has to do, and frees what the caching allocator keeps and nothing uses.
char *sweep_empty_cuda_cache(int device) {
  return guarded([&] {
    at::detail::getCUDAHooks().deviceSynchronize(static_cast<c10::DeviceIndex>(device));
    c10::getDeviceAllocator(c10::kCUDA)->emptyCache();
  });
}

}  // extern "C"
