#include "qgalore/config.h"

static int dense_bits(const qg_config *config)
{
  return config->optimizer.dense_type == QG_BF16 ? 16 : 32;
}

int qg_config_moment_bits(const qg_config *config)
{
  if (config->optimizer.moment_bits) return (int)config->optimizer.moment_bits;
  return config->optimizer.method == QG_METHOD_ADAM8BIT || config->optimizer.method == QG_METHOD_QGALORE ? 8
                                                                                                         : 32;
}

int qg_config_weight_bits(const qg_config *config)
{
  if (!qg_config_projects(config)) return dense_bits(config);
  if (config->qgalore.weight_bits) return (int)config->qgalore.weight_bits;
  return config->optimizer.method == QG_METHOD_QGALORE ? 8 : dense_bits(config);
}

int qg_config_projector_bits(const qg_config *config)
{
  if (!qg_config_projects(config)) return 32;
  if (config->qgalore.projector_bits) return (int)config->qgalore.projector_bits;
  return config->optimizer.method == QG_METHOD_QGALORE ? 4 : 32;
}
