/* Similarity of two subspaces: the overlap knows spaces, the cosine knows the sign of the first vector. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "qgalore/linalg.h"
#include "support/reference/known_spectrum.h"
#include "support/fixtures/tolerances.h"

enum { D = 150, RANK = 70 };

/* Orthonormal rows [count, D]: a matrix with all singular values 1. */
static void orthonormal_rows(int64_t count, uint64_t seed, float *rows)
{
  double ones[D];
  for (int i = 0; i < D; i++) ones[i] = 1;
  spectrum_matrix(count, D, ones, seed, rows);
}

/* rows [RANK, D] as the projector of this side stores them. */
static void store(qg_side side, const float *rows, float *basis)
{
  for (int k = 0; k < RANK; k++)
    for (int j = 0; j < D; j++) basis[side == QG_SIDE_RIGHT ? k * D + j : j * RANK + k] = rows[k * D + j];
}

static void rotate(const float *rows, float *out)
{
  float q[RANK * RANK];
  double ones[RANK];
  for (int i = 0; i < RANK; i++) ones[i] = 1;
  spectrum_matrix(RANK, RANK, ones, 5, q);
  for (int k = 0; k < RANK; k++)
    for (int j = 0; j < D; j++) {
      double sum = 0;
      for (int i = 0; i < RANK; i++) sum += (double)q[k * RANK + i] * (double)rows[i * D + j];
      out[k * D + j] = (float)sum;
    }
}

static double overlap(qg_side side, const float *a, const float *b)
{
  static float rotation[RANK * RANK];
  qg_subspace_rotation(side, D, RANK, a, b, rotation);
  return qg_subspace_overlap(RANK, rotation);
}

static const qg_side SIDES[] = {QG_SIDE_RIGHT, QG_SIDE_LEFT};

static void overlap_ignores_signs_and_rotations(void **state)
{
  static float rows[RANK * D], turned[RANK * D], a[RANK * D], b[RANK * D];
  (void)state;
  orthonormal_rows(RANK, 1, rows);
  rotate(rows, turned);
  for (int s = 0; s < 2; s++) {
    store(SIDES[s], rows, a);
    store(SIDES[s], turned, b);
    assert_true(QG_CLOSE(overlap(SIDES[s], a, b), 1, QG_TOL_F32_SUM));
    for (int i = 0; i < RANK * D; i++) b[i] = -a[i];
    assert_true(QG_CLOSE(overlap(SIDES[s], a, b), 1, QG_TOL_F32_SUM));
  }
}

static void overlap_counts_the_shared_directions(void **state)
{
  static float rows[2 * RANK * D], a[RANK * D], b[RANK * D];
  (void)state;
  orthonormal_rows(2 * RANK, 2, rows);
  for (int s = 0; s < 2; s++) {
    store(SIDES[s], rows, a);
    store(SIDES[s], rows + RANK * D, b);
    assert_true(QG_CLOSE(overlap(SIDES[s], a, b), 0, QG_TOL_F32_SUM));
    store(SIDES[s], rows + 7 * D, b);
    assert_true(QG_CLOSE(overlap(SIDES[s], a, b), (RANK - 7.0) / RANK, QG_TOL_F32_SUM));
  }
}

static void overlap_agrees_with_its_definition(void **state)
{
  static float one[RANK * D], other[RANK * D], a[RANK * D], b[RANK * D];
  double sum = 0;
  (void)state;
  orthonormal_rows(RANK, 3, one);
  orthonormal_rows(RANK, 4, other);
  for (int i = 0; i < RANK; i++)
    for (int k = 0; k < RANK; k++) {
      double dot = 0;
      for (int j = 0; j < D; j++) dot += (double)one[i * D + j] * (double)other[k * D + j];
      sum += dot * dot;
    }
  for (int s = 0; s < 2; s++) {
    store(SIDES[s], one, a);
    store(SIDES[s], other, b);
    assert_true(QG_CLOSE(overlap(SIDES[s], a, b), sum / RANK, QG_TOL_F32_SUM));
  }
}

static void cosine_is_that_of_the_first_vectors_with_sign(void **state)
{
  static float rows[RANK * D], mixed[RANK * D], a[RANK * D], b[RANK * D];
  (void)state;
  orthonormal_rows(RANK, 6, rows);
  memcpy(mixed, rows, sizeof mixed);
  for (int j = 0; j < D; j++) mixed[j] = -2 * (0.6f * rows[j] + 0.8f * rows[D + j]);
  for (int s = 0; s < 2; s++) {
    store(SIDES[s], rows, a);
    store(SIDES[s], mixed, b);
    assert_true(QG_CLOSE(qg_subspace_cosine(SIDES[s], D, RANK, a, a), 1, QG_TOL_F32_SUM));
    assert_true(QG_CLOSE(qg_subspace_cosine(SIDES[s], D, RANK, a, b), -0.6, QG_TOL_F32_SUM));
  }
}

static void cosine_of_a_zero_vector_is_zero(void **state)
{
  static float a[RANK * D], zero[RANK * D];
  (void)state;
  orthonormal_rows(RANK, 1, a);
  assert_true(qg_subspace_cosine(QG_SIDE_RIGHT, D, RANK, a, zero) == 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(overlap_ignores_signs_and_rotations),
      cmocka_unit_test(overlap_counts_the_shared_directions),
      cmocka_unit_test(overlap_agrees_with_its_definition),
      cmocka_unit_test(cosine_is_that_of_the_first_vectors_with_sign),
      cmocka_unit_test(cosine_of_a_zero_vector_is_zero),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
