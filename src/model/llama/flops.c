/* FLOP counts in the usual convention: a multiply-add is 2, backward is twice forward. */
#include "model/llama/flops.h"

/* Forward attention over a full square is 2 (scores) + 2 (values) FLOPs per channel and key; the causal half
 * leaves 2 C T a token, and backward doubles it once more: 6 C T. */
double qg_llama_layer_flops(const qg_model_shape *shape, int64_t sequence_length)
{
  double hidden = (double)shape->hidden_size;
  double attention_matrices = 2.0 * hidden * (hidden + (double)qg_kv_size(shape));
  double mlp_matrices = 3.0 * hidden * (double)shape->intermediate_size;
  return 6.0 * (attention_matrices + mlp_matrices) + 6.0 * hidden * (double)sequence_length;
}

double qg_llama_head_flops(const qg_model_shape *shape)
{
  return 6.0 * (double)shape->vocab_size * (double)shape->hidden_size;
}
