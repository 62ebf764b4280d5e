/* What may change between a checkpoint and the input that goes on from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qgalore/config.h"

static qg_config load(int count, const char *const *overrides)
{
  qg_config config;
  if (qg_config_load("inputs/llama60m.in", count, (char *const *)overrides, &config) != QG_OK)
    fail_msg("%s", qg_error_message());
  return config;
}

static char *saved_text(int count, const char *const *overrides)
{
  char *text;
  qg_config config = load(count, overrides);
  assert_int_equal(qg_config_resolved(&config, &text), QG_OK);
  return text;
}

static void the_same_input_goes_on(void **state)
{
  (void)state;
  char *saved = saved_text(0, NULL);
  qg_config config = load(0, NULL);
  assert_int_equal(qg_config_check_restart(&config, saved), QG_OK);
  free(saved);
}

static void keys_of_the_job_may_change(void **state)
{
  (void)state;
  char *saved = saved_text(0, NULL);
  const char *overrides[] = {"parallel.pipeline=4",    "backend.name=cpu",    "train.steps=20000",
                             "run.max_walltime=2h",    "checkpoint.every=10", "train.micro_batch=8",
                             "data.train=elsewhere.h5"};
  qg_config config = load(7, overrides);
  assert_int_equal(qg_config_check_restart(&config, saved), QG_OK);
  free(saved);
}

static void keys_of_the_state_may_not_and_all_are_named(void **state)
{
  (void)state;
  char *saved = saved_text(0, NULL);
  const char *overrides[] = {"model.num_layers=9", "qgalore.rank=64", "train.seed=2", "optimizer.beta1=0.8"};
  qg_config config = load(4, overrides);
  assert_int_equal(qg_config_check_restart(&config, saved), QG_ERR_INPUT);
  assert_string_equal(
      qg_error_message(),
      "model.num_layers: checkpoint 8, input 9\n"
      "train.seed: checkpoint 1, input 2\n"
      "optimizer.beta1: checkpoint 0.9, input 0.8\n"
      "qgalore.rank: checkpoint 128, input 64\n"
      "run.restart: cannot change these keys; set them back, or give the run another run.name");
  free(saved);
}

static void saying_what_the_method_implies_is_no_change(void **state)
{
  (void)state;
  char *saved = saved_text(0, NULL);
  const char *overrides[] = {"optimizer.moment_bits=8", "qgalore.weight_bits=8", "qgalore.projector_bits=4"};
  qg_config config = load(3, overrides);
  assert_int_equal(qg_config_check_restart(&config, saved), QG_OK);
  free(saved);
}

/* The input that a checkpoint of format 1.0 carries; the caller frees it. */
static char *input_in(const char *checkpoint)
{
  hid_t file = H5Fopen(checkpoint, H5F_ACC_RDONLY, H5P_DEFAULT);
  assert_true(file >= 0);
  hid_t attribute = H5Aopen(file, "resolved_input", H5P_DEFAULT), type = H5Aget_type(attribute);
  char *text = calloc(1, H5Tget_size(type) + 1);
  assert_non_null(text);
  assert_true(H5Aread(attribute, type, text) >= 0);
  H5Tclose(type);
  H5Aclose(attribute);
  H5Fclose(file);
  return text;
}

static void a_checkpoint_with_former_names_goes_on(void **state)
{
  (void)state;
  char *saved = input_in("tests/fuzz/corpus/checkpoint/good-1.0.h5"), path[] = "/tmp/qgalore-restart-XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  assert_non_null(strstr(saved, "\nloss_rows = 256\n"));
  assert_int_equal(write(file, saved, strlen(saved)), strlen(saved));
  close(file);
  qg_config config;
  qg_status status = qg_config_load(path, 0, NULL, &config);
  unlink(path);
  if (status != QG_OK) fail_msg("%s", qg_error_message());
  assert_int_equal(config.train.logit_chunk_tokens, 256);
  assert_int_equal(qg_config_check_restart(&config, saved), QG_OK);
  free(saved);
}

static void a_damaged_saved_input_is_a_damaged_checkpoint(void **state)
{
  (void)state;
  qg_config config = load(0, NULL);
  static const char *const damaged[] = {"", "[model", "[model]\nhidden_size = -4\n", "\x01\x02",
                                        "include = inputs/llama60m.in\n"};
  for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
    assert_int_equal(qg_config_check_restart(&config, damaged[i]), QG_ERR_CHECKPOINT);
    assert_non_null(strstr(qg_error_message(), "checkpoint"));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_same_input_goes_on),
      cmocka_unit_test(keys_of_the_job_may_change),
      cmocka_unit_test(keys_of_the_state_may_not_and_all_are_named),
      cmocka_unit_test(saying_what_the_method_implies_is_no_change),
      cmocka_unit_test(a_checkpoint_with_former_names_goes_on),
      cmocka_unit_test(a_damaged_saved_input_is_a_damaged_checkpoint),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
