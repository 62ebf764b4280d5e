/* The checkpoints of a run's folder: names and rotation. All local. */
#ifndef QG_CKPT_FOLDER_H
#define QG_CKPT_FOLDER_H

#include "qgalore/ckpt.h"

enum { QG_CKPT_PATH = 4096 };

/* Writes <folder>/step-<step>.h5 with `suffix` into `path`. */
qg_status qg_ckpt_path(const char *folder, int64_t step, const char *suffix, char path[QG_CKPT_PATH]);

/* Steps of the finished checkpoints, newest first; caller frees. A folder that does not exist has none. */
qg_status qg_ckpt_list(const char *folder, int64_t **steps, int64_t *count);

/* Deletes one checkpoint with its parts. What cannot be deleted costs space and nothing else. */
void qg_ckpt_delete(const char *folder, int64_t step);
/* Deletes what killed saves have left. No save may be under way. */
void qg_ckpt_delete_leftovers(const char *folder);

/* Deletes what keep_last and keep_every release among the checkpoints up to `newest`. */
void qg_ckpt_rotate(const qg_ckpt_options *options, int64_t newest);

#endif
