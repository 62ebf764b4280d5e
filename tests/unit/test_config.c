/* What an input means: defaults, units, includes, overrides, compat, and the resolved echo. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/schema.h"
#include "config/value.h"
#include "qgalore/config.h"
#include "train/optim_options.h"

static const char minimal[] =
    "[model]\nhidden_size = 64\nintermediate_size = 96\nnum_layers = 2\nnum_heads = 4\n"
    "[data]\ntrain = text.h5\n"
    "[qgalore]\nrank = 8\n";

/* A folder that goes away with the test. */
typedef struct {
  char path[64];
} folder;

static int make_folder(void **state)
{
  static folder f;
  strcpy(f.path, "/tmp/qgalore-config-XXXXXX");
  *state = &f;
  return mkdtemp(f.path) ? 0 : -1;
}

static int remove_folder(void **state)
{
  char command[128];
  snprintf(command, sizeof command, "rm -r %s", ((folder *)*state)->path);
  return system(command);
}

static const char *write_input(const folder *f, const char *name, const char *text)
{
  static char path[4][128];
  static int next;
  char *p = path[next++ % 4];
  snprintf(p, sizeof path[0], "%s/%s", f->path, name);
  FILE *file = fopen(p, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
  return p;
}

static qg_config load(void **state, const char *text, int count, const char *const *overrides)
{
  qg_config config;
  qg_status status =
      qg_config_load(write_input(*state, "case.in", text), count, (char *const *)overrides, &config);
  if (status != QG_OK) fail_msg("%s", qg_error_message());
  return config;
}

static void every_default_and_range_of_the_schema_is_valid(void **state)
{
  (void)state;
  qg_config config;
  char why[512];
  for (int i = 0; i < qg_schema_count; i++) {
    const qg_key *key = &qg_schema[i];
    qg_range range;
    memset(&config, 0, sizeof config);
    if (key->range) assert_true(qg_range_parse(key->range, &range));
    if (key->fallback && !qg_value_parse(key, key->fallback, &config, why, sizeof why))
      fail_msg("%s.%s: %s", key->section, key->name, why);
    if (key->reference && !qg_value_parse(key, key->reference, &config, why, sizeof why))
      fail_msg("%s.%s: %s", key->section, key->name, why);
    assert_true(qg_schema_has_section(key->section));
    assert_int_equal(qg_schema_find(key->section, key->name), i);
    assert_int_equal(qg_schema_at(key->offset), i);
    assert_true(key->doc && strlen(key->doc) > 10);
  }
}

static void defaults_are_those_of_the_manual(void **state)
{
  qg_config c = load(state, minimal, 0, NULL);
  assert_string_equal(c.run.name, "case");
  assert_string_equal(c.run.output_dir, "runs");
  assert_string_equal(c.run.restart, "auto");
  assert_int_equal(c.model.num_kv_heads, 4);
  assert_int_equal(c.model.vocab_size, 32000);
  assert_int_equal(c.train.seed, 1);
  assert_int_equal(c.train.logit_chunk_tokens, 512);
  assert_true(c.optimizer.beta1 == 0.9 && c.optimizer.beta2 == 0.95 && c.optimizer.eps == 1e-8);
  assert_true(c.optimizer.grad_clip == 1.0 && c.optimizer.min_lr_ratio == 0.1);
  assert_int_equal(c.optimizer.moment_block, 256);
  assert_int_equal(c.optimizer.dense_type, QG_BF16);
  assert_true(c.qgalore.scale == 0.25 && c.qgalore.similarity_threshold == 0.4);
  assert_int_equal(c.qgalore.update_gap, 200);
  assert_int_equal(c.qgalore.max_update_gap, 3200);
  assert_int_equal(c.qgalore.similarity_window, 5);
  assert_int_equal(c.qgalore.similarity, QG_SIMILARITY_OVERLAP);
  assert_true(c.qgalore.lazy && c.qgalore.stochastic_rounding && c.qgalore.include_zero);
  assert_false(c.qgalore.bf16_arithmetic || c.qgalore.full_gradient);
  assert_int_equal(c.subspace.method, QG_SUBSPACE_AUTO);
  assert_int_equal(c.subspace.sample, QG_SAMPLE_BATCH);
  assert_string_equal(c.backend.name, "auto");
  assert_string_equal(c.backend.precision, "bf16");
  assert_int_equal(c.checkpoint.keep_last, 2);
}

static void comments_indentation_and_line_ends_do_not_matter(void **state)
{
  char text[1024];
  snprintf(text, sizeof text,
           "\xEF\xBB\xBF# first\n%s\n; second\r\n[train]\r\n\tsteps=7 # why\r\n    seed   =   9 ; last",
           minimal);
  qg_config config = load(state, text, 0, NULL);
  assert_int_equal(config.train.steps, 7);
  assert_int_equal(config.train.seed, 9);
}

static void values_carry_units(void **state)
{
  (void)state;
  double seconds;
  int64_t bytes;
  assert_true(qg_duration_parse("23h45m", &seconds) && seconds == 85500);
  assert_true(qg_duration_parse("90s", &seconds) && seconds == 90);
  assert_true(qg_duration_parse("2d", &seconds) && seconds == 172800);
  assert_true(qg_duration_parse("1.5h", &seconds) && seconds == 5400);
  assert_false(qg_duration_parse("90", &seconds));
  assert_false(qg_duration_parse("5m1h", &seconds));
  assert_false(qg_duration_parse("1h1h", &seconds));
  assert_false(qg_duration_parse("-1h", &seconds));
  assert_true(QG_SIZE_READ == qg_size_parse("512K", &bytes) && bytes == 524288);
  assert_true(QG_SIZE_READ == qg_size_parse("4GiB", &bytes) && bytes == 4294967296);
  assert_true(QG_SIZE_READ == qg_size_parse("1.5GB", &bytes) && bytes == 1500000000);
  assert_true(QG_SIZE_READ == qg_size_parse("17", &bytes) && bytes == 17);
  assert_int_equal(qg_size_parse("4 parsecs", &bytes), QG_SIZE_NONE);
  assert_true(QG_SIZE_READ == qg_size_parse("1gb", &bytes) && bytes == 1000000000);
  assert_true(QG_SIZE_READ == qg_size_parse("2 gib", &bytes) && bytes == 2147483648);
  assert_int_equal(qg_size_parse("99999999999GiB", &bytes), QG_SIZE_TOO_LARGE);
  assert_true(qg_duration_parse("1h 30m", &seconds) && seconds == 5400);
  assert_true(qg_duration_parse("5min", &seconds) && seconds == 300);
  assert_true(qg_duration_parse("23:45:00", &seconds) && seconds == 85500);
  assert_true(qg_duration_parse("1-00:00:00", &seconds) && seconds == 86400);
  assert_true(qg_duration_parse("2 H", &seconds) && seconds == 7200);
  assert_false(qg_duration_parse("23:75:00", &seconds));
  assert_false(qg_duration_parse("1:2", &seconds));
  assert_false(qg_duration_parse("1-2-00:00:00", &seconds));
  assert_int_equal(qg_size_parse("0.3B", &bytes), QG_SIZE_NONE);
}

static void numbers_round_trip(void **state)
{
  (void)state;
  static const double values[] = {0.1, 1e-8, 1.0 / 3, 0x1p-1022, 123456789.125, 0.015, 5e-324};
  char text[64];
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    qg_real_print(values[i], text, sizeof text);
    assert_true(strtod(text, NULL) == values[i]);
  }
  qg_real_print(0.015, text, sizeof text);
  assert_string_equal(text, "0.015");
}

