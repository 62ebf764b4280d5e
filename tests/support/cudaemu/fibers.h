/* Threads of a CUDA block as fibers of one host thread.
 *
 * The schedule: by default threads take turns at every barrier, and blocks come in their order. With a seed,
 * blocks come in a random one, and a warp runs ahead as far as it gets and then a random warp goes on, so
 * that work which a missing barrier leaves unordered is done in an order that differs from seed to seed.
 * CUDAEMU_SEED sets it for a whole program. */
#ifndef CUDAEMU_FIBERS_H
#define CUDAEMU_FIBERS_H

#include <cstdint>
#include <functional>

namespace cudaemu {

struct index {
  unsigned x;
};

/* Of the running fiber. */
struct place {
  index thread, block, grid;
};
extern place position;

/* One value of each lane of a warp. */
struct lanes {
  uint64_t of_lane[32];
};

/* Runs `kernel` once for every thread of every block, block after block. Ends the program with a message if
 * the threads of a block wait for each other, or a warp for threads that have returned. */
void run(unsigned blocks, unsigned threads, const std::function<void()> &kernel);

/* 0: in turns. */
void set_seed(unsigned seed);

/* Of a random schedule: true every other time. In turns: false. */
bool coin();

/* Barriers of the threads that have not returned yet. */
void wait_for_block();
void wait_for_warp();

/* Hands `bits` to the other lanes of the warp. The result is good until the warp's next but one exchange. */
const lanes &exchange(uint64_t bits);

}  // namespace cudaemu

#endif
