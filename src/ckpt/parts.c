#include "ckpt/parts.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "qgalore/base.h"

void qg_ckpt_part_name(const qg_ckpt_part *part, int rank, char name[QG_CKPT_PART_NAME])
{
  snprintf(name, QG_CKPT_PART_NAME, "step-%010lld.h5.%d.rank-%d", (long long)part->step, part->generation,
           rank);
}

qg_status qg_ckpt_part_path(const char *folder, const qg_ckpt_part *part, int rank, char path[QG_CKPT_PATH])
{
  char name[QG_CKPT_PART_NAME];
  qg_ckpt_part_name(part, rank, name);
  int length = snprintf(path, QG_CKPT_PATH, "%s/%s", folder, name);
  QG_CHECK(length < QG_CKPT_PATH, QG_ERR_CHECKPOINT,
           "the path of the checkpoint folder is too long: %.200s...", folder);
  return QG_OK;
}

bool qg_ckpt_part_parse(const char *name, qg_ckpt_part *part)
{
  long long step = -1;
  int generation = -1, rank = -1;
  char expected[QG_CKPT_PART_NAME];
  if (sscanf(name, "step-%lld.h5.%d.rank-%d", &step, &generation, &rank) != 3) return false;
  *part = (qg_ckpt_part){step, generation};
  qg_ckpt_part_name(part, rank, expected);
  return step >= 0 && generation >= 0 && rank >= 0 && strcmp(name, expected) == 0;
}

/* Calls `visit` for each part in a folder; one that cannot be read has none. */
typedef void (*visitor)(void *context, const char *path, const qg_ckpt_part *part);

static void visit_parts(const char *folder, visitor visit, void *context)
{
  char path[QG_CKPT_PATH];
  qg_ckpt_part part;
  DIR *directory = opendir(folder);
  if (!directory) return;
  for (struct dirent *entry; (entry = readdir(directory));)
    if (qg_ckpt_part_parse(entry->d_name, &part) &&
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < QG_CKPT_PATH)
      visit(context, path, &part);
  closedir(directory);
}

static void raise_generation(void *context, const char *path, const qg_ckpt_part *part)
{
  qg_ckpt_part *highest = context;
  (void)path;
  if (part->step == highest->step && part->generation > highest->generation)
    highest->generation = part->generation;
}

int qg_ckpt_part_unused(const char *folder, int64_t step)
{
  qg_ckpt_part highest = {step, -1};
  visit_parts(folder, raise_generation, &highest);
  return highest.generation + 1;
}

static void delete_other(void *context, const char *path, const qg_ckpt_part *part)
{
  const qg_ckpt_part *kept = context;
  if (part->step == kept->step && part->generation != kept->generation) unlink(path);
}

void qg_ckpt_part_delete(const char *folder, int64_t step, int keep)
{
  qg_ckpt_part kept = {step, keep};
  visit_parts(folder, delete_other, &kept);
}

static void delete_orphan(void *folder, const char *path, const qg_ckpt_part *part)
{
  char owner[QG_CKPT_PATH];
  if (qg_ckpt_path(folder, part->step, "", owner) == QG_OK && access(owner, F_OK) != 0) unlink(path);
}

void qg_ckpt_part_delete_orphans(const char *folder)
{
  visit_parts(folder, delete_orphan, (void *)folder);
}
