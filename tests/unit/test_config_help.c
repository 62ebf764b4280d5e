/* --help-input and doc/inputs.md say everything that the schema knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"
#include "qgalore/config.h"

static char *help_of(const char *section)
{
  char *text;
  size_t bytes;
  FILE *out = open_memstream(&text, &bytes);
  assert_int_equal(qg_config_help(out, section), QG_OK);
  fclose(out);
  return text;
}

static char *read_whole(const char *path)
{
  FILE *file = fopen(path, "r");
  if (!file) fail_msg("%s is missing", path);
  char *text = calloc(1, 1 << 20);
  size_t bytes = fread(text, 1, (1 << 20) - 1, file);
  assert_true(bytes > 0);
  fclose(file);
  return text;
}

static void help_names_every_key_with_default_and_range(void **state)
{
  (void)state;
  char *text = help_of(NULL), line[160];
  for (int i = 0; i < qg_schema_count; i++) {
    snprintf(line, sizeof line, "\n  %s: ", qg_schema[i].name);
    assert_non_null(strstr(text, line));
  }
  assert_non_null(strstr(text, "  beta2: number, in [0, 1)\n      default: 0.95; on restart: fixed\n"));
  assert_non_null(strstr(text, "default: 256 (compat = reference: 2048); on restart: fixed"));
  assert_non_null(strstr(text, "default: required"));
  free(text);
}

static void help_of_one_section_leaves_the_others_out(void **state)
{
  (void)state;
  char *text = help_of("subspace");
  assert_non_null(strstr(text, "min_energy"));
  assert_null(strstr(text, "hidden_size"));
  free(text);
}

static void help_of_one_key_is_that_key(void **state)
{
  (void)state;
  static const char *const topics[] = {"beta2", "optimizer.beta2"};
  for (int i = 0; i < 2; i++) {
    char *text = help_of(topics[i]);
    assert_int_equal(strncmp(text, "[optimizer]\n  beta2: number", 26), 0);
    assert_null(strstr(text, "beta1"));
    free(text);
  }
}

static void help_of_a_former_name_is_that_of_the_new_one(void **state)
{
  (void)state;
  char *text = help_of("loss_rows");
  assert_non_null(strstr(text, "  logit_chunk_tokens: whole number"));
  assert_non_null(strstr(text, "former name: loss_rows, still read"));
  free(text);
  text = help_of("nonfinite_partial");
  assert_non_null(strstr(text, "one of rollback, keep"));
  free(text);
}

static void help_of_nothing_known_is_an_error_that_names_the_nearest(void **state)
{
  (void)state;
  static const char *const wrong[][2] = {{"modle", "did you mean 'model'?"},
                                         {"modle.hidden_size", "did you mean 'model.hidden_size'?"},
                                         {"weight_decy", "did you mean 'weight_decay'?"},
                                         {"nosuch", "sections: run model data"}};
  for (int i = 0; i < (int)(sizeof wrong / sizeof *wrong); i++) {
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    assert_int_equal(qg_config_help(out, wrong[i][0]), QG_ERR_INPUT);
    fclose(out);
    assert_string_equal(text, "");
    if (!strstr(qg_error_message(), wrong[i][1])) fail_msg("%s", qg_error_message());
    free(text);
  }
}

static void help_fits_a_terminal(void **state)
{
  (void)state;
  char *text = help_of(NULL);
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
    if (strlen(line) > 100) fail_msg("%zu characters: %s", strlen(line), line);
  free(text);
}

static void the_page_of_input_keys_is_up_to_date(void **state)
{
  (void)state;
  char *expected, *page = read_whole("doc/inputs.md");
  size_t bytes;
  FILE *out = open_memstream(&expected, &bytes);
  qg_config_write_markdown(out);
  fclose(out);
  if (strcmp(page, expected))
    fail_msg("doc/inputs.md is stale: write it again with qgalore_hpc --help-input=markdown");
  free(expected);
  free(page);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(help_names_every_key_with_default_and_range),
      cmocka_unit_test(help_of_one_section_leaves_the_others_out),
      cmocka_unit_test(help_of_one_key_is_that_key),
      cmocka_unit_test(help_of_a_former_name_is_that_of_the_new_one),
      cmocka_unit_test(help_of_nothing_known_is_an_error_that_names_the_nearest),
      cmocka_unit_test(help_fits_a_terminal),
      cmocka_unit_test(the_page_of_input_keys_is_up_to_date),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
