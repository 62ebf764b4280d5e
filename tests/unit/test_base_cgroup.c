/* The memory limit of a control group: the least of its own and of all above it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cgroup.h"
#include "qgalore/base.h"

static char root[] = "/tmp/qg_cgroup_XXXXXX";

static void write_file(const char *folder, const char *name, const char *text)
{
  char path[256];
  snprintf(path, sizeof path, "%s/%s", root, folder);
  assert_int_equal(qg_make_folder(path), QG_OK);
  snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
  assert_int_equal(qg_write_file_atomic(path, text, strlen(text)), QG_OK);
}

/* What a process in the groups of `membership` may use. */
static size_t limit(const char *membership)
{
  char path[256];
  write_file("", "membership", membership);
  snprintf(path, sizeof path, "%s/membership", root);
  return qg_cgroup_memory_limit(path, root);
}

static void without_groups_there_is_no_limit(void **state)
{
  (void)state;
  assert_true(limit("") == SIZE_MAX);
  assert_true(limit("0::/nowhere\n") == SIZE_MAX);
  assert_true(qg_cgroup_memory_limit("/nonexistent", root) == SIZE_MAX);
}

static void the_least_limit_on_the_way_up_counts(void **state)
{
  (void)state;
  write_file("slurm/job", "memory.max", "4096000\n");
  write_file("slurm/job/step", "memory.max", "max\n");
  write_file("slurm/job/step/task", "memory.max", "8192000\n");
  assert_true(limit("0::/slurm/job/step/task\n") == 4096000);
  assert_true(limit("0::/slurm/job/step\n") == 4096000);
  assert_true(limit("0::/slurm\n") == SIZE_MAX);
}

static void version_1_has_a_folder_for_each_controller(void **state)
{
  (void)state;
  write_file("memory/lsf/job", "memory.limit_in_bytes", "1000\n");
  write_file("cpu/lsf/job", "memory.limit_in_bytes", "1\n");
  assert_true(limit("4:cpu,cpuacct:/lsf/job\n3:memory:/lsf/job\n1:name=systemd:/lsf/job\n") == 1000);
}

/* As a container sees itself. */
static void the_group_may_be_the_root(void **state)
{
  (void)state;
  write_file("", "memory.max", "7000\n");
  assert_true(limit("0::/\n") == 7000);
  assert_true(limit("0::/outside/of/what/is/mounted\n") == 7000);
}

static int make_root(void **state)
{
  (void)state;
  return mkdtemp(root) ? 0 : 1;
}

static int remove_root(void **state)
{
  char command[64];
  (void)state;
  snprintf(command, sizeof command, "rm -r %s", root);
  return system(command);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_groups_there_is_no_limit),
      cmocka_unit_test(the_least_limit_on_the_way_up_counts),
      cmocka_unit_test(version_1_has_a_folder_for_each_controller),
      cmocka_unit_test(the_group_may_be_the_root),
  };
  return cmocka_run_group_tests(tests, make_root, remove_root);
}
