#ifndef QG_CONFIG_LOAD_H
#define QG_CONFIG_LOAD_H

#include "config/loader.h"

/* A load is: begin (defaults) -> parse files, streams, overrides -> finish (derived values, conditions). The
 * mistakes are then in loader->errors. */
void qg_load_begin(qg_loader *loader, qg_config *config, const char *path);
void qg_load_finish(qg_loader *loader);

#endif
