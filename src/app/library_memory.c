#include "app/library_memory.h"

#include <stdlib.h>
#include <string.h>

#include "app/gemm_probe.h"
#include "qgalore/base.h"
#include "qgalore/ckpt.h"
#include "qgalore/data.h"
#include "qgalore/linalg.h"

/* HDF5 1.10 reads in 3.5 MiB of its code when a file is opened, read and written, and holds 0.7 MiB of
 * tables. */
static const size_t HDF5_BYTES = (size_t)4300 << 10;

/* GEMM libraries copy a panel of the longer operand, split over threads. For a head of 32000 rows OpenBLAS
 * 0.3.21 was measured to hold 14 MiB a thread on Zen 4 and none on Sapphire Rapids, oneDNN 2.6 7 MiB: 7000
 * rows, 256 deep. */
enum { PANEL_ROWS = 7000, PANEL_DEPTH = 256 };

/* Every variant of operands and results is a kernel of its own. */
static qg_status multiply_each_way(qg_backend *be)
{
  enum { SIDE = 256, VARIANTS = 3 };
  static const bool transposed[VARIANTS][2] = {{false, false}, {false, true}, {true, false}};
  qg_gemm_probe probe;
  qg_status status;
  QG_TRY_OUT(qg_gemm_probe_open(be, SIDE, &probe));
  for (int i = 0; i < 2 * VARIANTS; i++)
    QG_TRY_OUT(qg_gemm_probe_run(&probe, transposed[i % VARIANTS][0], transposed[i % VARIANTS][1],
                                 i < VARIANTS ? QG_F32 : be->compute));
  QG_TRY_OUT(be->ops->sync(be));
out:
  qg_gemm_probe_close(&probe);
  return status;
}

/* One small problem a thread; its answer is of no interest. */
static qg_status solve_on_each_thread(int threads, qg_dtype compute)
{
  enum { ROWS = 512, COLUMNS = 256, RANK = 64 };
  qg_subspace_options options = {.method = QG_SUBSPACE_EXACT, .threads = threads, .bf16 = compute == QG_BF16};
  float *gradient = NULL, *results = NULL;
  qg_subspace_job *jobs = NULL;
  void *workspace = NULL;
  size_t result = RANK * (COLUMNS + 1);
  qg_status status;
  QG_TRY_OUT(qg_calloc(ROWS * COLUMNS, sizeof *gradient, "a first subspace", (void **)&gradient));
  QG_TRY_OUT(qg_calloc((size_t)threads * result, sizeof *results, "first subspaces", (void **)&results));
  QG_TRY_OUT(qg_calloc((size_t)threads, sizeof *jobs, "first subspaces", (void **)&jobs));
  for (int i = 0; i < ROWS * COLUMNS; i++) gradient[i] = (float)(i * 7919 % 1009) - 504.0f;
  for (int i = 0; i < threads; i++)
    jobs[i] = (qg_subspace_job){.m = ROWS,
                                .n = COLUMNS,
                                .rank = RANK,
                                .gradient = gradient,
                                .basis = results + (size_t)i * result,
                                .singular_values = results + (size_t)i * result + RANK * COLUMNS};
  size_t bytes = qg_subspace_workspace(&options, jobs, threads);
  QG_TRY_OUT(qg_calloc(1, bytes, "first subspaces", &workspace));
  QG_TRY_OUT(qg_subspace_solve(&options, jobs, threads, workspace, bytes));
out:
  free(workspace);
  free(jobs);
  free(results);
  free(gradient);
  return status;
}

qg_status qg_library_memory_warm_up(qg_backend *be)
{
  QG_TRY(multiply_each_way(be));
  return solve_on_each_thread(be->threads, be->compute);
}

/* Zero where the products are not computed in host memory, or in memory of the ledger. */
static size_t packed_panels(const qg_config *c, const qg_backend *be, const qg_partition *part)
{
  int64_t widest = part->num_layers > 0 ? qg_max_i64(c->model.intermediate_size, c->model.hidden_size) : 0;
  if (part->has_head) widest = qg_max_i64(widest, c->model.vocab_size);
  if (!be->ops->unified_memory || be->own_gemm) return 0;
  int64_t rows = qg_min_i64(qg_ceil_div(widest, be->threads), PANEL_ROWS);
  return qg_dtype_bytes(be->compute, be->threads * rows * PANEL_DEPTH);
}

static size_t token_buffers(const qg_config *c, const qg_partition *part)
{
  if (!part->has_embedding && !part->has_head) return 0;
  return (c->data.valid[0] ? 2 : 1) * qg_tokens_buffer_bytes();
}

size_t qg_library_memory_estimate(const qg_config *config, const qg_backend *be, const qg_partition *part,
                                  const qg_state_entry *entries, int count)
{
  return HDF5_BYTES + packed_panels(config, be, part) + token_buffers(config, part) +
         qg_ckpt_buffer_bytes(be, entries, count);
}
