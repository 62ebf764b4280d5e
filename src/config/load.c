#include <stdlib.h>
#include <string.h>

#include "config/loader.h"
#include "config/suggest.h"
#include "config/value.h"
#include "qgalore/base.h"

void qg_loader_set(qg_loader *loader, int index, const char *text, const char *origin)
{
  const qg_key *key = &qg_schema[index];
  qg_setting *setting = &loader->settings[index];
  char why[512];
  setting->given = true;
  setting->bad = !qg_value_parse(key, text, loader->config, why, sizeof why);
  snprintf(setting->origin, sizeof setting->origin, "%s", origin);
  if (setting->bad) qg_problems_add(&loader->problems, origin, "%s.%s: %s", key->section, key->name, why);
}

void qg_loader_unknown_section(qg_loader *loader, const char *origin, const char *section)
{
  const char *best = NULL;
  int distance = QG_SUGGEST_NONE;
  for (int i = 0; i < qg_section_count; i++)
    qg_suggest_consider(section, qg_sections[i].name, &best, &distance);
  if (best)
    qg_problems_add(&loader->problems, origin, "%.60s: no such section (did you mean '%s'?)", section, best);
  else
    qg_problems_add(&loader->problems, origin, "%.60s: no such section; qgalore_hpc --help-input lists them",
                    section);
}

void qg_loader_unknown_key(qg_loader *loader, const char *origin, const char *section, const char *name)
{
  const char *dot = *section ? "." : "";
  int elsewhere = qg_schema_find_name(name);
  if (elsewhere >= 0) {
    qg_problems_add(&loader->problems, origin, "%s%s%.60s: no such key here (did you mean '%s.%s'?)", section,
                    dot, name, qg_schema[elsewhere].section, name);
    return;
  }
  const char *best = NULL;
  int distance = QG_SUGGEST_NONE;
  for (int i = 0; i < qg_schema_count; i++)
    if (!strcmp(qg_schema[i].section, section))
      qg_suggest_consider(name, qg_schema[i].name, &best, &distance);
  if (best)
    qg_problems_add(&loader->problems, origin, "%s%s%.60s: no such key (did you mean '%s'?)", section, dot,
                    name, best);
  else if (*section)
    qg_problems_add(&loader->problems, origin,
                    "%s.%.60s: no such key; qgalore_hpc --help-input=%s lists them", section, name, section);
  else
    qg_problems_add(&loader->problems, origin, "%.60s: a key outside any section; put it under [section]",
                    name);
}

static void set_default(qg_loader *loader, int index, const char *text)
{
  char why[512];
  if (!qg_value_parse(&qg_schema[index], text, loader->config, why, sizeof why))
    qg_problems_add(&loader->problems, "schema", "%s.%s: default: %s", qg_schema[index].section,
                    qg_schema[index].name, why);
}

void qg_loader_begin(qg_loader *loader, qg_config *config, const char *path)
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

static void require_keys(qg_loader *loader)
{
  for (int i = 0; i < qg_schema_count; i++) {
    if (qg_schema[i].fallback || loader->settings[i].given) continue;
    loader->settings[i].bad = true;
    qg_problems_add(&loader->problems, loader->path,
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

void qg_loader_finish(qg_loader *loader)
{
  qg_config *c = loader->config;
  apply_compat(loader);
  if (loader->incomplete) return;
  require_keys(loader);
  if (c->run.name[0] == '\0' && !loader->settings[qg_schema_at(offsetof(qg_config, run.name))].bad)
    derive_name(loader);
  if (c->model.num_kv_heads == 0) c->model.num_kv_heads = c->model.num_heads;
  qg_crosscheck(loader);
}

qg_status qg_config_load(const char *path, int overrides, char *const *override, qg_config *out)
{
  qg_status status = QG_OK;
  void *memory = NULL;
  QG_TRY_OUT(qg_calloc(1, sizeof(qg_loader), "the state of the input parser", &memory));
  qg_loader *loader = memory;
  qg_loader_begin(loader, out, path);
  qg_parse_file(loader, path);
  for (int i = 0; i < overrides; i++) qg_parse_override(loader, override[i]);
  qg_loader_finish(loader);
  QG_TRY_OUT(qg_problems_raise(&loader->problems, QG_ERR_INPUT));
out:
  free(memory);
  return status;
}