static void an_including_file_overrides_what_it_includes(void **state)
{
  char text[512];
  write_input(*state, "base.in", minimal);
  snprintf(text, sizeof text, "include = base.in\n[model]\nnum_layers = 5\n");
  qg_config c = load(state, text, 0, NULL);
  assert_int_equal(c.model.hidden_size, 64);
  assert_int_equal(c.model.num_layers, 5);
  c = load(state, "[include]\nfile = base.in\n[train]\nsteps = 3\n", 0, NULL);
  assert_int_equal(c.train.steps, 3);
}

static void an_include_is_relative_to_the_file_that_has_it(void **state)
{
  char folder_path[128];
  snprintf(folder_path, sizeof folder_path, "mkdir %s/sub", ((folder *)*state)->path);
  assert_int_equal(system(folder_path), 0);
  write_input(*state, "sub/leaf.in", minimal);
  write_input(*state, "sub/middle.in", "include = leaf.in\n");
  qg_config c = load(state, "include = sub/middle.in\n", 0, NULL);
  assert_int_equal(c.model.hidden_size, 64);
}

static void the_command_line_overrides_files_and_its_last_value_counts(void **state)
{
  const char *overrides[] = {"model.num_layers = 9", "optimizer.lr=0.5", "optimizer.lr=0.25",
                             "run.max_walltime=1h"};
  qg_config c = load(state, minimal, 4, overrides);
  assert_int_equal(c.model.num_layers, 9);
  assert_true(c.optimizer.lr == 0.25);
  assert_true(c.run.max_walltime == 3600);
}

