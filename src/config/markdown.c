/* doc/inputs.md: the schema as a manual page. */
#include <string.h>

#include "config/schema.h"

static const char intro[] =
    "# Input keys\n"
    "\n"
    "Generated from the schema of the program (`qgalore_hpc --help-input=markdown`); do not edit.\n"
    "\n"
    "An input file is a list of `key = value` lines under `[section]` headings. `#` (or `;`) at the start of "
    "a word\n"
    "begins a comment.\n"
    "\n"
    "    include = llama60m.in\n"
    "\n"
    "    [train]\n"
    "    steps = 2000          # fewer than the included file says\n"
    "\n"
    "- `include = FILE`, before the first section or in a section `[include]`, reads another file at this "
    "place. A\n"
    "  relative name is relative to the folder of the including file.\n"
    "- The command line may add `section.key=value` after the file.\n"
    "- The last value counts: a file overrides what it includes above, the command line overrides files. "
    "Within one\n"
    "  file a key is given once; twice is an error. Unknown sections and keys are errors.\n"
    "- yes or no: `yes`, `no`, `true`, `false`, `on`, `off`. Times: `23h45m`, `90s`, `2d`. Lists: `7, 9, 9, "
    "7`.\n"
    "- Ranges: `[` and `]` include the bound, `(` and `)` do not.\n"
    "- All problems of an input are reported at once, each with file and line.\n"
    "\n"
    "A restart reads the same input again. Keys marked *fixed* must be as they were; the others may change "
    "between\n"
    "one job and the next. `compat = reference` changes some defaults, as their rows say.\n";

static void write_type(FILE *out, const qg_key *key)
{
  fputs(key->choices ? "" : qg_key_type_name(key->type), out);
  for (const qg_choice *c = key->choices; c && c->name; c++)
    fprintf(out, "%s`%s`", c == key->choices ? "" : ", ", c->name);
  if (key->unit) fprintf(out, "; %s", key->unit);
  if (key->range) fprintf(out, "; %s", key->range);
}

static void write_default(FILE *out, const qg_key *key)
{
  if (!key->fallback) fputs("required", out);
  else if (!key->fallback[0])
    fputs("empty", out);
  else
    fprintf(out, "`%s`", key->fallback);
  if (key->reference) fprintf(out, " (reference: `%s`)", key->reference);
}

static void write_row(FILE *out, const qg_key *key)
{
  fprintf(out, "| `%s` | ", key->name);
  write_type(out, key);
  fputs(" | ", out);
  write_default(out, key);
  fprintf(out, " | %s | %s", key->may_change ? "may change" : "*fixed*", key->doc);
  if (key->former) fprintf(out, " Former name: `%s`, still read.", key->former);
  fputs(" |\n", out);
}

void qg_config_write_markdown(FILE *out)
{
  fputs(intro, out);
  for (int s = 0; s < qg_section_count; s++) {
    fprintf(out, "\n## [%s]\n\n%s\n\n", qg_sections[s].name, qg_sections[s].doc);
    fputs("| key | value | default | on restart | meaning |\n|---|---|---|---|---|\n", out);
    for (int i = 0; i < qg_schema_count; i++)
      if (!strcmp(qg_schema[i].section, qg_sections[s].name)) write_row(out, &qg_schema[i]);
  }
}
