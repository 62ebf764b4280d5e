/* The optimizer, for the files of this folder that loop over its sinks. */
#ifndef QG_OPTIM_PRIVATE_H
#define QG_OPTIM_PRIVATE_H

#include "optim/projected.h"
#include "qgalore/optim.h"

struct qg_optim {
  qg_optim_context o;
  qg_param_list params; /* the caller's */
  qg_grad_sink **sinks; /* [params.count]; NULL: not trained */
  qg_gradient_port port;
  qg_step_rates rates; /* of fused updates */
  qg_state_list state;
  qg_shared_gradients shared;
  bool thaws;
};

static inline bool qg_optim_is_held(const qg_optim *optim, int param)
{
  return optim->sinks[param] && optim->params.params[param].held;
}
/* NULL: the gradient of this parameter lives in no subspace. */
static inline qg_projected *qg_optim_projected(const qg_optim *optim, int param)
{
  qg_grad_sink *sink = optim->sinks[param];
  return sink && sink->ops->projected ? sink->ops->projected(sink) : NULL;
}

#endif
