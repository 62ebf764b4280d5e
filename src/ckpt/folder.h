/* The checkpoints of a run's folder: list, deletion and rotation. All local. */
#ifndef QG_CKPT_FOLDER_H
#define QG_CKPT_FOLDER_H

#include "qgalore/ckpt.h"

/* Steps of the finished checkpoints, newest first; caller frees. A folder that does not exist has none. */
qg_status qg_ckpt_list(const char *folder, int64_t **steps, int64_t *count);

/* Deletes one checkpoint with its rank files. What cannot be deleted costs space and nothing else. */
void qg_ckpt_delete(const char *folder, int64_t step);
/* Deletes what killed saves have left. No save may be under way. */
void qg_ckpt_delete_leftovers(const char *folder);

/* Deletes what keep_last and keep_every release among the checkpoints up to `newest`. */
void qg_ckpt_rotate(const qg_ckpt_options *options, int64_t newest);

#endif
