/* Operations that run at the same time as the stream of operations. Copies in and out have a stream each,
 * because a device copies both ways at once and one that waits may not hold up the other. An event of the
 * table is an event of CUDA, a graph an executable one. */
#include "cuda/cuda_backend.h"
#include "qgalore/base.h"

static cudaEvent_t event_of(qg_event *event)
{
  return (cudaEvent_t)event;
}

static qg_status create_event(qg_backend *be, qg_event **out)
{
  cudaEvent_t event;
  *out = NULL;
  QG_CUDA(be, cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  *out = (qg_event *)event;
  return QG_OK;
}

static void destroy_event(qg_backend *be, qg_event *event)
{
  (void)be;
  if (event) cudaEventDestroy(event_of(event));
}

static qg_status record(qg_backend *be, qg_event *event)
{
  QG_CUDA(be, cudaEventRecord(event_of(event), qg_cuda_of(be)->stream));
  return QG_OK;
}

static qg_status wait_event(qg_backend *be, qg_event *event)
{
  QG_CUDA(be, cudaStreamWaitEvent(qg_cuda_of(be)->stream, event_of(event), 0));
  return QG_OK;
}

static qg_status query(qg_backend *be, qg_event *event, bool *reached)
{
  cudaError_t state = cudaEventQuery(event_of(event));
  *reached = state == cudaSuccess;
  if (state != cudaErrorNotReady) QG_CUDA(be, state);
  return QG_OK;
}

static qg_status begin(qg_backend *be, cudaStream_t stream, qg_event *after)
{
  if (after) QG_CUDA(be, cudaStreamWaitEvent(stream, event_of(after), 0));
  return QG_OK;
}

static qg_status copy(qg_backend *be, cudaStream_t stream, void *to, const void *from, size_t bytes,
                      enum cudaMemcpyKind kind, qg_event *after, qg_event *done)
{
  QG_TRY(begin(be, stream, after));
  QG_CUDA(be, cudaMemcpyAsync(to, from, bytes, kind, stream));
  QG_CUDA(be, cudaEventRecord(event_of(done), stream));
  return QG_OK;
}

static qg_status copy_in(qg_backend *be, void *device, const void *host, size_t bytes, qg_event *after,
                         qg_event *done)
{
  return copy(be, qg_cuda_of(be)->copy_in, device, host, bytes, cudaMemcpyHostToDevice, after, done);
}

static qg_status copy_out(qg_backend *be, void *host, const void *device, size_t bytes, qg_event *after,
                          qg_event *done)
{
  return copy(be, qg_cuda_of(be)->copy_out, host, device, bytes, cudaMemcpyDeviceToHost, after, done);
}

static qg_status dequantize_int8(qg_backend *be, qg_int8_store src, qg_view dst, qg_event *after,
                                 qg_event *done)
{
  QG_CUDA_RANGE("dequantize_int8 async");
  cudaStream_t stream = qg_cuda_of(be)->unpack;
  QG_TRY(begin(be, stream, after));
  QG_TRY(qg_cuda_unpack_int8(be, stream, src, dst));
  QG_CUDA(be, cudaEventRecord(event_of(done), stream));
  return QG_OK;
}

static qg_status begin_graph(qg_backend *be)
{
  QG_CUDA(be, cudaStreamBeginCapture(qg_cuda_of(be)->stream, cudaStreamCaptureModeThreadLocal));
  return QG_OK;
}

static qg_status end_graph(qg_backend *be, qg_graph **out)
{
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  *out = NULL;
  QG_CUDA(be, cudaStreamEndCapture(qg_cuda_of(be)->stream, &graph));
  cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  QG_CUDA(be, error);
  *out = (qg_graph *)executable;
  return QG_OK;
}

static qg_status launch_graph(qg_backend *be, qg_graph *graph)
{
  QG_CUDA(be, cudaGraphLaunch((cudaGraphExec_t)graph, qg_cuda_of(be)->stream));
  return QG_OK;
}

static void destroy_graph(qg_backend *be, qg_graph *graph)
{
  (void)be;
  if (graph) cudaGraphExecDestroy((cudaGraphExec_t)graph);
}

const qg_backend_async_ops qg_cuda_async = {
    .create_event = create_event,
    .destroy_event = destroy_event,
    .record = record,
    .wait_event = wait_event,
    .query = query,
    .copy_in = copy_in,
    .copy_out = copy_out,
    .dequantize_int8 = dequantize_int8,
    .begin_graph = begin_graph,
    .end_graph = end_graph,
    .launch_graph = launch_graph,
    .destroy_graph = destroy_graph,
};

/* A device gives its multiprocessors to the product that runs meanwhile as long as that has blocks to start,
 * unless what the next product waits for comes first. */
qg_status qg_cuda_async_open(qg_backend *be)
{
  qg_cuda *cuda = qg_cuda_of(be);
  int least, greatest;
  QG_CUDA(be, cudaDeviceGetStreamPriorityRange(&least, &greatest));
  QG_CUDA(be, cudaStreamCreateWithFlags(&cuda->copy_in, cudaStreamNonBlocking));
  QG_CUDA(be, cudaStreamCreateWithFlags(&cuda->copy_out, cudaStreamNonBlocking));
  QG_CUDA(be, cudaStreamCreateWithPriority(&cuda->unpack, cudaStreamNonBlocking, greatest));
  return QG_OK;
}

void qg_cuda_async_close(qg_backend *be)
{
  qg_cuda *cuda = qg_cuda_of(be);
  if (cuda->copy_in) cudaStreamDestroy(cuda->copy_in);
  if (cuda->copy_out) cudaStreamDestroy(cuda->copy_out);
  if (cuda->unpack) cudaStreamDestroy(cuda->unpack);
}
