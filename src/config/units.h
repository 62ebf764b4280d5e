/* Numbers with units. */
#ifndef QG_CONFIG_UNITS_H
#define QG_CONFIG_UNITS_H

#include <stdbool.h>
#include <stdint.h>

/* Seconds of "1d2h3m4s", each unit at most once, from large to small, rounded
 * to thousandths; bytes of "512K" (1024), "4GiB", "1.5GB"
 * (1000^3). False if `text` is neither. */
bool qg_duration_parse(const char *text, double *seconds);
bool qg_size_parse(const char *text, int64_t *bytes);

#endif
