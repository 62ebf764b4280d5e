/* The little of SentencePiece (C++) that a C program needs. */
#ifndef QGALORE_TOOLS_SPM_SHIM_H
#define QGALORE_TOOLS_SPM_SHIM_H

#include <stdbool.h>
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
typedef struct {
  const char *text;
  size_t bytes;
  bool continues; /* follows other text of its document: nothing is put before it that is not in the text */
} qg_spm_piece;

/* Encodes UTF-8 text. *ids (owned by spm) is valid until the next call. */
qg_status qg_spm_encode(qg_spm *spm, const qg_spm_piece *piece, const int32_t **ids, int64_t *count);
/* The text that ids of such a piece stand for; *text (owned by spm) is valid until the next call. */
qg_status qg_spm_decode(qg_spm *spm, bool continues, const int32_t *ids, int64_t count, const char **text, size_t *bytes);

#ifdef __cplusplus
}
#endif

#endif
