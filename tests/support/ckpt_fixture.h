/* A small state of six layers for the checkpoint tests: every element type, items spread over ranks as a test
 * says. A backend without unified memory is taken to keep its bytes inverted. */
#ifndef QG_TESTS_CKPT_FIXTURE_H
#define QG_TESTS_CKPT_FIXTURE_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mpi_test.h"
#include "qgalore/base.h"
#include "qgalore/ckpt.h"

enum { LAYERS = 6, MAX_ENTRIES = 64, FIXTURE_PATH = 1024 };

/* --- the backend whose memory is host memory --- */

static qg_status nothing_to_wait_for(qg_backend *be)
{
  (void)be;
  return QG_OK;
}

static const qg_backend_ops host_ops = {.name = "host", .unified_memory = true, .sync = nothing_to_wait_for};
static qg_backend host_backend = {.ops = &host_ops, .threads = 1};

/* --- state --- */

typedef struct {
  qg_state_entry entries[MAX_ENTRIES];
  int count;
} state;

/* Which rank holds a layer. */
typedef int (*partition)(int layer, int ranks);

static inline int in_blocks(int layer, int ranks)
{
  return layer * ranks / LAYERS;
}
static inline int round_robin(int layer, int ranks)
{
  return layer % ranks;
}
static inline int all_on_the_last(int layer, int ranks)
{
  return (void)layer, ranks - 1;
}

static inline unsigned char byte_of(const char *dataset, int64_t item, size_t i, int version)
{
  return (unsigned char)(qg_crc32c(0, dataset, strlen(dataset)) +
                         (uint32_t)(item * 41 + (int64_t)i * 7 + version * 13) + (uint32_t)(i >> 8));
}

static inline qg_state_entry *add_entry(state *s, const char *dataset, qg_dtype type, int64_t items,
                                        int64_t item, int64_t elements, bool held)
{
  qg_state_entry *e = &s->entries[s->count++];
  *e = (qg_state_entry){.type = type, .items = items, .item = item, .elements = elements, .on_device = true};
  snprintf(e->dataset, sizeof e->dataset, "%s", dataset);
  e->owner = held;
  e->data = held ? calloc(1, qg_dtype_bytes(type, elements)) : NULL;
  return e;
}

/* The layers of this rank under a partition, and an embedding that the first and the last rank hold and the
 * first writes. All zero. */
static inline void make_state(state *s, const qg_grid *grid, partition where)
{
  *s = (state){0};
  /* Last layer first: nobody may rely on the order of entries. */
  for (int layer = LAYERS - 1; layer >= 0; layer--) {
    bool held = where(layer, grid->size) == grid->rank;
    add_entry(s, "weights/q_proj/codes", QG_U8, LAYERS, layer, 1000, held);
    add_entry(s, "weights/q_proj/scale", QG_F32, LAYERS, layer, 37, held);
    add_entry(s, "projector/q_proj/codes", QG_U4, LAYERS, layer, 31, held);
    add_entry(s, "moments/q_proj/v", QG_F64, LAYERS, layer, 200, held);
    add_entry(s, "tracker/q_proj/interval", QG_I64, LAYERS, layer, 1, held)->on_device = false;
  }
  bool first = grid->rank == 0, last = grid->rank == grid->size - 1;
  add_entry(s, "weights/embed", QG_BF16, 1, 0, 501, first || last)->owner = first;
}

/* Only the weights, as a run that evaluates has them. */
static inline void make_weights(state *s, const qg_grid *grid, partition where)
{
  int kept = 0;
  make_state(s, grid, where);
  for (int i = 0; i < s->count; i++)
    if (strncmp(s->entries[i].dataset, "weights/", 8) == 0) s->entries[kept++] = s->entries[i];
    else
      free(s->entries[i].data);
  s->count = kept;
}

static inline void free_state(state *s)
{
  for (int i = 0; i < s->count; i++) free(s->entries[i].data);
  *s = (state){0};
}

static inline size_t entry_bytes(const qg_state_entry *e)
{
  return qg_dtype_bytes(e->type, e->elements);
}

/* Bytes as the backend holds them. */
static inline unsigned char flip_of(const qg_backend *be, const qg_state_entry *e)
{
  return be->ops->unified_memory || !e->on_device ? 0 : 0xff;
}

static inline void fill_state(state *s, const qg_backend *be, int version)
{
  for (int i = 0; i < s->count; i++) {
    qg_state_entry *e = &s->entries[i];
    for (size_t b = 0; e->data && b < entry_bytes(e); b++)
      ((unsigned char *)e->data)[b] = byte_of(e->dataset, e->item, b, version) ^ flip_of(be, e);
  }
}

