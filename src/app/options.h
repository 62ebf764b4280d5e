/* The command line. */
#ifndef QG_APP_OPTIONS_H
#define QG_APP_OPTIONS_H

#include <stdio.h>

#include "qgalore/base/status.h"

typedef enum {
  QG_ACTION_TRAIN,
  QG_ACTION_CHECK,
  QG_ACTION_HELP,
  QG_ACTION_HELP_INPUT,
  QG_ACTION_VERSION,
  QG_ACTION_LIST_BACKENDS,
  QG_ACTION_STATUS,
  QG_ACTION_VERIFY
} qg_action;

typedef struct {
  qg_action action;
  const char *program;  /* as it was started */
  const char *argument; /* topic of --help-input, folder of --status, file of --verify */
  int ranks;            /* of --check; 0: as many as were started */
  const char *file;
  int overrides;
  char **override; /* inside argv */
} qg_app_options;

/* QG_ERR_INPUT with a message for unknown options and missing arguments. Local. */
qg_status qg_options_parse(int argc, char **argv, qg_app_options *out);
void qg_options_usage(FILE *out);

#endif
