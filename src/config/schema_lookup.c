#include <stdio.h>
#include <string.h>

#include "config/schema.h"

static bool is_named(const qg_key *key, const char *name)
{
  return !strcmp(key->name, name) || (key->former && !strcmp(key->former, name));
}

int qg_schema_find(const char *section, const char *name)
{
  for (int i = 0; i < qg_schema_count; i++)
    if (!strcmp(qg_schema[i].section, section) && is_named(&qg_schema[i], name)) return i;
  return -1;
}

int qg_schema_at(size_t offset)
{
  for (int i = 0; i < qg_schema_count; i++)
    if (qg_schema[i].offset == offset) return i;
  return -1;
}

int qg_schema_find_name(const char *name)
{
  int found = -1;
  for (int i = 0; i < qg_schema_count; i++) {
    if (!is_named(&qg_schema[i], name)) continue;
    if (found >= 0) return -1;
    found = i;
  }
  return found;
}

bool qg_schema_has_section(const char *section)
{
  for (int i = 0; i < qg_section_count; i++)
    if (!strcmp(qg_sections[i].name, section)) return true;
  return false;
}

const char *qg_key_type_name(qg_key_type type)
{
  static const char *const names[] = {
      [QG_KEY_INT] = "whole number", [QG_KEY_REAL] = "number", [QG_KEY_BOOL] = "yes or no",
      [QG_KEY_STRING] = "text",      [QG_KEY_PATH] = "path",   [QG_KEY_ENUM] = "choice",
      [QG_KEY_DURATION] = "time",    [QG_KEY_SIZE] = "size",   [QG_KEY_INT_LIST] = "list of whole numbers"};
  return names[type];
}

const char *qg_key_choices_text(const qg_key *key, char *buffer, size_t size)
{
  size_t used = 0;
  buffer[0] = '\0';
  for (const qg_choice *c = key->choices; c && c->name && used < size; c++)
    used += (size_t)snprintf(buffer + used, size - used, "%s%s", used ? ", " : "", c->name);
  return buffer;
}
