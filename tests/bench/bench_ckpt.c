/* Saving and loading a checkpoint against plain writes and reads of the same bytes with fsync, in turns on
 * the same disk. Usage: bench_ckpt [FOLDER [JSON_FILE]]; FOLDER is where the files go (default: the working
 * folder).
 *
 * The state has the datasets and sizes of LLaMA-60M under Q-GaLore. Reads come from the disk: the kernel is
 * asked to forget the file before each. The table shows medians of ROUNDS. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qgalore/backend.h"
#include "qgalore/base.h"
#include "qgalore/ckpt.h"

enum { ROUNDS = 7, LAYERS = 8, MODULES = 7, MOST_ENTRIES = 512, STRIDE = 1 << 20 };

typedef struct {
  qg_par *par;
  qg_backend *be;
  qg_state_entry entries[MOST_ENTRIES];
  int count;
  const char *folder;
  char checkpoint[1024], plain[1024];
} bench;

static qg_status add(bench *b, const char *name, qg_dtype type, int64_t items, int64_t item, int64_t elements)
{
  qg_state_entry *e = &b->entries[b->count++];
  *e = (qg_state_entry){.type = type, .items = items, .item = item, .elements = elements, .owner = true};
  snprintf(e->dataset, sizeof e->dataset, "%s", name);
  QG_TRY(qg_calloc(1, qg_dtype_bytes(type, elements), name, &e->data));
  memset(e->data, b->count, qg_dtype_bytes(type, elements));
  return QG_OK;
}

/* A projected matrix of 512 x 1376 at rank 128, in one layer. */
static qg_status add_matrix(bench *b, int module, int layer)
{
  static const struct {
    const char *group, *name;
    qg_dtype type;
    int64_t elements;
  } fields[] = {{"weights", "codes", QG_U8, 704512},   {"weights", "scale", QG_F32, 2752},
                {"projector", "codes", QG_U4, 65536},  {"moments", "m_codes", QG_U8, 176128},
                {"moments", "v_codes", QG_U8, 176128}, {"moments", "m_absmax", QG_F32, 688}};
  char name[64];
  for (int i = 0; i < QG_COUNT_OF(fields); i++) {
    snprintf(name, sizeof name, "%s/%d/%s", fields[i].group, module, fields[i].name);
    QG_TRY(add(b, name, fields[i].type, LAYERS, layer, fields[i].elements));
  }
  return QG_OK;
}

static qg_status make_state(bench *b)
{
  const int64_t table = 32000 * 512;
  for (int module = 0; module < MODULES; module++)
    for (int layer = 0; layer < LAYERS; layer++) QG_TRY(add_matrix(b, module, layer));
  QG_TRY(add(b, "weights/embed/values", QG_BF16, 1, 0, table));
  QG_TRY(add(b, "weights/head/values", QG_BF16, 1, 0, table));
  QG_TRY(add(b, "moments/embed/m_codes", QG_U8, 1, 0, table));
  QG_TRY(add(b, "moments/embed/v_codes", QG_U8, 1, 0, table));
  QG_TRY(add(b, "moments/head/m_codes", QG_U8, 1, 0, table));
  return add(b, "moments/head/v_codes", QG_U8, 1, 0, table);
}

/* --- what is timed --- */

static qg_status write_bytes(int file, const char *data, size_t bytes, const char *path)
{
  for (size_t done = 0; done < bytes;) {
    size_t part = bytes - done < STRIDE ? bytes - done : STRIDE;
    ssize_t written = write(file, data + done, part);
    QG_CHECK(written > 0, QG_ERR_RESOURCE, "cannot write %s: %s", path, strerror(errno));
    done += (size_t)written;
  }
  return QG_OK;
}

