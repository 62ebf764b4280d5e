/* A save under way, and its phases. */
#ifndef QG_CKPT_ACTIVE_SAVE_H
#define QG_CKPT_ACTIVE_SAVE_H

#include "ckpt/background_task.h"
#include "ckpt/header.h"
#include "ckpt/local_items.h"
#include "ckpt/names.h"
#include "ckpt/placement.h"

struct qg_ckpt_active_save {
  qg_par *par;
  qg_backend *be;
  qg_ckpt_options options;
  bool root, background, renamed;
  int phase; /* under way, of qg_ckpt_phases */
  char path[QG_CKPT_PATH], temporary[QG_CKPT_PATH];
  char data_path[QG_CKPT_PATH];  /* where this rank writes */
  qg_ckpt_rank_files rank_files; /* layout per_rank */
  qg_ckpt_header header;
  qg_ckpt_placement placement;
  qg_ckpt_local_items local;
  uint32_t *sums; /* [placement.sums] */
  qg_ckpt_background_task copy_task, phase_task;
  double seconds; /* of the phases that are over */
};

/* What each rank does by itself, here or in a thread, and what all do together when everyone has done it. */
typedef struct {
  qg_ckpt_task_function run; /* of a qg_ckpt_active_save; in the background without MPI and the backend */
  qg_status (*exchange)(qg_ckpt_active_save *save); /* NULL: nothing. Collective */
} qg_ckpt_phase;

/* The file is created; all data are written; the file is completed and renamed. */
enum { QG_CKPT_PHASES = 3 };
extern const qg_ckpt_phase qg_ckpt_phases[QG_CKPT_PHASES];

#endif
