#include <string.h>

#include "config/schema.h"
#include "config/suggest.h"

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
  help_wrapped(out, key->doc);
}

static void help_section(FILE *out, const qg_section *section)
{
  fprintf(out, "\n[%s]  %s\n", section->name, section->doc);
  for (int i = 0; i < qg_schema_count; i++)
    if (!strcmp(qg_schema[i].section, section->name)) help_key(out, &qg_schema[i]);
}

static void help_unknown(FILE *out, const char *section)
{
  const char *best = NULL;
  int distance = QG_SUGGEST_NONE;
  for (int i = 0; i < qg_section_count; i++)
    qg_suggest_consider(section, qg_sections[i].name, &best, &distance);
  fprintf(out, "There is no section '%s'", section);
  if (best) fprintf(out, " (did you mean '%s'?)", best);
  fputs(". Sections:", out);
  for (int i = 0; i < qg_section_count; i++) fprintf(out, " %s", qg_sections[i].name);
  fputc('\n', out);
}

void qg_config_help(FILE *out, const char *section)
{
  if (section && !qg_schema_has_section(section)) {
    help_unknown(out, section);
    return;
  }
  fputs(
      "Input: [section] headings, key = value lines, # comments, include = FILE.\n"
      "On the command line: section.key=value.\n",
      out);
  for (int i = 0; i < qg_section_count; i++)
    if (!section || !strcmp(section, qg_sections[i].name)) help_section(out, &qg_sections[i]);
}
