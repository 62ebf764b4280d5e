#include "model/llama/rope_table.h"

#include <math.h>

void qg_rope_table_fill(double theta, int64_t positions, int64_t head_dim, float *cosines, float *sines)
{
  int64_t pairs = head_dim / 2;
  for (int64_t j = 0; j < pairs; j++) {
    double frequency = pow(theta, -2.0 * (double)j / (double)head_dim);
    for (int64_t t = 0; t < positions; t++) {
      cosines[t * pairs + j] = (float)cos((double)t * frequency);
      sines[t * pairs + j] = (float)sin((double)t * frequency);
    }
  }
}
