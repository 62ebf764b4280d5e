/* Promises of saving: what was saved by some ranks is loaded by any others to the bit, and a save that fails
 * harms nothing. ranks: 1 2 3 also with: QGALORE_CKPT_SLAB=512
 * also with: QGALORE_TEST_LAYOUT=per_rank */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "support/fixtures/ckpt_fixture.h"

/* --- a device that keeps its bytes inverted: whoever reads its memory without the backend reads nonsense ---
 */

static int copies_left = -1; /* copy_out fails when it reaches 0; negative: never */

static qg_status invert(qg_backend *be, void *to, const void *from, size_t bytes)
{
  (void)be;
  for (size_t i = 0; i < bytes; i++)
    ((unsigned char *)to)[i] = (unsigned char)~((const unsigned char *)from)[i];
  return QG_OK;
}

static qg_status invert_out(qg_backend *be, void *to, const void *from, size_t bytes)
{
  if (copies_left >= 0 && copies_left-- == 0) return QG_FAIL(QG_ERR_RUNTIME, "the device is gone");
  return invert(be, to, from, bytes);
}

static const qg_backend_ops device_ops = {
    .name = "device", .copy_in = invert, .copy_out = invert_out, .sync = nothing_to_wait_for};
static qg_backend device_backend = {.ops = &device_ops, .threads = 1};

static qg_par *par;
static const qg_grid *grid;
static char folder[FIXTURE_PATH];

static int enter(void **unused)
{
  (void)unused;
  copies_left = -1;
  make_folder(par, folder);
  return 0;
}

static int leave(void **unused)
{
  (void)unused;
  remove_folder(par, folder);
  return 0;
}

static void check_round_trip(qg_backend *from, partition saved, qg_backend *to, partition loaded)
{
  char path[FIXTURE_PATH];
  int64_t wrong = -1;
  step_path(folder, 5, path);
  assert_int_equal(save_step(par, from, folder, saved, 5, 1, 0), QG_OK);
  assert_int_equal(load_path(par, to, path, loaded, 5, &wrong), QG_OK);
  assert_int_equal(wrong, 0);
}

static void any_partition_loads_what_any_other_saved(void **unused)
{
  (void)unused;
  partition all[] = {in_blocks, round_robin, all_on_the_last};
  for (int i = 0; i < QG_COUNT_OF(all); i++)
    for (int j = 0; j < QG_COUNT_OF(all); j++) check_round_trip(&host_backend, all[i], &host_backend, all[j]);
}

static void devices_and_hosts_share_one_file(void **unused)
{
  (void)unused;
  check_round_trip(&device_backend, in_blocks, &host_backend, round_robin);
  check_round_trip(&host_backend, in_blocks, &device_backend, in_blocks);
}

/* As a run that evaluates does: its list has no moments, projectors and trackers. */
static void weights_load_alone_under_any_partition(void **unused)
{
  (void)unused;
  partition all[] = {in_blocks, round_robin, all_on_the_last};
  qg_backend *backends[] = {&host_backend, &device_backend};
  char path[FIXTURE_PATH];
  step_path(folder, 5, path);
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 5, 1, 0), QG_OK);
  for (int i = 0; i < QG_COUNT_OF(all); i++)
    for (int j = 0; j < QG_COUNT_OF(backends); j++) {
      int64_t wrong = -1;
      assert_int_equal(load_weights(par, backends[j], path, all[i], 5, &wrong), QG_OK);
      assert_int_equal(wrong, 0);
    }
}

/* Less may be asked for than the file has, never more. */
static void what_is_asked_for_and_missing_is_an_error(void **unused)
{
  (void)unused;
  char path[FIXTURE_PATH];
  int64_t wrong;
  state s;
  step_path(folder, 5, path);
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 5, 1, 0), QG_OK);
  make_weights(&s, grid, in_blocks);
  add_entry(&s, "weights/lm_head", QG_BF16, 1, 0, 501, grid->rank == 0);
  assert_int_equal(load_state(par, &host_backend, path, &s, 5, &wrong), QG_ERR_CHECKPOINT);
  assert_non_null(strstr(qg_error_message(), "\"weights/lm_head\" is missing"));
  free_state(&s);
}

