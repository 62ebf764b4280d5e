/* State of one load: the values so far, where each came from, and what is wrong. */
#ifndef QG_CONFIG_LOADER_H
#define QG_CONFIG_LOADER_H

#include <stdbool.h>
#include <stdio.h>

#include "config/schema.h"

/* Everything that is wrong with an input, one line each: as many as fit the message of a qg_status; the rest
 * is counted. */
enum { QG_INPUT_ERRORS_BYTES = 1900 };

typedef struct {
  char text[QG_INPUT_ERRORS_BYTES];
  size_t used;
  int count, omitted;
} qg_input_errors;

/* Adds "origin: what". Local. */
void qg_input_errors_add(qg_input_errors *errors, const char *origin, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* QG_OK if there are none, else `code` with all lines as message. Local. */
qg_status qg_input_errors_raise(const qg_input_errors *errors, qg_status code);

enum { QG_ORIGIN_MAX = QG_PATH_MAX + 32 };

typedef struct {
  bool given, bad;
  char origin[QG_ORIGIN_MAX]; /* "file:line" or "command line" */
} qg_setting;

typedef struct {
  qg_config *config;
  const char *path;         /* of the main input, for errors that have no line */
  const qg_job_input *jobs; /* [job_count] that run.job may name; none: any, which needs every section */
  int job_count;
  bool may_include;
  int includes;    /* files read, the main one not counted */
  bool incomplete; /* a file could not be read: missing keys and conditions would only distract */
  qg_setting settings[QG_SCHEMA_KEYS_MAX];
  qg_input_errors errors;
} qg_loader;

/* Sets key `index` from text; an error is added when it does not fit. A later value replaces an earlier one.
 */
void qg_loader_set(qg_loader *loader, int index, const char *text, const char *origin);

/* The job that run.job names; NULL: it is none of them, or there are none. */
const qg_job_input *qg_loader_job(const qg_loader *loader);
/* Whether that job uses a section: its keys without a default have to be given, and conditions between its
 * keys to hold. */
bool qg_loader_needs(const qg_loader *loader, const char *section);

/* Adds the error that [section] name is not in the schema, with the likely meaning. */
void qg_loader_unknown_key(qg_loader *loader, const char *origin, const char *section, const char *name);
void qg_loader_unknown_section(qg_loader *loader, const char *origin, const char *section);

#endif
