/* The little of SentencePiece (C++) that a C program needs. */
#ifndef QGALORE_TOOLS_SPM_SHIM_H
#define QGALORE_TOOLS_SPM_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "qgalore/base/status.h"

typedef struct qg_spm qg_spm;

/* QG_ERR_INPUT: there is no model at `path`, or it is not one. */
qg_status qg_spm_load(const char *path, qg_spm **out);
void qg_spm_free(qg_spm *spm);

int32_t qg_spm_pieces(const qg_spm *spm);
/* Ids of the special pieces; -1 if the model has none. */
int32_t qg_spm_bos(const qg_spm *spm);
int32_t qg_spm_eos(const qg_spm *spm);
int32_t qg_spm_unknown(const qg_spm *spm);
/* The piece that stands for a space alone, if the model puts a space before every text, so that a word is the
 * same at the start and in the middle; else -1. */
int32_t qg_spm_added_space(const qg_spm *spm);

/* Encodes UTF-8 text. *ids (owned by spm) is valid until the next call. */
qg_status qg_spm_encode(qg_spm *spm, const char *text, size_t bytes, const int32_t **ids, int64_t *count);

#ifdef __cplusplus
}
#endif

#endif
