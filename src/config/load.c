#include "config/load.h"

#include <stdlib.h>
#include <string.h>

#include "config/crosscheck.h"
#include "config/parse.h"
#include "config/value.h"
#include "qgalore/base.h"

static void set_default(qg_loader *loader, int index, const char *text)
{
  char why[512];
  if (!qg_value_parse(&qg_schema[index], text, loader->config, why, sizeof why))
    qg_input_errors_add(&loader->errors, "schema", "%s.%s: default: %s", qg_schema[index].section,
                        qg_schema[index].name, why);
}

void qg_load_begin(qg_loader *loader, qg_config *config, const char *path)
{
  memset(loader, 0, sizeof *loader);
  memset(config, 0, sizeof *config);
  loader->config = config;
  loader->path = path;
  loader->may_include = true;
  for (int i = 0; i < qg_schema_count; i++)
    if (qg_schema[i].fallback) set_default(loader, i, qg_schema[i].fallback);
}

static void apply_compat(qg_loader *loader)
{
  if (loader->config->qgalore.compat != QG_COMPAT_REFERENCE) return;
  for (int i = 0; i < qg_schema_count; i++)
    if (qg_schema[i].reference && !loader->settings[i].given) set_default(loader, i, qg_schema[i].reference);
}

static void check_job(qg_loader *loader)
{
  int index = qg_schema_at(offsetof(qg_config, run.job));
  char names[256] = "";
  if (loader->job_count == 0 || qg_loader_job(loader)) return;
  for (int i = 0; i < loader->job_count; i++)
    snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
             loader->jobs[i].name);
  loader->settings[index].bad = true;
  qg_input_errors_add(&loader->errors,
                      loader->settings[index].given ? loader->settings[index].origin : loader->path,
                      "run.job: there is no job \"%s\"; jobs are %s", loader->config->run.job, names);
}

static void require_keys(qg_loader *loader)
{
  for (int i = 0; i < qg_schema_count; i++) {
    if (qg_schema[i].fallback || loader->settings[i].given) continue;
    if (!qg_loader_needs(loader, qg_schema[i].section)) continue;
    loader->settings[i].bad = true;
    qg_input_errors_add(&loader->errors, loader->path,
                        "%s.%s: missing; it has no default, so give it under [%s]", qg_schema[i].section,
                        qg_schema[i].name, qg_schema[i].section);
  }
}

/* run.name from the input's file name: "inputs/llama60m.in" gives "llama60m". */
static void derive_name(qg_loader *loader)
{
  const char *slash = strrchr(loader->path, '/'), *base = slash ? slash + 1 : loader->path;
  const char *dot = strrchr(base, '.');
  size_t length = dot && dot != base ? (size_t)(dot - base) : strlen(base);
  char name[QG_PATH_MAX];
  snprintf(name, sizeof name, "%.*s", (int)qg_min_i64((int64_t)length, QG_PATH_MAX - 1), base);
  qg_loader_set(loader, qg_schema_at(offsetof(qg_config, run.name)), name, loader->path);
}

void qg_load_finish(qg_loader *loader)
{
  qg_config *c = loader->config;
  apply_compat(loader);
  if (loader->incomplete) return;
  check_job(loader);
  require_keys(loader);
  if (c->run.name[0] == '\0' && !loader->settings[qg_schema_at(offsetof(qg_config, run.name))].bad)
    derive_name(loader);
  if (c->model.num_kv_heads == 0) c->model.num_kv_heads = c->model.num_heads;
  qg_crosscheck(loader);
}

qg_status qg_config_load(const char *path, int overrides, char *const *override, qg_config *out)
{
  return qg_config_load_job(NULL, 0, path, overrides, override, out);
}

qg_status qg_config_load_job(const qg_job_input *jobs, int count, const char *path, int overrides,
                             char *const *override, qg_config *out)
{
  qg_status status = QG_OK;
  void *memory = NULL;
  QG_TRY_OUT(qg_calloc(1, sizeof(qg_loader), "the state of the input parser", &memory));
  qg_loader *loader = memory;
  qg_load_begin(loader, out, path);
  loader->jobs = jobs;
  loader->job_count = count;
  qg_parse_file(loader, path);
  for (int i = 0; i < overrides; i++) qg_parse_override(loader, override[i]);
  qg_load_finish(loader);
  QG_TRY_OUT(qg_input_errors_raise(&loader->errors, QG_ERR_INPUT));
out:
  free(memory);
  return status;
}
