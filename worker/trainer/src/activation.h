// What a layer does to its sums; the numbers are those of `FusedActivation` in ffi.rs.

#pragma once

#include <cstdint>

enum class Activation : int32_t { Relu = 0, Sigmoid = 1 };
