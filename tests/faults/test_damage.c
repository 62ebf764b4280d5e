/* No damage to a checkpoint goes unnoticed: whatever random bits, holes and cuts do to the newest one, either
 * it is refused and the run falls back to the previous one, or it still loads to the last bit.
 *
 * QGALORE_FAULT_RUNS: damages of each layout (default 60). QGALORE_FAULT_SEED: another sequence of them. In
 * the layout per_rank they hit the file and its rank file in proportion to their sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>

#include "qgalore/numerics/philox.h"
#include "support/fixtures/ckpt_fixture.h"

enum { OLD = 1, NEWEST = 2, SECONDS_PER_DAMAGE = 20 };

typedef struct {
  unsigned char *bytes;
  size_t size;
} image;

typedef struct {
  const char *name;
  /* Changes the image, whose memory has room for `size` bytes; `random` are four random words. */
  void (*inflict)(image *file, const uint32_t random[4]);
} damage;

static qg_par *par;
static char folder[FIXTURE_PATH];
static qg_ckpt_files files;
/* The newest checkpoint as it was written: its file, and in the layout per_rank its rank file. */
static image sound[2];
static int victim;        /* which of them is damaged */
static char input[6000];  /* as long as a real one: HDF5 stores texts over 4 KiB apart */
static char present[128]; /* the damage under test */

static long setting(const char *name, long fallback)
{
  const char *text = getenv(name);
  return text ? strtol(text, NULL, 10) : fallback;
}

/* --- damages --- */

static void flip_bit(image *file, const uint32_t random[4])
{
  file->bytes[random[0] % file->size] ^= (unsigned char)(1u << random[1] % 8);
}

static void cut_off(image *file, const uint32_t random[4])
{
  file->size = random[0] % file->size;
}

static void zero_page(image *file, const uint32_t random[4])
{
  size_t page = (size_t)512 << random[1] % 4, start = random[0] % file->size / page * page;
  size_t rest = file->size - start;
  memset(file->bytes + start, 0, rest < page ? rest : page);
}

static void overwrite_word(image *file, const uint32_t random[4])
{
  size_t start = random[0] % (file->size - 8);
  memcpy(file->bytes + start, random + 2, 8);
}

/* A block that the disk put into the wrong place. */
static void misplace_block(image *file, const uint32_t random[4])
{
  size_t block = 512, blocks = file->size / block;
  memcpy(file->bytes + random[0] % blocks * block, sound[victim].bytes + random[1] % blocks * block, block);
}

static const damage damages[] = {
    {"bit flipped", flip_bit},           {"cut off", cut_off},
    {"page of zeros", zero_page},        {"eight bytes overwritten", overwrite_word},
    {"block misplaced", misplace_block},
};

/* --- files --- */

static void newest_path(int which, char path[FIXTURE_PATH])
{
  char file[FIXTURE_PATH];
  step_path(folder, NEWEST, file);
  snprintf(path, FIXTURE_PATH, "%.950s%s", file, which == 0 ? "" : ".0.rank-0");
}

static void write_newest(int which, const image *file)
{
  char path[FIXTURE_PATH];
  newest_path(which, path);
  FILE *out = fopen(path, "wb");
  assert_non_null(out);
  assert_int_equal(fwrite(file->bytes, 1, file->size, out), file->size);
  assert_int_equal(fclose(out), 0);
}

static void read_newest(int which, image *file)
{
  char path[FIXTURE_PATH];
  newest_path(which, path);
  FILE *in = fopen(path, "rb");
  assert_non_null(in);
  assert_int_equal(fseek(in, 0, SEEK_END), 0);
  file->size = (size_t)ftell(in);
  rewind(in);
  file->bytes = malloc(file->size);
  assert_non_null(file->bytes);
  assert_int_equal(fread(file->bytes, 1, file->size, in), file->size);
  fclose(in);
}

/* --- the promise --- */

/* A reader that never ends is as bad as one that crashes. */
static void end_of_patience(int number)
{
  (void)number;
  (void)!write(STDOUT_FILENO, "\n# no end of reading: ", 22);
  (void)!write(STDOUT_FILENO, present, strlen(present));
  (void)!write(STDOUT_FILENO, "\n", 1);
  _exit(1);
}

/* A crash inside the HDF5 library ends the test; this says what to run again. */
static int tell_the_damage(void **unused)
{
  (void)unused;
  printf("# last: %s\n", present);
  return 0;
}

static bool is_wholly_there(const char *path)
{
  int64_t wrong = -1;
  qg_ckpt_file *file = NULL;
  if (load_path(par, &host_backend, path, in_blocks, NEWEST, &wrong) != QG_OK || wrong != 0) return false;
  assert_int_equal(qg_ckpt_open(par, path, &file), QG_OK);
  const qg_ckpt_meta *meta = qg_ckpt_get_meta(file);
  bool same = meta->step == NEWEST && meta->seed == 7 && strcmp(meta->resolved_input, input) == 0;
  qg_ckpt_close(file);
  return same;
}

