/* Optimizer and weights as the input asks for them. */
#ifndef QG_TRAIN_OPTIM_OPTIONS_H
#define QG_TRAIN_OPTIM_OPTIONS_H

#include "qgalore/config.h"
#include "qgalore/optim.h"
#include "qgalore/optim/learning_rate.h"

/* Pure. */
qg_schedule qg_schedule_from_config(const qg_config *config);
/* this_rank and all_ranks are left 0. Pure. */
qg_optim_options qg_optim_options_from_config(const qg_config *config, int threads);
/* Takes the storage of the held parameters, in the formats that the method asks for. Local. */
qg_status qg_weights_from_config(const qg_config *config, qg_mem *mem, qg_backend *be,
                                 const qg_param_list *params, qg_weights **out);

#endif
