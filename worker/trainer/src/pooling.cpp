// 2×2 max-pooling of channels-last images on the CPU, with a byte for each result that says where it came from.
// libtorch keeps eight bytes for that and walks them one by one, which took a third of a training step.
//
// Values, ties and NaN are as in PyTorch: the first of equal values wins, NaN beats everything. Each function exists
// twice, with AVX-512 and in plain C++; both give the same bits, and `has_vectors` says which are used.

#include "pooling.h"

#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#define SWEEP_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#endif

namespace pooling {
namespace {

// Channels that a vector holds.
constexpr int64_t LANES = 16;

float value(float stored) { return stored; }
float value(Half stored) {
  const uint32_t bits = static_cast<uint32_t>(stored) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

template <typename Stored>
void pool_plain(const Stored *sums, const Shape &shape, Activation activation, Stored *pooled, uint8_t *codes) {
  const int64_t channels = shape.channels, row = shape.columns * channels;
  for (int64_t line = 0; line < shape.rows / 2; ++line) {
    for (int64_t within = 0; within < row / 2; ++within) {
      const Stored *corner = sums + 2 * line * row + within / channels * 2 * channels + within % channels;
      Stored largest = corner[0];
      uint8_t code = 0;
      for (uint8_t place = 1; place < 4; ++place) {
        const Stored other = corner[place % 2 * channels + place / 2 * row];
        if (value(other) > value(largest) || std::isnan(value(other))) largest = other, code = place;
      }
      if (activation == Activation::Relu && value(largest) <= 0.0f) largest = 0, code = CUT_OFF;
      pooled[line * row / 2 + within] = largest;
      codes[line * row / 2 + within] = code;
    }
  }
}

template <typename Stored>
void unpool_plain(const Stored *slopes, const uint8_t *codes, const Shape &shape, Stored *sums) {
  const int64_t channels = shape.channels, row = shape.columns * channels;
  for (int64_t line = 0; line < shape.rows / 2; ++line) {
    for (int64_t within = 0; within < row / 2; ++within) {
      Stored *corner = sums + 2 * line * row + within / channels * 2 * channels + within % channels;
      const int64_t place = line * row / 2 + within;
      for (uint8_t code = 0; code < 4; ++code) {
        corner[code % 2 * channels + code / 2 * row] = codes[place] == code ? slopes[place] : Stored(0);
      }
    }
  }
}

#ifdef SWEEP_AVX512
SWEEP_AVX512 inline __m512 load(const float *from) { return _mm512_loadu_ps(from); }
SWEEP_AVX512 inline __m512 load(const Half *from) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
SWEEP_AVX512 inline void store(float *to, __m512 from) { _mm512_storeu_ps(to, from); }
// Only of what was loaded from halves, so that nothing is to be rounded.
SWEEP_AVX512 inline void store(Half *to, __m512 from) {
  const __m256i halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(from), 16));
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), halves);
}

template <typename Stored>
SWEEP_AVX512 void pool_vectors(const Stored *sums, const Shape &shape, Activation activation, Stored *pooled, uint8_t *codes) {
  const int64_t channels = shape.channels, row = shape.columns * channels;
  for (int64_t line = 0; line < shape.rows / 2; ++line) {
    for (int64_t column = 0; column < shape.columns / 2; ++column) {
      for (int64_t channel = 0; channel < channels; channel += LANES) {
        const Stored *corner = sums + 2 * line * row + 2 * column * channels + channel;
        __m512 largest = load(corner);
        __m512i code = _mm512_setzero_si512();
        for (int place = 1; place < 4; ++place) {
          const __m512 other = load(corner + place % 2 * channels + place / 2 * row);
          const __mmask16 wins = _mm512_cmp_ps_mask(other, largest, _CMP_GT_OQ) |
                                 _mm512_cmp_ps_mask(other, other, _CMP_UNORD_Q);
          largest = _mm512_mask_mov_ps(largest, wins, other);
          code = _mm512_mask_mov_epi32(code, wins, _mm512_set1_epi32(place));
        }
        if (activation == Activation::Relu) {
          const __mmask16 cut_off = _mm512_cmp_ps_mask(largest, _mm512_setzero_ps(), _CMP_LE_OQ);
          largest = _mm512_mask_mov_ps(largest, cut_off, _mm512_setzero_ps());
          code = _mm512_mask_mov_epi32(code, cut_off, _mm512_set1_epi32(CUT_OFF));
        }
        const int64_t place = line * row / 2 + column * channels + channel;
        store(pooled + place, largest);
        _mm_storeu_si128(reinterpret_cast<__m128i *>(codes + place), _mm512_cvtepi32_epi8(code));
      }
    }
  }
}

template <typename Stored>
SWEEP_AVX512 void unpool_vectors(const Stored *slopes, const uint8_t *codes, const Shape &shape, Stored *sums) {
  const int64_t channels = shape.channels, row = shape.columns * channels;
  for (int64_t line = 0; line < shape.rows / 2; ++line) {
    for (int64_t column = 0; column < shape.columns / 2; ++column) {
      for (int64_t channel = 0; channel < channels; channel += LANES) {
        const int64_t place = line * row / 2 + column * channels + channel;
        const __m512 slope = load(slopes + place);
        const __m128i code = _mm_loadu_si128(reinterpret_cast<const __m128i *>(codes + place));
        Stored *corner = sums + 2 * line * row + 2 * column * channels + channel;
        for (int mine = 0; mine < 4; ++mine) {
          const __mmask16 here = _mm_cmpeq_epi8_mask(code, _mm_set1_epi8(static_cast<char>(mine)));
          store(corner + mine % 2 * channels + mine / 2 * row, _mm512_maskz_mov_ps(here, slope));
        }
      }
    }
  }
}
#endif

bool vectors_fit(const Shape &shape) { return has_vectors() && shape.channels % LANES == 0; }

template <typename Stored>
void pool_any(const Stored *sums, const Shape &shape, Activation activation, Stored *pooled, uint8_t *codes) {
#ifdef SWEEP_AVX512
  if (vectors_fit(shape)) return pool_vectors(sums, shape, activation, pooled, codes);
#endif
  pool_plain(sums, shape, activation, pooled, codes);
}

template <typename Stored>
void unpool_any(const Stored *slopes, const uint8_t *codes, const Shape &shape, Stored *sums) {
#ifdef SWEEP_AVX512
  if (vectors_fit(shape)) return unpool_vectors(slopes, codes, shape, sums);
#endif
  unpool_plain(slopes, codes, shape, sums);
}

}  // namespace

bool has_vectors() {
#ifdef SWEEP_AVX512
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return has;
#else
  return false;
#endif
}

void pool(const float *sums, const Shape &shape, Activation activation, float *pooled, uint8_t *codes) {
  pool_any(sums, shape, activation, pooled, codes);
}

void pool(const Half *sums, const Shape &shape, Activation activation, Half *pooled, uint8_t *codes) {
  pool_any(sums, shape, activation, pooled, codes);
}

void unpool(const float *slopes, const uint8_t *codes, const Shape &shape, float *sums) {
  unpool_any(slopes, codes, shape, sums);
}

void unpool(const Half *slopes, const uint8_t *codes, const Shape &shape, Half *sums) {
  unpool_any(slopes, codes, shape, sums);
}

}  // namespace pooling
