#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/value.h"

void qg_real_print(double value, char *buffer, size_t size)
{
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(buffer, size, "%.*g", digits, value);
    if (strtod(buffer, NULL) == value) return;
  }
}

static int64_t load_int(const void *member)
{
  int64_t value;
  memcpy(&value, member, sizeof value);
  return value;
}

static double load_real(const void *member)
{
  double value;
  memcpy(&value, member, sizeof value);
  return value;
}

static const char *choice_name(const qg_key *key, const void *member)
{
  int narrow;
  memcpy(&narrow, member, sizeof narrow);
  int64_t value = key->size == sizeof narrow ? narrow : load_int(member);
  for (const qg_choice *c = key->choices; c->name; c++)
    if (c->value == value) return c->name;
  return "?";
}

/* 1d2h3m4s, or thousandths of a second (qg_duration_parse rounds to them). */
static void print_duration(double seconds, char *buffer, size_t size)
{
  static const struct {
    char name;
    int64_t seconds;
  } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
  if (seconds != floor(seconds)) {
    snprintf(buffer, size, "%.3fs", seconds);
    return;
  }
  int64_t left = (int64_t)seconds;
  size_t used = 0;
  for (int u = 0; u < 4; u++) {
    int64_t count = left / units[u].seconds;
    left %= units[u].seconds;
    if (count) used += (size_t)snprintf(buffer + used, size - used, "%" PRId64 "%c", count, units[u].name);
  }
  if (used == 0) snprintf(buffer, size, "0s");
}

static void print_list(const qg_key *key, const qg_config *config, char *buffer, size_t size)
{
  const int64_t *values = qg_key_member_const(key, config);
  int64_t count = load_int((const char *)config + key->count_offset);
  size_t used = 0;
  buffer[0] = '\0';
  for (int64_t i = 0; i < count && used < size; i++)
    used += (size_t)snprintf(buffer + used, size - used, "%s%" PRId64, i ? ", " : "", values[i]);
}

const char *qg_value_print(const qg_key *key, const qg_config *config, char *buffer, size_t size)
{
  const void *member = qg_key_member_const(key, config);
  switch (key->type) {
    case QG_KEY_INT:
    case QG_KEY_SIZE:
      snprintf(buffer, size, "%" PRId64, load_int(member));
      break;
    case QG_KEY_REAL:
      qg_real_print(load_real(member), buffer, size);
      break;
    case QG_KEY_BOOL:
      snprintf(buffer, size, "%s", *(const bool *)member ? "yes" : "no");
      break;
    case QG_KEY_STRING:
    case QG_KEY_PATH:
      snprintf(buffer, size, "%s", (const char *)member);
      break;
    case QG_KEY_ENUM:
      snprintf(buffer, size, "%s", choice_name(key, member));
      break;
    case QG_KEY_DURATION:
      print_duration(load_real(member), buffer, size);
      break;
    case QG_KEY_INT_LIST:
      print_list(key, config, buffer, size);
      break;
  }
  return buffer;
}
