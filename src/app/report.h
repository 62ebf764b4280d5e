/* The parts of the log around the step lines. */
#ifndef QG_APP_REPORT_H
#define QG_APP_REPORT_H

#include "qgalore/base/log.h"
#include "qgalore/base/timer.h"
#include "qgalore/config.h"
#include "qgalore/par.h"
#include "qgalore/train.h"

void qg_report_banner(const qg_log *log);
/* Version, compiler and libraries, for --version. */
void qg_report_version(FILE *out);
/* Rank, host, threads, part and backend of every rank. Collective. */
qg_status qg_report_ranks(qg_par *par, const qg_log *log, const qg_backend *be, const qg_partition *part);
void qg_report_input(const qg_log *log, const qg_config *config);
/* Phases with minimum, mean and maximum over ranks and their share of `seconds`, and the mean on devices that
 * keep a clock. Collective. */
qg_status qg_report_timing(qg_par *par, const qg_log *log, const qg_timers *timers, double seconds);
/* Highest memory against the plan, and what is in use on devices with memory of their own. Collective. */
qg_status qg_report_memory(qg_par *par, const qg_log *log, qg_backend *be, const qg_mem *mem);
/* Loss over steps, drawn with characters, from <folder>/metrics.jsonl. Does nothing without the file. */
void qg_report_loss_plot(const qg_log *log, const char *metrics_path);

/* Subspace refreshes per layer. Collective. */
qg_status qg_report_refreshes(qg_par *par, const qg_log *log, const qg_model_shape *shape,
                              const qg_optim *optim);

#endif
