/* Token files of hostile structure; the bytes are the recipe. */
#include "fuzz/reader.h"
#include "fuzz/structure.h"
#include "qgalore/base.h"
#include "qgalore/data.h"

qg_status qg_fuzz_read(const uint8_t *data, size_t size)
{
  int32_t ids[64];
  qg_tokens *tokens = NULL;
  const char *path = qg_fuzz_structure("tests/fuzz/corpus/tokens/good-u16.h5", data, size, NULL);
  QG_CHECK(path, QG_ERR_RESOURCE, "no temporary file");
  QG_TRY(qg_tokens_open(path, 0, 1, &tokens));
  int64_t count = qg_min_i64(QG_COUNT_OF(ids), qg_tokens_get_info(tokens)->tokens);
  qg_status status = qg_tokens_read(tokens, 0, count, ids);
  qg_tokens_close(tokens);
  return status;
}
