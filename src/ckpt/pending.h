/* A save under way, and its phases. */
#ifndef QG_CKPT_PENDING_H
#define QG_CKPT_PENDING_H

#include "ckpt/folder.h"
#include "ckpt/header.h"
#include "ckpt/parts.h"
#include "ckpt/plan.h"
#include "ckpt/work.h"

struct qg_ckpt_active_save {
  qg_par *par;
  qg_backend *be;
  qg_ckpt_options options;
  bool root, beside, renamed;
  int phase; /* under way, of qg_ckpt_phases */
  char path[QG_CKPT_PATH], temporary[QG_CKPT_PATH];
  char data[QG_CKPT_PATH]; /* where this rank writes */
  qg_ckpt_part part;       /* layout per_rank */
  qg_ckpt_header header;
  qg_ckpt_plan plan;
  qg_ckpt_piece *pieces; /* [count] */
  int64_t count;
  uint32_t *sums; /* [plan.sums] */
  qg_ckpt_work copying, work;
  double seconds; /* of the phases that are over */
};

/* What each rank does by itself, here or in a thread, and what all do together when everyone has done it. */
typedef struct {
  qg_ckpt_task task; /* of a qg_ckpt_active_save; calls neither MPI nor, beside training, the backend */
  qg_status (*exchange)(qg_ckpt_active_save *save); /* NULL: nothing. Collective */
} qg_ckpt_phase;

/* The file is laid out; all data are written; the file is completed and gets its name. */
enum { QG_CKPT_PHASES = 3 };
extern const qg_ckpt_phase qg_ckpt_phases[QG_CKPT_PHASES];

#endif