static void compat_reference_sets_every_difference_but_not_a_given_key(void **state)
{
  const char *reference[] = {"qgalore.compat=reference", "qgalore.include_zero=yes"};
  qg_config c = load(state, minimal, 2, reference);
  assert_true(c.qgalore.include_zero); /* given, even though it is the default */
  assert_true(c.qgalore.bf16_arithmetic && c.qgalore.full_gradient);
  assert_int_equal(c.qgalore.similarity, QG_SIMILARITY_COSINE);
  assert_int_equal(c.qgalore.max_update_gap, 0);
  assert_int_equal(c.optimizer.moment_block, 2048);
  assert_int_equal(c.subspace.method, QG_SUBSPACE_EXACT);
  assert_true(c.optimizer.grad_clip == 0);
  c = load(state, minimal, 1, reference);
  assert_false(c.qgalore.include_zero);
}

static void check_bits(void **state, const char *method, int moments, int weights, int projector)
{
  char override[64];
  snprintf(override, sizeof override, "optimizer.method=%s", method);
  const char *overrides[] = {override};
  qg_config c = load(state, minimal, 1, overrides);
  qg_optim_options o = qg_optim_options_from_config(&c, 3);
  assert_int_equal(o.moment_bits, moments);
  assert_int_equal(o.weight_bits, weights);
  assert_int_equal(o.projector_bits, projector);
  assert_int_equal(o.subspace.threads, 3);
}

static void bits_left_open_follow_the_method(void **state)
{
  check_bits(state, "adamw", 32, 16, 32);
  check_bits(state, "adam8bit", 8, 16, 32);
  check_bits(state, "galore", 32, 16, 32);
  check_bits(state, "qgalore", 8, 8, 4);
}

static void adam_never_quantises_matrices_even_when_asked(void **state)
{
  const char *overrides[] = {"optimizer.method=adamw", "qgalore.weight_bits=8", "qgalore.projector_bits=4",
                             "optimizer.dense_weights=fp32"};
  qg_config c = load(state, minimal, 4, overrides);
  qg_optim_options o = qg_optim_options_from_config(&c, 1);
  assert_int_equal(o.weight_bits, 32);
  assert_int_equal(o.projector_bits, 32);
  assert_int_equal(o.dense_type, QG_F32);
}

static void former_names_are_read_as_the_new_ones(void **state)
{
  static const char sections[] =
      "[run]\n%s\n[model]\nhidden_size = 64\nintermediate_size = 96\nnum_layers = 2\nnum_heads = 4\n"
      "[data]\ntrain = text.h5\n[qgalore]\nrank = 8\n[train]\n%s\n[optimizer]\n%s\n[checkpoint]\n%s\n";
  char former[512], now[512];
  snprintf(former, sizeof former, sections, "partial_step = undo", "loss_rows = 64", "bound_moments = no",
           "probe = no");
  snprintf(now, sizeof now, sections, "nonfinite_partial = rollback", "logit_chunk_tokens = 64",
           "clamp_second_moment = no", "selftest = no");
  qg_config a = load(state, former, 0, NULL), b = load(state, now, 0, NULL);
  assert_memory_equal(&a, &b, sizeof a);
  assert_int_equal(a.train.logit_chunk_tokens, 64);
  assert_false(a.optimizer.clamp_second_moment);
  assert_false(a.checkpoint.selftest);
}

static void former_names_are_read_on_the_command_line(void **state)
{
  const char *former[] = {"run.partial_step=keep", "train.loss_rows=64"};
  const char *undo[] = {"run.nonfinite_partial=keep", "run.partial_step=undo"};
  qg_config c = load(state, minimal, 2, former);
  assert_int_equal(c.run.nonfinite_partial, QG_PARTIAL_KEEP);
  assert_int_equal(c.train.logit_chunk_tokens, 64);
  c = load(state, minimal, 2, undo);
  assert_int_equal(c.run.nonfinite_partial, QG_PARTIAL_ROLLBACK);
}

