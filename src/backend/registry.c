/* Which backend a run uses: the CPU, or CUDA from its shared object (plugin_loader.h). */
#include <stdio.h>
#include <string.h>

#include "backend/cpu/cpu_backend.h"
#include "backend/plugin_loader.h"
#include "qgalore/base.h"

static qg_status open_cuda(const qg_backend_request *request, qg_backend **out)
{
  const qg_plugin *plugin;
  QG_TRY(qg_plugin_find(true, &plugin));
  return plugin->open(request, out);
}

/* Where the device is not: login nodes plan jobs of compute nodes. */
static qg_status plan_cuda(const qg_backend_request *request, qg_backend **out)
{
  const qg_plugin *plugin;
  QG_TRY(qg_plugin_find(false, &plugin));
  return plugin->plan(request, out);
}

/* The log says what was chosen, and why not the other. */
static qg_status fall_back(const qg_backend_request *request, qg_backend **out)
{
  char reason[128];
  snprintf(reason, sizeof reason, "%s", qg_error_message());
  qg_error_clear();
  QG_TRY(qg_cpu_open(request, out));
  snprintf((*out)->choice, sizeof(*out)->choice, "not cuda: %s", reason);
  return QG_OK;
}

static qg_status refuse_cuda(void)
{
  char reason[1024];
  snprintf(reason, sizeof reason, "%s", qg_error_message());
  return QG_FAIL(QG_ERR_RESOURCE, "backend.name = cuda, but %s; use backend.name = cpu, or auto", reason);
}

/* The same arithmetic in every thread, whoever opens a backend. Threads that OpenMP starts later inherit it.
 */
static void flush_subnormals(void)
{
  qg_subnormals_flush();
#pragma omp parallel
  qg_subnormals_flush();
}

qg_status qg_backend_open(const qg_backend_request *request, qg_backend **out)
{
  bool any = strcmp(request->name, "auto") == 0, cuda = strcmp(request->name, "cuda") == 0;
  QG_CHECK(any || cuda || strcmp(request->name, "cpu") == 0, QG_ERR_INPUT,
           "backend.name: unknown backend \"%s\"; known: auto, cpu, cuda", request->name);
  flush_subnormals();
  if (!any && !cuda) return qg_cpu_open(request, out);
  qg_status status = open_cuda(request, out);
  if (status != QG_ERR_RESOURCE) return status;
  if (cuda && request->plan && plan_cuda(request, out) == QG_OK) return QG_OK;
  return cuda ? refuse_cuda() : fall_back(request, out);
}

void qg_backend_close(qg_backend *be)
{
  if (be) be->close(be);
}

void qg_backend_list(char *buffer, size_t size)
{
  const qg_plugin *plugin;
  char devices[1024] = "";
  if (qg_plugin_find(true, &plugin) == QG_OK) plugin->list(devices, sizeof devices);
  if (devices[0]) snprintf(buffer, size, "cpu   available\ncuda  available\n%s", devices);
  else
    snprintf(buffer, size, "cpu   available\ncuda  not available: %s\n", qg_error_message());
}
