/* Every mistake in an input is found in one pass, and its message says where, what and what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/suggest.h"
#include "qgalore/config.h"

/* Lines 1 to 9; what a test adds begins in line 10. */
#define MINIMAL                                                                                              \
  "[model]\nhidden_size = 64\nintermediate_size = 96\nnum_layers = 2\nnum_heads = 4\n[data]\ntrain = t.h5\n" \
  "[qgalore]\nrank = 8\n"

static char folder[64], input[96];

static int make_folder(void **state)
{
  (void)state;
  strcpy(folder, "/tmp/qgalore-config-XXXXXX");
  if (!mkdtemp(folder)) return -1;
  snprintf(input, sizeof input, "%s/case.in", folder);
  return 0;
}

static int remove_folder(void **state)
{
  (void)state;
  char command[96];
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command);
}

static void write_bytes(const char *name, const char *bytes, size_t count)
{
  char path[160];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, count, file), count);
  fclose(file);
}

static const char *message_of(const char *text, int count, const char *const *overrides)
{
  qg_config config;
  write_bytes("case.in", text, strlen(text));
  assert_int_equal(qg_config_load(input, count, (char *const *)overrides, &config), QG_ERR_INPUT);
  return qg_error_message();
}

static void assert_says(const char *message, const char *part)
{
  if (!strstr(message, part)) fail_msg("expected \"%s\" in:\n%s", part, message);
}

/* `text` has exactly one problem: case.in:LINE: what. */
static void assert_problem(const char *text, int line, const char *what)
{
  char expected[512];
  const char *message = message_of(text, 0, NULL);
  if (line) snprintf(expected, sizeof expected, "%s:%d: %s", input, line, what);
  else
    snprintf(expected, sizeof expected, "%s: %s", input, what);
  assert_says(message, expected);
  if (strchr(message, '\n')) fail_msg("more than one problem:\n%s", message);
}

static void names_that_do_not_exist(void **state)
{
  (void)state;
  assert_problem(MINIMAL "[optimiser]\nlr = 1\nbeta = 2\n", 10,
                 "optimiser: no such section (did you mean 'optimizer'?)");
  assert_problem(MINIMAL "[zebra]\n", 10, "zebra: no such section; qgalore_hpc --help-input");
  assert_problem(MINIMAL "[train]\nstpes = 5\n", 11, "train.stpes: no such key (did you mean 'steps'?)");
  assert_problem(MINIMAL "[train]\nlr = 1\n", 11,
                 "train.lr: no such key here (did you mean 'optimizer.lr'?)");
  assert_problem(MINIMAL "[train]\nxyzzy = 5\n", 11,
                 "train.xyzzy: no such key; qgalore_hpc --help-input=train");
  assert_problem("xyzzy = 1\n" MINIMAL, 1, "xyzzy: a key outside any section");
  assert_problem("seed = 1\n" MINIMAL, 1, "seed: no such key here (did you mean 'train.seed'?)");
}

static void lines_that_are_neither_key_nor_section(void **state)
{
  (void)state;
  assert_problem(MINIMAL "nonsense\n", 10, "expected 'key = value'");
  assert_problem(MINIMAL "nonsense", 10, "expected 'key = value'");
  assert_problem(MINIMAL "[train\nsteps = 5\n", 10, "this is not a section");
  assert_problem(MINIMAL "[train] steps = 5\n", 10, "this is not a section");
}

static void a_key_given_twice_in_one_file(void **state)
{
  (void)state;
  assert_problem(MINIMAL "rank = 9\n", 10, "qgalore.rank: given twice, first in line 9");
  assert_problem(MINIMAL "[train]\nseed = 9\n[model]\n[train]\nseed = 9\n", 14,
                 "train.seed: given twice, first in line 11");
}