static void the_run_is_where_it_was(void **unused)
{
  (void)unused;
  enum { LONG_TEXT = 100000 };
  char path[FIXTURE_PATH], *text = malloc(LONG_TEXT + 1);
  state s;
  assert_non_null(text);
  memset(text, 'x', LONG_TEXT);
  text[LONG_TEXT] = '\0';
  qg_ckpt_meta meta = {.step = 1234,
                       .tokens = 99999999999,
                       .cursor = 42,
                       .seed = UINT64_MAX - 1,
                       .elapsed = 12.5,
                       .last_loss = NAN,
                       .last_grad_norm = 0.1,
                       .selftest_loss = 10.25,
                       .arrangement = "here",
                       .history = "first\nsecond\n",
                       .resolved_input = text};
  /* The root's word counts: only its clock and its log are the run's. */
  if (grid->rank > 0) meta = (qg_ckpt_meta){.step = grid->rank, .resolved_input = "other"};
  qg_ckpt_options options = {folder, 1, 0, files_under_test()};
  make_state(&s, grid, in_blocks);
  assert_int_equal(qg_ckpt_save(par, &host_backend, &options, &meta, s.entries, s.count), QG_OK);
  free_state(&s);

  qg_ckpt_file *file;
  step_path(folder, 1234, path);
  assert_int_equal(qg_ckpt_open(par, path, &file), QG_OK);
  const qg_ckpt_meta *m = qg_ckpt_get_meta(file);
  assert_true(m->step == 1234 && m->tokens == 99999999999 && m->cursor == 42 && m->seed == UINT64_MAX - 1);
  assert_true(m->elapsed == 12.5 && isnan(m->last_loss) && m->last_grad_norm == 0.1);
  assert_true(m->selftest_loss == 10.25);
  assert_string_equal(m->arrangement, "here");
  assert_string_equal(m->history, "first\nsecond\n");
  assert_int_equal(strlen(m->resolved_input), LONG_TEXT);
  assert_int_equal(strspn(m->resolved_input, "x"), LONG_TEXT);
  qg_ckpt_close(file);
  free(text);
}

static void the_file_is_hardly_larger_than_its_data(void **unused)
{
  (void)unused;
  char path[FIXTURE_PATH];
  state s = {0};
  struct stat info;
  qg_ckpt_options options = {folder, 1, 0, files_under_test()};
  qg_ckpt_meta meta = {.step = 1};
  for (int layer = 0; layer < LAYERS; layer++)
    add_entry(&s, "weights/codes", QG_U8, LAYERS, layer, 200000,
              round_robin(layer, grid->size) == grid->rank);
  assert_int_equal(qg_ckpt_bytes(s.entries, s.count), LAYERS * 200000);
  assert_int_equal(qg_ckpt_save(par, &host_backend, &options, &meta, s.entries, s.count), QG_OK);
  step_path(folder, 1, path);
  assert_int_equal(stat(path, &info), 0);
  /* Tiny checksum blocks have as many bytes of checksums as they ask for. */
  if (!getenv("QGALORE_CKPT_SLAB")) assert_true(info.st_size < 1.02 * LAYERS * 200000);
  free_state(&s);
}

static void packed_nibbles_count_as_their_bytes(void **unused)
{
  (void)unused;
  state s;
  make_state(&s, grid, in_blocks);
  assert_int_equal(qg_ckpt_bytes(s.entries, s.count), LAYERS * (1000 + 4 * 37 + 16 + 8 * 200 + 8) + 2 * 501);
  free_state(&s);
}

