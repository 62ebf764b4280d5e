/* The device's own time of the phases of a step: marks in its queue, read when the step is over. */
#include "cuda/cuda_backend.h"

qg_status qg_cuda_clock_open(qg_backend *be)
{
  qg_cuda_clock *clock = &qg_cuda_of(be)->clock;
  for (; clock->made < QG_CUDA_MARKS; clock->made++)
    QG_CUDA(be, cudaEventCreateWithFlags(&clock->event[clock->made], cudaEventDefault));
  return QG_OK;
}

void qg_cuda_clock_close(qg_backend *be)
{
  qg_cuda_clock *clock = &qg_cuda_of(be)->clock;
  while (clock->made > 0) cudaEventDestroy(clock->event[--clock->made]);
}

static void mark(qg_backend *be, int phase)
{
  qg_cuda_clock *clock = &qg_cuda_of(be)->clock;
  bool changes = clock->count == 0 || clock->phase[clock->count - 1] != phase;
  if (!changes || clock->count == QG_CUDA_MARKS) return;
  cudaError_t error = cudaEventRecord(clock->event[clock->count], qg_cuda_of(be)->stream);
  if (error != cudaSuccess) clock->error = error;
  clock->phase[clock->count++] = phase;
}

void qg_cuda_clock_begin(qg_backend *be, const char *name, int phase)
{
  nvtxRangePushA(name);
  mark(be, phase);
}

void qg_cuda_clock_end(qg_backend *be, int phase)
{
  mark(be, phase);
  nvtxRangePop();
}

/* The last mark begins the next reading. */
static void start_again(qg_cuda_clock *clock)
{
  int last = clock->count - 1;
  cudaEvent_t event = clock->event[last];
  clock->event[last] = clock->event[0];
  clock->event[0] = event;
  clock->phase[0] = clock->phase[last];
  clock->count = 1;
}

qg_status qg_cuda_clock_read(qg_backend *be, double *seconds, int phases)
{
  qg_cuda_clock *clock = &qg_cuda_of(be)->clock;
  QG_CUDA(be, clock->error);
  if (clock->count < 2) return QG_OK;
  QG_CUDA(be, cudaEventSynchronize(clock->event[clock->count - 1]));
  for (int i = 0; i + 1 < clock->count; i++) {
    float milliseconds;
    QG_CUDA(be, cudaEventElapsedTime(&milliseconds, clock->event[i], clock->event[i + 1]));
    if (clock->phase[i] >= 0 && clock->phase[i] < phases)
      seconds[clock->phase[i]] += 1e-3 * (double)milliseconds;
  }
  start_again(clock);
  return QG_OK;
}
