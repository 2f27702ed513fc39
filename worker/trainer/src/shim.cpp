// What tch does not bind of libtorch: the fused Adam step and the switches for deterministic kernels.
// Every function returns nullptr when it succeeded, else a message from malloc that the caller frees. Tensors are
// `at::Tensor *`, as tch's `Tensor::as_ptr` gives them; they are only borrowed.

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/GradMode.h>
#include <ATen/ops/_fused_adam.h>
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

}  // namespace

extern "C" {

// One step of Adam over `count` parameters at once, without weight decay, as torch.optim.Adam(fused=True) does
// it. `step` is a float tensor of one element on the parameters' device: the number of steps, this one
// included; the kernels only read it, so that all parameters share one.
char *sweep_fused_adam(size_t count, at::Tensor *const *parameters, at::Tensor *const *gradients,
                       at::Tensor *const *first_moments, at::Tensor *const *second_moments, at::Tensor *step,
                       double learning_rate, double beta1, double beta2, double epsilon) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    const auto updated = tensors(parameters, count);
    auto slopes = tensors(gradients, count);
    // The kernels walk raw memory, so that a gradient must lie in memory as its parameter does.
    for (size_t i = 0; i < count; ++i) {
      if (slopes[i].strides() != updated[i].strides()) slopes[i] = at::empty_like(updated[i]).copy_(slopes[i]);
    }
    const std::vector<at::Tensor> steps(count, *step);
    at::_fused_adam_(updated, slopes, tensors(first_moments, count), tensors(second_moments, count),
                     /*max_exp_avg_sqs=*/{}, steps, learning_rate, beta1, beta2, /*weight_decay=*/0.0, epsilon,
                     /*amsgrad=*/false, /*maximize=*/false);
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
