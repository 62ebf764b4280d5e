/* One step against plain double-precision simulations: AdamW on dense weights, the whole Q-GaLore step on
 * INT8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "qgalore/numerics/dynamic_maps.h"
#include "support/fixtures/optim_gradients.h"
#include "support/fixtures/tolerances.h"

enum { TOKENS = 40, MICRO_BATCHES = 2 };

static void *zeros(int64_t count)
{
  void *memory = calloc((size_t)count, sizeof(double));
  assert_non_null(memory);
  return memory;
}

/* AdamW as the textbook has it: m and v hats, then the decoupled decay (Loshchilov and Hutter, arXiv
 * 1711.05101). */
static void adamw(const qg_optim_options *o, int64_t t, double lr, double decay, double g, double *m,
                  double *v, double *w)
{
  *m = o->beta1 * *m + (1.0 - o->beta1) * g;
  *v = o->beta2 * *v + (1.0 - o->beta2) * g * g;
  double m_hat = *m / (1.0 - pow(o->beta1, (double)t)), v_hat = *v / (1.0 - pow(o->beta2, (double)t));
  *w += -lr * m_hat / (sqrt(v_hat) + o->eps) - lr * decay * *w;
}

/* Four steps of one parameter with the optimizer's own gradients; clipping by 0.5. */
static void assert_adamw(qg_role role, double weight_decay, double decay)
{
  fixture f;
  qg_optim_options options = options_of(QG_METHOD_ADAMW);
  options.weight_decay = weight_decay;
  small_open(&f, options, TOKENS, MICRO_BATCHES);
  const qg_param *p = param_of(&f, role, 0);
  int64_t n = qg_param_elements(p);
  double *m = zeros(n), *v = zeros(n), *w = zeros(n);
  float *start = weight_out(&f, p);
  for (int64_t i = 0; i < n; i++) w[i] = (double)start[i];
  for (int64_t step = 0; step < 4; step++) {
    noise_gradients(&f, step);
    float *grad = gradient_out(&f, p);
    for (int64_t i = 0; i < n; i++)
      adamw(&options, step + 1, 0.01, decay, 0.5 * (double)grad[i], &m[i], &v[i], &w[i]);
    assert_ok(qg_optim_apply(f.optim, 0.01, 0.5));
    free(grad);
  }
  float *end = weight_out(&f, p);
  for (int64_t i = 0; i < n; i++) assert_true(QG_CLOSE(end[i], w[i], QG_TOL_ADAM_F32));
  free(start);
  free(end);
  free(m);
  free(v);
  free(w);
  fixture_close(&f);
}

static void dense_weights_follow_adamw(void **state)
{
  (void)state;
  assert_adamw(QG_ROLE_Q, 0.0, 0.0);
  assert_adamw(QG_ROLE_EMBED, 0.0, 0.0);
  assert_adamw(QG_ROLE_HEAD, 0.0, 0.0);
  assert_adamw(QG_ROLE_ATTN_NORM, 0.0, 0.0);
}

static void decay_pulls_matrices_and_spares_norms(void **state)
{
  (void)state;
  assert_adamw(QG_ROLE_DOWN, 0.1, 0.1);
  assert_adamw(QG_ROLE_EMBED, 0.1, 0.1);
  assert_adamw(QG_ROLE_FINAL_NORM, 0.1, 0.0);
}

/* What the simulation of a Q-GaLore step reads before it. */
typedef struct {
  uint8_t *codes, *zero, *m_codes, *v_codes;
  float *scale, *m, *v, *m_absmax, *v_absmax;
} state_before;

/* Fields that the parameter does not have are NULL. */
static state_before state_of(const fixture *f, const qg_param *p)
{
  return (state_before){
      .codes = stored_out(f, p, "weights", "codes"),
      .zero = stored_out(f, p, "weights", "zero"),
      .scale = stored_out(f, p, "weights", "scale"),
      .m_codes = stored_out(f, p, "moments", "m_codes"),
      .v_codes = stored_out(f, p, "moments", "v_codes"),
      .m_absmax = stored_out(f, p, "moments", "m_absmax"),
      .v_absmax = stored_out(f, p, "moments", "v_absmax"),
      .m = stored_out(f, p, "moments", "m"),
      .v = stored_out(f, p, "moments", "v"),
  };
}

