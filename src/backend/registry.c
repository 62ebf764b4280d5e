#include "backend/registry.h"

#include <stdio.h>
#include <string.h>

qg_status qg_backend_open(const qg_backend_request *request, qg_backend **out)
{
  bool any = strcmp(request->name, "auto") == 0;
  QG_CHECK(any || strcmp(request->name, "cpu") == 0 || strcmp(request->name, "cuda") == 0, QG_ERR_INPUT,
           "backend.name: unknown backend \"%s\"; known: auto, cpu, cuda", request->name);
  QG_CHECK(strcmp(request->name, "cuda") != 0, QG_ERR_RESOURCE,
           "backend.name = cuda, but %s; use backend.name = cpu, or auto", qg_cuda_missing());
  return qg_cpu_open(request, out);
}

void qg_backend_close(qg_backend *be)
{
  qg_cpu_close(be);
}

void qg_backend_list(char *buffer, size_t size)
{
  snprintf(buffer, size, "cpu   available\ncuda  not available: %s\n", qg_cuda_missing());
}
