#include "app/session.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/devices.h"
#include "app/environment.h"
#include "app/hardware.h"
#include "app/library_memory.h"
#include "qgalore/base.h"

/* mpirun gives ranks a pseudo terminal even when its own output goes to a file; what the launcher writes to
 * decides. */
static bool output_is_terminal(void)
{
  char link[64], target[256];
  if (!getenv("OMPI_COMM_WORLD_RANK")) return isatty(STDOUT_FILENO);
  snprintf(link, sizeof link, "/proc/%d/fd/1", (int)getppid());
  ssize_t length = readlink(link, target, sizeof target - 1);
  if (length <= 0) return false;
  target[length] = '\0';
  return strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0;
}

qg_status qg_session_open(const qg_app_options *o, qg_par *par, double started, const qg_job_input *jobs,
                          int count, qg_session *s)
{
  *s = (qg_session){.options = o, .par = par, .grid = qg_par_grid(par), .started = started};
  s->log = qg_log_make(stdout, qg_par_is_root(s->grid));
  s->log.terminal = qg_par_is_root(s->grid) && output_is_terminal();
  QG_TRY(qg_par_agree(par, qg_environment_check()));
  return qg_par_agree(par, qg_config_load_job(jobs, count, o->file, o->overrides, o->override, &s->config));
}

qg_status qg_session_open_backend(qg_session *s, bool plan)
{
  QG_TRY(qg_par_agree(s->par, qg_hardware_open_backend(&s->config, s->grid, plan, &s->be)));
  QG_TRY(qg_devices_check(&s->config, s->par, s->be));
  double planned = s->be->planned;
  QG_TRY(qg_par_max(s->par, &planned, 1)); /* perhaps of some ranks alone */
  if (planned > 0.0) return QG_OK;
  QG_TRY(qg_par_agree(s->par, qg_library_memory_warm_up(s->be)));
  QG_TRY(qg_par_barrier(s->par)); /* the ranks of a node share its speed: measure together */
  return qg_par_agree(s->par, qg_hardware_gemm_rate(s->be, &s->gemm_flops));
}

qg_status qg_session_open_memory(qg_session *s, qg_dry_run_job job, bool device_pointers,
                                 qg_trainer_request *request)
{
  size_t runtime = qg_memory_resident();
  QG_TRY(qg_mem_create(s->be, &s->mem));
  qg_mem_note(s->mem, QG_OWNER_RUNTIME, runtime);
  qg_mem_note_device(s->mem, &s->be->share);
  *request = (qg_trainer_request){.config = &s->config,
                                  .be = s->be,
                                  .par = s->par,
                                  .mem = s->mem,
                                  .stage = s->grid->stage,
                                  .stages = s->grid->stages,
                                  .device_pointers = device_pointers};
  return qg_dry_run_reserve(request, job);
}

void qg_session_close(qg_session *s)
{
  qg_mem_destroy(s->mem);
  if (s->be) qg_backend_close(s->be);
}