/* True if the newest was refused. */
static bool survive(void)
{
  char newest[FIXTURE_PATH], old[FIXTURE_PATH], found[FIXTURE_PATH];
  int64_t wrong = -1;
  qg_log silent = {0};
  step_path(folder, NEWEST, newest);
  step_path(folder, OLD, old);
  assert_int_equal(qg_ckpt_find(par, &silent, folder, found, sizeof found), QG_OK);
  if (strcmp(found, newest) == 0) {
    assert_true(is_wholly_there(newest));
    return false;
  }
  assert_string_equal(found, old);
  assert_int_equal(qg_ckpt_verify(newest), QG_ERR_CHECKPOINT);
  assert_non_null(strstr(qg_error_message(), newest));
  /* A user may name the file: loading may succeed where nothing that is read was hit, but never with other
   * data. */
  if (load_path(par, &host_backend, newest, in_blocks, NEWEST, &wrong) == QG_OK) assert_int_equal(wrong, 0);
  return true;
}

static void damage_is_refused_or_harmless(void **unused)
{
  (void)unused;
  size_t bytes = sound[0].size + sound[1].size;
  long runs = setting("QGALORE_FAULT_RUNS", 60), refused = 0;
  uint64_t seed = (uint64_t)setting("QGALORE_FAULT_SEED", 1);
  image file = {malloc(bytes), 0};
  assert_non_null(file.bytes);
  for (long run = 0; run < runs; run++) {
    const damage *d = &damages[run % QG_COUNT_OF(damages)];
    qg_rng rng = {seed, (uint64_t)run, 0, QG_RNG_SYNTHETIC};
    qg_rng_block random = qg_rng_draw(rng, 0);
    /* Any byte of the checkpoint is as likely as any other. */
    victim = random.v[3] % bytes < sound[0].size ? 0 : 1;
    file.size = sound[victim].size;
    memcpy(file.bytes, sound[victim].bytes, file.size);
    d->inflict(&file, random.v);
    snprintf(present, sizeof present, "%s, damage %ld of seed %llu, layout %d", d->name, run,
             (unsigned long long)seed, (int)files);
    write_newest(victim, &file);
    alarm(SECONDS_PER_DAMAGE);
    refused += survive();
    alarm(0);
    write_newest(victim, &sound[victim]);
  }
  free(file.bytes);
  printf("# %ld damages of %zu bytes: %ld refused, %ld harmless\n", runs, bytes, refused, runs - refused);
  /* Damages that are all harmless would not be damages. */
  assert_true(2 * refused > runs);
}

static void an_undamaged_file_is_taken(void **unused)
{
  (void)unused;
  assert_false(survive());
}

static void save_checkpoint(int step)
{
  state s;
  qg_ckpt_options options = {folder, 2, 0, files};
  qg_ckpt_meta meta = {.step = step, .seed = 7, .resolved_input = input};
  make_state(&s, qg_par_grid(par), in_blocks);
  fill_state(&s, &host_backend, step);
  assert_int_equal(qg_ckpt_save(par, &host_backend, &options, &meta, s.entries, s.count), QG_OK);
  free_state(&s);
}

static int prepare(void)
{
  make_folder(par, folder);
  memset(input, '#', sizeof input - 1);
  save_checkpoint(OLD);
  save_checkpoint(NEWEST);
  for (int i = 0; i <= (files == QG_CKPT_PER_RANK); i++) read_newest(i, &sound[i]);
  return 0;
}

static int prepare_shared(void **unused)
{
  (void)unused;
  files = QG_CKPT_SHARED;
  return prepare();
}

static int prepare_per_rank(void **unused)
{
  (void)unused;
  files = QG_CKPT_PER_RANK;
  return prepare();
}

static int clear_away(void **unused)
{
  (void)unused;
  for (int i = 0; i < QG_COUNT_OF(sound); i++) {
    free(sound[i].bytes);
    sound[i] = (image){0};
  }
  remove_folder(par, folder);
  return 0;
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_undamaged_file_is_taken),
      cmocka_unit_test_teardown(damage_is_refused_or_harmless, tell_the_damage),
  };
  par = mpi_test_begin(&argc, &argv);
  signal(SIGALRM, end_of_patience);
  int failures = cmocka_run_group_tests_name("shared", tests, prepare_shared, clear_away);
  failures += cmocka_run_group_tests_name("per_rank", tests, prepare_per_rank, clear_away);
  return mpi_test_end(par, failures);
}
