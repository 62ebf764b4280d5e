#include <math.h>
#include <stdio.h>

#include "qgalore/base.h"

/* Three digits, "1.23", "12.3", "123"; whole numbers below the first unit stay as they are. */
static const char *format_scaled(char *buffer, size_t size, double value, double base,
                                 const char *const *units, int unit_count)
{
  int unit = 0;
  /* What would round up to the next unit is shown in it: 999.7 M is 1.00 B. */
  while (unit + 1 < unit_count && fabs(value) >= base - 0.5) {
    value /= base;
    unit++;
  }
  int decimals = unit == 0 || fabs(value) >= 99.95 ? 0 : fabs(value) >= 9.995 ? 1 : 2;
  snprintf(buffer, size, "%.*f%s%s", decimals, value, units[unit][0] ? " " : "", units[unit]);
  return buffer;
}

const char *qg_format_bytes(char *buffer, size_t size, double bytes)
{
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  return format_scaled(buffer, size, bytes, 1024, units, QG_COUNT_OF(units));
}

const char *qg_format_count(char *buffer, size_t size, double count)
{
  static const char *const units[] = {"", "k", "M", "B", "T"};
  return format_scaled(buffer, size, count, 1000, units, QG_COUNT_OF(units));
}

const char *qg_format_seconds(char *buffer, size_t size, double seconds)
{
  if (!(seconds >= 0 && seconds < 1e15)) {
    snprintf(buffer, size, "unknown");
    return buffer;
  }
  int64_t whole = (int64_t)(seconds + 0.5);
  if (seconds < 59.95) snprintf(buffer, size, "%.1fs", seconds);
  else if (whole < 3600)
    snprintf(buffer, size, "%dm%02ds", (int)(whole / 60), (int)(whole % 60));
  else if (whole < 86400)
    snprintf(buffer, size, "%dh%02dm", (int)(whole / 3600), (int)(whole / 60 % 60));
  else
    snprintf(buffer, size, "%lldd%02dh", (long long)(whole / 86400), (int)(whole / 3600 % 24));
  return buffer;
}

const char *qg_format_utc(char *buffer, size_t size, time_t when)
{
  struct tm utc;
  buffer[0] = '\0';
  if (gmtime_r(&when, &utc)) strftime(buffer, size, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return buffer;
}

void qg_text_make_printable(char *text)
{
  for (; *text; text++)
    if ((unsigned char)*text < ' ' || *text == 0x7f) *text = '?';
}