static qg_status write_plain(bench *b)
{
  qg_status status = QG_OK;
  int file = open(b->plain, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  QG_CHECK(file >= 0, QG_ERR_RESOURCE, "cannot create %s: %s", b->plain, strerror(errno));
  for (int i = 0; i < b->count; i++) {
    size_t bytes = qg_dtype_bytes(b->entries[i].type, b->entries[i].elements);
    QG_TRY_OUT(write_bytes(file, b->entries[i].data, bytes, b->plain));
  }
  QG_CHECK_OUT(fsync(file) == 0, QG_ERR_RESOURCE, "cannot write %s: %s", b->plain, strerror(errno));
out:
  close(file);
  return status;
}

static qg_status save_as(bench *b, qg_ckpt_files files)
{
  qg_ckpt_options options = {.folder = b->folder, .keep_last = 1, .files = files};
  qg_ckpt_meta meta = {.step = 1};
  return qg_ckpt_save(b->par, b->be, &options, &meta, b->entries, b->count);
}

static qg_status save_shared(bench *b)
{
  return save_as(b, QG_CKPT_SHARED);
}

static qg_status save_per_rank(bench *b)
{
  return save_as(b, QG_CKPT_PER_RANK);
}

static qg_status read_plain(bench *b)
{
  int file = open(b->plain, O_RDONLY | O_CLOEXEC);
  qg_status status = QG_OK;
  QG_CHECK(file >= 0, QG_ERR_RESOURCE, "cannot open %s: %s", b->plain, strerror(errno));
  for (int i = 0; i < b->count; i++) {
    size_t bytes = qg_dtype_bytes(b->entries[i].type, b->entries[i].elements);
    QG_CHECK_OUT(read(file, b->entries[i].data, bytes) == (ssize_t)bytes, QG_ERR_RESOURCE,
                 "cannot read %s: %s", b->plain, strerror(errno));
  }
out:
  close(file);
  return status;
}

static qg_status load(bench *b)
{
  qg_ckpt_file *file = NULL;
  QG_TRY(qg_ckpt_open(b->par, b->checkpoint, &file));
  qg_status status = qg_ckpt_load(file, b->be, b->entries, b->count);
  qg_ckpt_close(file);
  return status;
}

static const struct {
  const char *name;
  qg_status (*run)(bench *b);
} operations[] = {{"plain write + fsync", write_plain},
                  {"save, one file per rank", save_per_rank},
                  {"save, shared file", save_shared},
                  {"plain read", read_plain},
                  {"load, shared file", load}};
enum { OPERATIONS = QG_COUNT_OF(operations) };

/* --- measuring --- */

static void forget(const char *path)
{
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  close(file);
}

static qg_status measure(bench *b, double seconds[OPERATIONS][ROUNDS + 1])
{
  for (int round = 0; round <= ROUNDS; round++)
    for (int k = 0; k < OPERATIONS; k++) {
      /* Freeing the blocks of an old file is no part of writing one. */
      if (k < 3) unlink(k == 0 ? b->plain : b->checkpoint);
      forget(b->plain);
      forget(b->checkpoint);
      double begin = qg_now();
      QG_TRY(operations[k].run(b));
      seconds[k][round] = qg_now() - begin;
    }
  return QG_OK;
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median over rounds of the time of a plain write to that of an operation; the first round warms up. */
static double median_ratio(double seconds[OPERATIONS][ROUNDS + 1], int k)
{
  double ratios[ROUNDS];
  for (int i = 0; i < ROUNDS; i++) ratios[i] = seconds[0][i + 1] / seconds[k][i + 1];
  qsort(ratios, ROUNDS, sizeof *ratios, ascending);
  return ratios[ROUNDS / 2];
}

static double median(const double values[ROUNDS + 1])
{
  double sorted[ROUNDS];
  memcpy(sorted, values + 1, sizeof sorted);
  qsort(sorted, ROUNDS, sizeof *sorted, ascending);
  return sorted[ROUNDS / 2];
}

static void print_table(const bench *b, double seconds[OPERATIONS][ROUNDS + 1])
{
  struct stat info = {0};
  double bytes = (double)qg_ckpt_bytes(b->entries, b->count);
  stat(b->checkpoint, &info);
  printf("%.1f MB of state, file %.4f of it; medians of %d rounds in turns\n", 1e-6 * bytes,
         (double)info.st_size / bytes, ROUNDS);
  printf("%-26s %9s %9s %20s\n", "operation", "s", "MB/s", "rate / plain write");
  for (int k = 0; k < OPERATIONS; k++)
    printf("%-26s %9.3f %9.0f %20.2f\n", operations[k].name, median(seconds[k]),
           1e-6 * bytes / median(seconds[k]), median_ratio(seconds, k));
}

static qg_status write_json(double seconds[OPERATIONS][ROUNDS + 1], const char *path)
{
  FILE *file = fopen(path, "w");
  QG_CHECK(file, QG_ERR_RESOURCE, "cannot write %s: choose a writable path", path);
  fprintf(file, "{\"bench\": \"ckpt\", \"operations\": {");
  for (int k = 0; k < OPERATIONS; k++)
    fprintf(file, "%s\n  \"%s\": {\"s\": %.4f, \"rate_to_plain_write\": %.3f}", k ? "," : "",
            operations[k].name, median(seconds[k]), median_ratio(seconds, k));
  fprintf(file, "\n}}\n");
  QG_CHECK(fclose(file) == 0, QG_ERR_RESOURCE, "cannot finish %s: is the disk full?", path);
  return QG_OK;
}

static qg_status run(bench *b, const char *json)
{
  double seconds[OPERATIONS][ROUNDS + 1];
  qg_backend_request request = {.name = "cpu", .precision = "fp32", .threads = 1};
  snprintf(b->checkpoint, sizeof b->checkpoint, "%.900s/step-0000000001.h5", b->folder);
  snprintf(b->plain, sizeof b->plain, "%.900s/plain", b->folder);
  QG_TRY(qg_backend_open(&request, &b->be));
  QG_TRY(make_state(b));
  QG_TRY(measure(b, seconds));
  print_table(b, seconds);
  return json ? write_json(seconds, json) : QG_OK;
}

int main(int argc, char **argv)
{
  static bench b;
  char folder[] = "bench-ckpt-XXXXXX";
  qg_status status = qg_par_init(&argc, &argv, &b.par);
  b.folder = argc > 1 ? argv[1] : mkdtemp(folder);
  if (status == QG_OK) status = run(&b, argc > 2 ? argv[2] : NULL);
  if (status != QG_OK) fprintf(stderr, "bench_ckpt: %s\n", qg_error_message());
  unlink(b.checkpoint);
  unlink(b.plain);
  if (argc <= 1) rmdir(folder);
  qg_par_finalize(b.par);
  return status;
}
