/* Saves and loads of LLaMA-60M under Q-GaLore (inputs/llama60m.in), in turns on the same disk: against plain
 * writes and reads of the same bytes with fsync; and how long a step stands still for an asynchronous save.
 *
 *   bench_ckpt [FOLDER [JSON_FILE]]   from the repository root; FOLDER is where the files go
 *
 * Reads come from the disk: the kernel is asked to forget the file before each. Rates are of one thread, as
 * in a run; the table shows medians of ROUNDS. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/bench/training.h"
#include "train/checkpoint_writer.h"

enum { ROUNDS = 7, STRIDE = 1 << 20 };

typedef struct {
  training t;
  const qg_state_entry *entries; /* the trainer's */
  int count;
  const char *folder;
  char checkpoint[1024], plain[1024];
} bench;

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
  return qg_ckpt_save(b->t.par, b->t.real, &options, &meta, b->entries, b->count);
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
  QG_TRY(qg_ckpt_open(b->t.par, b->checkpoint, &file));
  qg_status status = qg_ckpt_load(file, b->t.real, b->entries, b->count);
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

/* --- asynchronous saves --- */

typedef struct {
  double save, stall;  /* s: of a save that training waits for, and what it waits for an asynchronous one */
  double step, during; /* s a step, without a save and during an asynchronous one */
} halt;

static qg_status take_step(bench *b, int64_t step, double *seconds, qg_step_result *result)
{
  double begin = qg_now();
  QG_TRY(qg_train_step(b->t.trainer, step, step * b->t.config.train.global_batch, NULL, result));
  *seconds = qg_now() - begin;
  return QG_OK;
}

static qg_status save_waiting(qg_checkpoint_writer *s, const qg_train_state *state, double *seconds)
{
  bool ended;
  QG_TRY(qg_checkpoint_writer_begin(s, state, false));
  QG_TRY(qg_checkpoint_writer_advance(s, true, &ended));
  *seconds = s->seconds;
  return QG_OK;
}

static qg_status save_asynchronously(bench *b, qg_checkpoint_writer *s, qg_train_state *state, halt *out)
{
  bool ended = false;
  int64_t begun = state->step;
  out->during = 0.0;
  QG_TRY(qg_checkpoint_writer_begin(s, state, true));
  while (!ended) {
    double seconds = 0.0;
    qg_step_result result;
    QG_TRY(take_step(b, state->step++, &seconds, &result));
    out->during += seconds;
    if (result.save_phase_done) QG_TRY(qg_checkpoint_writer_advance(s, false, &ended));
  }
  out->during /= (double)(state->step - begun);
  out->stall = s->stall;
  return QG_OK;
}

static qg_status one_halt(bench *b, qg_checkpoint_writer *s, qg_train_state *state, halt *out)
{
  qg_step_result result;
  QG_TRY(take_step(b, state->step++, &out->step, &result));
  QG_TRY(save_waiting(s, state, &out->save));
  QG_TRY(take_step(b, state->step++, &out->step, &result));
  return save_asynchronously(b, s, state, out);
}

static qg_status measure_halts(bench *b, halt halts[ROUNDS + 1])
{
  qg_run_folder folder;
  qg_checkpoint_writer writer = {.t = b->t.trainer, .folder = &folder};
  qg_train_state state = {.step = 2};
  qg_status status = QG_OK;
  snprintf(folder.checkpoints, sizeof folder.checkpoints, "%s", b->folder);
  for (int i = 0; i <= ROUNDS && status == QG_OK; i++) status = one_halt(b, &writer, &state, &halts[i]);
  qg_checkpoint_writer_abandon(&writer);
  snprintf(b->checkpoint, sizeof b->checkpoint, "%.900s/step-%010lld.h5", b->folder, (long long)writer.step);
  return status;
}

/* One column of the halts: the median after the warm-up round, in the form that `median` takes. */
static double median_of(const halt *halts, size_t member)
{
  double values[ROUNDS + 1];
  for (int i = 0; i <= ROUNDS; i++) values[i] = *(const double *)((const char *)&halts[i] + member);
  return median(values);
}
#define MEDIAN(halts, member) median_of(halts, offsetof(halt, member))