static void a_key_given_under_both_its_names(void **state)
{
  (void)state;
  assert_problem(MINIMAL "[train]\nloss_rows = 9\nlogit_chunk_tokens = 9\n", 12,
                 "train.logit_chunk_tokens (formerly loss_rows): given twice, first in line 11; keep one");
  assert_problem(MINIMAL "[train]\nlogit_chunk_tokens = 9\nloss_rows = 9\n", 12,
                 "train.logit_chunk_tokens (formerly loss_rows): given twice, first in line 11; keep one");
}

static void errors_of_former_names_speak_of_the_new_ones(void **state)
{
  (void)state;
  assert_problem(MINIMAL "[train]\nloss_rows = 0\n", 11, "train.logit_chunk_tokens: 0 is out of the range");
  assert_problem(MINIMAL "[run]\npartial_step = back\n", 11,
                 "run.nonfinite_partial: 'back' is none of rollback, keep");
}

static void values_of_the_wrong_type(void **state)
{
  (void)state;
  assert_problem(MINIMAL "[train]\nsteps = many\n", 11,
                 "train.steps: 'many' is not a whole number; write for example 10000");
  assert_problem(MINIMAL "[train]\nsteps = 1.5\n", 11, "train.steps: '1.5' is not a whole number");
  assert_problem(MINIMAL "[train]\nsteps =\n", 11, "train.steps: '' is not a whole number");
  assert_problem(MINIMAL "[train]\nsteps = 99999999999999999999\n", 11,
                 "train.steps: 99999999999999999999 is beyond 64 bits");
  assert_problem(MINIMAL "[optimizer]\nlr = fast\n", 11, "optimizer.lr: 'fast' is not a number");
  assert_problem(MINIMAL "[optimizer]\nlr = nan\n", 11, "optimizer.lr: 'nan' is not a number");
  assert_problem(MINIMAL "[optimizer]\ngrad_clip = inf\n", 11, "optimizer.grad_clip: 'inf' is not a number");
  assert_problem(MINIMAL "lazy = maybe\n", 10, "qgalore.lazy: 'maybe' is neither yes nor no");
  assert_problem(MINIMAL "[run]\nmax_walltime = 3600\n", 11,
                 "run.max_walltime: '3600' is not a time; write for example 23h45m");
  assert_problem(MINIMAL "[run]\nmax_walltime = 4 weeks\n", 11, "run.max_walltime: '4 weeks' is not a time");
  assert_problem(MINIMAL "[parallel]\nlayers_per_stage = 1;1\n", 11,
                 "parallel.layers_per_stage: '1;1' is not a list");
}

static void choices_that_do_not_exist(void **state)
{
  (void)state;
  assert_problem(
      MINIMAL "[optimizer]\nmethod = qgalor\n", 11,
      "optimizer.method: 'qgalor' is none of adamw, adam8bit, galore, qgalore (did you mean 'qgalore'?)");
  assert_problem(MINIMAL "weight_bits = 7\n", 10, "qgalore.weight_bits: '7' is none of 0, 8, 16, 32");
  assert_problem(MINIMAL "[backend]\nname = gpu\n", 11, "backend.name: 'gpu' is none of auto, cpu, cuda");
}

static void values_out_of_range(void **state)
{
  (void)state;
  assert_problem(MINIMAL "[optimizer]\nbeta1 = 1\n", 11, "optimizer.beta1: 1 is out of the range [0, 1)");
  assert_problem(MINIMAL "[optimizer]\nbeta2 = -0.1\n", 11,
                 "optimizer.beta2: -0.1 is out of the range [0, 1)");
  assert_problem(MINIMAL "similarity_window = 17\n", 10,
                 "qgalore.similarity_window: 17 is out of the range [1, 16]");
  assert_problem(MINIMAL "[optimizer]\nlr = 0\n", 11, "optimizer.lr: 0 is out of the range (0, 10]");
}

