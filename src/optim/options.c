#include "qgalore/optim/options.h"

bool qg_optim_projects(const qg_optim_options *options, const qg_param *param)
{
  bool low_rank = options->method == QG_METHOD_GALORE || options->method == QG_METHOD_QGALORE;
  return low_rank && param->projectable && !param->tied &&
         (param->kind == QG_PARAM_MATRIX || options->project_head);
}

qg_weight_format qg_optim_weight_format(const qg_optim_options *options, const qg_param *param)
{
  bool by_method = qg_optim_projects(options, param) && param->kind == QG_PARAM_MATRIX;
  if (!by_method) return options->dense_type == QG_BF16 ? QG_WEIGHT_BF16 : QG_WEIGHT_F32;
  if (options->weight_bits == 8) return QG_WEIGHT_INT8;
  return options->weight_bits == 16 ? QG_WEIGHT_BF16 : QG_WEIGHT_F32;
}