/* The number of bytes that are not those of `version`. */
static inline int64_t count_wrong(const state *s, const qg_backend *be, int version)
{
  int64_t wrong = 0;
  for (int i = 0; i < s->count; i++) {
    const qg_state_entry *e = &s->entries[i];
    for (size_t b = 0; e->data && b < entry_bytes(e); b++)
      wrong += ((unsigned char *)e->data)[b] !=
               (unsigned char)(byte_of(e->dataset, e->item, b, version) ^ flip_of(be, e));
  }
  return wrong;
}

/* --- folders --- */

/* The layout under test: QGALORE_TEST_LAYOUT=per_rank, or shared. */
static inline qg_ckpt_files files_under_test(void)
{
  const char *layout = getenv("QGALORE_TEST_LAYOUT");
  return layout && strcmp(layout, "per_rank") == 0 ? QG_CKPT_PER_RANK : QG_CKPT_SHARED;
}

/* A fresh folder that all ranks know. Collective. */
static inline void make_folder(qg_par *par, char path[FIXTURE_PATH])
{
  const char *base = getenv("TMPDIR");
  memset(path, 0, FIXTURE_PATH);
  if (qg_par_is_root(qg_par_grid(par))) {
    snprintf(path, FIXTURE_PATH, "%s/qgalore-ckpt-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
  }
  assert_int_equal(qg_par_broadcast(par, path, FIXTURE_PATH, 0), QG_OK);
}

/* Collective. */
static inline void remove_folder(qg_par *par, const char *path)
{
  char command[FIXTURE_PATH + 32];
  snprintf(command, sizeof command, "rm -rf '%s'", path);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  if (qg_par_is_root(qg_par_grid(par))) assert_int_equal(system(command), 0);
}

static inline void step_path(const char *folder, int step, char path[FIXTURE_PATH])
{
  assert_true(snprintf(path, FIXTURE_PATH, "%.900s/step-%010d.h5", folder, step) < FIXTURE_PATH);
}

static inline bool step_exists(const char *folder, int step)
{
  char path[FIXTURE_PATH];
  step_path(folder, step, path);
  return access(path, F_OK) == 0;
}

/* Files whose name has `mark` in it, or has it not. */
static inline int count_marked(const char *folder, const char *mark, bool has)
{
  int files = 0;
  DIR *directory = opendir(folder);
  assert_non_null(directory);
  for (struct dirent *d; (d = readdir(directory));)
    files += d->d_name[0] != '.' && (strstr(d->d_name, mark) != NULL) == has;
  closedir(directory);
  return files;
}

/* Rank files of the layout per_rank, and all other files. */
static inline int count_rank_files(const char *folder)
{
  return count_marked(folder, ".rank-", true);
}
static inline int count_files(const char *folder)
{
  return count_marked(folder, ".rank-", false);
}

/* Fills a state with `step` as its version and saves it. Collective. */
static inline qg_status save_step(qg_par *par, qg_backend *be, const char *folder, partition where, int step,
                                  int keep_last, int keep_every)
{
  state s;
  qg_ckpt_options options = {folder, keep_last, keep_every, files_under_test()};
  qg_ckpt_meta meta = {.step = step, .seed = 7, .resolved_input = "[model]\n"};
  make_state(&s, qg_par_grid(par), where);
  fill_state(&s, be, step);
  qg_status status = qg_ckpt_save(par, be, &options, &meta, s.entries, s.count);
  free_state(&s);
  return status;
}

/* Loads a checkpoint into a state; wrong bytes of this rank in *wrong. Collective. */
static inline qg_status load_state(qg_par *par, qg_backend *be, const char *path, const state *s, int version,
                                   int64_t *wrong)
{
  qg_ckpt_file *file = NULL;
  qg_status status = qg_ckpt_open(par, path, &file);
  if (status != QG_OK) return status;
  status = qg_ckpt_load(file, be, s->entries, s->count);
  *wrong = count_wrong(s, be, version);
  qg_ckpt_close(file);
  return status;
}

/* The same into a fresh state under a partition. Collective. */
static inline qg_status load_path(qg_par *par, qg_backend *be, const char *path, partition where, int version,
                                  int64_t *wrong)
{
  state s;
  make_state(&s, qg_par_grid(par), where);
  qg_status status = load_state(par, be, path, &s, version, wrong);
  free_state(&s);
  return status;
}

/* The same of the weights alone. Collective. */
static inline qg_status load_weights(qg_par *par, qg_backend *be, const char *path, partition where,
                                     int version, int64_t *wrong)
{
  state s;
  make_weights(&s, qg_par_grid(par), where);
  qg_status status = load_state(par, be, path, &s, version, wrong);
  free_state(&s);
  return status;
}

#endif