/* What other programs see. */
static void the_file_describes_itself(void **unused)
{
  (void)unused;
  char path[FIXTURE_PATH];
  hsize_t shape[2];
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 3, 1, 0), QG_OK);
  if (grid->rank != 0) return;
  step_path(folder, 3, path);
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT),
        data = H5Dopen2(file, "weights/q_proj/codes", H5P_DEFAULT);
  assert_true(file >= 0 && data >= 0);
  hid_t space = H5Dget_space(data);
  assert_int_equal(H5Sget_simple_extent_dims(space, shape, NULL), 2);
  assert_true(shape[0] == LAYERS && shape[1] == 1000);
  assert_true(H5Aexists(data, "element") > 0);
  static const char *const attributes[] = {
      "format",         "format_version", "complete",    "units",   "software",       "created",
      "step",           "tokens",         "cursor",      "seed",    "elapsed",        "last_loss",
      "last_grad_norm", "probe_loss",     "arrangement", "history", "resolved_input", "meta_crc32c"};
  for (int i = 0; i < QG_COUNT_OF(attributes); i++) assert_true(H5Aexists(file, attributes[i]) > 0);
  assert_true(H5Lexists(file, "weights/q_proj/codes.crc32c", H5P_DEFAULT) > 0);
  H5Sclose(space);
  H5Dclose(data);
  H5Fclose(file);
}

/* --- rotation --- */

static void the_newest_and_the_milestones_stay(void **unused)
{
  (void)unused;
  for (int step = 10; step <= 60; step += 10)
    assert_int_equal(save_step(par, &host_backend, folder, in_blocks, step, 2, 30), QG_OK);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  assert_false(step_exists(folder, 10) || step_exists(folder, 20) || step_exists(folder, 40));
  assert_true(step_exists(folder, 30) && step_exists(folder, 50) && step_exists(folder, 60));
}

static void a_save_after_a_rewind_is_not_pushed_out_by_newer_files(void **unused)
{
  (void)unused;
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 100, 1, 0), QG_OK);
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 50, 1, 0), QG_OK);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  assert_true(step_exists(folder, 50));
}

static void leftovers_of_killed_saves_are_cleared_and_other_files_stay(void **unused)
{
  (void)unused;
  char leftover[FIXTURE_PATH], other[FIXTURE_PATH];
  snprintf(leftover, sizeof leftover, "%.900s/step-0000000003.h5.tmp", folder);
  snprintf(other, sizeof other, "%.900s/step-3.h5", folder);
  if (grid->rank == 0) {
    assert_int_equal(qg_write_file_atomic(leftover, "half", 4), QG_OK);
    assert_int_equal(qg_write_file_atomic(other, "mine", 4), QG_OK);
  }
  for (int step = 4; step <= 5; step++)
    assert_int_equal(save_step(par, &host_backend, folder, in_blocks, step, 1, 0), QG_OK);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  assert_int_equal(access(leftover, F_OK), -1);
  assert_int_equal(access(other, F_OK), 0);
  assert_int_equal(count_files(folder), 2);
}

/* --- failures --- */

/* After a failed save of step 2 there is step 1, whole, and nothing else. */
static void check_only_the_old_one_is_there(void)
{
  char path[FIXTURE_PATH];
  int64_t wrong = -1;
  step_path(folder, 1, path);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  assert_int_equal(count_files(folder), 1);
  assert_int_equal(count_rank_files(folder), files_under_test() == QG_CKPT_PER_RANK ? grid->size : 0);
  assert_int_equal(load_path(par, &host_backend, path, in_blocks, 1, &wrong), QG_OK);
  assert_int_equal(wrong, 0);
}

/* The last rank's device fails in its n-th copy: the others must neither hang nor believe in the file. */
static void a_device_that_fails_on_one_rank_fails_the_save_on_all(void **unused)
{
  (void)unused;
  char expected[64];
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 1, 1, 0), QG_OK);
  for (int copies = 0; copies < 5; copies += 2) {
    copies_left = grid->rank == grid->size - 1 ? copies : -1;
    assert_int_equal(save_step(par, &device_backend, folder, in_blocks, 2, 1, 0), QG_ERR_CHECKPOINT);
    snprintf(expected, sizeof expected, grid->size > 1 ? "rank %d: the device is gone" : "the device is gone",
             grid->size - 1);
    assert_string_equal(qg_error_message(), expected);
    check_only_the_old_one_is_there();
  }
  copies_left = -1;
  assert_int_equal(save_step(par, &device_backend, folder, in_blocks, 2, 1, 0), QG_OK);
}