static void state_free(state_before *s)
{
  free(s->codes);
  free(s->zero);
  free(s->scale);
  free(s->m_codes);
  free(s->v_codes);
  free(s->m_absmax);
  free(s->v_absmax);
  free(s->m);
  free(s->v);
}

/* Delta of every element of R, in double, from the moments before the step. */
static double *simulate_adam(const fixture *f, const qg_param *p, const state_before *s, int64_t step,
                             double lr, const double *r)
{
  const qg_optim_options *o = &f->options;
  const qg_dynamic_maps *maps = qg_dynamic_maps_get();
  int64_t count = gradient_elements(f, p);
  double *delta = zeros(count), t = (double)step + 1.0;
  double c1 = 1.0 - pow(o->beta1, t), c2 = sqrt(1.0 - pow(o->beta2, t));
  for (int64_t i = 0; i < count; i++) {
    int64_t block = i / o->moment_block;
    bool eight = s->m_codes != NULL;
    double m = eight ? (double)maps->signed_map[s->m_codes[i]] * (double)s->m_absmax[block] : (double)s->m[i];
    double v =
        eight ? (double)maps->unsigned_map[s->v_codes[i]] * (double)s->v_absmax[block] : (double)s->v[i];
    m = o->beta1 * m + (1.0 - o->beta1) * r[i];
    v = o->beta2 * v + (1.0 - o->beta2) * r[i] * r[i];
    delta[i] = -lr * c2 / c1 * m / (sqrt(v) + c2 * o->eps);
  }
  return delta;
}

/* R = G P^T or P^T G, in double, with the stored P. */
static double *simulate_projection(const fixture *f, const qg_param *p, const float *basis, int64_t step)
{
  int64_t m = p->rows, n = p->cols, k = sink_of(f, p).rank;
  bool right = sink_of(f, p).side == QG_SIDE_RIGHT;
  double *g = zeros(m * n), *r = zeros(gradient_elements(f, p));
  for (int64_t b = 0; b < MICRO_BATCHES; b++) {
    float *dy = pair_half(f, p, step, b, 0), *x = pair_half(f, p, step, b, 1);
    for (int64_t t = 0; t < TOKENS; t++)
      for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) g[i * n + j] += (double)dy[t * m + i] * (double)x[t * n + j];
    free(dy);
    free(x);
  }
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++)
      for (int64_t q = 0; q < k; q++)
        if (right) r[i * k + q] += g[i * n + j] * (double)basis[q * n + j];
        else
          r[q * n + j] += (double)basis[i * k + q] * g[i * n + j];
  free(g);
  return r;
}

/* w + scale * back(delta) - lr * decay * w, in double. */
static double *simulate_weights(const fixture *f, const qg_param *p, const state_before *s,
                                const float *basis, const double *delta, double lr)
{
  int64_t m = p->rows, n = p->cols, k = sink_of(f, p).rank;
  bool right = sink_of(f, p).side == QG_SIDE_RIGHT;
  double *w = zeros(m * n);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      int64_t e = i * n + j;
      qg_group_params group = {s->scale[e / QG_GROUP], s->zero[e / QG_GROUP]};
      double back = 0.0, old = (double)qg_group_decode(s->codes[e], group);
      for (int64_t q = 0; q < k; q++)
        back +=
            right ? delta[i * k + q] * (double)basis[q * n + j] : (double)basis[i * k + q] * delta[q * n + j];
      w[e] = old + f->options.scale * back - lr * f->options.weight_decay * old;
    }
  return w;
}

/* The codes of the simulated weights with the step's random numbers; returns how many differ from `codes`. */
static int64_t count_other_codes(const fixture *f, const qg_param *p, const double *w, int64_t step,
                                 const uint8_t *codes)
{
  qg_rng rng = {f->options.seed, (uint64_t)step, (uint32_t)p->id, QG_RNG_ROUND};
  int64_t n = qg_param_elements(p), other = 0;
  for (int64_t first = 0; first < n; first += QG_GROUP) {
    int64_t end = qg_min_i64(first + QG_GROUP, n);
    double low = w[first], high = w[first];
    for (int64_t i = first; i < end; i++) {
      low = fmin(low, w[i]);
      high = fmax(high, w[i]);
    }
    qg_group_params group = qg_group_fit((float)low, (float)high, QG_INT8_LEVELS, f->options.include_zero);
    for (int64_t i = first; i < end; i++) {
      float u = qg_rng_unit_at(rng, (uint64_t)i);
      int want = qg_group_encode_stochastic((float)w[i], group, QG_INT8_LEVELS, u);
      if (want == codes[i]) continue;
      other++;
      assert_in_range(abs(want - (int)codes[i]), 1, 1);
    }
  }
  return other;
}

