/* A backend in a shared object that the registry opens at run time, so that one executable serves nodes with and
 * without its device. The object takes qg_error_* from the program that opens it and exports one symbol. */
#ifndef QGALORE_BACKEND_PLUGIN_H
#define QGALORE_BACKEND_PLUGIN_H

#include "qgalore/backend.h"

/* Of both tables of operations. */
enum { QG_PLUGIN_OPS_BYTES = sizeof(qg_backend_ops) + sizeof(qg_backend_async_ops) };

/* The first three members stay what they are in every version: they tell whether the rest can be used. */
typedef struct {
  const char *version;             /* of the program that it was built with */
  size_t ops_bytes, backend_bytes; /* QG_PLUGIN_OPS_BYTES, and the size of qg_backend */
  /* QG_ERR_RESOURCE says why there is no device. */
  qg_status (*open)(const qg_backend_request *request, qg_backend **out);
  /* For sizes alone, on machines without a device. */
  qg_status (*plan)(const qg_backend_request *request, qg_backend **out);
  /* One indented line per device that can be used; "" if there is none, and qg_error_message says why. */
  void (*list)(char *buffer, size_t size);
} qg_plugin;

#define QG_PLUGIN_SYMBOL qg_plugin_of_backend
extern const qg_plugin QG_PLUGIN_SYMBOL;

#endif