/* A limit on the size of files stands for a full disk. */
static void a_full_disk_leaves_the_older_ones(void **unused)
{
  (void)unused;
  struct rlimit before, small;
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 1, 1, 0), QG_OK);
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = before;
  small.rlim_cur = 8000;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  qg_status status = save_step(par, &host_backend, folder, in_blocks, 2, 1, 0);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_int_equal(status, QG_ERR_RESOURCE);
  assert_non_null(strstr(qg_error_message(), "no room for "));
  assert_non_null(strstr(qg_error_message(), "step-0000000002.h5.tmp"));
  check_only_the_old_one_is_there();
}

/* What a quota or a broken disk does: the last rank alone cannot write, and nobody waits for it. */
static void a_write_that_fails_on_one_rank_fails_the_save_on_all(void **unused)
{
  (void)unused;
  struct rlimit before, small;
  char expected[32] = "";
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 1, 1, 0), QG_OK);
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = before;
  if (grid->rank == grid->size - 1) small.rlim_cur = 1500;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  qg_status status = save_step(par, &host_backend, folder, in_blocks, 2, 1, 0);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_int_equal(status, QG_ERR_RESOURCE);
  if (grid->size > 1) snprintf(expected, sizeof expected, "rank %d: ", grid->size - 1);
  assert_int_equal(strncmp(qg_error_message(), expected, strlen(expected)), 0);
  assert_non_null(strstr(qg_error_message(), "step-0000000002.h5"));
  check_only_the_old_one_is_there();
}

/* --- saves in the background --- */

/* Begins to save a state of version 2. The last rank has room for `bytes` of snapshot, the others for all. */
static qg_ckpt_active_save *begin_save(const state *s, qg_backend *be, size_t bytes)
{
  static char snapshot[1 << 20];
  qg_ckpt_options options = {folder, 2, 0, files_under_test()};
  qg_ckpt_meta meta = {.step = 2};
  qg_ckpt_snapshot room = {snapshot, grid->rank == grid->size - 1 ? bytes : sizeof snapshot};
  qg_ckpt_active_save *save = NULL;
  assert_in_range(qg_ckpt_snapshot_bytes(s->entries, s->count), 1, sizeof snapshot);
  assert_int_equal(qg_ckpt_begin(par, be, &options, &meta, s->entries, s->count, room, &save), QG_OK);
  return save;
}

/* The same, after which the state is of version 77 and gone. */
static qg_ckpt_active_save *save_in_background(qg_backend *be)
{
  state s;
  make_state(&s, grid, in_blocks);
  fill_state(&s, be, 2);
  qg_ckpt_active_save *save = begin_save(&s, be, 1 << 20);
  assert_true(qg_ckpt_is_background(save));
  qg_ckpt_await_copy(save);
  fill_state(&s, be, 77);
  free_state(&s);
  return save;
}

static void check_version_2(void)
{
  char path[FIXTURE_PATH];
  int64_t wrong = -1;
  step_path(folder, 2, path);
  assert_int_equal(load_path(par, &host_backend, path, round_robin, 2, &wrong), QG_OK);
  assert_int_equal(wrong, 0);
}

static void what_is_saved_in_the_background_is_the_state_of_its_begin(void **unused)
{
  (void)unused;
  double seconds = -1.0;
  qg_backend *backends[] = {&host_backend, &device_backend};
  for (int i = 0; i < QG_COUNT_OF(backends); i++) {
    assert_int_equal(qg_ckpt_finish(save_in_background(backends[i]), &seconds), QG_OK);
    assert_true(seconds > 0.0);
    check_version_2();
  }
}

