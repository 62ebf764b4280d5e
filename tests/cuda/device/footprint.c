/* What the driver and the libraries take of a device in addition to the memory that they are asked for, once each of
 * them has worked: footprint [BYTES_OF_OTHERS]. Fails if that is more than the backend's allowance. */
#include <stdio.h>
#include <stdlib.h>

#include "qgalore/base.h"
#include "support/fixtures/cuda_device.h"

enum { SIDE = 512, RANK = 64 };

static void must(qg_status status)
{
  if (status == QG_OK) return;
  fprintf(stderr, "%s\n", qg_error_message());
  exit(status);
}

/* Device memory with its size, so that it can be told from what came with the libraries. */
typedef struct {
  qg_backend *be;
  size_t bytes;
} purse;

static void *take(purse *p, size_t bytes)
{
  void *memory;
  must(p->be->ops->alloc(p->be, bytes, &memory));
  p->bytes += bytes;
  return memory;
}

static qg_view matrix(purse *p, qg_dtype type)
{
  return qg_view_make(take(p, qg_dtype_bytes(type, SIDE * SIDE)), type, SIDE, SIDE);
}

/* Every transposition and type is a kernel of its own. */
static void multiply(purse *p)
{
  static const qg_dtype types[][2] = {{QG_F32, QG_F32}, {QG_BF16, QG_BF16}, {QG_BF16, QG_F32}};
  for (int t = 0; t < 3; t++)
    for (int i = 0; i < 3; i++) {
      qg_gemm_args args = {.a = matrix(p, types[t][0]),
                           .b = matrix(p, types[t][0]),
                           .c = matrix(p, types[t][1]),
                           .trans_a = i == 2,
                           .trans_b = i == 1,
                           .alpha = 1.0f};
      must(p->be->ops->gemm(p->be, &args));
    }
}

static void solve(purse *p)
{
  for (int solver = QG_SOLVER_POWER; solver <= QG_SOLVER_SVD; solver++) {
    float values[RANK];
    qg_subspace_args args = {.gradient = matrix(p, QG_F32),
                             .rank = RANK,
                             .solver = (qg_device_solver)solver,
                             .seed = 1,
                             .basis = take(p, RANK * SIDE * sizeof(float)),
                             .singular_values = values};
    qg_view diagonal = args.gradient;
    float one = 1.0f;
    for (int64_t i = 0; i < RANK; i++)
      must(p->be->ops->copy_in(p->be, (float *)diagonal.data + i * (SIDE + 1), &one, sizeof one));
    args.workspace_bytes = p->be->ops->subspace_bytes(p->be, SIDE, SIDE, RANK, args.solver);
    args.workspace = take(p, args.workspace_bytes);
    must(p->be->ops->subspace(p->be, &args));
  }
}

int main(int argc, char **argv)
{
  purse p = {.be = open_cuda("bf16")};
  size_t free, total, others = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
  char a[32], b[32];
  if (!p.be) return 77;
  multiply(&p);
  solve(&p);
  must(p.be->ops->sync(p.be));
  must(p.be->ops->memory_info(p.be, &free, &total));
  size_t used = total - free, known = p.bytes + p.be->share.held + others;
  size_t beside = used > known ? used - known : 0;
  printf("# context and libraries take %s, the allowance is %s\n",
         qg_format_bytes(a, sizeof a, (double)beside),
         qg_format_bytes(b, sizeof b, (double)p.be->share.allowance));
  printf("1..1\n%sok 1 - the allowance holds\n", beside <= p.be->share.allowance ? "" : "not ");
  return beside > p.be->share.allowance;
}
