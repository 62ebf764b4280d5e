/* Fused attention of the CUDA backend keeps the promises of qgalore/backend.h, and is what runs: it needs no
 * room for scores. On the host its kernels are emulated, in turns and with random schedules of warps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "qgalore/base.h"
#include "support/fixtures/cuda_schedules.h"
#include "support/suites/conformance.h"
#include "support/suites/conformance_arrays.h"

enum { LENGTH = 64, HEADS = 2 };

/* Whether the plugin is one that the user named. */
static bool on_a_device;

typedef struct {
  conformance c;
  void *workspace;
  size_t bytes;
} fused_case;

/* Room for two numbers a row, but not for the blocks of scores of a sequence of LENGTH. */
static void begin(fused_case *f)
{
  qg_backend *be = f->c.be;
  qg_workload workload = {.tokens = 8,
                          .sequence_length = 8,
                          .hidden_size = 64,
                          .num_heads = 4,
                          .num_kv_heads = 4,
                          .logit_chunk_tokens = 8};
  f->bytes = be->ops->workspace_bytes(be, &workload);
  expect_ok(be->ops->alloc(be, f->bytes, &f->workspace));
  be->ops->set_workspace(be, f->workspace, f->bytes);
}

static int end(void **state)
{
  fused_case *f = *state;
  f->c.be->ops->set_workspace(f->c.be, NULL, 0);
  f->c.be->ops->release(f->c.be, f->workspace, f->bytes);
  conformance_end(&f->c);
  return 0;
}

/* Both directions of one sequence; row strides exceed the length of a row by `padding` elements. */
static qg_status attend(fused_case *f, int64_t head_dim, int64_t padding)
{
  qg_view x[8];
  qg_dtype type = f->c.be->compute;
  for (int i = 0; i < QG_COUNT_OF(x); i++)
    x[i] = random_array(&f->c, type, LENGTH, HEADS * head_dim, padding, (uint64_t)i, 1.0).view;
  qg_attention_args args = {.q = x[0],
                            .k = x[1],
                            .v = x[2],
                            .o = x[3],
                            .d_o = x[4],
                            .d_q = x[5],
                            .d_k = x[6],
                            .d_v = x[7],
                            .lse = device_bytes(&f->c, HEADS * LENGTH * sizeof(float)),
                            .sequence_length = LENGTH,
                            .heads = HEADS,
                            .kv_heads = HEADS,
                            .head_dim = head_dim};
  QG_TRY(f->c.be->ops->attention(f->c.be, &args));
  QG_TRY(f->c.be->ops->attention_backward(f->c.be, &args));
  return f->c.be->ops->sync(f->c.be);
}

static void aligned_heads_of_multiples_of_16_need_no_room_for_scores(void **state)
{
  begin(*state);
  expect_ok(attend(*state, 16, 0));
  expect_ok(attend(*state, 48, 8));
  expect_ok(attend(*state, 128, 0));
}

static void other_heads_go_in_blocks(void **state)
{
  static const struct {
    int64_t head_dim, padding;
  } other[] = {{24, 0}, {144, 0}, {32, 4}};
  begin(*state);
  for (int i = 0; i < QG_COUNT_OF(other); i++) {
    assert_int_equal(attend(*state, other[i].head_dim, other[i].padding), QG_ERR_RUNTIME);
    qg_error_clear();
  }
}

static void its_workspace_is_smaller(void **state)
{
  fused_case *f = *state;
  qg_workload workload = {
      .tokens = 2048, .sequence_length = 256, .hidden_size = 512, .num_heads = 8, .num_kv_heads = 8};
  qg_backend *blocks = open_cuda("bf16");
  size_t fused = f->c.be->ops->workspace_bytes(f->c.be, &workload);
  assert_non_null(blocks);
  assert_true(fused < blocks->ops->workspace_bytes(blocks, &workload));
  blocks->close(blocks);
}

/* Only bf16 is multiplied on the tensor cores. */
static void fp32_stays_in_blocks(void **state)
{
  fused_case single = {.c.be = open_cuda_fused("fp32")};
  (void)state;
  assert_non_null(single.c.be);
  void *of_test = &single;
  begin(&single);
  qg_status status = attend(&single, 64, 0);
  end(&of_test);
  single.c.be->close(single.c.be);
  assert_int_equal(status, QG_ERR_RUNTIME);
  qg_error_clear();
}

/* What the emulation counted at the end of a child of this program; without a head size the child does
 * nothing. */
static long count_in_a_child(fused_case *f, int64_t head_dim)
{
  char counts[] = "/tmp/qgalore-counts-XXXXXX";
  long count = -1;
  int file = mkstemp(counts), result = 1;
  assert_true(file >= 0);
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    setenv("CUDAEMU_COUNTS", counts, 1);
    exit(head_dim > 0 ? (int)attend(f, head_dim, 0) : 0);
  }
  assert_true(waitpid(child, &result, 0) == child && result == 0);
  FILE *text = fdopen(file, "r");
  assert_int_equal(fscanf(text, "%ld", &count), 1);
  fclose(text);
  unlink(counts);
  return count;
}

static long products_of(fused_case *f, int64_t head_dim)
{
  return count_in_a_child(f, head_dim) - count_in_a_child(f, 0);
}

/* doc/design-cuda.md: 2 N C (T + S) FLOPs forward, 7 N C (T + 32) backward; S = 64 for heads of up to 64,
 * else 32. */
static void only_products_of_visible_steps_are_made(void **state)
{
  const int64_t flops = 4096, rows = LENGTH * HEADS;
  begin(*state);
  if (on_a_device) skip();
  assert_int_equal(products_of(*state, 64), rows * 64 * (2 * (LENGTH + 64) + 7 * (LENGTH + 32)) / flops);
  assert_int_equal(products_of(*state, 128), rows * 128 * (2 * (LENGTH + 32) + 7 * (LENGTH + 32)) / flops);
}

#define TEST(f, teardown)       \
  {                             \
#f, f, NULL, teardown, NULL \
  }

static int run_all(void)
{
  fused_case f = {.c.be = open_cuda_fused("bf16")};
  if (!f.c.be) return 1;
  struct CMUnitTest tests[] = {
      TEST(aligned_heads_of_multiples_of_16_need_no_room_for_scores, end),
      TEST(other_heads_go_in_blocks, end),
      TEST(its_workspace_is_smaller, NULL),
      TEST(fp32_stays_in_blocks, NULL),
      TEST(only_products_of_visible_steps_are_made, end),
  };
  for (int i = 0; i < QG_COUNT_OF(tests); i++) tests[i].initial_state = &f;
  int failures = cmocka_run_group_tests_name(f.c.be->description, tests, NULL, NULL);
  failures += qg_conformance_run_attention(f.c.be);
  f.c.be->close(f.c.be);
  return failures;
}

int main(void)
{
  on_a_device = getenv("QGALORE_CUDA_PLUGIN") != NULL;
  return fail_under_seeds(run_all);
}
