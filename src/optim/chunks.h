/* Parts of a parameter that can be updated on their own. */
#ifndef QG_OPTIM_CHUNKS_H
#define QG_OPTIM_CHUNKS_H

#include "optim/context.h"

/* Rows of about backend->update_elements elements, but whole groups, or all rows. */
int64_t qg_chunk_rows(const qg_optim_context *o, int64_t rows, int64_t cols, int64_t group);
/* The same in elements, whole moment blocks. */
int64_t qg_chunk_elements(const qg_optim_context *o);

#endif
