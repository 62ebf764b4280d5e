/* Reading of a hostile token file. */
#ifndef QG_TESTS_READ_TOKENS_H
#define QG_TESTS_READ_TOKENS_H

#include "qgalore/base.h"
#include "qgalore/data.h"

/* Opens it as data.train is, and reads its first tokens. path NULL: it could not be written. */
static inline qg_status fuzz_read_tokens(const char *path)
{
  int32_t ids[64];
  qg_tokens *tokens = NULL;
  QG_CHECK(path, QG_ERR_RESOURCE, "no temporary file");
  QG_TRY(qg_tokens_open(path, 0, 1, &tokens));
  (void)qg_tokens_check(tokens);
  int64_t count = qg_min_i64(QG_COUNT_OF(ids), qg_tokens_get_info(tokens)->tokens);
  qg_status status = qg_tokens_read(tokens, 0, count, ids);
  qg_tokens_close(tokens);
  return status;
}

#endif
