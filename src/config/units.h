/* Numbers with units. */
#ifndef QG_CONFIG_UNITS_H
#define QG_CONFIG_UNITS_H

#include <stdbool.h>
#include <stdint.h>

/* Seconds of "1d2h3m4s" or "1h 30min", each unit at most once, from large to small, or of "[D-]HH:MM:SS",
 * rounded to thousandths. False if `text` is neither. */
bool qg_duration_parse(const char *text, double *seconds);

typedef enum { QG_SIZE_NONE, QG_SIZE_READ, QG_SIZE_TOO_LARGE } qg_size_result;
/* Bytes of "512K" (1024), "4GiB", "1.5GB" (1000^3), in upper or lower case. */
qg_size_result qg_size_parse(const char *text, int64_t *bytes);

#endif
