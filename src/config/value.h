/* Values of input keys: text to member and back. */
#ifndef QG_CONFIG_VALUE_H
#define QG_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include "config/schema.h"
#include "config/units.h"

enum { QG_VALUE_TEXT_MAX = 16384 }; /* longest text of a value: a list of QG_MAX_STAGES counts */

/* A range such as "[0, 1)", as the schema writes it. */
typedef struct {
  double low, high;
  bool low_open, high_open;
} qg_range;

/* False if `text` is not a range. */
bool qg_range_parse(const char *text, qg_range *out);
bool qg_range_contains(const qg_range *range, double value);

/* Sets the member of `key` in `config` from `text`. On failure the member is untouched and `why` says what is
 * wrong and what to write instead. */
bool qg_value_parse(const qg_key *key, const char *text, qg_config *config, char *why, size_t why_size);

/* Text that qg_value_parse turns into the same member, to the bit. Returns `buffer` (QG_VALUE_TEXT_MAX
 * bytes). */
const char *qg_value_print(const qg_key *key, const qg_config *config, char *buffer, size_t size);

/* Shortest decimal text that reads back to the same double. */
void qg_real_print(double value, char *buffer, size_t size);

#endif
