#include "backend/plugin_loader.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "qgalore/base.h"

enum { PATH_BYTES = 4096 };

#define TEXT_OF(symbol) #symbol
#define NAME_OF(symbol) TEXT_OF(symbol)

static const char object[] = "libqgalore_cuda.so", driver[] = "libcuda.so.1";

/* The folder of the executable, or "." if the system does not tell. */
static void own_folder(char *folder, size_t size)
{
  ssize_t length = readlink("/proc/self/exe", folder, size - 1);
  folder[length > 0 ? length : 0] = '\0';
  char *slash = strrchr(folder, '/');
  if (slash) *slash = '\0';
  else
    snprintf(folder, size, ".");
}

static bool search(char *path, size_t size)
{
  static const char *const places[] = {"", "/../lib"};
  char folder[PATH_BYTES];
  own_folder(folder, sizeof folder);
  for (int i = 0; i < QG_COUNT_OF(places); i++) {
    int length = snprintf(path, size, "%s%s/%s", folder, places[i], object);
    if (length > 0 && (size_t)length < size && access(path, R_OK) == 0) return true;
  }
  return false;
}

/* The object's libraries are large: where there is no driver, they are not even mapped. */
static qg_status check_driver(void)
{
  void *handle = dlopen(driver, RTLD_LAZY | RTLD_LOCAL);
  QG_CHECK(handle, QG_ERR_RESOURCE, "no NVIDIA driver is installed here (%s)", driver);
  dlclose(handle);
  return QG_OK;
}

/* A file that the user names is opened whether there is a driver or not. */
static qg_status choose_file(bool needs_driver, char *path, size_t size)
{
  const char *named = getenv("QGALORE_CUDA_PLUGIN");
  if (named && *named) {
    snprintf(path, size, "%s", named);
    QG_CHECK(access(path, R_OK) == 0, QG_ERR_RESOURCE, "QGALORE_CUDA_PLUGIN=%s cannot be read", path);
    return QG_OK;
  }
  QG_CHECK(search(path, size), QG_ERR_RESOURCE, "%s was not built or installed (make cuda)", object);
  return needs_driver ? check_driver() : QG_OK;
}

qg_status qg_plugin_find(bool needs_driver, const qg_plugin **out)
{
  char path[PATH_BYTES + 64];
  QG_TRY(choose_file(needs_driver, path, sizeof path));
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  QG_CHECK(handle, QG_ERR_RESOURCE, "%s does not load: %s", path, dlerror());
  const qg_plugin *plugin = dlsym(handle, NAME_OF(QG_PLUGIN_SYMBOL));
  QG_CHECK(plugin, QG_ERR_RESOURCE, "%s is no backend of this program", path);
  QG_CHECK(strcmp(plugin->version, QG_VERSION) == 0, QG_ERR_RESOURCE,
           "%s was built with another version (%s) than this program (%s): build it again", path,
           plugin->version, QG_VERSION);
  bool fits = plugin->ops_bytes == QG_PLUGIN_OPS_BYTES && plugin->backend_bytes == sizeof(qg_backend);
  QG_CHECK(fits, QG_ERR_RESOURCE, "%s was built from other sources than this program: build both again",
           path);
  *out = plugin;
  return QG_OK;
}
