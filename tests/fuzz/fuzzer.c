/* The entry of libFuzzer. What counts is how a reader ends: by a status, or by a crash. */
#include "fuzz/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (qg_fuzz_read(data, size) != QG_OK) qg_error_clear();
  return 0;
}