static void check_round_trip(void **state, const qg_config *before)
{
  char *text;
  assert_int_equal(qg_config_resolved(before, &text), QG_OK);
  qg_config after;
  qg_status status = qg_config_load(write_input(*state, "resolved.in", text), 0, NULL, &after);
  if (status != QG_OK) fail_msg("%s", qg_error_message());
  assert_memory_equal(before, &after, sizeof after);
  for (int i = 0; i < qg_schema_count; i++) assert_non_null(strstr(text, qg_schema[i].name));
  free(text);
}

static void every_shipped_input_is_valid_and_its_resolved_echo_reads_back_equal(void **state)
{
  glob_t found;
  assert_int_equal(glob("inputs/*.in", 0, NULL, &found), 0);
  assert_true(found.gl_pathc >= 13);
  for (size_t i = 0; i < found.gl_pathc; i++) {
    qg_config config;
    if (qg_config_load(found.gl_pathv[i], 0, NULL, &config) != QG_OK) fail_msg("%s", qg_error_message());
    check_round_trip(state, &config);
  }
  globfree(&found);
}

static void unusual_values_survive_the_resolved_echo(void **state)
{
  char list[QG_MAX_STAGES * 4] = "parallel.layers_per_stage=", long_path[1000] = "data.train=";
  for (int i = 0; i < QG_MAX_STAGES; i++) strcat(list, i < 100 ? "3," : i < QG_MAX_STAGES - 1 ? "0," : "0");
  memset(long_path + strlen(long_path), 'p', 900);
  const char *overrides[] = {list,
                             long_path,
                             "model.num_layers=300",
                             "optimizer.lr=0.1234567890123456",
                             "run.max_walltime=1d2h3m4.567s",
                             "run.output_dir=a b=c:d/#1;x",
                             "train.seed=9007199254740992",
                             "optimizer.eps=5e-324"};
  qg_config c = load(state, minimal, 8, overrides);
  assert_int_equal(c.parallel.layers_per_stage_count, QG_MAX_STAGES);
  assert_string_equal(c.run.output_dir, "a b=c:d/#1;x");
  check_round_trip(state, &c);
}

static void shapes_are_those_that_were_published(void **state)
{
  (void)state;
  static const struct {
    const char *name;
    int64_t hidden, intermediate, layers, heads, rank;
  } table[] = {
      {"60m", 512, 1376, 8, 8, 128},   {"130m", 768, 2048, 12, 12, 256},  {"350m", 1024, 2736, 24, 16, 256},
      {"1b", 2048, 5461, 24, 32, 512}, {"7b", 4096, 11008, 32, 32, 1024},
  };
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    char path[64];
    qg_config c;
    snprintf(path, sizeof path, "inputs/llama%s.in", table[i].name);
    assert_int_equal(qg_config_load(path, 0, NULL, &c), QG_OK);
    assert_int_equal(c.model.hidden_size, table[i].hidden);
    assert_int_equal(c.model.intermediate_size, table[i].intermediate);
    assert_int_equal(c.model.num_layers, table[i].layers);
    assert_int_equal(c.model.num_heads, table[i].heads);
    assert_int_equal(c.qgalore.rank, table[i].rank);
    assert_int_equal(c.train.global_batch, 512);
    assert_int_equal(c.train.sequence_length, 256);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_default_and_range_of_the_schema_is_valid),
      cmocka_unit_test(defaults_are_those_of_the_manual),
      cmocka_unit_test(comments_indentation_and_line_ends_do_not_matter),
      cmocka_unit_test(values_carry_units),
      cmocka_unit_test(numbers_round_trip),
      cmocka_unit_test(an_including_file_overrides_what_it_includes),
      cmocka_unit_test(an_include_is_relative_to_the_file_that_has_it),
      cmocka_unit_test(the_command_line_overrides_files_and_its_last_value_counts),
      cmocka_unit_test(compat_reference_sets_every_difference_but_not_a_given_key),
      cmocka_unit_test(bits_left_open_follow_the_method),
      cmocka_unit_test(adam_never_quantises_matrices_even_when_asked),
      cmocka_unit_test(former_names_are_read_as_the_new_ones),
      cmocka_unit_test(former_names_are_read_on_the_command_line),
      cmocka_unit_test(every_shipped_input_is_valid_and_its_resolved_echo_reads_back_equal),
      cmocka_unit_test(unusual_values_survive_the_resolved_echo),
      cmocka_unit_test(shapes_are_those_that_were_published),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
