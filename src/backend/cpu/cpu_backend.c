/* The CPU backend: its memory, its table of operations, and how it is opened. */
#include "backend/cpu/cpu_backend.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/cpu/attention.h"
#include "backend/cpu/cpu.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/quantize.h"
#include "backend/cpu/rowwise.h"
#include "qgalore/base.h"

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20 };

/* Every thread touches its share, so that pages lie near the cores that use them and no step has page
 * faults. */
static void zero_in_parallel(char *memory, size_t bytes, int threads)
{
  int64_t pieces = qg_ceil_div((int64_t)bytes, HUGE_PAGE);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < pieces; i++) {
    size_t first = (size_t)i * HUGE_PAGE, rest = bytes - first;
    memset(memory + first, 0, rest < HUGE_PAGE ? rest : HUGE_PAGE);
  }
}

static qg_status cpu_alloc(qg_backend *be, size_t bytes, void **out)
{
  size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
  void *memory = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  QG_CHECK(memory, QG_ERR_RESOURCE, "no memory for %zu bytes", bytes);
  if (bytes >= HUGE_PAGE) madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
  zero_in_parallel(memory, bytes, be->threads);
  *out = memory;
  return QG_OK;
}

static void cpu_release(qg_backend *be, void *memory, size_t bytes)
{
  (void)be;
  (void)bytes;
  free(memory);
}

static qg_status cpu_copy(qg_backend *be, void *to, const void *from, size_t bytes)
{
  (void)be;
  memcpy(to, from, bytes);
  return QG_OK;
}

static qg_status cpu_zero(qg_backend *be, void *memory, size_t bytes)
{
  zero_in_parallel(memory, bytes, be->threads);
  return QG_OK;
}

static qg_status cpu_sync(qg_backend *be)
{
  (void)be;
  return QG_OK;
}

static size_t cpu_workspace_bytes(qg_backend *be, const qg_workload *workload)
{
  size_t gemm = qg_cpu_gemm_workspace(be, workload);
  size_t attention = qg_cpu_attention_workspace(be, workload),
         rows = qg_cpu_rowwise_workspace(be->threads, workload);
  size_t most = gemm > attention ? gemm : attention;
  return most > rows ? most : rows;
}

static void cpu_set_workspace(qg_backend *be, void *memory, size_t bytes)
{
  qg_cpu_of(be)->workspace = memory;
  qg_cpu_of(be)->workspace_bytes = bytes;
}

static const qg_backend_ops cpu_ops = {
    .name = "cpu",
    .unified_memory = true,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .alloc_host = cpu_alloc,
    .release_host = cpu_release,
    .copy_in = cpu_copy,
    .copy_out = cpu_copy,
    .zero = cpu_zero,
    .sync = cpu_sync,
    .workspace_bytes = cpu_workspace_bytes,
    .set_workspace = cpu_set_workspace,
    .gemm = qg_cpu_gemm,
    .convert = qg_cpu_convert,
    .axpy = qg_cpu_axpy,
    .sum_squares = qg_cpu_sum_squares,
    .embed = qg_cpu_embed,
    .embed_backward = qg_cpu_embed_backward,
    .rmsnorm = qg_cpu_rmsnorm,
    .rmsnorm_backward = qg_cpu_rmsnorm_backward,
    .rope = qg_cpu_rope,
    .attention = qg_cpu_attention,
    .attention_backward = qg_cpu_attention_backward,
    .swiglu = qg_cpu_swiglu,
    .swiglu_backward = qg_cpu_swiglu_backward,
    .cross_entropy = qg_cpu_cross_entropy,
    .quantize_int8 = qg_cpu_quantize_int8,
    .dequantize_int8 = qg_cpu_dequantize_int8,
    .quantize_int4 = qg_cpu_quantize_int4,
    .dequantize_int4 = qg_cpu_dequantize_int4,
    .update_int8 = qg_cpu_update_int8,
    .update_dense = qg_cpu_update_dense,
    .adam = qg_cpu_adam,
    .read_moments = qg_cpu_read_moments,
    .write_moments = qg_cpu_write_moments,
};

static void processor_name(char *text, size_t size)
{
  char line[256];
  FILE *file = fopen("/proc/cpuinfo", "r");
  snprintf(text, size, "CPU");
  while (file && fgets(line, sizeof line, file)) {
    char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) != 0 || !colon) continue;
    snprintf(text, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    break;
  }
  if (file) fclose(file);
}

/* Own panels where the processor multiplies bf16, else oneDNN, else fp32 (gemm.c). */
static void choose_bf16(qg_cpu *cpu)
{
  cpu->panels = qg_panels();
  cpu->bf16_gemm = !cpu->panels && qg_cpu_gemm_has_bf16();
  if (cpu->bf16_gemm) cpu->matmul = qg_matmul_create();
}

static const char *gemm_source(const qg_cpu *cpu)
{
  return cpu->panels ? "panels" : cpu->bf16_gemm ? "oneDNN" : "OpenBLAS";
}

static void cpu_close(qg_backend *be)
{
  qg_matmul_destroy(qg_cpu_of(be)->matmul);
  free(be);
}

/* 4 MiB of fp32: in the caches together with the operands. */
enum { UPDATE_ELEMENTS = 1 << 20 };

qg_status qg_cpu_open(const qg_backend_request *request, qg_backend **out)
{
  qg_backend *be;
  char name[64];
  QG_TRY(qg_cpu_isa_check());
  QG_TRY(qg_calloc(1, sizeof *be + sizeof(qg_cpu), "CPU backend", (void **)&be));
  be->ops = &cpu_ops;
  be->close = cpu_close;
  be->impl = be + 1;
  be->compute = strcmp(request->precision, "fp32") == 0 ? QG_F32 : QG_BF16;
  be->threads = request->threads;
  omp_set_num_threads(request->threads);
  if (be->compute == QG_BF16) choose_bf16(qg_cpu_of(be));
  be->update_elements = UPDATE_ELEMENTS;
  be->own_gemm = qg_cpu_of(be)->panels != NULL;
  processor_name(name, sizeof name);
  snprintf(be->description, sizeof be->description, "cpu (%s, %s, %s GEMM in %s)", name,
           qg_cpu_isa_name(qg_cpu_isa()), qg_dtype_name(be->compute), gemm_source(qg_cpu_of(be)));
  *out = be;
  return QG_OK;
}