static void keys_that_are_missing(void **state)
{
  (void)state;
  const char *message = message_of("[qgalore]\nrank = 8\n", 0, NULL);
  static const char *const required[] = {"model.hidden_size", "model.intermediate_size", "model.num_layers",
                                         "model.num_heads", "data.train"};
  for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
    char expected[128];
    snprintf(expected, sizeof expected, "%s: %s: missing", input, required[i]);
    assert_says(message, expected);
  }
}

static void keys_that_contradict_each_other(void **state)
{
  (void)state;
  assert_problem(
      "[model]\nhidden_size = 64\nintermediate_size = 96\nnum_layers = 2\nnum_heads = 5\n[data]\ntrain = t\n",
      5, "model.num_heads: 5 does not divide hidden_size = 64");
  assert_problem(
      "[model]\nhidden_size = 60\nintermediate_size = 96\nnum_layers = 2\nnum_heads = 4\n[data]\ntrain = t\n"
      "[qgalore]\nrank = 8\n",
      5, "model.num_heads: a head would be 15 wide");
  assert_problem(MINIMAL "[model]\nnum_kv_heads = 3\n", 11,
                 "model.num_kv_heads: 3 does not divide num_heads = 4");
  assert_problem(MINIMAL "[train]\nglobal_batch = 20\n", 0,
                 "train.micro_batch: 8 does not divide global_batch = 20");
  assert_problem(MINIMAL "[train]\nmicro_batch = 65536\nglobal_batch = 65536\nsequence_length = 65536\n", 11,
                 "train.micro_batch: a micro-batch would have 4294967296 tokens");
  assert_problem(MINIMAL "[train]\nsteps = 5\n[optimizer]\nwarmup_steps = 6\n", 13,
                 "optimizer.warmup_steps: 6 exceeds train.steps = 5");
  assert_problem(MINIMAL "[train]\nvalidate_every = 6\n", 11, "train.validate_every: needs data.valid");
  assert_problem(MINIMAL "max_update_gap = 100\n", 10,
                 "qgalore.max_update_gap: 100 is less than update_gap = 200");
  assert_problem(MINIMAL "[parallel]\nlayers_per_stage = 1, 2\n", 11,
                 "parallel.layers_per_stage: adds up to 3 layers; model.num_layers is 2");
  assert_problem(MINIMAL "[parallel]\npipeline = 3\nlayers_per_stage = 1, 1\n", 12,
                 "parallel.layers_per_stage: has 2 stages; parallel.pipeline is 3");
  assert_problem(MINIMAL "[parallel]\npipeline = 5\n", 11, "parallel.pipeline: 5 stages for 2 layers");
  assert_problem(
      MINIMAL "[run]\nspike_factor = 1\n", 11,
      "run.spike_factor: 1 would take ordinary losses for spikes; use more than 1, or 0 for never");
  assert_problem(MINIMAL "[run]\nname = a/b\n", 11, "run.name: 'a/b' cannot be the name of a folder");
}

static void the_rank_is_limited_by_the_narrowest_projected_matrix(void **state)
{
  (void)state;
  const char *kv[] = {"qgalore.rank=33", "model.num_kv_heads=2"}; /* k and v have 32 rows */
  assert_says(message_of(MINIMAL, 2, kv), "command line: qgalore.rank: 33 exceeds 32");
  const char *narrow[] = {"qgalore.rank=50", "model.intermediate_size=48"};
  assert_says(message_of(MINIMAL, 2, narrow), "command line: qgalore.rank: 50 exceeds 48");
  qg_config config;
  const char *unprojected[] = {"qgalore.rank=500", "optimizer.method=adam8bit"};
  assert_int_equal(qg_config_load(input, 2, (char *const *)unprojected, &config), QG_OK);
}

static void mistakes_on_the_command_line(void **state)
{
  (void)state;
  const char *overrides[] = {"lr=3", "tain.steps=4", "train.steps", "train.seed=-1"};
  const char *message = message_of(MINIMAL, 4, overrides);
  assert_says(message, "command line: lr: no such key here (did you mean 'optimizer.lr'?)");
  assert_says(message, "command line: tain: no such section (did you mean 'train'?)");
  assert_says(message, "command line: 'train.steps' is not section.key=value");
  assert_says(message, "command line: train.seed: -1 is out of the range");
}

