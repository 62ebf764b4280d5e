/* Tables of rotary position embedding. */
#ifndef QGALORE_MODEL_ROPE_TABLE_H
#define QGALORE_MODEL_ROPE_TABLE_H

#include <stdint.h>

/* cos and sin of position * theta^(-2 j / head_dim), each [positions, head_dim / 2], host memory.
 * (Su et al., arXiv 2104.09864, equation 15.) Angles in double, rounded once. */
void qg_rope_table_fill(double theta, int64_t positions, int64_t head_dim, float *cosines, float *sines);

#endif
