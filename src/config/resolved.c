#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"
#include "config/value.h"

/* The documentation as comment lines of at most about 100 characters. */
static void write_comment(FILE *out, const char *text)
{
  enum { WIDTH = 100 };
  int column = fprintf(out, "#");
  while (*text) {
    int word = 0;
    while (text[word] && text[word] != ' ') word++;
    if (column > 1 && column + 1 + word > WIDTH) {
      fputs("\n#", out);
      column = 1;
    }
    column += fprintf(out, " %.*s", word, text);
    text += word + (text[word] == ' ');
  }
  fputc('\n', out);
}

static void write_section(FILE *out, const qg_config *config, const char *section, char *value)
{
  fprintf(out, "\n[%s]\n", section);
  for (int i = 0; i < qg_schema_count; i++) {
    const qg_key *key = &qg_schema[i];
    if (strcmp(key->section, section)) continue;
    write_comment(out, key->doc);
    fprintf(out, "%s = %s\n", key->name, qg_value_print(key, config, value, QG_VALUE_TEXT_MAX));
  }
}

qg_status qg_config_resolved(const qg_config *config, char **text)
{
  char value[QG_VALUE_TEXT_MAX];
  size_t bytes;
  *text = NULL;
  FILE *out = open_memstream(text, &bytes);
  QG_CHECK(out, QG_ERR_RESOURCE, "no memory for the resolved input");
  fputs("# Every key with the value that the run uses. This file is an input file: it can be run again.\n",
        out);
  for (int i = 0; i < qg_section_count; i++) write_section(out, config, qg_sections[i].name, value);
  bool failed = ferror(out);
  if (fclose(out) != 0 || failed) {
    free(*text);
    *text = NULL;
    return QG_FAIL(QG_ERR_RESOURCE, "no memory for the resolved input");
  }
  return QG_OK;
}
