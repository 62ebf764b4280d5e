/* qgalore_rdata: texts out of the data base of an R package, without R.
 *
 * A lazy-load data base is a pair of files (R's lazyload code, tools:::makeLazyLoadDB): NAME.rdx, a gzipped
 * serialised list that gives each object's (position, length) in NAME.rdb, and there for each object a
 * big-endian length and a zlib stream of the serialised object. */
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "qgalore/base.h"
#include "tools/r_serialize.h"

static const char help[] =
    "Usage: qgalore_rdata FILE.rdb          list the objects\n"
    "       qgalore_rdata FILE.rdb OBJECT   print a character vector, one line for each element\n"
    "Reads the data base of an R package (FILE.rdx lies beside FILE.rdb); R is not needed.\n"
    "\n"
    "  -h, --help      show this text\n"
    "  -V, --version   show the version\n"
    "\n"
    "Exit status: 0 done, 1 cannot print, 2 wrong usage or a file that cannot be read, 4 no memory.\n";

/* No index and no novel comes near; keeps a damaged length from asking for the whole memory. */
enum { MOST_BYTES = 1 << 30, MOST_INDEX_BYTES = 1 << 24 };

typedef struct {
  unsigned char *data; /* owned */
  size_t bytes;
} blob;

static qg_status read_part(const char *path, FILE *file, int64_t position, size_t bytes, blob *out)
{
  void *memory;
  QG_TRY(qg_calloc(bytes + 1, 1, path, &memory));
  *out = (blob){.data = memory, .bytes = bytes};
  bool complete = fseeko(file, position, SEEK_SET) == 0 && fread(out->data, 1, bytes, file) == bytes;
  QG_CHECK(complete, QG_ERR_INPUT, "%s: there are no %zu bytes at position %lld: the file is truncated", path,
           bytes, (long long)position);
  return QG_OK;
}

/* bytes < 0: to the end of the file. */
static qg_status read_file(const char *path, int64_t position, int64_t bytes, blob *out)
{
  FILE *file = fopen(path, "rbe");
  QG_CHECK(file, QG_ERR_INPUT, "cannot open %s: %s", path, strerror(errno));
  qg_status status = QG_OK;
  QG_CHECK_OUT(fseeko(file, 0, SEEK_END) == 0, QG_ERR_INPUT, "cannot read %s: %s", path, strerror(errno));
  if (bytes < 0) bytes = ftello(file) - position;
  QG_CHECK_OUT(bytes > 0 && bytes <= MOST_BYTES, QG_ERR_INPUT,
               "%s: %lld bytes at position %lld cannot be right", path, (long long)bytes,
               (long long)position);
  QG_TRY_OUT(read_part(path, file, position, (size_t)bytes, out));
out:
  fclose(file);
  return status;
}

/* Inflates a gzip or zlib stream into at most `most` bytes. */
static qg_status inflate_blob(const char *path, const unsigned char *data, size_t bytes, size_t most,
                              blob *out)
{
  void *memory;
  QG_TRY(qg_calloc(most, 1, path, &memory));
  out->data = memory;
  z_stream stream = {.next_in = (unsigned char *)data,
                     .avail_in = (uInt)bytes,
                     .next_out = out->data,
                     .avail_out = (uInt)most};
  enum { GZIP_OR_ZLIB = 32 };
  QG_CHECK(inflateInit2(&stream, MAX_WBITS + GZIP_OR_ZLIB) == Z_OK, QG_ERR_RESOURCE, "zlib cannot start");
  int result = inflate(&stream, Z_FINISH);
  out->bytes = stream.total_out;
  inflateEnd(&stream);
  QG_CHECK(result == Z_STREAM_END, QG_ERR_INPUT, "%s: the compressed data are damaged or not of zlib", path);
  return QG_OK;
}

/* The index of a data base: a list of objects' (position, length). */
typedef struct {
  char *rdb, *rdx; /* paths; owned */
  blob data;
  r_reader reader;
  const r_object *variables;
} r_index;

static qg_status name_files(const char *rdb, r_index *index)
{
  size_t length = strlen(rdb);
  QG_CHECK(length > 4 && strcmp(rdb + length - 4, ".rdb") == 0, QG_ERR_INPUT,
           "%s: the name does not end in .rdb", rdb);
  index->rdb = strdup(rdb);
  index->rdx = strdup(rdb);
  QG_CHECK(index->rdb && index->rdx, QG_ERR_RESOURCE, "no host memory for the path %s", rdb);
  index->rdx[length - 1] = 'x';
  return QG_OK;
}

