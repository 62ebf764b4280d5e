#include "ckpt/rank_files.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

typedef void (*visitor)(void *context, const char *path, const qg_ckpt_rank_files *files);

/* Calls `visit` for each rank file in a folder; a folder that cannot be read has none. */
static void for_each_rank_file(const char *folder, visitor visit, void *context)
{
  char path[QG_CKPT_PATH];
  qg_ckpt_rank_files files;
  DIR *directory = opendir(folder);
  if (!directory) return;
  for (struct dirent *entry; (entry = readdir(directory));)
    if (qg_ckpt_rank_file_parse(entry->d_name, &files) &&
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < QG_CKPT_PATH)
      visit(context, path, &files);
  closedir(directory);
}

static void raise_generation(void *context, const char *path, const qg_ckpt_rank_files *files)
{
  qg_ckpt_rank_files *highest = context;
  (void)path;
  if (files->step == highest->step && files->generation > highest->generation)
    highest->generation = files->generation;
}

int qg_ckpt_unused_generation(const char *folder, int64_t step)
{
  qg_ckpt_rank_files highest = {step, -1};
  for_each_rank_file(folder, raise_generation, &highest);
  return highest.generation + 1;
}

static void delete_other(void *context, const char *path, const qg_ckpt_rank_files *files)
{
  const qg_ckpt_rank_files *kept = context;
  if (files->step == kept->step && files->generation != kept->generation) unlink(path);
}

void qg_ckpt_rank_files_delete(const char *folder, int64_t step, int keep)
{
  qg_ckpt_rank_files kept = {step, keep};
  for_each_rank_file(folder, delete_other, &kept);
}

static void delete_orphan(void *folder, const char *path, const qg_ckpt_rank_files *files)
{
  char checkpoint[QG_CKPT_PATH];
  if (qg_ckpt_path(folder, files->step, "", checkpoint) == QG_OK && access(checkpoint, F_OK) != 0)
    unlink(path);
}

void qg_ckpt_rank_files_delete_orphans(const char *folder)
{
  for_each_rank_file(folder, delete_orphan, (void *)folder);
}