static void all_mistakes_are_reported_at_once(void **state)
{
  (void)state;
  const char *overrides[] = {"optimizer.beta1=2"};
  const char *message = message_of(
      MINIMAL "rank = 2\nlasy = yes\n[train]\nsteps = x\n[modle]\n[parallel]\npipeline = 9\n", 1, overrides);
  int lines = 1;
  for (const char *p = message; (p = strchr(p, '\n')); p++) lines++;
  assert_int_equal(lines, 6);
  for (int line = 10; line <= 16; line++) {
    char where[32];
    if (line == 12 || line == 15) continue; /* sections that exist */
    snprintf(where, sizeof where, "case.in:%d: ", line);
    assert_says(message, where);
  }
}

static void more_mistakes_than_fit_are_counted(void **state)
{
  (void)state;
  char text[8192] = MINIMAL;
  for (int i = 0; i < 100; i++) strcat(text, "this_key_is_unknown = 1\n");
  const char *message = message_of(text, 0, NULL);
  assert_says(message, "case.in:10: ");
  assert_says(message, " more; correct these first");
}

static void files_that_cannot_be_read(void **state)
{
  (void)state;
  qg_config config;
  assert_int_equal(qg_config_load("no/such/file.in", 0, NULL, &config), QG_ERR_INPUT);
  assert_string_equal(qg_error_message(), "input: cannot open 'no/such/file.in': No such file or directory");
  assert_int_equal(qg_config_load(folder, 0, NULL, &config), QG_ERR_INPUT);
  assert_says(qg_error_message(), "is a folder");
  assert_problem("include = absent.in\n", 1, "cannot open '");
  assert_problem("include =\n" MINIMAL, 1, "include: the path is empty");
}

static void includes_that_go_in_circles(void **state)
{
  (void)state;
  assert_problem("include = case.in\n" MINIMAL, 1, "'");
  assert_says(qg_error_message(), "includes itself");
  static const char back[] = "\ninclude = ./case.in\n";
  write_bytes("other.in", back, sizeof back - 1);
  const char *message = message_of("include = other.in\n" MINIMAL, 0, NULL);
  assert_says(message, "other.in:2: '");
  assert_says(message, "includes itself");
}

static void the_same_file_included_twice_is_no_circle(void **state)
{
  (void)state;
  qg_config config;
  static const char leaf[] = "[train]\nseed = 3\n", text[] = "include = leaf.in\ninclude = leaf.in\n" MINIMAL;
  write_bytes("leaf.in", leaf, sizeof leaf - 1);
  write_bytes("case.in", text, sizeof text - 1);
  assert_int_equal(qg_config_load(input, 0, NULL, &config), QG_OK);
}

static void includes_without_end(void **state)
{
  (void)state;
  char name[32], text[64];
  for (int i = 0; i < 20; i++) {
    snprintf(name, sizeof name, "deep%d.in", i);
    snprintf(text, sizeof text, "include = deep%d.in\n", i + 1);
    write_bytes(name, text, strlen(text));
  }
  assert_says(message_of("include = deep0.in\n" MINIMAL, 0, NULL), "more than 16 levels");
}

static void lines_that_are_too_long_are_not_cut(void **state)
{
  (void)state;
  char *text = calloc(1, 40000);
  strcpy(text, MINIMAL "[train]\nseed = 1");
  memset(text + strlen(text), '1', 20000);
  strcat(text, "\nsteps = 5\n");
  assert_problem(text, 11, "the line is longer than ");
  free(text);
}

