/* Kernels of the host without a backend: two bf16 hold 16 bits, products of them are those of a backend, and
 * threads with scratch of their own do not meet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/backend/host.h"
#include "qgalore/base.h"
#include "qgalore/numerics/bf16.h"
#include "support/fixtures/tolerances.h"

enum { M = 70, N = 45, K = 130, COUNT = 1003 };

static float number(int i)
{
  return sinf(1.7f * (float)i) * ldexpf(1, i % 40 - 20);
}

static void *take(size_t bytes)
{
  void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
  assert_non_null(memory);
  return memory;
}

static void two_halves_hold_sixteen_bits(void **state)
{
  (void)state;
  float x[COUNT];
  uint16_t high[COUNT + 1], low[COUNT + 1];
  if (qg_host_bf16_products() == QG_HOST_BF16_NONE) skip();
  for (int i = 0; i < COUNT; i++) x[i] = number(i);
  high[COUNT] = low[COUNT] = 0xdead;
  qg_host_split(COUNT, x, high, low);
  for (int i = 0; i < COUNT; i++) {
    float rounded = qg_bf16_to_float(high[i]);
    assert_int_equal(high[i], qg_bf16_from_float(x[i]));
    assert_true(fabsf(x[i] - rounded - qg_bf16_to_float(low[i])) <= ldexpf(1, -17) * fabsf(x[i]));
  }
  assert_int_equal(high[COUNT], 0xdead);
  assert_int_equal(low[COUNT], 0xdead);
}

static void sums_and_maxima_are_those_of_double(void **state)
{
  (void)state;
  float x[COUNT], top = 0;
  double sum = 0;
  for (int i = 0; i < COUNT; i++) {
    x[i] = number(i);
    sum += (double)x[i] * (double)x[i];
    top = fmaxf(top, fabsf(x[i]));
  }
  assert_true(QG_CLOSE(qg_host_sum_squares(QG_F32, COUNT, x) / sum, 1, QG_TOL_F32_SUM));
  assert_true(qg_host_largest(COUNT, x) == top);
  x[COUNT / 2] = NAN;
  assert_true(isnan(qg_host_sum_squares(QG_F32, COUNT, x)));
  assert_true(qg_host_largest(COUNT, x) <= top);
}

/* c [M, N] = a [M, K] b [K, N] */
typedef struct {
  uint16_t a[M * K], b[K * N];
  float c[M * N];
} operands;

static operands *make_operands(int seed)
{
  operands *o = take(sizeof *o);
  for (int i = 0; i < M * K; i++) o->a[i] = qg_bf16_from_float(cosf((float)(seed + i)));
  for (int i = 0; i < K * N; i++) o->b[i] = qg_bf16_from_float(sinf((float)(seed + 3 * i)));
  return o;
}

static void multiply(operands *o, int threads, void *workspace)
{
  qg_gemm_args gemm = {.a = qg_view_make(o->a, QG_BF16, M, K),
                       .b = qg_view_make(o->b, QG_BF16, K, N),
                       .c = qg_view_make(o->c, QG_F32, M, N),
                       .alpha = 1};
  qg_host_gemm(threads, workspace, &gemm);
}

static void products_are_those_of_double(void **state)
{
  (void)state;
  if (qg_host_bf16_products() == QG_HOST_BF16_NONE) skip();
  operands *o = make_operands(1);
  void *workspace = take(qg_host_gemm_bytes(2));
  multiply(o, 2, workspace);
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      double sum = 0, size = 0;
      for (int k = 0; k < K; k++) {
        double term = (double)qg_bf16_to_float(o->a[i * K + k]) * (double)qg_bf16_to_float(o->b[k * N + j]);
        sum += term;
        size += fabs(term);
      }
      assert_true(fabs(o->c[i * N + j] - sum) <= QG_TOL_F32_SUM * size);
    }
  free(workspace);
  free(o);
}

static void threads_with_their_own_workspace_do_not_meet(void **state)
{
  (void)state;
  enum { TEAM = 2, TURNS = 50 };
  operands *alone[TEAM], *together[TEAM];
  void *workspace[TEAM];
  if (qg_host_bf16_products() == QG_HOST_BF16_NONE) skip();
  for (int t = 0; t < TEAM; t++) {
    alone[t] = make_operands(t);
    together[t] = make_operands(t);
    workspace[t] = take(qg_host_gemm_bytes(1));
    multiply(alone[t], 1, workspace[t]);
  }
#pragma omp parallel for num_threads(TEAM)
  for (int t = 0; t < TEAM; t++)
    for (int turn = 0; turn < TURNS; turn++) multiply(together[t], 1, workspace[t]);
  for (int t = 0; t < TEAM; t++) {
    assert_memory_equal(together[t]->c, alone[t]->c, sizeof alone[t]->c);
    free(alone[t]);
    free(together[t]);
    free(workspace[t]);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(two_halves_hold_sixteen_bits),
      cmocka_unit_test(sums_and_maxima_are_those_of_double),
      cmocka_unit_test(products_are_those_of_double),
      cmocka_unit_test(threads_with_their_own_workspace_do_not_meet),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
