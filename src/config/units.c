#include "config/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "qgalore/base.h"

typedef struct {
  const char *name;
  double factor;
} unit;

static const unit duration_units[] = {{"d", 86400},   {"day", 86400},  {"days", 86400}, {"h", 3600},
                                      {"hour", 3600}, {"hours", 3600}, {"m", 60},       {"min", 60},
                                      {"s", 1},       {"sec", 1}};
static const unit size_units[] = {
    {"", 1},          {"B", 1},           {"K", 1024.0},   {"KiB", 1024.0}, {"kB", 1e3},
    {"M", 1048576.0}, {"MiB", 1048576.0}, {"MB", 1e6},     {"G", 0x1p30},   {"GiB", 0x1p30},
    {"GB", 1e9},      {"T", 0x1p40},      {"TiB", 0x1p40}, {"TB", 1e12},
};

/* A number without sign, exponent, hexadecimal or "inf", so that a unit may follow without being swallowed.
 */
static bool read_plain_number(const char **text, double *value)
{
  char digits[64];
  size_t n = strspn(*text, "0123456789.");
  if (n == 0 || n >= sizeof digits) return false;
  memcpy(digits, *text, n);
  digits[n] = '\0';
  char *end;
  *value = strtod(digits, &end);
  if (*end) return false;
  *text += n;
  return true;
}

/* The unit at the start of *text, which moves behind it; NULL: none. Upper and lower case are alike. */
static const unit *read_unit(const char **text, const unit *units, int count)
{
  size_t length = strspn(*text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
  for (int u = 0; u < count; u++) {
    if (strlen(units[u].name) != length || strncasecmp(*text, units[u].name, length) != 0) continue;
    *text += length;
    return &units[u];
  }
  return NULL;
}

/* [D-]HH:MM:SS, as batch systems write it. */
static bool read_clock(const char *text, double *seconds)
{
  int days = 0, hours, minutes, rest, end = 0;
  const char *dash = strchr(text, '-');
  if (strspn(text, "0123456789-:") != strlen(text) || strlen(text) > 20 || text[0] == '-') return false;
  if (dash && (sscanf(text, "%d-", &days) != 1 || days < 0)) return false;
  if (sscanf(dash ? dash + 1 : text, "%d:%2d:%2d%n", &hours, &minutes, &rest, &end) != 3) return false;
  if ((dash ? dash + 1 : text)[end] || hours < 0 || minutes < 0 || minutes > 59 || rest < 0 || rest > 59)
    return false;
  *seconds = 86400.0 * days + 3600.0 * hours + 60.0 * minutes + rest;
  return true;
}

/* Numbers with units, each smaller than the one before; spaces between them do not count. */
bool qg_duration_parse(const char *text, double *seconds)
{
  double total = 0, smallest = INFINITY;
  if (read_clock(text, seconds)) return true;
  if (!*text) return false;
  while (*text) {
    double number;
    if (!read_plain_number(&text, &number)) return false;
    text += strspn(text, " ");
    const unit *u = read_unit(&text, duration_units, QG_COUNT_OF(duration_units));
    if (!u || u->factor >= smallest) return false;
    total += number * u->factor;
    smallest = u->factor;
    text += strspn(text, " ");
  }
  *seconds = round(total * 1000) / 1000;
  return true;
}

qg_size_result qg_size_parse(const char *text, int64_t *bytes)
{
  double number;
  if (!read_plain_number(&text, &number)) return QG_SIZE_NONE;
  while (*text == ' ') text++;
  const unit *u = read_unit(&text, size_units, QG_COUNT_OF(size_units));
  if (!u || *text) return QG_SIZE_NONE;
  double exact = number * u->factor;
  if (exact > 0x1p53) return QG_SIZE_TOO_LARGE;
  if (exact != floor(exact)) return QG_SIZE_NONE;
  *bytes = (int64_t)exact;
  return QG_SIZE_READ;
}