static qg_status find_variables(r_index *index, const r_object *root)
{
  const r_object *compressed = r_object_element(root, "compressed");
  bool zlib = compressed && compressed->integers && compressed->count == 1 && compressed->integers[0] == 1;
  QG_CHECK(zlib, QG_ERR_INPUT, "%s: the objects are not compressed with zlib, which is all that is supported",
           index->rdx);
  index->variables = r_object_element(root, "variables");
  bool named = index->variables && index->variables->type == R_LIST && index->variables->names &&
               index->variables->names->type == R_STRINGS &&
               index->variables->names->count == index->variables->count;
  QG_CHECK(named, QG_ERR_INPUT, "%s: not the index of a data base", index->rdx);
  return QG_OK;
}

static qg_status load_index(const char *rdb, r_index *index)
{
  qg_status status = QG_OK;
  blob packed = {0};
  r_object *root;
  QG_TRY_OUT(name_files(rdb, index));
  QG_TRY_OUT(read_file(index->rdx, 0, -1, &packed));
  QG_TRY_OUT(inflate_blob(index->rdx, packed.data, packed.bytes, MOST_INDEX_BYTES, &index->data));
  QG_TRY_OUT(r_reader_parse(&index->reader, index->rdx, index->data.data, index->data.bytes, &root));
  QG_TRY_OUT(find_variables(index, root));
out:
  free(packed.data);
  return status;
}

static void free_index(r_index *index)
{
  r_reader_free(&index->reader);
  free(index->data.data);
  free(index->rdx);
  free(index->rdb);
}

static void print_text(const r_object *text)
{
  fwrite(text->text, 1, (size_t)text->count, stdout);
  putchar('\n');
}

static qg_status list_objects(const r_index *index)
{
  const r_object *names = index->variables->names;
  for (int64_t i = 0; i < names->count; i++)
    if (names->items[i]->type == R_CHARACTER) print_text(names->items[i]);
  return QG_OK;
}

/* The serialised bytes of one object. */
static qg_status load_object(const r_index *index, const char *name, blob *out)
{
  const r_object *place = r_object_element(index->variables, name);
  QG_CHECK(place && place->type == R_INTEGER && place->count == 2, QG_ERR_INPUT,
           "%s: there is no object %s; qgalore_rdata %s lists them", index->rdb, name, index->rdb);
  qg_status status = QG_OK;
  blob packed = {0};
  uint32_t size;
  QG_TRY_OUT(read_file(index->rdb, place->integers[0], place->integers[1], &packed));
  QG_CHECK_OUT(packed.bytes > sizeof size, QG_ERR_INPUT, "%s: the record of %s is too short", index->rdb,
               name);
  memcpy(&size, packed.data, sizeof size);
  size = be32toh(size);
  QG_CHECK_OUT(size > 0 && size <= MOST_BYTES, QG_ERR_INPUT, "%s: the length of %s cannot be right",
               index->rdb, name);
  QG_TRY_OUT(inflate_blob(index->rdb, packed.data + sizeof size, packed.bytes - sizeof size, size, out));
out:
  free(packed.data);
  return status;
}

static qg_status print_object(const r_index *index, const char *name)
{
  qg_status status = QG_OK;
  blob data = {0};
  r_reader reader = {0};
  r_object *object;
  QG_TRY_OUT(load_object(index, name, &data));
  QG_TRY_OUT(r_reader_parse(&reader, index->rdb, data.data, data.bytes, &object));
  QG_CHECK_OUT(object->type == R_STRINGS, QG_ERR_INPUT, "%s: %s is not a character vector", index->rdb, name);
  for (int64_t i = 0; i < object->count; i++)
    if (object->items[i]->type == R_CHARACTER) print_text(object->items[i]);
out:
  r_reader_free(&reader);
  free(data.data);
  return status;
}

static qg_status run(int argc, char **argv)
{
  QG_CHECK(argc == 2 || argc == 3, QG_ERR_INPUT, "give a FILE.rdb and at most one object; --help explains");
  r_index index = {0};
  qg_status status = load_index(argv[1], &index);
  if (status == QG_OK) status = argc == 3 ? print_object(&index, argv[2]) : list_objects(&index);
  free_index(&index);
  return status;
}

static bool asks_for(int argc, char **argv, const char *brief, const char *full)
{
  return argc == 2 && (strcmp(argv[1], brief) == 0 || strcmp(argv[1], full) == 0);
}

int main(int argc, char **argv)
{
  qg_status status = QG_OK;
  if (asks_for(argc, argv, "-h", "--help")) fputs(help, stdout);
  else if (asks_for(argc, argv, "-V", "--version"))
    puts("qgalore_rdata " QG_VERSION " (" QG_GIT ")");
  else
    status = run(argc, argv);
  if (status == QG_OK) status = qg_finish_output(stdout);
  if (status != QG_OK) fprintf(stderr, "qgalore_rdata: %s\n", qg_error_message());
  return status;
}
