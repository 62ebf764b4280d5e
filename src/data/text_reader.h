/* Text files as a stream of documents, in pieces small enough to tokenize, so that a file may be larger than
 * memory. */
#ifndef QGALORE_SRC_DATA_TEXT_READER_H
#define QGALORE_SRC_DATA_TEXT_READER_H

#include <stddef.h>

#include "qgalore/base/status.h"

typedef enum {
  QG_SPLIT_FILE,      /* a file is a document */
  QG_SPLIT_DOCUMENT,  /* documents are separated by lines that equal the marker */
  QG_SPLIT_PARAGRAPH, /* documents are separated by blank lines */
  QG_SPLIT_COUNT
} qg_text_split;

typedef struct {
  qg_text_split split;
  const char *marker; /* for QG_SPLIT_DOCUMENT, without line end */
  size_t piece_bytes; /* longest piece; a longer document is cut before a line end, else a space, else a
                         character */
} qg_text_options;

/* Who receives the documents. A failure ends the reading and is passed on. */
typedef struct {
  void *context;
  /* The next part of the present document: whole UTF-8 characters, at least one byte. */
  qg_status (*piece)(void *context, const char *text, size_t bytes);
  /* The present document, of at least one piece, is complete. */
  qg_status (*end)(void *context);
  /* A byte order mark at the start of `path` was dropped; NULL: nobody wants to know. */
  void (*byte_order_mark)(void *context, const char *path);
} qg_text_sink;

/* Reads `path` ("-": standard input) to its end. Documents of white space alone are left out. Separators
 * belong to no document, everything else is passed on as it is. QG_ERR_INPUT: the file cannot be read or is
 * not UTF-8 (names the line). Memory: two pieces and the longest line. Local. */
qg_status qg_text_read(const char *path, const qg_text_options *options, qg_text_sink sink);

/* Bytes at the start of `text` that are whole, valid UTF-8 characters (RFC 3629: no surrogates, no overlong
 * forms). */
size_t qg_utf8_valid_bytes(const char *text, size_t bytes);

#endif
