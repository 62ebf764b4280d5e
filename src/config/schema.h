/* The schema: one row per input key. Parsing, checking, help, the resolved echo and doc/inputs.md all read
 * it. */
#ifndef QG_CONFIG_SCHEMA_H
#define QG_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qgalore/config.h"

typedef enum {
  QG_KEY_INT,      /* int64_t */
  QG_KEY_REAL,     /* double, finite */
  QG_KEY_BOOL,     /* bool: yes, no, true, false, on, off */
  QG_KEY_STRING,   /* char[size]; one of `choices` if there are any */
  QG_KEY_PATH,     /* char[size] */
  QG_KEY_ENUM,     /* an enum or int64_t, by size; one of `choices` */
  QG_KEY_DURATION, /* double, seconds: 23h45m, 90s, 2d */
  QG_KEY_SIZE,     /* int64_t, bytes: 512K, 4GiB */
  QG_KEY_INT_LIST  /* int64_t[size / 8], with the count at count_offset */
} qg_key_type;

typedef struct {
  const char *name;
  int64_t value; /* unused for strings */
} qg_choice;

typedef struct {
  const char *section, *name;
  qg_key_type type;
  size_t offset, size;             /* of the member in qg_config, bytes */
  size_t count_offset;             /* lists: of the member that holds the count */
  const char *unit;                /* NULL: none */
  const char *fallback;            /* default as text; NULL: the key is required */
  const char *reference;           /* default with qgalore.compat = reference; NULL: the same */
  const char *range;               /* "[0, 1)", "(0, inf)"; NULL: any */
  const qg_choice *choices;        /* ends with a NULL name; NULL: any */
  bool may_change;                 /* on restart */
  const char *former;              /* name in older inputs, still read; NULL: none */
  const qg_choice *former_choices; /* values of older inputs, still read; ends as `choices`; NULL: none */
  const char *doc;                 /* whole sentences, no line breaks */
} qg_key;

typedef struct {
  const char *name, *doc;
} qg_section;

extern const qg_key qg_schema[];
extern const int qg_schema_count;
extern const qg_section qg_sections[];
extern const int qg_section_count;

enum { QG_SCHEMA_KEYS_MAX = 128 }; /* capacity of per-key state, >= qg_schema_count */

/* Index of the row with this name, now or formerly, or -1. */
int qg_schema_find(const char *section, const char *name);
/* Index of the row whose member lies at `offset`; every member with a row has exactly one. */
int qg_schema_at(size_t offset);
/* Index of the only row named so, now or formerly, in any section, or -1 if there is none or several. */
int qg_schema_find_name(const char *name);
bool qg_schema_has_section(const char *section);

/* "whole number", "yes or no", ... for messages and help. */
const char *qg_key_type_name(qg_key_type type);
/* "a, b, c" of the choices; "" if there are none. Returns `buffer`. */
const char *qg_key_choices_text(const qg_key *key, char *buffer, size_t size);

static inline void *qg_key_member(const qg_key *key, qg_config *config)
{
  return (char *)config + key->offset;
}
static inline const void *qg_key_member_const(const qg_key *key, const qg_config *config)
{
  return (const char *)config + key->offset;
}

#endif
