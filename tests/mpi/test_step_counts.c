/* What a training step costs, counted: products and memory. ranks: 1 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>

#include "support/fixtures/mpi_test.h"
#include "support/fixtures/step_fixture.h"

/* --- every allocation of the process, libraries included, from any thread --- */

static atomic_long allocations;

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t bytes)
{
  atomic_fetch_add(&allocations, 1);
  return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
  atomic_fetch_add(&allocations, 1);
  return __libc_calloc(count, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
  atomic_fetch_add(&allocations, 1);
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
  atomic_fetch_add(&allocations, 1);
  *out = __libc_memalign(alignment, bytes);
  return *out ? 0 : 12;
}

/* --- a model whose FLOPs are easy to count --- */

enum {
  HIDDEN = FIXTURE_HIDDEN,
  MLP = FIXTURE_MLP,
  LAYERS = FIXTURE_LAYERS,
  VOCAB = FIXTURE_VOCAB,
  TOKENS = FIXTURE_TOKENS,
  RANK = FIXTURE_RANK,
  LINEAR = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * MLP, /* elements of a layer's matrices */
  HEAD = VOCAB * HIDDEN
};

static qg_par *par;
static int64_t flops;
static qg_status (*real_gemm)(qg_backend *be, const qg_gemm_args *args);

static qg_status counted_gemm(qg_backend *be, const qg_gemm_args *args)
{
  int64_t inner = args->trans_a ? args->a.rows : args->a.cols;
  flops += 2 * args->c.rows * args->c.cols * inner;
  return real_gemm(be, args);
}

static void step_fixture_open(step_fixture *r, const char *keys)
{
  qg_backend *cpu;
  step_fixture_read_input(r, keys);
  qg_backend_request request = {.name = "cpu", .precision = r->config.backend.precision, .threads = 1};
  step_fixture_must(qg_backend_open(&request, &cpu));
  step_fixture_take_backend(r, cpu);
  real_gemm = cpu->ops->gemm;
  r->ops.gemm = counted_gemm;
  step_fixture_start(r, par);
}

/* FLOPs of a step that refreshes nothing. */
static int64_t steady_flops(const char *keys)
{
  step_fixture r;
  step_fixture_open(&r, keys);
  step_fixture_step(&r, 0);
  flops = 0;
  step_fixture_step(&r, 1);
  step_fixture_close(&r);
  return flops;
}

/* Forward and the gradient of the input: 4 per weight and token. Attention works block-wise inside its own
 * operation. */
static const int64_t through = 4 * (int64_t)TOKENS * (LAYERS * LINEAR + HEAD);
static const int64_t head_gradient = 2 * (int64_t)TOKENS * HEAD;

static void full_rank_steps_cost_six_per_weight_and_token(void **state)
{
  (void)state;
  int64_t want = through + head_gradient + 2 * (int64_t)TOKENS * LAYERS * LINEAR;
  assert_int_equal(steady_flops("optimizer.method=adamw"), want);
  assert_int_equal(steady_flops("optimizer.method=adam8bit"), want);
}

/* Gradient: 2 t r (m + n) a matrix in place of 2 t m n. Update: 2 m n r. */
static int64_t low_rank_flops(void)
{
  int64_t sides = 4 * (HIDDEN + HIDDEN) + 3 * (HIDDEN + MLP);
  return LAYERS * (2 * (int64_t)TOKENS * RANK * sides + 2 * (int64_t)LINEAR * RANK);
}

static void low_rank_steps_never_form_a_gradient(void **state)
{
  (void)state;
  int64_t want = through + head_gradient + low_rank_flops();
  assert_int_equal(steady_flops(""), want);
  assert_int_equal(steady_flops("optimizer.method=galore"), want);
  assert_int_equal(steady_flops("train.update=accumulated"), want);
}

/* G is formed, then projected: 2 t m n + 2 m n r. */
static void the_reference_forms_it(void **state)
{
  (void)state;
  int64_t gradient = 2 * (int64_t)LAYERS * LINEAR * (TOKENS + RANK);
  assert_int_equal(steady_flops("qgalore.compat=reference"),
                   through + head_gradient + gradient + 2 * (int64_t)LAYERS * LINEAR * RANK);
}

/* Embedding: 2 t r n for dX P^T. Head: as any low-rank gradient. Both: projected back for 2 m n r. */
static void a_projected_head_is_as_cheap_as_a_layer(void **state)
{
  (void)state;
  int64_t tables = 2 * (int64_t)TOKENS * RANK * (HIDDEN + HIDDEN + VOCAB) + 2 * 2 * (int64_t)HEAD * RANK;
  assert_int_equal(steady_flops("qgalore.project_head=yes"), through + low_rank_flops() + tables);
}

static void checkpointing_runs_all_but_down_once_more(void **state)
{
  (void)state;
  int64_t again = 2 * (int64_t)TOKENS * LAYERS * (LINEAR - HIDDEN * MLP);
  assert_int_equal(steady_flops("train.activation_checkpointing=yes"), steady_flops("") + again);
}

static void expect_no_allocation(const char *keys)
{
  step_fixture r;
  step_fixture_open(&r, keys);
  for (int64_t i = 0; i < 4; i++) step_fixture_step(&r, i); /* libraries make their caches */
  long before = atomic_load(&allocations);
  for (int64_t i = 4; i < 8; i++) step_fixture_step(&r, i);
  long after = atomic_load(&allocations);
  step_fixture_close(&r);
  assert_int_equal(after - before, 0);
}

static void a_steady_step_allocates_nothing(void **state)
{
  (void)state;
  expect_no_allocation("");
  expect_no_allocation("backend.precision=fp32");
  expect_no_allocation("optimizer.method=adamw");
  expect_no_allocation("train.micro_batch=1 train.activation_checkpointing=yes");
  expect_no_allocation("model.tie_embeddings=yes");
}

/* The counter sees what a step would do: one that allocates is found. */
static void an_allocation_would_be_counted(void **state)
{
  (void)state;
  long before = atomic_load(&allocations);
  void *volatile memory = malloc(100);
  free(memory);
  assert_int_equal(atomic_load(&allocations) - before, 1);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(full_rank_steps_cost_six_per_weight_and_token),
      cmocka_unit_test(low_rank_steps_never_form_a_gradient),
      cmocka_unit_test(the_reference_forms_it),
      cmocka_unit_test(a_projected_head_is_as_cheap_as_a_layer),
      cmocka_unit_test(checkpointing_runs_all_but_down_once_more),
      cmocka_unit_test(a_steady_step_allocates_nothing),
      cmocka_unit_test(an_allocation_would_be_counted),
  };
  par = mpi_test_begin(&argc, &argv);
  return mpi_test_end(par, cmocka_run_group_tests(tests, NULL, NULL));
}
