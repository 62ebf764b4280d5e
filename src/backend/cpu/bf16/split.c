/* fp32 in two bf16. */
#include <immintrin.h>

#include "backend/cpu/bf16/tile16.h"
#include "qgalore/backend/host.h"

static inline void store_half(uint16_t *to, __mmask16 lanes, __m512 x)
{
  _mm256_mask_storeu_epi16(to, lanes, (__m256i)_mm512_cvtneps_pbh(x));
}

void qg_host_split(int64_t count, const float *x, uint16_t *high, uint16_t *low)
{
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 lanes = (__mmask16)qg_lanes(count - i);
    __m512 whole = _mm512_maskz_loadu_ps(lanes, x + i);
    store_half(high + i, lanes, whole);
    if (low) store_half(low + i, lanes, _mm512_sub_ps(whole, qg_load_bf16(high + i, lanes)));
  }
}
