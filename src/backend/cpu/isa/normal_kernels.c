#include "backend/cpu/isa/normal_kernels.h"

#include <stdalign.h>

#include "backend/cpu/isa/draw_words.h"
#include "backend/cpu/normal.h"
#include "qgalore/numerics/quant_groups.h"

static void group(qg_rng rng, float deviation, uint64_t first, float *restrict out)
{
  alignas(64) uint32_t words[QG_GROUP];
  for (uint32_t i = 0; i < QG_GROUP / 4; i += DRAW_BLOCKS) draw_eight(rng, first / 4 + i, words + 4 * i);
  for (int i = 0; i < QG_GROUP; i += 2)
    qg_normal_pair(words[i], words[i + 1], deviation, &out[i], &out[i + 1]);
}

const qg_normal_kernels QG_ISA_NAME(qg_normal_kernels) = {.group = group};
