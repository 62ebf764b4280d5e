#include "backend/registry.h"

const char *qg_cuda_missing(void)
{
  return "this version has no CUDA backend";
}
