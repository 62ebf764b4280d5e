/* The tests of the conformance suite; each gets a `conformance *` as its state. */
#ifndef QG_TESTS_CONFORMANCE_TESTS_H
#define QG_TESTS_CONFORMANCE_TESTS_H

#include "support/suites/conformance_arrays.h"

void memory_is_aligned_zeroed_and_copied(void **state);
void host_memory_is_for_transfers(void **state);
void convert_rounds_to_nearest_even(void **state);
void convert_and_axpy_respect_strides(void **state);
void sum_squares_adds_every_element_once(void **state);
void sum_squares_shows_non_finite_input(void **state);
void a_guard_stays_closed(void **state);
void sum_squares_does_not_overflow_in_fp32(void **state);
void embed_gathers_rows(void **state);
void embed_backward_adds_in_token_order(void **state);
void embed_backward_adds_to_bf16_gradients(void **state);
void gemm_multiplies_every_layout_and_type(void **state);
void gemm_accumulates_and_scales(void **state);
void gemm_accumulates_deep_sums_in_fp32(void **state);
void gemm_takes_operands_at_any_address(void **state);
void gemm_rounds_to_bf16_once(void **state);
void gemm_gives_the_same_bits_again(void **state);
void rmsnorm_normalises_rows(void **state);
void rmsnorm_backward_gives_both_gradients(void **state);
void rmsnorm_backward_does_without_the_gradient_of_the_weight(void **state);
void rope_rotates_by_position_and_back(void **state);
void rope_begins_at_a_position(void **state);
void rope_takes_a_table_for_each_head(void **state);
void swiglu_gates(void **state);
void swiglu_backward_keeps_its_own_memory(void **state);
void swiglu_backward_works_in_place(void **state);
void attention_and_its_gradient(void **state);
void attention_shares_keys_within_a_group(void **state);
void attention_sees_the_keys_before_its_queries(void **state);
void attention_fits_the_workspace_of_its_workload(void **state);
void attention_refuses_what_it_cannot_do(void **state);
void attention_survives_large_scores(void **state);
void attention_gives_the_same_bits_again(void **state);
void cross_entropy_gives_loss_and_gradient(void **state);
void cross_entropy_without_gradient_only_adds_the_loss(void **state);
void cross_entropy_may_write_over_its_logits(void **state);
void cross_entropy_survives_large_logits(void **state);
void cross_entropy_survives_logits_far_from_zero(void **state);
void cross_entropy_shows_a_nan_logit(void **state);

#endif
