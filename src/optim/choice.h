/* Which gradient sink a parameter gets: all that the methods differ in, beside the storage of its weight. */
#ifndef QG_OPTIM_CHOICE_H
#define QG_OPTIM_CHOICE_H

#include "optim/sink.h"

qg_status qg_choose_sink(qg_optim_context *o, const qg_param *param, int index, qg_grad_sink **out);

#endif
