/* Opens the CUDA backend for a test: that of QGALORE_CUDA_PLUGIN, or the emulated one that was built beside
 * the tests. */
#ifndef QG_TESTS_CUDA_DEVICE_H
#define QG_TESTS_CUDA_DEVICE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/plugin_loader.h"

/* Unless the environment says otherwise: BUILD/tests/libqgalore_cudaemu.so of this BUILD/tests/FOLDER/TEST.
 */
static inline void choose_plugin(void)
{
  char path[4096 + 64] = "";
  if (readlink("/proc/self/exe", path, 4096) < 0) return;
  for (int level = 0; level < 2; level++) *strrchr(path, '/') = '\0';
  strcat(path, "/libqgalore_cudaemu.so");
  setenv("QGALORE_CUDA_PLUGIN", path, 0);
}

/* NULL, with a message on stderr, if it does not open. Close with be->close(be). */
static inline qg_backend *open_cuda_as(const qg_backend_request *request)
{
  const qg_plugin *plugin;
  qg_backend *be = NULL;
  choose_plugin();
  if (qg_plugin_find(true, &plugin) != QG_OK || plugin->open(request, &be) != QG_OK)
    fprintf(stderr, "%s\n", qg_error_message());
  return be;
}

static inline qg_backend *open_cuda(const char *precision)
{
  return open_cuda_as(&(qg_backend_request){.name = "cuda", .precision = precision, .threads = 2});
}

static inline qg_backend *open_cuda_fused(const char *precision)
{
  return open_cuda_as(
      &(qg_backend_request){.name = "cuda", .precision = precision, .threads = 2, .fused_attention = true});
}

#endif
