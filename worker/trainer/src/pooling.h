// 2×2 max-pooling of channels-last images on the CPU; see pooling.cpp.

#pragma once

#include <cstdint>

#include "activation.h"

namespace pooling {

// A bfloat16 by its bits, which are the upper half of a float's.
using Half = uint16_t;

// What lies in memory before pooling: rows of columns of channels. Images lie one after another, so that `rows` may be
// those of many. Rows and columns are even.
struct Shape {
  int64_t rows, columns, channels;
};

// The code of a result that ReLU cut off: it passes no gradient on. The others, 0 to 3, are the places of a square.
constexpr uint8_t CUT_OFF = 4;

// Whether this processor has the vectors that the fast versions need.
bool has_vectors();

// The largest of each square, and the code of its place. With ReLU, what is not above zero becomes zero;
// sigmoid is left to the caller.
void pool(const float *sums, const Shape &shape, Activation activation, float *pooled, uint8_t *codes);
void pool(const Half *sums, const Shape &shape, Activation activation, Half *pooled, uint8_t *codes);

// The gradient of each result goes to where it came from; every other sum's becomes zero.
void unpool(const float *slopes, const uint8_t *codes, const Shape &shape, float *sums);
void unpool(const Half *slopes, const uint8_t *codes, const Shape &shape, Half *sums);

}  // namespace pooling
