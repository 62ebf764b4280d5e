/* qgalore_ckpt: looks into checkpoints, checks them, and compares two. */
#include <getopt.h>
#include <ini.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/compare.h"
#include "ckpt/reader.h"
#include "qgalore/base.h"
#include "qgalore/ckpt.h"

static const char help[] =
    "Usage: qgalore_ckpt inspect FILE     what a checkpoint holds\n"
    "       qgalore_ckpt input FILE       print the input of its run, which can be run again\n"
    "       qgalore_ckpt verify FILE...   read every byte against its checksums\n"
    "       qgalore_ckpt diff FILE FILE   which datasets differ, and by how much\n"
    "\n"
    "  -h, --help      show this text\n"
    "  -V, --version   show the version\n"
    "\n"
    "Exit status: 0 fine (diff: equal), 1 a library failed (diff: different), 2 wrong usage, 3 a checkpoint "
    "is\n"
    "missing or damaged, 4 no memory.\n";

/* --- inspect --- */

/* Keys of the run's input that say what was trained; those that it lacks are not shown. */
static const struct {
  const char *section, *key;
} summary[] = {
    {"model", "hidden_size"},    {"model", "intermediate_size"}, {"model", "num_layers"},
    {"model", "num_heads"},      {"model", "num_kv_heads"},      {"model", "vocab_size"},
    {"model", "tie_embeddings"}, {"train", "sequence_length"},   {"train", "global_batch"},
    {"train", "steps"},          {"optimizer", "method"},        {"qgalore", "rank"},
};

static int show_key(void *unused, const char *section, const char *key, const char *value)
{
  (void)unused;
  for (int i = 0; i < QG_COUNT_OF(summary); i++)
    if (strcmp(summary[i].section, section) == 0 && strcmp(summary[i].key, key) == 0)
      printf("  %s.%-*s %s\n", section, 27 - (int)strlen(section), key, value);
  return 1;
}

/* Lines of the history, which begin with the time of an attempt. */
static void show_history(const char *history)
{
  printf("history\n");
  for (const char *line = history, *end; (end = strchr(line, '\n')); line = end + 1)
    printf("  %.*s\n", (int)(end - line), line);
}

static void show_header(const qg_ckpt_file *file)
{
  const qg_ckpt_meta *m = &file->header.meta;
  char elapsed[32];
  printf("file            %s\n", file->path);
  printf("written         %s by %s\n", file->header.created, file->header.software);
  printf("step            %lld\n", (long long)m->step);
  printf("tokens          %lld\n", (long long)m->tokens);
  printf("cursor          %lld sequences\n", (long long)m->cursor);
  printf("seed            %llu\n", (unsigned long long)m->seed);
  printf("elapsed         %s of training\n", qg_format_seconds(elapsed, sizeof elapsed, m->elapsed));
  printf("last loss       %.17g\n", m->last_loss);
  printf("last grad norm  %.17g\n", m->last_grad_norm);
  printf("self-test loss  %.17g (%s)\n", m->selftest_loss, m->arrangement);
  if (m->data && m->data[0]) printf("data        %s\n", m->data);
  show_history(m->history);
  printf("input\n");
  ini_parse_string(m->resolved_input, show_key, NULL);
}

typedef struct {
  int64_t datasets, bytes;
  int64_t outside; /* of the datasets: those whose bytes lie in parts */
} totals;

static int64_t bytes_of(const qg_ckpt_reader *r)
{
  return r->items * r->elements * (int64_t)r->element_bytes;
}

static qg_status add_dataset(void *context, const qg_ckpt_reader *r)
{
  totals *t = context;
  t->datasets++;
  t->bytes += bytes_of(r);
  t->outside += H5Dget_offset(r->data) == HADDR_UNDEF;
  return QG_OK;
}

static qg_status show_dataset(void *context, const qg_ckpt_reader *r)
{
  char shape[64];
  snprintf(shape, sizeof shape, "[%lld, %lld]", (long long)r->items,
           (long long)(r->type == QG_U4 ? 2 * r->elements : r->elements));
  printf("%-52s %-5s %-20s %14lld\n", r->name, qg_dtype_name(r->type), shape, (long long)bytes_of(r));
  return add_dataset(context, r);
}

