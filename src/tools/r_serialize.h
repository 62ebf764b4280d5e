/* Reader of R's serialised objects in XDR form ("R Internals", section 1.8 "Serialization Formats"), versions
 * 2 and 3: character, integer and logical vectors, and lists of them with their names. */
#ifndef QGALORE_TOOLS_R_SERIALIZE_H
#define QGALORE_TOOLS_R_SERIALIZE_H

#include <stddef.h>
#include <stdint.h>

#include "qgalore/base/status.h"

typedef enum {
  R_SYMBOL = 1,
  R_PAIRLIST = 2,
  R_CHARACTER = 9,
  R_LOGICAL = 10,
  R_INTEGER = 13,
  R_STRINGS = 16,
  R_LIST = 19,
  R_NIL = 254,
  R_REFERENCE = 255
} r_type;

/* An object. All objects of a reader form a chain, by which they are freed. */
typedef struct r_object {
  struct r_object *allocated_before;
  r_type type;
  int64_t count; /* elements */
  struct r_object *
      *items; /* [count] of a list, of a string vector (characters), or tag and value of a pair; owned */
  int32_t *integers;      /* [count]; owned */
  const char *text;       /* [count] bytes of the serialised data, not terminated */
  struct r_object *names; /* the attribute of that name, or NULL */
} r_object;

typedef struct {
  const char *path;
  const unsigned char *data;
  size_t bytes, at;
  r_object *last;        /* head of the chain */
  r_object **references; /* [reference_count] symbols, in the order of appearance; owned */
  int64_t reference_count;
} r_reader;

/* Parses data, which has to outlive the reader. `path` is for messages only. *root belongs to the reader,
 * which r_reader_free frees in any case. QG_ERR_INPUT: damaged, or of another type. Local. */
qg_status r_reader_parse(r_reader *reader, const char *path, const void *data, size_t bytes, r_object **root);
void r_reader_free(r_reader *reader);

/* The element of that name in a list with names; NULL if there is none. */
const r_object *r_object_element(const r_object *list, const char *name);

#endif
