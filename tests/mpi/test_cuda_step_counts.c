/* What a steady fused step asks of the device, counted by the emulation: launches by layer, and waits of the
 * host, none of which may lie between the first and the last layer. ranks: 1 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>

#include "support/cudaemu/counts.h"
#include "support/fixtures/cuda_device.h"
#include "support/fixtures/mpi_test.h"
#include "support/fixtures/step_fixture.h"

static qg_par *par;
static const cudaemu_counts *counts;

/* By the phase that was at work, as the device's clock has it; the last line: by none. */
typedef struct {
  long waits[QG_PHASE_COUNT + 1], launches[QG_PHASE_COUNT + 1];
} phase_counts;

static struct {
  phase_counts sums;
  cudaemu_counts last;
  int phase;
} tally;

static void charge(int next)
{
  int line = tally.phase < 0 ? QG_PHASE_COUNT : tally.phase;
  tally.sums.waits[line] += counts->waits - tally.last.waits;
  tally.sums.launches[line] += counts->launches - tally.last.launches;
  tally.last = *counts;
  tally.phase = next;
}

static void begin_phase(qg_backend *be, const char *name, int phase)
{
  (void)be, (void)name;
  charge(phase);
}

static void end_phase(qg_backend *be, int phase)
{
  (void)be;
  charge(phase);
}

/* Of the second step, which refreshes nothing. */
static phase_counts steady_step(int layers, const char *more)
{
  char keys[256];
  step_fixture r;
  snprintf(keys, sizeof keys, "model.num_layers=%d train.update=fused %s", layers, more);
  step_fixture_read_input(&r, keys);
  const char *precision = r.config.backend.precision;
  bool fused = r.config.backend.attention == QG_ATTENTION_FUSED;
  qg_backend *cuda = fused ? open_cuda_fused(precision) : open_cuda(precision);
  assert_non_null(cuda);
  step_fixture_take_backend(&r, cuda);
  r.ops.clock_begin = begin_phase;
  r.ops.clock_end = end_phase;
  step_fixture_start(&r, par);
  step_fixture_step(&r, 0);
  charge(-1);
  tally.sums = (phase_counts){0};
  step_fixture_step(&r, 1);
  charge(-1);
  step_fixture_close(&r);
  return tally.sums;
}

/* Unpacking and product of each matrix; two norms, two rotations, SwiGLU, the residual; attention packs q, k
 * and v, and has two products, a softmax and an unpacking. */
enum { MATRICES = 7, FORWARD = 2 * MATRICES + 6 + 7 };

/* Of each matrix: its unpacking and the gradient of its input, the unpacking of its projector and the two
 * products of the low rank. Two norms again and two backwards of two kernels, SwiGLU, two rotations;
 * attention packs q, k, v and dO, clears dK and dV, has delta, five products, a softmax and three
 * unpackings. */
enum { BACKWARD = 5 * MATRICES + 9 + 16 };

/* Of each matrix: its norm in two kernels, Adam, the product that projects back by the projector that
 * backward has unpacked, and the sum. Of the vectors of both norms: Adam and the sum. */
enum { UPDATE = 5 * MATRICES + 4 };

static long more_launches(const phase_counts *many, const phase_counts *few, qg_phase phase)
{
  return many->launches[phase] - few->launches[phase];
}

static void expect_launches_of_a_layer(const char *more, long forward, long backward, long update)
{
  phase_counts few = steady_step(1, more), many = steady_step(3, more);
  assert_int_equal(more_launches(&many, &few, QG_PHASE_FORWARD), 2 * forward);
  assert_int_equal(more_launches(&many, &few, QG_PHASE_BACKWARD), 2 * backward);
  assert_int_equal(more_launches(&many, &few, QG_PHASE_UPDATE), 2 * update);
  assert_int_equal(more_launches(&many, &few, QG_PHASE_LOSS), 0);
}

static void a_layer_has_its_number_of_launches(void **state)
{
  (void)state;
  expect_launches_of_a_layer("", FORWARD, BACKWARD, UPDATE);
}

/* All of forward but the product of SwiGLU, Down and the residual. */
static void a_recomputed_layer_has_most_of_its_forward_again(void **state)
{
  (void)state;
  expect_launches_of_a_layer("train.activation_checkpointing=yes", FORWARD, BACKWARD + FORWARD - 4, UPDATE);
}

/* Attention that stays on the chip: one kernel forward, two backward. */
static void fused_attention_is_three_launches(void **state)
{
  (void)state;
  expect_launches_of_a_layer("backend.attention=fused", FORWARD - 7 + 1, BACKWARD - 16 + 2, UPDATE);
}

/* For the tokens, twice; for the sums of squares and for the loss; for the end of the step. */
static void expect_five_waits(int layers, const char *more)
{
  static const long expected[QG_PHASE_COUNT + 1] = {
      [QG_PHASE_DATA] = 2, [QG_PHASE_REDUCE] = 2, [QG_PHASE_UPDATE] = 1};
  phase_counts step = steady_step(layers, more);
  for (int phase = 0; phase <= QG_PHASE_COUNT; phase++) assert_int_equal(step.waits[phase], expected[phase]);
}

static void the_host_waits_five_times_whatever_the_layers(void **state)
{
  static const char *const ways[] = {"", "train.activation_checkpointing=yes",
                                     "train.activation_checkpointing=yes train.activation_offload=yes",
                                     "backend.graphs=yes"};
  (void)state;
  for (int i = 0; i < QG_COUNT_OF(ways); i++)
    for (int layers = 1; layers <= 4; layers += 3) expect_five_waits(layers, ways[i]);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_layer_has_its_number_of_launches),
      cmocka_unit_test(a_recomputed_layer_has_most_of_its_forward_again),
      cmocka_unit_test(fused_attention_is_three_launches),
      cmocka_unit_test(the_host_waits_five_times_whatever_the_layers),
  };
  choose_plugin();
  void *plugin = dlopen(getenv("QGALORE_CUDA_PLUGIN"), RTLD_NOW | RTLD_LOCAL);
  counts = plugin ? dlsym(plugin, "cudaemu_counted") : NULL;
  if (!counts) {
    printf("1..0 # SKIP only the emulation counts\n");
    return 0;
  }
  par = mpi_test_begin(&argc, &argv);
  return mpi_test_end(par, cmocka_run_group_tests(tests, NULL, NULL));
}
