/* What the optimizer takes, from the input. */
#ifndef QG_TRAIN_OPTIM_OPTIONS_H
#define QG_TRAIN_OPTIM_OPTIONS_H

#include "qgalore/config.h"
#include "qgalore/optim.h"

/* this_rank and all_ranks are left 0. Pure. */
qg_optim_options qg_optim_options_from_config(const qg_config *config, int threads);

#endif
