#include "config/loader.h"

#include <stdarg.h>
#include <string.h>

#include "config/suggest.h"
#include "config/value.h"

void qg_input_errors_add(qg_input_errors *errors, const char *origin, const char *fmt, ...)
{
  char what[768], line[1024];
  va_list args;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  snprintf(line, sizeof line, "%s: %s", origin, what);
  size_t length = strlen(line);
  errors->count++;
  if (errors->omitted || errors->used + length + 2 > sizeof errors->text) {
    errors->omitted++;
    return;
  }
  if (errors->used) errors->text[errors->used++] = '\n';
  memcpy(errors->text + errors->used, line, length + 1);
  errors->used += length;
}

qg_status qg_input_errors_raise(const qg_input_errors *errors, qg_status code)
{
  if (errors->count == 0) return QG_OK;
  if (errors->omitted)
    return QG_FAIL(code, "%s\nand %d more; correct these first", errors->text, errors->omitted);
  return QG_FAIL(code, "%s", errors->text);
}

void qg_loader_set(qg_loader *loader, int index, const char *text, const char *origin)
{
  const qg_key *key = &qg_schema[index];
  qg_setting *setting = &loader->settings[index];
  char why[512];
  setting->given = true;
  setting->bad = !qg_value_parse(key, text, loader->config, why, sizeof why);
  snprintf(setting->origin, sizeof setting->origin, "%s", origin);
  if (setting->bad) qg_input_errors_add(&loader->errors, origin, "%s.%s: %s", key->section, key->name, why);
}

void qg_loader_unknown_section(qg_loader *loader, const char *origin, const char *section)
{
  const char *best = NULL;
  int distance = QG_SUGGEST_NONE;
  for (int i = 0; i < qg_section_count; i++)
    qg_suggest_consider(section, qg_sections[i].name, &best, &distance);
  if (best)
    qg_input_errors_add(&loader->errors, origin, "%.60s: no such section (did you mean '%s'?)", section,
                        best);
  else
    qg_input_errors_add(&loader->errors, origin,
                        "%.60s: no such section; qgalore_hpc --help-input lists them", section);
}

void qg_loader_unknown_key(qg_loader *loader, const char *origin, const char *section, const char *name)
{
  const char *dot = *section ? "." : "";
  int elsewhere = qg_schema_find_name(name);
  if (elsewhere >= 0) {
    qg_input_errors_add(&loader->errors, origin, "%s%s%.60s: no such key here (did you mean '%s.%s'?)",
                        section, dot, name, qg_schema[elsewhere].section, name);
    return;
  }
  const char *best = NULL;
  int distance = QG_SUGGEST_NONE;
  for (int i = 0; i < qg_schema_count; i++)
    if (!strcmp(qg_schema[i].section, section))
      qg_suggest_consider(name, qg_schema[i].name, &best, &distance);
  if (best)
    qg_input_errors_add(&loader->errors, origin, "%s%s%.60s: no such key (did you mean '%s'?)", section, dot,
                        name, best);
  else if (*section)
    qg_input_errors_add(&loader->errors, origin,
                        "%s.%.60s: no such key; qgalore_hpc --help-input=%s lists them", section, name,
                        section);
  else
    qg_input_errors_add(&loader->errors, origin, "%.60s: a key outside any section; put it under [section]",
                        name);
}

const qg_job_input *qg_loader_job(const qg_loader *loader)
{
  for (int i = 0; i < loader->job_count; i++)
    if (strcmp(loader->jobs[i].name, loader->config->run.job) == 0) return &loader->jobs[i];
  return NULL;
}

/* Whole words of a list that spaces separate. */
static bool lists(const char *words, const char *word)
{
  size_t length = strlen(word);
  for (const char *at = words; (at = strstr(at, word)); at += length)
    if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
  return false;
}

bool qg_loader_needs(const qg_loader *loader, const char *section)
{
  const qg_job_input *job = qg_loader_job(loader);
  return !job || lists(job->sections, section);
}
