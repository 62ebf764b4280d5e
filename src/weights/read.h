#ifndef QG_WEIGHTS_READ_H
#define QG_WEIGHTS_READ_H

#include "qgalore/weights.h"

/* What models read through. */
qg_weight_reader qg_weights_make_reader(qg_weights *weights);

#endif
