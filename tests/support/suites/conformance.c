#include "support/suites/conformance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "support/suites/conformance_tests.h"

/* Covers every shape of the suite. */
static const qg_workload largest = {.tokens = 3000,
                                    .sequence_length = 256,
                                    .hidden_size = 1376,
                                    .intermediate_size = 4096,
                                    .num_heads = 8,
                                    .num_kv_heads = 8,
                                    .vocab_size = 32003,
                                    .logit_chunk_tokens = 70,
                                    .key_length = 310};

static int give_back(void **state)
{
  conformance_end(*state);
  return 0;
}

#define TEST(f)                  \
  {                              \
#f, f, NULL, give_back, NULL \
  }

/* Gives the backend a workspace for `largest`. */
static bool begin(conformance *c, qg_backend *be, struct CMUnitTest *tests, size_t count)
{
  *c = (conformance){.be = be, .workspace_bytes = be->ops->workspace_bytes(be, &largest)};
  for (size_t i = 0; i < count; i++) tests[i].initial_state = c;
  if (c->workspace_bytes && be->ops->alloc(be, c->workspace_bytes, &c->workspace) != QG_OK) {
    fprintf(stderr, "no workspace: %s\n", qg_error_message());
    return false;
  }
  be->ops->set_workspace(be, c->workspace, c->workspace_bytes);
  return true;
}

static void end(conformance *c)
{
  qg_backend *be = c->be;
  be->ops->set_workspace(be, NULL, 0);
  if (c->workspace) be->ops->release(be, c->workspace, c->workspace_bytes);
}

#define ATTENTION_TESTS                                                                                     \
  TEST(attention_and_its_gradient), TEST(attention_shares_keys_within_a_group),                             \
      TEST(attention_sees_the_keys_before_its_queries), TEST(attention_fits_the_workspace_of_its_workload), \
      TEST(attention_refuses_what_it_cannot_do), TEST(attention_survives_large_scores),                     \
      TEST(attention_gives_the_same_bits_again)

int qg_conformance_run_attention(qg_backend *be)
{
  conformance c;
  struct CMUnitTest tests[] = {
      ATTENTION_TESTS,
  };
  if (!begin(&c, be, tests, sizeof tests / sizeof tests[0])) return 1;
  int failures = cmocka_run_group_tests_name(be->description, tests, NULL, NULL);
  end(&c);
  return failures;
}

int qg_conformance_run(qg_backend *be)
{
  conformance c;
  struct CMUnitTest tests[] = {
      TEST(memory_is_aligned_zeroed_and_copied),
      TEST(host_memory_is_for_transfers),
      TEST(convert_rounds_to_nearest_even),
      TEST(convert_and_axpy_respect_strides),
      TEST(sum_squares_adds_every_element_once),
      TEST(sum_squares_shows_non_finite_input),
      TEST(a_guard_stays_closed),
      TEST(sum_squares_does_not_overflow_in_fp32),
      TEST(embed_gathers_rows),
      TEST(embed_backward_adds_in_token_order),
      TEST(embed_backward_adds_to_bf16_gradients),
      TEST(gemm_multiplies_every_layout_and_type),
      TEST(gemm_accumulates_and_scales),
      TEST(gemm_accumulates_deep_sums_in_fp32),
      TEST(gemm_takes_operands_at_any_address),
      TEST(gemm_rounds_to_bf16_once),
      TEST(gemm_gives_the_same_bits_again),
      TEST(rmsnorm_normalises_rows),
      TEST(rmsnorm_backward_gives_both_gradients),
      TEST(rmsnorm_backward_does_without_the_gradient_of_the_weight),
      TEST(rope_rotates_by_position_and_back),
      TEST(rope_begins_at_a_position),
      TEST(rope_takes_a_table_for_each_head),
      TEST(swiglu_gates),
      TEST(swiglu_backward_keeps_its_own_memory),
      TEST(swiglu_backward_works_in_place),
      ATTENTION_TESTS,
      TEST(cross_entropy_gives_loss_and_gradient),
      TEST(cross_entropy_without_gradient_only_adds_the_loss),
      TEST(cross_entropy_may_write_over_its_logits),
      TEST(cross_entropy_survives_large_logits),
      TEST(cross_entropy_survives_logits_far_from_zero),
      TEST(cross_entropy_shows_a_nan_logit),
  };
  if (!begin(&c, be, tests, sizeof tests / sizeof tests[0])) return 1;
  int failures = cmocka_run_group_tests_name(be->description, tests, NULL, NULL);
  end(&c);
  return failures;
}
