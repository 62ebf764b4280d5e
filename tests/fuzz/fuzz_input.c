/* Input files, and the input inside a checkpoint. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/reader.h"
#include "qgalore/base.h"
#include "qgalore/config.h"

/* A text ends at its first NUL, so this sees less than the file does. */
static qg_status compare_with_saved(const qg_config *config, const uint8_t *data, size_t size)
{
  char *text;
  QG_TRY(qg_calloc(size + 1, 1, "a text", (void **)&text));
  memcpy(text, data, size);
  qg_status status = qg_config_check_restart(config, text);
  free(text);
  return status;
}

static qg_status print_resolved(const qg_config *config)
{
  char *text = NULL;
  qg_status status = qg_config_resolved(config, &text);
  free(text);
  return status;
}

qg_status qg_fuzz_read(const uint8_t *data, size_t size)
{
  static qg_config config; /* large for a stack */
  const char *path = qg_fuzz_file(data, size);
  QG_CHECK(path, QG_ERR_RESOURCE, "no temporary file");
  QG_TRY(qg_config_load(path, 0, NULL, &config));
  QG_TRY(print_resolved(&config));
  return compare_with_saved(&config, data, size);
}
