/* Input files and overrides: text to keys of a loader. */
#ifndef QG_CONFIG_PARSE_H
#define QG_CONFIG_PARSE_H

#include "config/loader.h"

/* Reads a file, or an open stream called `label` that has no folder to include from. */
void qg_parse_file(qg_loader *loader, const char *path);
void qg_parse_stream(qg_loader *loader, FILE *stream, const char *label);

/* "section.key=value". */
void qg_parse_override(qg_loader *loader, const char *text);

#endif
