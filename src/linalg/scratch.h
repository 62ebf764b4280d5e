/* A cursor over the caller's workspace. The same layout functions measure and hand out: with
 * base == NULL they only count, so what is asked for is what is used. */
#ifndef QG_LINALG_SCRATCH_H
#define QG_LINALG_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

enum { QG_SCRATCH_ALIGN = 64 };

typedef struct {
  char *base; /* 64-byte aligned, or NULL to measure */
  size_t used;
} qg_scratch;

static inline size_t qg_scratch_round(size_t bytes)
{
  return (bytes + QG_SCRATCH_ALIGN - 1) / QG_SCRATCH_ALIGN * QG_SCRATCH_ALIGN;
}

/* `count` elements of `bytes` each, 64-byte aligned; NULL while measuring. */
static inline void *qg_scratch_take(qg_scratch *scratch, int64_t count, size_t bytes)
{
  void *piece = scratch->base ? scratch->base + scratch->used : NULL;
  scratch->used += qg_scratch_round((size_t)count * bytes);
  return piece;
}

/* The first aligned address of a workspace. */
static inline char *qg_scratch_align(void *workspace)
{
  return (char *)qg_scratch_round((size_t)(uintptr_t)workspace);
}

#endif