/* As training does: it asks after every step and never waits. */
static void a_save_ends_without_being_waited_for(void **unused)
{
  (void)unused;
  bool ended = false;
  int phases = 0;
  qg_ckpt_active_save *save = save_in_background(&host_backend);
  while (!ended) {
    double done = qg_ckpt_is_done(save), seconds;
    assert_int_equal(qg_par_min(par, &done, 1), QG_OK);
    if (done == 0.0) continue;
    assert_false(step_exists(folder, 2) && phases < 2);
    assert_int_equal(qg_ckpt_advance(save, &ended, &seconds), QG_OK);
    phases++;
  }
  assert_int_equal(phases, 3);
  check_version_2();
}

static void without_room_on_one_rank_all_ranks_write_at_once(void **unused)
{
  (void)unused;
  state s;
  double seconds;
  make_state(&s, grid, in_blocks);
  fill_state(&s, &host_backend, 2);
  qg_ckpt_active_save *save = begin_save(&s, &host_backend, 1);
  assert_false(qg_ckpt_is_background(save));
  assert_int_equal(qg_ckpt_finish(save, &seconds), QG_OK);
  free_state(&s);
  check_version_2();
}

static void a_save_that_is_given_up_does_not_count(void **unused)
{
  (void)unused;
  char found[FIXTURE_PATH], old[FIXTURE_PATH];
  qg_log silent = {0};
  step_path(folder, 1, old);
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 1, 1, 0), QG_OK);
  qg_ckpt_abandon(save_in_background(&host_backend));
  qg_ckpt_abandon(NULL);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  assert_int_equal(qg_ckpt_find(par, &silent, folder, found, sizeof found), QG_OK);
  assert_string_equal(found, old);
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 3, 1, 0), QG_OK);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  assert_int_equal(count_files(folder), 1);
  assert_int_equal(count_rank_files(folder), files_under_test() == QG_CKPT_PER_RANK ? grid->size : 0);
}

/* --- rank files --- */

static void a_step_that_is_saved_again_replaces_its_rank_files(void **unused)
{
  (void)unused;
  for (int i = 0; i < 3; i++)
    assert_int_equal(save_step(par, &host_backend, folder, i % 2 ? in_blocks : round_robin, 1, 1, 0), QG_OK);
  check_only_the_old_one_is_there();
}

static void discarded_checkpoints_take_their_rank_files_along(void **unused)
{
  (void)unused;
  for (int step = 1; step <= 3; step++)
    assert_int_equal(save_step(par, &host_backend, folder, in_blocks, step, 3, 0), QG_OK);
  assert_int_equal(qg_ckpt_discard(par, folder, 1), QG_OK);
  check_only_the_old_one_is_there();
}

/* A checkpoint refers to its rank files by name alone: it can be moved with them, and not without. */
static void a_checkpoint_moves_with_its_rank_files(void **unused)
{
  (void)unused;
  char command[3 * FIXTURE_PATH], moved[FIXTURE_PATH], path[FIXTURE_PATH];
  int64_t wrong = -1;
  if (files_under_test() != QG_CKPT_PER_RANK) skip();
  snprintf(moved, sizeof moved, "%.900s/moved", folder);
  step_path(moved, 1, path);
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 1, 1, 0), QG_OK);
  snprintf(command, sizeof command, "mkdir %.900s && mv %.900s/step-* %.900s", moved, folder, moved);
  if (grid->rank == 0) assert_int_equal(system(command), 0);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  assert_int_equal(load_path(par, &host_backend, path, round_robin, 1, &wrong), QG_OK);
  assert_int_equal(wrong, 0);
  snprintf(command, sizeof command, "rm %.900s/*.rank-0", moved);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  if (grid->rank == 0) assert_int_equal(system(command), 0);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  assert_int_equal(qg_ckpt_verify(path), QG_ERR_CHECKPOINT);
  assert_non_null(strstr(qg_error_message(), "step-0000000001.h5.0.rank-0"));
}

static qg_status save_state(state *s, int step)
{
  qg_ckpt_options options = {folder, 1, 0, files_under_test()};
  qg_ckpt_meta meta = {.step = step};
  return qg_ckpt_save(par, &host_backend, &options, &meta, s->entries, s->count);
}

