/* Promises of the small things: integers, text, files, clock, memory readings, log, timers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qgalore/base.h"
#include "qgalore/base/log.h"
#include "qgalore/base/timer.h"

static void a_count_is_narrowed_only_if_it_fits(void **state)
{
  (void)state;
  int out = 0;
  assert_int_equal(qg_narrow_int(INT_MAX, "rows", &out), QG_OK);
  assert_int_equal(out, INT_MAX);
  assert_int_equal(qg_narrow_int(INT_MIN, "rows", &out), QG_OK);
  assert_int_equal(out, INT_MIN);
  assert_int_equal(qg_narrow_int((int64_t)INT_MAX + 1, "rows of q_proj", &out), QG_ERR_RUNTIME);
  assert_non_null(strstr(qg_error_message(), "rows of q_proj is 2147483648"));
}

static void an_overflowing_product_of_sizes_is_refused(void **state)
{
  (void)state;
  size_t out = 0;
  assert_int_equal(qg_mul_size(1u << 31, 1u << 31, &out), QG_OK);
  assert_true(out == (size_t)1 << 62);
  assert_int_equal(qg_mul_size(SIZE_MAX / 2, 3, &out), QG_ERR_RESOURCE);
}

static void calloc_zeroes_and_names_what_it_could_not_get(void **state)
{
  (void)state;
  void *memory;
  assert_int_equal(qg_calloc(100, 8, "a table", &memory), QG_OK);
  for (int i = 0; i < 800; i++) assert_int_equal(((char *)memory)[i], 0);
  free(memory);
  assert_int_equal(qg_calloc(0, 8, "nothing", &memory), QG_OK);
  assert_non_null(memory);
  free(memory);
  assert_int_equal(qg_calloc(SIZE_MAX / 2, 4, "the moon", &memory), QG_ERR_RESOURCE);
  assert_null(memory);
}

static void ceil_div_rounds_up(void **state)
{
  (void)state;
  assert_int_equal(qg_ceil_div(0, 256), 0);
  assert_int_equal(qg_ceil_div(256, 256), 1);
  assert_int_equal(qg_ceil_div(257, 256), 2);
}

static void bytes_read_well(void **state)
{
  (void)state;
  char b[32];
  assert_string_equal(qg_format_bytes(b, sizeof b, 0), "0 B");
  assert_string_equal(qg_format_bytes(b, sizeof b, 1023), "1023 B");
  assert_string_equal(qg_format_bytes(b, sizeof b, 1024), "1.00 KiB");
  assert_string_equal(qg_format_bytes(b, sizeof b, 1.23 * 1024 * 1024 * 1024), "1.23 GiB");
  assert_string_equal(qg_format_bytes(b, sizeof b, 45.6 * 1024 * 1024), "45.6 MiB");
  assert_string_equal(qg_format_bytes(b, sizeof b, 1024 * 1024 - 1), "1.00 MiB");
}

static void counts_read_well(void **state)
{
  (void)state;
  char b[32];
  assert_string_equal(qg_format_count(b, sizeof b, 42), "42");
  assert_string_equal(qg_format_count(b, sizeof b, 60.1e6), "60.1 M");
  assert_string_equal(qg_format_count(b, sizeof b, 6.738e9), "6.74 B");
  assert_string_equal(qg_format_count(b, sizeof b, 999.9e6), "1.00 B");
}

static void seconds_read_well(void **state)
{
  (void)state;
  char b[32];
  assert_string_equal(qg_format_seconds(b, sizeof b, 12.34), "12.3s");
  assert_string_equal(qg_format_seconds(b, sizeof b, 59.97), "1m00s");
  assert_string_equal(qg_format_seconds(b, sizeof b, 200), "3m20s");
  assert_string_equal(qg_format_seconds(b, sizeof b, 3599.7), "1h00m");
  assert_string_equal(qg_format_seconds(b, sizeof b, 4 * 3600 + 5 * 60 + 29), "4h05m");
  assert_string_equal(qg_format_seconds(b, sizeof b, 2 * 86400 + 3 * 3600), "2d03h");
  assert_string_equal(qg_format_seconds(b, sizeof b, 0.0 / 0.0), "unknown");
}

static void the_clock_runs_forward_in_seconds(void **state)
{
  (void)state;
  double before = qg_now();
  usleep(20000);
  double passed = qg_now() - before;
  assert_true(passed >= 0.0199 && passed < 5);
}

static void memory_readings_see_a_touched_block(void **state)
{
  (void)state;
  size_t block = 64u << 20, before = qg_memory_resident();
  char *memory = malloc(block);
  assert_non_null(memory);
  for (size_t i = 0; i < block; i += 4096) ((volatile char *)memory)[i] = 1;
  size_t during = qg_memory_resident();
  free(memory);
  assert_true(during >= before + block / 2);
  /* The kernel's peak lags behind by its per-processor counters. */
  assert_true(qg_memory_peak() >= during - block / 8);
}