/* The size of the file beside that of its contents: the difference is what the format costs. */
static void show_totals(const qg_ckpt_file *file, const totals *t)
{
  char text[32];
  hsize_t bytes = 0;
  H5Fget_filesize(file->file, &bytes);
  printf("layout          %s, the file itself has %llu bytes\n", t->outside ? "per_rank" : "shared",
         (unsigned long long)bytes);
  printf("%lld datasets, %lld bytes (%s)\n", (long long)t->datasets, (long long)t->bytes,
         qg_format_bytes(text, sizeof text, (double)t->bytes));
}

static qg_status inspect(char **paths, int count)
{
  qg_ckpt_file *file = NULL;
  totals t = {0};
  (void)count;
  QG_TRY(qg_ckpt_file_open_untrusted(paths[0], &file));
  show_header(file);
  printf("\n%-52s %-5s %-20s %14s\n", "dataset", "type", "[items, elements]", "bytes");
  qg_status status = qg_ckpt_for_each_dataset(file, show_dataset, &t);
  if (status == QG_OK) show_totals(file, &t);
  qg_ckpt_file_close(file);
  return status;
}

static qg_status print_input(char **paths, int count)
{
  qg_ckpt_file *file = NULL;
  (void)count;
  QG_TRY(qg_ckpt_file_open_untrusted(paths[0], &file));
  fputs(file->header.meta.resolved_input, stdout);
  qg_ckpt_file_close(file);
  return QG_OK;
}

/* --- verify --- */

static qg_status verify_one(const char *path)
{
  qg_ckpt_file *file = NULL;
  qg_status status = QG_OK;
  totals t = {0};
  char text[32];
  QG_TRY_OUT(qg_ckpt_file_open_untrusted(path, &file));
  QG_TRY_OUT(qg_ckpt_file_verify(file, 0, 1));
  QG_TRY_OUT(qg_ckpt_for_each_dataset(file, add_dataset, &t));
  printf("%s: step %lld, %lld datasets, %s: complete and undamaged\n", path,
         (long long)file->header.meta.step, (long long)t.datasets,
         qg_format_bytes(text, sizeof text, (double)t.bytes));
out:
  qg_ckpt_file_close(file);
  return status;
}

/* A damaged file does not keep the others from being checked; the first failure is the result. */
static qg_status verify(char **paths, int count)
{
  qg_status first = QG_OK;
  char message[1024] = "";
  for (int i = 0; i < count; i++) {
    qg_status status = verify_one(paths[i]);
    if (status == QG_OK) continue;
    if (first != QG_OK) fprintf(stderr, "qgalore_ckpt: %s\n", message);
    if (first == QG_OK) first = status;
    snprintf(message, sizeof message, "%s", qg_error_message());
  }
  return first == QG_OK ? QG_OK : qg_error_adopt(first, message);
}

/* --- diff --- */

static bool show_whole(const char *name, int64_t a, int64_t b)
{
  if (a != b) printf("%s: %lld and %lld\n", name, (long long)a, (long long)b);
  return a != b;
}

static bool show_real(const char *name, double a, double b)
{
  bool other = memcmp(&a, &b, sizeof a) != 0;
  if (other) printf("%s: %.17g and %.17g\n", name, a, b);
  return other;
}

/* Where the runs stand. Elapsed time differs between any two runs and says nothing about the state. */
static int diff_meta(const qg_ckpt_meta *a, const qg_ckpt_meta *b)
{
  return show_whole("step", a->step, b->step) + show_whole("tokens", a->tokens, b->tokens) +
         show_whole("cursor", a->cursor, b->cursor) + show_whole("seed", (int64_t)a->seed, (int64_t)b->seed) +
         show_real("last loss", a->last_loss, b->last_loss) +
         show_real("last grad norm", a->last_grad_norm, b->last_grad_norm);
}

