#include "config/units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"

typedef struct {
  const char *name;
  double factor;
} unit;

static const unit duration_units[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}};
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

bool qg_duration_parse(const char *text, double *seconds)
{
  double total = 0;
  int next = 0; /* smallest index of duration_units that may follow */
  if (!*text) return false;
  while (*text) {
    double number;
    if (!read_plain_number(&text, &number)) return false;
    int u = next;
    while (u < QG_COUNT_OF(duration_units) && duration_units[u].name[0] != *text) u++;
    if (u == QG_COUNT_OF(duration_units)) return false;
    total += number * duration_units[u].factor;
    next = u + 1;
    text++;
  }
  *seconds = round(total * 1000) / 1000;
  return true;
}

bool qg_size_parse(const char *text, int64_t *bytes)
{
  double number;
  if (!read_plain_number(&text, &number)) return false;
  while (*text == ' ') text++;
  for (int u = 0; u < QG_COUNT_OF(size_units); u++) {
    if (strcmp(text, size_units[u].name)) continue;
    double exact = number * size_units[u].factor;
    if (exact != floor(exact) || exact > 0x1p53) return false;
    *bytes = (int64_t)exact;
    return true;
  }
  return false;
}