/* Runs one step of everything and simulates that of `p` from what was stored before. Returns the share of
 * other codes. */
static double other_codes(fixture *f, const qg_param *p, int64_t step, double lr)
{
  state_before before = state_of(f, p);
  noise_gradients(f, step);
  float *basis = basis_out(f, p);
  double *r = simulate_projection(f, p, basis, step), *delta = simulate_adam(f, p, &before, step, lr, r);
  double *w = simulate_weights(f, p, &before, basis, delta, lr);
  assert_ok(qg_optim_apply(f->optim, lr, 1.0));
  uint8_t *codes = stored_out(f, p, "weights", "codes");
  int64_t other = count_other_codes(f, p, w, step, codes);
  free(codes);
  free(w);
  free(delta);
  free(r);
  free(basis);
  state_free(&before);
  return (double)other / (double)qg_param_elements(p);
}

static void assert_simulated(qg_role role, bool moments8, qg_side side)
{
  fixture f;
  qg_optim_options options = options_of(QG_METHOD_QGALORE);
  options.weight_decay = 0.1;
  options.update_gap = 2;
  small_open(&f, options, TOKENS, MICRO_BATCHES);
  const qg_param *p = param_of(&f, role, 1);
  assert_int_equal(has_8bit_moments(&f, p), moments8);
  assert_int_equal(sink_of(&f, p).side, side);
  for (int64_t step = 0; step < 4; step++) {
    double share = other_codes(&f, p, step, 0.01);
    if (!(share <= QG_TOL_CODE_TIES))
      fail_msg("%s, step %d: %.3g of the codes differ", p->name, (int)step, share);
  }
  fixture_close(&f);
}

static void a_right_projected_step_equals_its_simulation(void **state)
{
  (void)state;
  assert_simulated(QG_ROLE_UP, true, QG_SIDE_RIGHT);
  assert_simulated(QG_ROLE_Q, false, QG_SIDE_RIGHT);
}

static void a_left_projected_step_equals_its_simulation(void **state)
{
  (void)state;
  assert_simulated(QG_ROLE_DOWN, true, QG_SIDE_LEFT);
  assert_simulated(QG_ROLE_K, false, QG_SIDE_LEFT);
}

/* The pieces in which one INT8 weight is updated. */
static struct {
  const uint8_t *codes;       /* of that weight */
  int64_t cols, end, largest; /* end: of the last piece */
  int count;
} pieces;

/* Groups and rows may end at different elements; a piece ends where both do. */
static void note_piece(const qg_update_int8_args *args)
{
  assert_int_equal(args->first, pieces.end);
  assert_int_equal(args->first % QG_GROUP, 0);
  assert_int_equal(args->first % pieces.cols, 0);
  pieces.end = args->first + args->count;
  pieces.largest = qg_max_i64(pieces.largest, args->count);
  pieces.count++;
}

static qg_status noted_update(qg_backend *be, const qg_update_int8_args *args)
{
  const counting_backend *counter = (counting_backend *)be;
  if (args->store.codes == pieces.codes) note_piece(args);
  return counter->real->ops->update_int8(counter->real, args);
}

static void note_pieces(fixture *f, const qg_param *p)
{
  memset(&pieces, 0, sizeof pieces);
  pieces.codes = stored(f, p, "weights", "codes");
  pieces.cols = p->cols;
  f->counter.ops.update_int8 = noted_update;
}

static qg_param_list one_matrix(int64_t rows, int64_t cols)
{
  qg_param *matrix = malloc(sizeof *matrix);
  assert_non_null(matrix);
  *matrix = (qg_param){.kind = QG_PARAM_MATRIX,
                       .layer = -1,
                       .layers = 1,
                       .rows = rows,
                       .cols = cols,
                       .projectable = true,
                       .multiplied = true,
                       .held = true,
                       .owned = true,
                       .name = "matrix",
                       .dataset = "matrix"};
  return (qg_param_list){matrix, 1};
}

