#include "ckpt/names.h"

#include <stdio.h>
#include <string.h>

static qg_status check_length(int length, const char *folder)
{
  QG_CHECK(length < QG_CKPT_PATH, QG_ERR_CHECKPOINT,
           "the path of the checkpoint folder is too long: %.200s...", folder);
  return QG_OK;
}

qg_status qg_ckpt_path(const char *folder, int64_t step, const char *suffix, char path[QG_CKPT_PATH])
{
  return check_length(snprintf(path, QG_CKPT_PATH, "%s/step-%010lld.h5%s", folder, (long long)step, suffix),
                      folder);
}

bool qg_ckpt_name_parse(const char *name, const char *suffix, int64_t *step)
{
  long long value = -1;
  int end = 0;
  if (sscanf(name, "step-%lld.h5%n", &value, &end) != 1 || end == 0 || value < 0) return false;
  *step = value;
  char expected[64];
  snprintf(expected, sizeof expected, "step-%010lld.h5%s", value, suffix);
  return strcmp(name, expected) == 0;
}

void qg_ckpt_rank_file_name(const qg_ckpt_rank_files *files, int rank, char name[QG_CKPT_RANK_FILE_NAME])
{
  snprintf(name, QG_CKPT_RANK_FILE_NAME, "step-%010lld.h5.%d.rank-%d", (long long)files->step,
           files->generation, rank);
}

qg_status qg_ckpt_rank_file_path(const char *folder, const qg_ckpt_rank_files *files, int rank,
                                 char path[QG_CKPT_PATH])
{
  char name[QG_CKPT_RANK_FILE_NAME];
  qg_ckpt_rank_file_name(files, rank, name);
  return check_length(snprintf(path, QG_CKPT_PATH, "%s/%s", folder, name), folder);
}

bool qg_ckpt_rank_file_parse(const char *name, qg_ckpt_rank_files *files)
{
  long long step = -1;
  int generation = -1, rank = -1;
  char expected[QG_CKPT_RANK_FILE_NAME];
  if (sscanf(name, "step-%lld.h5.%d.rank-%d", &step, &generation, &rank) != 3) return false;
  *files = (qg_ckpt_rank_files){step, generation};
  qg_ckpt_rank_file_name(files, rank, expected);
  return step >= 0 && generation >= 0 && rank >= 0 && strcmp(name, expected) == 0;
}
