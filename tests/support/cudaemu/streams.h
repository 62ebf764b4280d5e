/* Streams as queues of work on one host thread.
 *
 * By default work is done when it is queued. With a seed it waits until the host waits for it, and then
 * streams take random turns: whatever no event orders happens in an order that differs from seed to seed, and
 * as late as it may. CUDAEMU_SEED sets it for a whole program. */
#ifndef CUDAEMU_STREAMS_H
#define CUDAEMU_STREAMS_H

#include <functional>

#include "cuda_runtime_api.h"

namespace cudaemu {

/* `work` may outlive the call: it holds its arguments by value. */
void queue(cudaStream_t stream, std::function<void()> work);

/* Does all that was queued, as the calls of CUDA do that wait for the device. */
void finish_all();

/* 0: at once. */
void set_stream_seed(unsigned seed);

}  // namespace cudaemu

#endif
