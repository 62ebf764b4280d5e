#ifndef QG_CONFIG_CROSSCHECK_H
#define QG_CONFIG_CROSSCHECK_H

#include "config/loader.h"

/* Conditions between keys. Conditions on a key that is already known to be bad are left alone. */
void qg_crosscheck(qg_loader *loader);

#endif
