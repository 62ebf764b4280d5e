/* Token files, opened as data.train is. */
#include "fuzz/read_tokens.h"
#include "fuzz/reader.h"

qg_status qg_fuzz_read(const uint8_t *data, size_t size)
{
  return fuzz_read_tokens(qg_fuzz_file(data, size));
}