static void binary_files(void **state)
{
  (void)state;
  qg_config config;
  static const char nul[] = MINIMAL "[train]\nseed = 1\0 2\n";
  write_bytes("case.in", nul, sizeof nul - 1);
  assert_int_equal(qg_config_load(input, 0, NULL, &config), QG_ERR_INPUT);
  assert_says(qg_error_message(), "case.in:11: a control character");
  assert_null(strchr(qg_error_message(), '\n'));
  assert_int_equal(qg_config_load("/dev/zero", 0, NULL, &config), QG_ERR_INPUT);
  assert_string_equal(qg_error_message(),
                      "/dev/zero:1: a control character or more than 1 MiB; this is not an input file");
}

/* A file of random bytes, and valid files with random damage: refused or accepted, never a crash. */
static void damaged_files_never_crash(void **state)
{
  (void)state;
  qg_config config;
  uint64_t x = 88172645463325252u;
  char text[512];
  for (int round = 0; round < 2000; round++) {
    size_t length = sizeof MINIMAL - 1;
    memcpy(text, MINIMAL, length);
    for (int edits = 0; edits < 1 + round % 40; edits++) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      text[(x >> 8) % length] = round % 2 ? (char)x : (char)(32 + x % 95);
    }
    write_bytes("case.in", text, length);
    qg_status status = qg_config_load(input, 0, NULL, &config);
    assert_true(status == QG_OK || (status == QG_ERR_INPUT && qg_error_message()[0]));
  }
}

static void text_that_an_input_file_cannot_hold(void **state)
{
  (void)state;
  const char *comment[] = {"run.output_dir=a #b"};
  assert_says(message_of(MINIMAL, 1, comment), "run.output_dir: contains a control character, or '#'");
  char long_path[1200] = "data.train=";
  memset(long_path + strlen(long_path), 'p', 1024);
  const char *overrides[] = {long_path};
  assert_says(message_of(MINIMAL, 1, overrides), "data.train: has 1024 characters; at most 1023");
}

static void edit_distance_counts_swaps_as_one(void **state)
{
  (void)state;
  assert_int_equal(qg_edit_distance("steps", "steps"), 0);
  assert_int_equal(qg_edit_distance("stpes", "steps"), 1);
  assert_int_equal(qg_edit_distance("step", "steps"), 1);
  assert_int_equal(qg_edit_distance("LR", "lr"), 0);
  assert_int_equal(qg_edit_distance("kitten", "sitting"), 3);
  assert_int_equal(qg_edit_distance("", "abc"), 3);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_that_do_not_exist),
      cmocka_unit_test(lines_that_are_neither_key_nor_section),
      cmocka_unit_test(a_key_given_twice_in_one_file),
      cmocka_unit_test(a_key_given_under_both_its_names),
      cmocka_unit_test(errors_of_former_names_speak_of_the_new_ones),
      cmocka_unit_test(values_of_the_wrong_type),
      cmocka_unit_test(choices_that_do_not_exist),
      cmocka_unit_test(values_out_of_range),
      cmocka_unit_test(keys_that_are_missing),
      cmocka_unit_test(keys_that_contradict_each_other),
      cmocka_unit_test(the_rank_is_limited_by_the_narrowest_projected_matrix),
      cmocka_unit_test(mistakes_on_the_command_line),
      cmocka_unit_test(all_mistakes_are_reported_at_once),
      cmocka_unit_test(more_mistakes_than_fit_are_counted),
      cmocka_unit_test(files_that_cannot_be_read),
      cmocka_unit_test(includes_that_go_in_circles),
      cmocka_unit_test(the_same_file_included_twice_is_no_circle),
      cmocka_unit_test(includes_without_end),
      cmocka_unit_test(lines_that_are_too_long_are_not_cut),
      cmocka_unit_test(binary_files),
      cmocka_unit_test(damaged_files_never_crash),
      cmocka_unit_test(text_that_an_input_file_cannot_hold),
      cmocka_unit_test(edit_distance_counts_swaps_as_one),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