/* Updates a matrix alone, as if its subspace had been solved at step 0. */
static void update_matrix(int64_t rows, int64_t cols, int64_t update_elements)
{
  fixture f = {
      .options = options_of(QG_METHOD_QGALORE), .be = &f.counter.be, .tokens = 1, .micro_batches = 1};
  f.options.rank = 1;
  counting_open(&f.counter, "fp32");
  f.be->update_elements = update_elements;
  assert_ok(qg_mem_create(f.be, &f.mem));
  assert_ok(trained_create_of(fixture_request(&f), one_matrix(rows, cols), &f.trained));
  f.optim = f.trained.optim;
  trained_start(&f.trained);
  *(int64_t *)stored(&f, param_at(&f, 0), "tracker", "last_refresh") = 0;
  note_pieces(&f, param_at(&f, 0));
  assert_ok(qg_optim_begin(f.optim, 1));
  assert_ok(qg_optim_finish_gradients(f.optim));
  assert_ok(qg_optim_apply(f.optim, 0.01, 1.0));
  fixture_close(&f);
  assert_int_equal(pieces.end, rows * cols);
}

/* Groups end inside rows of 96; a chunk of rows may only end where a group does. */
static void chunks_of_rows_end_with_whole_groups(void **state)
{
  (void)state;
  enum { UPDATE_ELEMENTS = 1 << 20 };
  const int64_t cols[] = {96, 512, 1376, 2736, 5461, 4096, 1};
  for (int i = 0; i < QG_COUNT_OF(cols); i++) {
    update_matrix(4 * UPDATE_ELEMENTS / cols[i], cols[i], UPDATE_ELEMENTS);
    assert_true(pieces.count > 1);
    assert_in_range(pieces.largest, 1, 3 * UPDATE_ELEMENTS / 2);
    update_matrix(3, cols[i], UPDATE_ELEMENTS);
    assert_int_equal(pieces.count, 1);
  }
}

/* 11000 x 96 is more than a chunk: the step of its parts must be that of the whole. */
static void assert_simulated_in_chunks(qg_role role)
{
  fixture f = {.shape = small_shape(), .options = options_of(QG_METHOD_QGALORE)};
  f.shape.intermediate_size = 11000;
  f.shape.num_layers = 1;
  f.options.rank = 8;
  qg_partition part = whole(&f.shape);
  fixture_open(&f, &part, "fp32", TOKENS, MICRO_BATCHES);
  const qg_param *p = param_of(&f, role, 0);
  note_pieces(&f, p);
  assert_true(other_codes(&f, p, 0, 0.01) <= QG_TOL_CODE_TIES);
  assert_true(pieces.count > 1);
  fixture_close(&f);
}

static void matrices_of_several_chunks_equal_their_simulation(void **state)
{
  (void)state;
  assert_simulated_in_chunks(QG_ROLE_GATE);
  assert_simulated_in_chunks(QG_ROLE_DOWN);
}

static void the_model_reads_the_compute_type(void **state)
{
  (void)state;
  fixture f = {.shape = small_shape(), .options = options_of(QG_METHOD_QGALORE)};
  f.options.dense_type = QG_F32; /* the compute type is bf16: norms and head need copies */
  qg_partition part = whole(&f.shape);
  fixture_open(&f, &part, "bf16", TOKENS, 1);
  assert_int_equal(read_weight(&f, param_of(&f, QG_ROLE_HEAD, -1)).type, QG_BF16);
  assert_int_equal(read_weight(&f, param_of(&f, QG_ROLE_Q, 0)).type, QG_BF16);
  qg_view norm = read_weight(&f, param_of(&f, QG_ROLE_FINAL_NORM, -1));
  assert_int_equal(norm.type, QG_BF16);
  uint16_t *gain = copied_out(&f, norm.data, sizeof *gain);
  assert_true(qg_bf16_to_float(gain[0]) == 1.0f);
  assert_int_equal(read_weight(&f, param_at(&f, 0)).type, QG_F32); /* looked up only: as stored */
  free(gain);
  fixture_close(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dense_weights_follow_adamw),
      cmocka_unit_test(decay_pulls_matrices_and_spares_norms),
      cmocka_unit_test(a_right_projected_step_equals_its_simulation),
      cmocka_unit_test(a_left_projected_step_equals_its_simulation),
      cmocka_unit_test(chunks_of_rows_end_with_whole_groups),
      cmocka_unit_test(matrices_of_several_chunks_equal_their_simulation),
      cmocka_unit_test(the_model_reads_the_compute_type),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