static void print_halts(const bench *b, const halt *halts)
{
  double save = MEDIAN(halts, save), stall = MEDIAN(halts, stall), step = MEDIAN(halts, step);
  printf("\nasynchronous saves, %d threads, steps of %lld tokens, in turns\n", b->t.real->threads,
         (long long)(b->t.config.train.global_batch * b->t.config.train.sequence_length));
  printf("save that training waits for %.3f s; stall of an asynchronous one %.4f s: %.3f of it (", save,
         stall, stall / save);
  for (int i = 1; i <= ROUNDS; i++) printf("%s%.3f", i > 1 ? " " : "", halts[i].stall / halts[i].save);
  printf(")\na step %.3f s, during a save %.3f s\n", step, MEDIAN(halts, during));
}

static qg_status write_json(double seconds[OPERATIONS][ROUNDS + 1], const halt *halts, const char *path)
{
  FILE *file = fopen(path, "w");
  QG_CHECK(file, QG_ERR_RESOURCE, "cannot write %s: choose a writable path", path);
  fprintf(file,
          "{\"bench\": \"ckpt\", \"save_s\": %.4f, \"stall_s\": %.4f, \"step_s\": %.4f, "
          "\"step_beside_s\": %.4f,\n \"operations\": {",
          MEDIAN(halts, save), MEDIAN(halts, stall), MEDIAN(halts, step), MEDIAN(halts, during));
  for (int k = 0; k < OPERATIONS; k++)
    fprintf(file, "%s\n  \"%s\": {\"s\": %.4f, \"rate_to_plain_write\": %.3f}", k ? "," : "",
            operations[k].name, median(seconds[k]), median_ratio(seconds, k));
  fprintf(file, "\n}}\n");
  QG_CHECK(fclose(file) == 0, QG_ERR_RESOURCE, "cannot finish %s: is the disk full?", path);
  return QG_OK;
}

/* Small batches, so that a save spans several steps; the first step takes all subspaces. */
static const char *const overrides[] = {"data.train=random:100000", "data.valid=",
                                        "train.validate_every=0",   "train.validate_sequences=0",
                                        "train.micro_batch=2",      "train.global_batch=2",
                                        "checkpoint.keep_last=1",   "checkpoint.snapshot_memory=1GiB"};

static qg_status open_run(bench *b)
{
  double seconds;
  qg_step_result result;
  QG_TRY(training_open("inputs/llama60m.in", QG_COUNT_OF(overrides), overrides, &b->t));
  QG_TRY(qg_trainer_begin(b->t.trainer, 0.0));
  QG_TRY(take_step(b, 0, &seconds, &result));
  return qg_trainer_state(b->t.trainer, &b->entries, &b->count);
}

static qg_status run(bench *b, const char *json)
{
  double seconds[OPERATIONS][ROUNDS + 1];
  halt halts[ROUNDS + 1];
  snprintf(b->checkpoint, sizeof b->checkpoint, "%.900s/step-0000000001.h5", b->folder);
  snprintf(b->plain, sizeof b->plain, "%.900s/plain", b->folder);
  QG_TRY(open_run(b));
  QG_TRY(measure(b, seconds));
  print_table(b, seconds);
  QG_TRY(measure_halts(b, halts));
  print_halts(b, halts);
  return json ? write_json(seconds, halts, json) : QG_OK;
}

int main(int argc, char **argv)
{
  static bench b;
  char folder[] = "bench-ckpt-XXXXXX";
  b.folder = argc > 1 ? argv[1] : mkdtemp(folder);
  qg_status status = run(&b, argc > 2 ? argv[2] : NULL);
  if (status != QG_OK) fprintf(stderr, "bench_ckpt: %s\n", qg_error_message());
  training_close(&b.t);
  unlink(b.checkpoint);
  unlink(b.plain);
  if (argc <= 1) rmdir(folder);
  return status;
}
