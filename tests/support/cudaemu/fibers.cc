#include "fibers.h"

#include "arena.h"
#include "shared.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

namespace cudaemu {

place position;

namespace {

enum { WARP = 32, STACK_BYTES = 64 * 1024 };

struct barrier {
  unsigned arrived, members, generation;
};

struct fiber {
  void *stack_pointer;
  char *stack;
  barrier *waits_for; /* until its generation differs from `generation` */
  unsigned generation;
  bool done;
};

struct warp {
  barrier all;
  lanes slots[2]; /* in turns, so that a fast lane does not overwrite what a slow one still reads */
};

struct block_state {
  std::vector<fiber> fibers; /* as many as the largest block so far; stacks are kept */
  std::vector<warp> warps;
  barrier all;
  unsigned threads, running;
  const std::function<void()> *kernel;
  void *host_stack_pointer;
};

block_state block;

unsigned seed_of_environment()
{
  const char *text = getenv("CUDAEMU_SEED");
  return text ? static_cast<unsigned>(atoi(text)) : 0;
}

unsigned seed = seed_of_environment();

/* Saves the callee-saved registers on the running stack, and its pointer in *save; goes on where `next` was
 * left. */
extern "C" void cudaemu_switch(void **save, void *next);
asm(R"(
.text
.globl cudaemu_switch
.hidden cudaemu_switch
.type cudaemu_switch, @function
cudaemu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cudaemu_switch, . - cudaemu_switch
)");

bool can_run(const fiber &f)
{
  return !f.done && (!f.waits_for || f.waits_for->generation != f.generation);
}

unsigned random_bits()
{
  seed = seed * 1664525u + 1013904223u;
  if (seed == 0) seed = 1;
  return seed >> 8;
}

unsigned random_thread()
{
  return random_bits() % block.threads;
}

/* The first from `from` on, round the block, that can run; block.threads if none can. */
unsigned next_in_turn(unsigned from)
{
  for (unsigned k = 0; k < block.threads; k++) {
    unsigned i = (from + k) % block.threads;
    if (can_run(block.fibers[i])) return i;
  }
  return block.threads;
}

unsigned choose()
{
  if (seed == 0) return next_in_turn(block.running + 1);
  unsigned first = block.running / WARP * WARP;
  for (unsigned i = first; i < first + WARP; i++)
    if (can_run(block.fibers[i])) return i;
  return next_in_turn(random_thread() / WARP * WARP);
}

void resume(unsigned thread, void **save)
{
  block.running = thread;
  position.thread.x = thread;
  cudaemu_switch(save, block.fibers[thread].stack_pointer);
}

/* Goes on with another fiber; comes back when this one is chosen again. */
void give_way()
{
  unsigned me = block.running, next = choose();
  if (next == block.threads) {
    fprintf(stderr, "cudaemu: the threads of block %u wait for each other at different barriers\n",
            position.block.x);
    abort();
  }
  if (next != me) resume(next, &block.fibers[me].stack_pointer);
}

void open_if_complete(barrier &b)
{
  if (b.members == 0 || b.arrived < b.members) return;
  b.arrived = 0;
  b.generation++;
}

void wait_at(barrier &b)
{
  fiber &me = block.fibers[block.running];
  me.generation = b.generation;
  me.waits_for = &b;
  b.arrived++;
  open_if_complete(b);
  while (!can_run(me)) give_way();
  me.waits_for = nullptr;
}

void leave(barrier &b)
{
  b.members--;
  open_if_complete(b);
}

/* What a warp does together names all of its threads; devices do not define what happens without one. */
barrier &whole_warp()
{
  barrier &b = block.warps[block.running / WARP].all;
  if (b.members == WARP) return b;
  fprintf(stderr, "cudaemu: a warp of block %u misses threads that have returned\n", position.block.x);
  abort();
}

void leave_warp(barrier &b)
{
  if (b.arrived > 0) {
    fprintf(stderr, "cudaemu: a thread of block %u returns while its warp waits for it\n", position.block.x);
    abort();
  }
  b.members--;
}

/* The bottom of every fiber. */
void entry()
{
  (*block.kernel)();
  fiber &me = block.fibers[block.running];
  me.done = true;
  leave_warp(block.warps[block.running / WARP].all);
  leave(block.all);
  if (block.all.members > 0) give_way();
  cudaemu_switch(&me.stack_pointer, block.host_stack_pointer);
}

char *new_stack()
{
  void *memory = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    perror("cudaemu: no memory for the stack of a thread");
    abort();
  }
  return static_cast<char *>(memory);
}

void prepare(fiber &f)
{
  if (!f.stack) f.stack = new_stack();
  ASAN_UNPOISON_MEMORY_REGION(f.stack, STACK_BYTES);
  void **top = reinterpret_cast<void **>(f.stack + STACK_BYTES);
  *--top = nullptr; /* so that `entry` finds its stack aligned as after a call */
  *--top = reinterpret_cast<void *>(entry);
  for (int saved = 0; saved < 6; saved++) *--top = nullptr;
  f.stack_pointer = top;
  f.waits_for = nullptr;
  f.done = false;
}

void run_block(unsigned index)
{
  position.block.x = index;
  begin_shared(block.threads);
  block.all = {0, block.threads, 0};
  for (warp &w : block.warps) w.all = {0, WARP, 0};
  for (unsigned i = 0; i < block.threads; i++) prepare(block.fibers[i]);
  resume(seed ? random_thread() / WARP * WARP : 0, &block.host_stack_pointer);
}

std::vector<unsigned> order_of(unsigned blocks)
{
  std::vector<unsigned> order(blocks);
  for (unsigned i = 0; i < blocks; i++) order[i] = i;
  for (unsigned i = blocks; seed != 0 && i > 1; i--) std::swap(order[i - 1], order[random_bits() % i]);
  return order;
}

}  // namespace

void run(unsigned blocks, unsigned threads, const std::function<void()> &kernel)
{
  device_access access;
  if (block.fibers.size() < threads) block.fibers.resize(threads);
  block.warps.resize(threads / WARP);
  block.threads = threads;
  block.kernel = &kernel;
  position.grid.x = blocks;
  for (unsigned i : order_of(blocks)) run_block(i);
}

void set_seed(unsigned value)
{
  seed = value;
}

bool coin()
{
  return seed != 0 && random_bits() / 256 % 2 == 1;
}

void wait_for_block()
{
  wait_at(block.all);
}

void wait_for_warp()
{
  wait_at(whole_warp());
}

const lanes &exchange(uint64_t bits)
{
  warp &w = block.warps[block.running / WARP];
  lanes &slot = w.slots[w.all.generation % 2];
  slot.of_lane[block.running % WARP] = bits;
  wait_at(whole_warp());
  return slot;
}

}  // namespace cudaemu
