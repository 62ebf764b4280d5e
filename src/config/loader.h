/* State of one load: the values so far, where each came from, and what is wrong. */
#ifndef QG_CONFIG_LOADER_H
#define QG_CONFIG_LOADER_H

#include <stdbool.h>
#include <stdio.h>

#include "config/problems.h"
#include "config/schema.h"

enum { QG_ORIGIN_MAX = QG_PATH_MAX + 32 };

typedef struct {
  bool given, bad;
  char origin[QG_ORIGIN_MAX]; /* "file:line" or "command line" */
} qg_setting;

typedef struct {
  qg_config *config;
  const char *path; /* of the main input, for problems that have no line */
  bool may_include;
  int includes;    /* files read, the main one not counted */
  bool incomplete; /* a file could not be read: missing keys and conditions would only distract */
  qg_setting settings[QG_SCHEMA_KEYS_MAX];
  qg_problems problems;
} qg_loader;

/* Sets key `index` from text; a problem is added when it does not fit. A later value replaces an earlier one.
 */
void qg_loader_set(qg_loader *loader, int index, const char *text, const char *origin);

/* Adds the problem that [section] name is not in the schema, with the likely meaning. */
void qg_loader_unknown_key(qg_loader *loader, const char *origin, const char *section, const char *name);
void qg_loader_unknown_section(qg_loader *loader, const char *origin, const char *section);

/* Reads a file, or an open stream called `label` that has no folder to include from. */
void qg_parse_file(qg_loader *loader, const char *path);
void qg_parse_stream(qg_loader *loader, FILE *stream, const char *label);

/* "section.key=value". */
void qg_parse_override(qg_loader *loader, const char *text);

/* Conditions between keys. Conditions on a key that is already known to be bad are left alone. */
void qg_crosscheck(qg_loader *loader);

/* A load is: begin (defaults) -> parse files, streams, overrides -> finish (derived values, conditions). The
 * problems are then in loader->problems. */
void qg_loader_begin(qg_loader *loader, qg_config *config, const char *path);
void qg_loader_finish(qg_loader *loader);

#endif
