/* HDF5 1.10 reads past its buffers in some damaged and hostile files. Token files come from anywhere, so a
 * process of its own reads their structure and hands back a few numbers; the tokens themselves are read
 * without HDF5. */
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "data/token_layout.h"
#include "qgalore/base.h"
#include "qgalore/subprocess.h"

typedef struct {
  char path[PATH_MAX];
  int64_t bytes;
} request;

typedef struct {
  qg_token_layout layout;
  qg_tokens_info info;
} structure;

static qg_status parse(const void *given, void *result)
{
  const request *r = given;
  structure *s = result;
  return qg_token_layout_parse(r->path, r->bytes, &s->layout, &s->info);
}

qg_status qg_token_layout_read(const char *path, int fd, qg_token_layout *layout, qg_tokens_info *info)
{
  request r = {0};
  structure s;
  bool answered;
  struct stat stat_buffer;
  QG_CHECK(fstat(fd, &stat_buffer) == 0 && S_ISREG(stat_buffer.st_mode), QG_ERR_INPUT,
           "%s: not a regular file: name a file written by qgalore_tok", path);
  QG_CHECK(strlen(path) < sizeof r.path, QG_ERR_INPUT, "%.200s...: the path is too long", path);
  strcpy(r.path, path);
  r.bytes = stat_buffer.st_size;
  QG_TRY(qg_subprocess_run(parse, &r, sizeof r, &s, sizeof s, &answered));
  QG_CHECK(answered, QG_ERR_INPUT, "%s: HDF5 cannot cope with its structure, it is damaged: copy it again",
           path);
  *layout = s.layout;
  *info = s.info;
  return QG_OK;
}
