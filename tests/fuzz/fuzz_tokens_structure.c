/* Token files of hostile structure; the bytes are the recipe. */
#include "fuzz/read_tokens.h"
#include "fuzz/reader.h"
#include "fuzz/structure.h"

qg_status qg_fuzz_read(const uint8_t *data, size_t size)
{
  return fuzz_read_tokens(qg_fuzz_structure("tests/fuzz/corpus/tokens/good-u16.h5", data, size, NULL));
}
