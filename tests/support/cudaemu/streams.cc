#include "streams.h"

#include "counts.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

cudaemu_counts cudaemu_counted;

namespace {

/* How often an event was asked for, and how far that got: a wait is for what was asked before it. */
struct moments {
  uint64_t recorded = 0, reached = 0;
  std::chrono::steady_clock::time_point when; /* it was reached last */
};

/* Work, or a wait if `event` is set. */
struct task {
  std::function<void()> work;
  std::shared_ptr<moments> event;
  uint64_t awaited;
};

}  // namespace

struct cudaemu_graph {
  std::vector<std::function<void()>> work;
};

struct cudaemu_stream {
  std::deque<task> tasks;
  cudaGraph_t capture; /* that what is queued goes into */
  bool open_end;       /* holds captured work that the stream which began the capture did not wait for */
};

struct cudaemu_event {
  std::shared_ptr<moments> state = std::make_shared<moments>();
  cudaStream_t captured_on; /* recorded last while this stream was captured */
};

namespace {

enum { MEAN_RUN = 8 }; /* tasks that a stream does before another has its turn */

std::vector<cudaStream_t> streams;
cudaStream_t running;

unsigned seed_of_environment()
{
  const char *text = getenv("CUDAEMU_SEED");
  return text ? static_cast<unsigned>(atoi(text)) : 0;
}

unsigned seed = seed_of_environment();
bool at_once = seed == 0;

unsigned random_below(size_t count)
{
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % static_cast<unsigned>(count);
}

cudaStream_t open_stream()
{
  streams.push_back(new cudaemu_stream());
  return streams.back();
}

/* That of launches without a stream. */
cudaStream_t stream_of(cudaStream_t stream)
{
  static cudaStream_t fallback;
  if (stream) return stream;
  if (!fallback) fallback = open_stream();
  return fallback;
}

bool can_run(cudaStream_t stream)
{
  if (stream->tasks.empty()) return false;
  const task &next = stream->tasks.front();
  return !next.event || next.event->reached >= next.awaited;
}

/* The stream that ran last goes on for a while, then any other that can. */
cudaStream_t choose()
{
  std::vector<cudaStream_t> ready;
  for (cudaStream_t stream : streams)
    if (can_run(stream)) ready.push_back(stream);
  if (ready.empty()) return nullptr;
  if (seed == 0) return ready.front();
  for (cudaStream_t stream : ready)
    if (stream == running && random_below(MEAN_RUN) > 0) return stream;
  return ready[random_below(ready.size())];
}

bool do_one_task()
{
  running = choose();
  if (!running) return false;
  task next = std::move(running->tasks.front());
  running->tasks.pop_front();
  if (next.work) next.work();
  return true;
}

template <typename F>
void do_until(F reached)
{
  while (!reached())
    if (!do_one_task()) {
      fprintf(stderr, "cudaemu: streams wait for each other\n");
      abort();
    }
}

void put(cudaStream_t stream, task next)
{
  stream->tasks.push_back(std::move(next));
  if (at_once) do_until([&] { return stream->tasks.empty(); });
}

bool is_reached(cudaEvent_t event)
{
  return event->state->reached >= event->state->recorded;
}

}  // namespace

namespace cudaemu {

void queue(cudaStream_t stream, std::function<void()> work)
{
  stream = stream_of(stream);
  if (!stream->capture) return put(stream, {std::move(work), nullptr, 0});
  stream->capture->work.push_back(std::move(work));
  stream->open_end = true;
}

void finish_all()
{
  for (cudaStream_t stream : streams) do_until([&] { return stream->tasks.empty(); });
}

void set_stream_seed(unsigned value)
{
  finish_all();
  seed = value;
  at_once = value == 0;
}

}  // namespace cudaemu

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
  *stream = open_stream();
  return cudaSuccess;
}

/* Random turns know no priority: an order that only priorities bring is no order. */
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
  *least = 0;
  *greatest = -1;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int)
{
  return cudaStreamCreateWithFlags(stream, flags);
}

/* What is queued is still done, later. */
cudaError_t cudaStreamDestroy(cudaStream_t)
{
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
  stream = stream_of(stream);
  if (stream->capture) return cudaErrorStreamCaptureUnsupported;
  cudaemu_counted.waits++;
  do_until([&] { return stream->tasks.empty(); });
  return cudaSuccess;
}

/* A stream joins the capture that the event is part of. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
  stream = stream_of(stream);
  cudaStream_t other = event->captured_on;
  if (!other && !stream->capture) {
    put(stream, {nullptr, event->state, event->state->recorded});
    return cudaSuccess;
  }
  if (!other || !other->capture) return other ? cudaErrorCapturedEvent : cudaErrorStreamCaptureIsolation;
  stream->capture = other->capture;
  other->open_end = false;
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
  *event = new cudaemu_event();
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
  stream = stream_of(stream);
  event->captured_on = stream->capture ? stream : nullptr;
  if (stream->capture) return cudaSuccess;
  std::shared_ptr<moments> state = event->state;
  uint64_t number = ++state->recorded;
  put(stream, {[state, number] {
                 state->reached = number;
                 state->when = std::chrono::steady_clock::now();
               },
               nullptr, 0});
  return cudaSuccess;
}

/* The device goes on a little whenever it is looked at, so that a host that polls gets somewhere. */
cudaError_t cudaEventQuery(cudaEvent_t event)
{
  if (!is_reached(event)) do_one_task();
  return is_reached(event) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
  cudaemu_counted.waits++;
  do_until([&] { return is_reached(event); });
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end)
{
  if (!is_reached(begin) || !is_reached(end)) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(end->state->when - begin->state->when).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode)
{
  stream->capture = new cudaemu_graph();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
  bool joined = true;
  *graph = stream->capture;
  stream->open_end = false;
  for (cudaStream_t each : streams) {
    if (each->capture != *graph) continue;
    joined &= !each->open_end;
    each->capture = nullptr;
    each->open_end = false;
  }
  return joined ? cudaSuccess : cudaErrorStreamCaptureUnjoined;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long)
{
  *executable = new cudaemu_graph(*graph);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream)
{
  cudaemu::queue(stream, [work = executable->work] {
    for (const auto &each : work) each();
  });
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable)
{
  delete executable;
  return cudaSuccess;
}
