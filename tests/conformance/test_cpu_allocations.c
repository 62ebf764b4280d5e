/* A steady step of the CPU backend takes no memory: after the first micro-batch neither the program nor a
 * library calls the C library's allocator. Asked of processors that multiply bf16 themselves: oneDNN and
 * OpenBLAS, which do the rest, allocate inside their calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "backend/cpu/panel.h"
#include "support/fixtures/model_run.h"

static atomic_bool counting;
static atomic_int calls;

/* AddressSanitizer replaces the same functions. */
#if defined(__SANITIZE_ADDRESS__)
enum { COUNTS = 0 };
#else
enum { COUNTS = 1 };

/* glibc's own names of what this program replaces; libraries call the replacements too. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static void count_call(void)
{
  if (atomic_load(&counting)) atomic_fetch_add(&calls, 1);
}

void *malloc(size_t bytes)
{
  count_call();
  return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
  count_call();
  return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
  count_call();
  return __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
  count_call();
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
  count_call();
  *out = __libc_memalign(alignment, bytes);
  return *out ? 0 : ENOMEM;
}
#endif

static const qg_model_shape shape = {.vocab_size = 512,
                                     .hidden_size = 64,
                                     .intermediate_size = 176,
                                     .num_layers = 2,
                                     .num_heads = 2,
                                     .num_kv_heads = 1,
                                     .rms_norm_eps = 1e-6,
                                     .rope_theta = 10000.0};

enum { SEQUENCES = 2, LENGTH = 80, TOKENS = SEQUENCES * LENGTH };

static float **make_params(void)
{
  int count = qg_model_param_count(&shape);
  float **params = calloc((size_t)count, sizeof *params);
  assert_non_null(params);
  for (int id = 0; id < count; id++) {
    qg_param param = qg_model_param(&shape, id);
    params[id] = calloc((size_t)(param.rows * param.cols), sizeof(float));
    assert_non_null(params[id]);
    for (int64_t i = 0; i < param.rows * param.cols; i++)
      params[id][i] = (float)(i * 7919 % 101 - 50) * 1e-3f;
  }
  return params;
}

static void free_params(float **params)
{
  for (int id = 0; id < qg_model_param_count(&shape); id++) free(params[id]);
  free(params);
}

static int calls_of_a_steady_micro_batch(void)
{
  int32_t ids[TOKENS];
  for (int i = 0; i < TOKENS; i++) ids[i] = i * 31 % 512;
  float **params = make_params();
  model_run run = {
      .shape = shape,
      .options = {.micro_batch = SEQUENCES, .sequence_length = LENGTH, .slots = 1, .logit_chunk_tokens = 48},
      .precision = "bf16",
      .stages = 1,
      .micro_batches = 1,
      .grad_scale = 1.0f / TOKENS,
      .ids = ids,
      .targets = ids,
      .params = params};
  model_fixture r;
  assert_int_equal(model_fixture_open(&r, &run), QG_OK);
  assert_int_equal(run_micro_batches(&r), QG_OK);
  atomic_store(&calls, 0);
  atomic_store(&counting, true);
  qg_status status = run_micro_batches(&r);
  atomic_store(&counting, false);
  assert_int_equal(status, QG_OK);
  model_fixture_close(&r);
  free_params(params);
  return atomic_load(&calls);
}

static void the_counter_sees_an_allocation(void **state)
{
  (void)state;
  if (!COUNTS) skip();
  atomic_store(&calls, 0);
  atomic_store(&counting, true);
  void *volatile memory = malloc(1);
  atomic_store(&counting, false);
  free(memory);
  assert_int_equal(atomic_load(&calls), 1);
}

static void a_steady_step_in_bf16_allocates_nothing(void **state)
{
  (void)state;
  if (!COUNTS || !qg_panels()) skip();
  assert_int_equal(calls_of_a_steady_micro_batch(), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_counter_sees_an_allocation),
                                     cmocka_unit_test(a_steady_step_in_bf16_allocates_nothing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
