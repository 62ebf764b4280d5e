#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "config/parse.h"
#include "config/value.h"
#include "qgalore/base.h"

qg_status qg_config_load_saved(const char *text, qg_config *out)
{
  qg_status status = QG_OK;
  void *memory = NULL;
  FILE *stream = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
  QG_CHECK_OUT(stream, QG_ERR_CHECKPOINT, "the input in the checkpoint is empty or cannot be read: %s",
               strerror(errno));
  QG_TRY_OUT(qg_calloc(1, sizeof(qg_loader), "the state of the input parser", &memory));
  qg_loader *loader = memory;
  qg_load_begin(loader, out, "checkpoint");
  qg_parse_stream(loader, stream, "checkpoint");
  qg_load_finish(loader);
  QG_TRY_OUT(qg_input_errors_raise(&loader->errors, QG_ERR_CHECKPOINT));
out:
  if (stream) fclose(stream);
  free(memory);
  return status;
}

/* Replaces "0: by method" by what it means, so that saying it or leaving it out is no difference. */
static void settle_bits(qg_config *config)
{
  config->optimizer.moment_bits = qg_config_moment_bits(config);
  config->qgalore.weight_bits = qg_config_weight_bits(config);
  config->qgalore.projector_bits = qg_config_projector_bits(config);
}

/* What weights depend on: the model, and how they are stored. */
static bool is_of_weights(const qg_key *key)
{
  return strcmp(key->section, "model") == 0 || strcmp(key->name, "weight_bits") == 0 ||
         strcmp(key->name, "dense_weights") == 0;
}

/* weights_only: not what concerns the optimizer and the data alone. */
static void compare(const qg_config *saved, const qg_config *input, bool weights_only,
                    qg_input_errors *errors)
{
  char before[QG_VALUE_TEXT_MAX], after[QG_VALUE_TEXT_MAX], name[128];
  for (int i = 0; i < qg_schema_count; i++) {
    const qg_key *key = &qg_schema[i];
    if (key->may_change || (weights_only && !is_of_weights(key))) continue;
    qg_value_print(key, saved, before, sizeof before);
    qg_value_print(key, input, after, sizeof after);
    if (!strcmp(before, after)) continue;
    snprintf(name, sizeof name, "%s.%s", key->section, key->name);
    qg_input_errors_add(errors, name, "checkpoint %s, input %s", before, after);
  }
}

static qg_status check(const qg_config *config, const char *saved, bool weights_only, const char *key,
                       const char *remedy)
{
  qg_status status = QG_OK;
  void *memory = NULL;
  qg_input_errors errors = {0};
  QG_TRY_OUT(qg_calloc(2, sizeof(qg_config), "two inputs to compare", &memory));
  qg_config *before = memory, *after = before + 1;
  QG_TRY_OUT(qg_config_load_saved(saved, before));
  *after = *config;
  settle_bits(before);
  settle_bits(after);
  compare(before, after, weights_only, &errors);
  if (errors.count > 0) qg_input_errors_add(&errors, key, "%s", remedy);
  QG_TRY_OUT(qg_input_errors_raise(&errors, QG_ERR_INPUT));
out:
  free(memory);
  return status;
}

qg_status qg_config_check_restart(const qg_config *config, const char *saved)
{
  return check(config, saved, false, "run.restart",
               "cannot change these keys; set them back, or give the run another run.name");
}

qg_status qg_config_check_weights(const qg_config *config, const char *saved)
{
  return check(config, saved, true, "evaluate.checkpoint",
               "holds other weights; set these keys back, or name another checkpoint");
}

/* Where a run begins and lies says nothing about the run. */
static bool is_of_the_start(const qg_key *key)
{
  const char *const names[] = {"restart", "overwrite", "output_dir", "name"};
  for (int i = 0; i < QG_COUNT_OF(names); i++)
    if (strcmp(key->section, "run") == 0 && strcmp(key->name, names[i]) == 0) return true;
  return false;
}

qg_status qg_config_list_changes(const qg_config *config, const qg_config *saved, char **text)
{
  char before[QG_VALUE_TEXT_MAX], after[QG_VALUE_TEXT_MAX];
  size_t bytes;
  *text = NULL;
  FILE *out = open_memstream(text, &bytes);
  QG_CHECK(out, QG_ERR_RESOURCE, "no host memory for the list of changed keys");
  for (int i = 0; i < qg_schema_count; i++) {
    const qg_key *key = &qg_schema[i];
    if (is_of_the_start(key)) continue;
    qg_value_print(key, saved, before, sizeof before);
    qg_value_print(key, config, after, sizeof after);
    if (strcmp(before, after) != 0) fprintf(out, "%s.%s: %s -> %s\n", key->section, key->name, before, after);
  }
  fclose(out);
  QG_CHECK(*text, QG_ERR_RESOURCE, "no host memory for the list of changed keys");
  return QG_OK;
}