typedef struct {
  int64_t datasets, different;
} diff_totals;

static void show_difference(void *context, const qg_ckpt_difference *d)
{
  diff_totals *t = context;
  t->datasets++;
  t->different += d->kind != QG_CKPT_SAME;
  switch (d->kind) {
    case QG_CKPT_SAME:
      break;
    case QG_CKPT_OTHER_VALUES:
      printf("%s: %lld of %lld elements differ, by %.6g at most\n", d->name, (long long)d->different,
             (long long)d->elements, d->largest);
      break;
    case QG_CKPT_OTHER_SHAPE:
      printf("%s: of another type or shape\n", d->name);
      break;
    case QG_CKPT_ONLY_IN_A:
      printf("%s: only in the first file\n", d->name);
      break;
    case QG_CKPT_ONLY_IN_B:
      printf("%s: only in the second file\n", d->name);
  }
}

/* A difference is no error, so it is told apart from the status. */
static qg_status diff_files(char **paths, bool *differ)
{
  qg_ckpt_file *a = NULL, *b = NULL;
  qg_status status = QG_OK;
  diff_totals t = {0};
  QG_TRY_OUT(qg_ckpt_file_open_untrusted(paths[0], &a));
  QG_TRY_OUT(qg_ckpt_file_open_untrusted(paths[1], &b));
  int meta = diff_meta(&a->header.meta, &b->header.meta);
  QG_TRY_OUT(qg_ckpt_compare(a, b, show_difference, &t));
  printf("%lld of %lld datasets differ\n", (long long)t.different, (long long)t.datasets);
  *differ = meta > 0 || t.different > 0;
out:
  qg_ckpt_file_close(b);
  qg_ckpt_file_close(a);
  return status;
}

static qg_status diff(char **paths, int count)
{
  bool differ = false;
  (void)count;
  QG_TRY(diff_files(paths, &differ));
  return differ ? QG_FAIL(QG_ERR_RUNTIME, "%s and %s differ", paths[0], paths[1]) : QG_OK;
}

/* --- command line --- */

static const struct {
  const char *name;
  int files, most; /* how many */
  qg_status (*run)(char **paths, int count);
} commands[] = {
    {"inspect", 1, 1, inspect},
    {"input", 1, 1, print_input},
    {"verify", 1, 1 << 20, verify},
    {"diff", 2, 2, diff},
};

static qg_status run_command(char **words, int count)
{
  QG_CHECK(count > 0, QG_ERR_INPUT, "a command is needed; qgalore_ckpt --help lists them");
  for (int i = 0; i < QG_COUNT_OF(commands); i++) {
    if (strcmp(commands[i].name, words[0]) != 0) continue;
    QG_CHECK(count - 1 >= commands[i].files && count - 1 <= commands[i].most, QG_ERR_INPUT,
             "%s takes %d file%s; qgalore_ckpt --help explains", words[0], commands[i].files,
             commands[i].most > 1 ? commands[i].files > 1 ? "s" : " or more" : "");
    return commands[i].run(words + 1, count - 1);
  }
  return QG_FAIL(QG_ERR_INPUT, "%s is no command; qgalore_ckpt --help lists them", words[0]);
}

static qg_status run(int argc, char **argv)
{
  static const struct option long_options[] = {
      {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
  switch (getopt_long(argc, argv, "hV", long_options, NULL)) {
    case -1:
      return run_command(argv + optind, argc - optind);
    case 'h':
      fputs(help, stdout);
      return QG_OK;
    case 'V':
      puts("qgalore_ckpt " QG_VERSION " (" QG_GIT ")");
      return QG_OK;
    /* getopt has printed what is wrong. */
    default:
      return QG_FAIL(QG_ERR_INPUT, "qgalore_ckpt --help lists the options");
  }
}

int main(int argc, char **argv)
{
  qg_status status = run(argc, argv);
  if (status == QG_OK) status = qg_finish_output(stdout);
  if (status != QG_OK) fprintf(stderr, "qgalore_ckpt: %s\n", qg_error_message());
  return status;
}