/* --- files: each test gets a fresh folder as its working folder --- */

static char scratch[64];

static int enter_scratch_folder(void **state)
{
  (void)state;
  snprintf(scratch, sizeof scratch, "%s", "/tmp/qgalore-test-XXXXXX");
  return mkdtemp(scratch) && chdir(scratch) == 0 ? 0 : -1;
}

static int leave_scratch_folder(void **state)
{
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", scratch);
  return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void read_text(const char *path, char *text, size_t size)
{
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  text[fread(text, 1, size - 1, file)] = '\0';
  fclose(file);
}

static void folders_are_made_with_their_parents(void **state)
{
  (void)state;
  struct stat info;
  assert_int_equal(qg_make_folder("a//b/c/"), QG_OK);
  assert_int_equal(stat("a/b/c", &info), 0);
  assert_int_equal(qg_make_folder("a/b/c"), QG_OK);
  assert_int_equal(qg_make_folder(scratch), QG_OK);
}

static void a_file_in_the_way_of_a_folder_is_named(void **state)
{
  (void)state;
  assert_int_equal(qg_write_file_atomic("plain", "x", 1), QG_OK);
  assert_int_equal(qg_make_folder("plain/sub"), QG_ERR_RESOURCE);
  assert_non_null(strstr(qg_error_message(), "plain"));
  assert_int_equal(qg_make_folder(""), QG_ERR_RESOURCE);
}

static void an_atomic_write_replaces_the_whole_file(void **state)
{
  (void)state;
  char text[64];
  assert_int_equal(qg_write_file_atomic("status", "a long old text\n", 16), QG_OK);
  assert_int_equal(qg_write_file_atomic("status", "new\n", 4), QG_OK);
  read_text("status", text, sizeof text);
  assert_string_equal(text, "new\n");
  snprintf(text, sizeof text, "status.%d.tmp", (int)getpid());
  assert_int_equal(access(text, F_OK), -1);
}

static void a_failed_write_leaves_the_old_file(void **state)
{
  (void)state;
  char text[64];
  assert_int_equal(qg_write_file_atomic("status", "old", 3), QG_OK);
  /* A folder with the temporary name makes the write fail for every user. */
  snprintf(text, sizeof text, "status.%d.tmp", (int)getpid());
  assert_int_equal(mkdir(text, 0777), 0);
  assert_int_equal(qg_write_file_atomic("status", "new", 3), QG_ERR_RESOURCE);
  assert_non_null(strstr(qg_error_message(), "status"));
  read_text("status", text, sizeof text);
  assert_string_equal(text, "old");
  assert_int_equal(qg_write_file_atomic("missing/status", "new", 3), QG_ERR_RESOURCE);
}

static void the_folder_of_a_path_can_be_synced(void **state)
{
  (void)state;
  assert_int_equal(qg_make_folder("d"), QG_OK);
  assert_int_equal(qg_sync_parent("d/file"), QG_OK);
  assert_int_equal(qg_sync_parent("file"), QG_OK);
  assert_int_equal(qg_sync_parent("/file"), QG_OK);
  assert_int_equal(qg_sync_parent("nowhere/file"), QG_ERR_RESOURCE);
}

static void only_the_root_rank_logs(void **state)
{
  (void)state;
  char text[64];
  FILE *file = fopen("log", "w");
  qg_log root = qg_log_make(file, true), other = qg_log_make(file, false);
  assert_false(root.terminal);
  qg_log_info(&root, "step %d", 7);
  qg_log_warn(&root, "loss is %s", "high");
  qg_log_raw(&root, "|");
  qg_log_info(&other, "unseen");
  qg_log_warn(&other, "unseen");
  qg_log_raw(&other, "unseen");
  /* Read before fclose: what was logged is already on its way. */
  read_text("log", text, sizeof text);
  fclose(file);
  assert_string_equal(text, "step 7\nwarning: loss is high\n|");
}

static void timers_add_up_per_phase(void **state)
{
  (void)state;
  qg_timers timers = {0};
  for (int i = 0; i < 2; i++) {
    qg_timer_start(&timers, QG_PHASE_FORWARD);
    usleep(10000);
    qg_timer_stop(&timers, QG_PHASE_FORWARD);
  }
  assert_true(timers.seconds[QG_PHASE_FORWARD] >= 0.0199);
  assert_true(timers.seconds[QG_PHASE_BACKWARD] == 0);
}

enum { PAUSE = 10000 }; /* microseconds */

/* A phase that lasts a pause, inside of whatever runs. */
static void pause_in(qg_timers *timers, qg_phase phase)
{
  qg_timer_start(timers, phase);
  usleep(PAUSE);
  qg_timer_stop(timers, phase);
}

static void a_moment_belongs_to_the_innermost_phase(void **state)
{
  (void)state;
  qg_timers timers = {0};
  qg_timer_start(&timers, QG_PHASE_BACKWARD);
  pause_in(&timers, QG_PHASE_UPDATE);
  assert_int_equal(timers.running, QG_PHASE_BACKWARD + 1);
  qg_timer_stop(&timers, QG_PHASE_BACKWARD);
  assert_int_equal(timers.running, 0);
  assert_true(timers.seconds[QG_PHASE_UPDATE] >= 1e-6 * PAUSE);
  assert_true(timers.seconds[QG_PHASE_BACKWARD] < timers.seconds[QG_PHASE_UPDATE]);
}

static void all_of_validation_is_validation(void **state)
{
  (void)state;
  qg_timers timers = {0};
  qg_timer_start(&timers, QG_PHASE_VALIDATE);
  pause_in(&timers, QG_PHASE_FORWARD);
  qg_timer_stop(&timers, QG_PHASE_VALIDATE);
  assert_true(timers.seconds[QG_PHASE_VALIDATE] >= 1e-6 * PAUSE);
  assert_true(timers.seconds[QG_PHASE_FORWARD] == 0);
  pause_in(&timers, QG_PHASE_FORWARD);
  assert_true(timers.seconds[QG_PHASE_FORWARD] >= 1e-6 * PAUSE);
}

/* What a device was told: "forward 1 end -1". */
static void hear_begin(void *device, const char *name, int phase)
{
  char *text = device;
  sprintf(text + strlen(text), "%s %d ", name, phase);
}

static void hear_end(void *device, int phase)
{
  char *text = device;
  sprintf(text + strlen(text), "end %d ", phase);
}

static void a_device_is_told_the_phase(void **state)
{
  (void)state;
  char heard[256] = "";
  qg_timers timers = {.clock = {hear_begin, hear_end, heard}};
  qg_timer_start(&timers, QG_PHASE_BACKWARD);
  qg_timer_start(&timers, QG_PHASE_REFRESH);
  qg_timer_stop(&timers, QG_PHASE_REFRESH);
  qg_timer_stop(&timers, QG_PHASE_BACKWARD);
  assert_string_equal(heard, "backward 2 subspaces 5 end 2 end -1 ");
}

static void every_phase_has_its_own_name(void **state)
{
  (void)state;
  for (int i = 0; i < QG_PHASE_COUNT; i++) {
    assert_non_null(qg_phase_name((qg_phase)i));
    for (int j = 0; j < i; j++)
      assert_string_not_equal(qg_phase_name((qg_phase)i), qg_phase_name((qg_phase)j));
  }
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, enter_scratch_folder, leave_scratch_folder)

static void an_output_is_no_input_and_no_device(void **state)
{
  (void)state;
  const char *const inputs[] = {"other", "text"};
  assert_int_equal(qg_write_file_atomic("text", "words", 5), QG_OK);
  assert_int_equal(link("text", "twin"), 0);
  assert_int_equal(symlink("text", "link"), 0);
  assert_int_equal(symlink("nowhere", "dangling"), 0);
  assert_int_equal(mkfifo("pipe", 0600), 0);
  const char *const refused[] = {"text", "twin", "link", "./text", "pipe", "dangling", "."};
  for (int i = 0; i < QG_COUNT_OF(refused); i++) {
    if (qg_check_output("--out", refused[i], inputs, 2) != QG_ERR_INPUT)
      fail_msg("%s may be written", refused[i]);
    assert_non_null(strstr(qg_error_message(), refused[i]));
  }
  assert_int_equal(qg_check_output("--out", "new", inputs, 2), QG_OK);
  assert_int_equal(qg_check_output("--out", "text", inputs, 1), QG_OK); /* only an old result */
}

static void only_regular_files_are_opened(void **state)
{
  (void)state;
  int file;
  assert_int_equal(qg_write_file_atomic("text", "words", 5), QG_OK);
  assert_int_equal(mkfifo("pipe", 0600), 0);
  assert_int_equal(qg_open_regular("text", &file), QG_OK);
  close(file);
  assert_int_equal(qg_open_regular("pipe", &file), QG_ERR_INPUT); /* and at once */
  assert_int_equal(qg_open_regular("none", &file), QG_ERR_INPUT);
}

static void control_characters_do_not_reach_a_terminal(void **state)
{
  (void)state;
  char text[] = "a\033[31mb\007\177\xc3\xa9";
  qg_text_make_printable(text);
  assert_string_equal(text, "a?[31mb??\xc3\xa9");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_count_is_narrowed_only_if_it_fits),
      cmocka_unit_test(an_overflowing_product_of_sizes_is_refused),
      cmocka_unit_test(calloc_zeroes_and_names_what_it_could_not_get),
      cmocka_unit_test(ceil_div_rounds_up),
      cmocka_unit_test(bytes_read_well),
      cmocka_unit_test(counts_read_well),
      cmocka_unit_test(seconds_read_well),
      cmocka_unit_test(the_clock_runs_forward_in_seconds),
      cmocka_unit_test(memory_readings_see_a_touched_block),
      IN_SCRATCH(folders_are_made_with_their_parents),
      IN_SCRATCH(a_file_in_the_way_of_a_folder_is_named),
      IN_SCRATCH(an_atomic_write_replaces_the_whole_file),
      IN_SCRATCH(a_failed_write_leaves_the_old_file),
      IN_SCRATCH(the_folder_of_a_path_can_be_synced),
      IN_SCRATCH(only_the_root_rank_logs),
      cmocka_unit_test(timers_add_up_per_phase),
      cmocka_unit_test(a_moment_belongs_to_the_innermost_phase),
      cmocka_unit_test(all_of_validation_is_validation),
      cmocka_unit_test(a_device_is_told_the_phase),
      cmocka_unit_test(every_phase_has_its_own_name),
      IN_SCRATCH(an_output_is_no_input_and_no_device),
      IN_SCRATCH(only_regular_files_are_opened),
      cmocka_unit_test(control_characters_do_not_reach_a_terminal),
  };
  return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