static void an_item_without_an_owner_or_with_two_is_refused(void **unused)
{
  (void)unused;
  state s;
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 1, 1, 0), QG_OK);
  make_state(&s, grid, in_blocks);
  s.entries[5].owner = false;
  assert_int_equal(save_state(&s, 2), QG_ERR_CHECKPOINT);
  assert_non_null(strstr(qg_error_message(), "\"weights/q_proj/codes\", item 4, is written by 0 ranks"));
  check_only_the_old_one_is_there();
  s.entries[5].owner = s.entries[5].data != NULL;
  s.entries[s.count - 1].owner = s.entries[s.count - 1].data != NULL;
  if (grid->size > 1) {
    assert_int_equal(save_state(&s, 2), QG_ERR_CHECKPOINT);
    assert_non_null(strstr(qg_error_message(), "\"weights/embed\", item 0, is written by 2 ranks"));
  }
  free_state(&s);
}

static void ranks_that_disagree_about_the_state_are_stopped(void **unused)
{
  (void)unused;
  state s;
  make_state(&s, grid, in_blocks);
  if (grid->rank == grid->size - 1) s.count--;
  qg_status status = save_state(&s, 2);
  s.count = MAX_ENTRIES;
  free_state(&s);
  assert_int_equal(status, grid->size > 1 ? QG_ERR_CHECKPOINT : QG_OK);
}

static void a_folder_that_cannot_be_made_is_named(void **unused)
{
  (void)unused;
  char file[FIXTURE_PATH];
  snprintf(file, sizeof file, "%.900s/file", folder);
  if (grid->rank == 0) assert_int_equal(qg_write_file_atomic(file, "x", 1), QG_OK);
  assert_int_equal(save_step(par, &host_backend, file, in_blocks, 1, 1, 0), QG_ERR_RESOURCE);
  assert_non_null(strstr(qg_error_message(), file));
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter, leave)

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      IN_FOLDER(any_partition_loads_what_any_other_saved),
      IN_FOLDER(devices_and_hosts_share_one_file),
      IN_FOLDER(weights_load_alone_under_any_partition),
      IN_FOLDER(what_is_asked_for_and_missing_is_an_error),
      IN_FOLDER(the_run_is_where_it_was),
      IN_FOLDER(the_file_is_hardly_larger_than_its_data),
      IN_FOLDER(packed_nibbles_count_as_their_bytes),
      IN_FOLDER(the_file_describes_itself),
      IN_FOLDER(the_newest_and_the_milestones_stay),
      IN_FOLDER(a_save_after_a_rewind_is_not_pushed_out_by_newer_files),
      IN_FOLDER(leftovers_of_killed_saves_are_cleared_and_other_files_stay),
      IN_FOLDER(a_device_that_fails_on_one_rank_fails_the_save_on_all),
      IN_FOLDER(a_full_disk_leaves_the_older_ones),
      IN_FOLDER(a_write_that_fails_on_one_rank_fails_the_save_on_all),
      IN_FOLDER(what_is_saved_in_the_background_is_the_state_of_its_begin),
      IN_FOLDER(a_save_ends_without_being_waited_for),
      IN_FOLDER(without_room_on_one_rank_all_ranks_write_at_once),
      IN_FOLDER(a_save_that_is_given_up_does_not_count),
      IN_FOLDER(a_step_that_is_saved_again_replaces_its_rank_files),
      IN_FOLDER(discarded_checkpoints_take_their_rank_files_along),
      IN_FOLDER(a_checkpoint_moves_with_its_rank_files),
      IN_FOLDER(an_item_without_an_owner_or_with_two_is_refused),
      IN_FOLDER(ranks_that_disagree_about_the_state_are_stopped),
      IN_FOLDER(a_folder_that_cannot_be_made_is_named),
  };
  par = mpi_test_begin(&argc, &argv);
  grid = qg_par_grid(par);
  int failures = cmocka_run_group_tests_name("ckpt", tests, NULL, NULL);
  return mpi_test_end(par, failures);
}
