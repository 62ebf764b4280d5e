/* Where the seconds go: one accumulator per phase, printed as the end table. */
#ifndef QGALORE_BASE_TIMER_H
#define QGALORE_BASE_TIMER_H

typedef enum {
  QG_PHASE_DATA,
  QG_PHASE_FORWARD,
  QG_PHASE_BACKWARD,
  QG_PHASE_LOSS,
  QG_PHASE_WAIT,     /* waiting for another rank's activations or gradients */
  QG_PHASE_REFRESH,  /* subspaces */
  QG_PHASE_UPDATE,   /* Adam, project back, requantise */
  QG_PHASE_REDUCE,   /* loss, norm, agreement */
  QG_PHASE_VALIDATE,
  QG_PHASE_CHECKPOINT,
  QG_PHASE_COUNT
} qg_phase;

/* The name of a phase as users read it. */
const char *qg_phase_name(qg_phase phase);

/* A device that keeps a time of its own: told the phase that its time belongs to from here on (a qg_phase, or -1). */
typedef struct {
  void (*begin)(void *device, const char *name, int phase); /* of a phase; `name` for profilers */
  void (*end)(void *device, int phase);
  void *device; /* NULL: there is none */
} qg_device_clock;

/* The innermost phase is charged, but inside validation always validation. */
typedef struct {
  double seconds[QG_PHASE_COUNT];        /* of this thread */
  double device_seconds[QG_PHASE_COUNT]; /* of the device's time line, filled by whoever reads its clock */
  qg_device_clock clock;
  double since;             /* when `charged` changed last */
  int charged;              /* 1 + the phase that time is charged to, 0: none */
  int outer[QG_PHASE_COUNT], outer_charged[QG_PHASE_COUNT]; /* what was before */
  /* For other threads that ask where this one is. */
  _Atomic int running;      /* 1 + the innermost phase that was started, 0: none */
  _Atomic int micro_batch;  /* of the last forward or backward */
  _Atomic int parameter;    /* that the model asked for last, its index */
} qg_timers;

/* Phases may nest. */
void qg_timer_start(qg_timers *timers, qg_phase phase);
void qg_timer_stop(qg_timers *timers, qg_phase phase);

#endif
