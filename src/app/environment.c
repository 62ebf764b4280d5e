#include "app/environment.h"

#include <string.h>
#include <unistd.h>

#include "config/suggest.h"
#include "qgalore/base.h"

static const char prefix[] = "QGALORE_";

static const char *const known[] = {
    "CPU_ISA",    "CUDA_PLUGIN", "TRACE", "FAULT",      "PAR_CHUNK",  "PAR_SYNCHRONOUS",
    "PAR_DEVICE", "CKPT_SLAB",   "INPUT", "ARGS",       "RUN",        "PROGRAM",
    "LAUNCHER",   "SCRIPT",      "CHAIN", "SWEEP",      "BIN",        "RANKS",
    "HOSTFILE",   "JOBS",        "FULL",  "FAULT_RUNS", "FAULT_SEED", "SWEEP_INDEX",
    "TEST_LAYOUT"};

/* The known name that `name` is nearly; NULL if it is one, or resembles none. */
static const char *meant_by(const char *name)
{
  const char *best = NULL;
  int distance = QG_SUGGEST_NONE;
  for (int i = 0; i < QG_COUNT_OF(known); i++) qg_suggest_consider(name, known[i], &best, &distance);
  return best && strcmp(best, name) != 0 ? best : NULL;
}

static qg_status check_variable(const char *variable)
{
  char name[64];
  size_t length = strcspn(variable, "=");
  if (strncmp(variable, prefix, sizeof prefix - 1) != 0 || length >= sizeof name) return QG_OK;
  memcpy(name, variable, length);
  name[length] = '\0';
  const char *meant = meant_by(name + sizeof prefix - 1);
  QG_CHECK(!meant, QG_ERR_INPUT,
           "environment: %s: no such variable (did you mean '%s%s'?); correct or unset it", name, prefix,
           meant);
  return QG_OK;
}

qg_status qg_environment_check(void)
{
  for (char **variable = environ; *variable; variable++) QG_TRY(check_variable(*variable));
  return QG_OK;
}
