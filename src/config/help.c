#include <string.h>

#include "config/schema.h"
#include "config/suggest.h"

enum { TOPIC = 128 }; /* room for "section.key" */

/* "whole number, steps, in [1, inf)" or "one of a, b, c". */
static void print_type(FILE *out, const qg_key *key)
{
  char choices[256];
  qg_key_choices_text(key, choices, sizeof choices);
  if (choices[0]) fprintf(out, "one of %s", choices);
  else
    fputs(qg_key_type_name(key->type), out);
  if (key->unit) fprintf(out, ", %s", key->unit);
  if (key->range) fprintf(out, ", in %s", key->range);
}

static const char *default_text(const qg_key *key)
{
  if (!key->fallback) return "required";
  return key->fallback[0] ? key->fallback : "empty";
}

static void help_wrapped(FILE *out, const char *text)
{
  enum { INDENT = 6, WIDTH = 92 };
  int column = fprintf(out, "%*s", INDENT - 1, "");
  while (*text) {
    int word = (int)strcspn(text, " ");
    if (column > INDENT && column + 1 + word > WIDTH) column = fprintf(out, "\n%*s", INDENT - 1, "") - 1;
    column += fprintf(out, " %.*s", word, text);
    text += word + (text[word] == ' ');
  }
  fputc('\n', out);
}

static void help_key(FILE *out, const qg_key *key)
{
  fprintf(out, "  %s: ", key->name);
  print_type(out, key);
  fprintf(out, "\n      default: %s", default_text(key));
  if (key->reference) fprintf(out, " (compat = reference: %s)", key->reference);
  fprintf(out, "; on restart: %s\n", key->may_change ? "may change" : "fixed");
  if (key->former) fprintf(out, "      former name: %s, still read\n", key->former);
  help_wrapped(out, key->doc);
}

static void help_section(FILE *out, const qg_section *section)
{
  fprintf(out, "\n[%s]  %s\n", section->name, section->doc);
  for (int i = 0; i < qg_schema_count; i++)
    if (!strcmp(qg_schema[i].section, section->name)) help_key(out, &qg_schema[i]);
}

/* A section, a key, or a key with its section: the closest to a misspelt one, "" if none is close. */
static void find_nearest(const char *topic, char *nearest, size_t size)
{
  const char *best = NULL;
  int distance = QG_SUGGEST_NONE;
  char full[TOPIC];
  nearest[0] = '\0';
  for (int i = 0; i < qg_section_count; i++)
    qg_suggest_consider(topic, qg_sections[i].name, &best, &distance);
  for (int i = 0; i < qg_schema_count; i++) {
    qg_suggest_consider(topic, qg_schema[i].name, &best, &distance);
    snprintf(full, sizeof full, "%s.%s", qg_schema[i].section, qg_schema[i].name);
    qg_suggest_consider(topic, full, &best, &distance);
    if (!best || best == nearest) continue;
    snprintf(nearest, size, "%s", best);
    best = nearest; /* `full` is another one in a moment */
  }
}

static qg_status fail_unknown(const char *topic)
{
  char nearest[TOPIC], sections[256];
  size_t used = 0;
  find_nearest(topic, nearest, sizeof nearest);
  for (int i = 0; i < qg_section_count && used < sizeof sections; i++)
    used += (size_t)snprintf(sections + used, sizeof sections - used, " %s", qg_sections[i].name);
  QG_CHECK(!nearest[0], QG_ERR_INPUT, "--help-input: there is no section or key '%.60s' (did you mean '%s'?)",
           topic, nearest);
  return QG_FAIL(QG_ERR_INPUT, "--help-input: there is no section or key '%.60s'; sections:%s", topic,
                 sections);
}

/* The key of "section.key", or of "key" if one section alone has it; -1: none. */
static int find_key(const char *topic)
{
  char section[TOPIC];
  const char *dot = strchr(topic, '.');
  if (!dot) return qg_schema_find_name(topic);
  snprintf(section, sizeof section, "%.*s", (int)(dot - topic), topic);
  return qg_schema_find(section, dot + 1);
}

static void help_all(FILE *out, const char *section)
{
  fputs(
      "Input: [section] headings, key = value lines, # comments, include = FILE.\n"
      "On the command line: section.key=value.\n",
      out);
  for (int i = 0; i < qg_section_count; i++)
    if (!section || !strcmp(section, qg_sections[i].name)) help_section(out, &qg_sections[i]);
}

qg_status qg_config_help(FILE *out, const char *topic)
{
  if (!topic || qg_schema_has_section(topic)) {
    help_all(out, topic);
    return QG_OK;
  }
  int key = find_key(topic);
  if (key < 0) return fail_unknown(topic);
  fprintf(out, "[%s]\n", qg_schema[key].section);
  help_key(out, &qg_schema[key]);
  return QG_OK;
}
