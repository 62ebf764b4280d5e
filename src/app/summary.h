/* The last lines of the log: why the run stopped, and the command that goes on. */
#ifndef QG_APP_SUMMARY_H
#define QG_APP_SUMMARY_H

#include "app/options.h"
#include "qgalore/base/log.h"
#include "qgalore/train.h"

void qg_summary_print(const qg_log *log, const qg_app_options *options, int ranks,
                      const qg_train_summary *summary);

#endif
