#include "tools/r_serialize.h"

#include <endian.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"

enum { MOST_DEPTH = 64 };

static qg_status read_object(r_reader *reader, int depth, r_object **out);

static qg_status need(const r_reader *reader, uint64_t bytes)
{
  QG_CHECK(bytes <= reader->bytes - reader->at, QG_ERR_INPUT, "%s: a serialised object goes past its end",
           reader->path);
  return QG_OK;
}

static qg_status read_i32(r_reader *reader, int32_t *out)
{
  uint32_t big;
  *out = 0;
  QG_TRY(need(reader, sizeof big));
  memcpy(&big, reader->data + reader->at, sizeof big);
  reader->at += sizeof big;
  *out = (int32_t)be32toh(big);
  return QG_OK;
}

/* A count of elements that take at least `element_bytes` each in the data. */
static qg_status read_count(r_reader *reader, size_t element_bytes, int64_t *out)
{
  int32_t count;
  QG_TRY(read_i32(reader, &count));
  QG_CHECK(count >= 0, QG_ERR_INPUT, "%s: a vector has a negative or a 64-bit length, which is not supported",
           reader->path);
  *out = count;
  return need(reader, (uint64_t)count * element_bytes);
}

static qg_status new_object(r_reader *reader, r_type type, r_object **out)
{
  void *memory;
  QG_TRY(qg_calloc(1, sizeof(r_object), "an R object", &memory));
  *out = memory;
  (*out)->type = type;
  (*out)->allocated_before = reader->last;
  reader->last = *out;
  return QG_OK;
}

static qg_status read_items(r_reader *reader, int depth, int64_t count, r_object *object)
{
  void *memory;
  QG_TRY(qg_calloc((size_t)count + 1, sizeof(r_object *), "an R vector", &memory));
  object->items = memory;
  object->count = count;
  for (int64_t i = 0; i < count; i++) QG_TRY(read_object(reader, depth + 1, &object->items[i]));
  return QG_OK;
}

static qg_status read_characters(r_reader *reader, r_object *object)
{
  int32_t length;
  QG_TRY(read_i32(reader, &length));
  if (length == -1) length = 0; /* NA */
  QG_CHECK(length >= 0, QG_ERR_INPUT, "%s: a text has a negative length", reader->path);
  QG_TRY(need(reader, (uint64_t)length));
  object->text = (const char *)reader->data + reader->at;
  object->count = length;
  reader->at += (size_t)length;
  return QG_OK;
}

static qg_status read_integers(r_reader *reader, r_object *object)
{
  void *memory;
  QG_TRY(read_count(reader, sizeof(int32_t), &object->count));
  QG_TRY(qg_calloc((size_t)object->count + 1, sizeof(int32_t), "an R vector", &memory));
  object->integers = memory;
  for (int64_t i = 0; i < object->count; i++) QG_TRY(read_i32(reader, &object->integers[i]));
  return QG_OK;
}

static qg_status read_vector(r_reader *reader, int depth, r_object *object)
{
  int64_t count;
  QG_TRY(read_count(reader, sizeof(int32_t), &count));
  return read_items(reader, depth, count, object);
}

static qg_status read_symbol(r_reader *reader, int depth, r_object *object)
{
  QG_TRY(read_items(reader, depth, 1, object));
  size_t bytes = (size_t)(reader->reference_count + 1) * sizeof(r_object *);
  r_object **larger = realloc(reader->references, bytes);
  QG_CHECK(larger, QG_ERR_RESOURCE, "no host memory for the symbols of %s", reader->path);
  reader->references = larger;
  reader->references[reader->reference_count++] = object;
  return QG_OK;
}

static bool text_equals(const r_object *text, const char *expected)
{
  return text->type == R_CHARACTER && text->count == (int64_t)strlen(expected) &&
         memcmp(text->text, expected, strlen(expected)) == 0;
}

static bool is_symbol(const r_object *object, const char *name)
{
  return object->type == R_SYMBOL && text_equals(object->items[0], name);
}

enum { HAS_ATTRIBUTES = 0x200, HAS_TAG = 0x400 };

/* One cell of a pair list: a tag and a value. *names is set if it is that attribute; *more says whether a
 * cell follows. */
static qg_status read_pair(r_reader *reader, int depth, r_object **names, bool *more)
{
  int32_t flags;
  r_object *tag, *value;
  QG_TRY(read_i32(reader, &flags));
  *more = (flags & 0xff) == R_PAIRLIST;
  if ((flags & 0xff) == R_NIL) return QG_OK;
  QG_CHECK(*more && (flags & HAS_TAG) && !(flags & HAS_ATTRIBUTES), QG_ERR_INPUT,
           "%s: an attribute list has a form that is not supported", reader->path);
  QG_TRY(read_object(reader, depth + 1, &tag));
  QG_TRY(read_object(reader, depth + 1, &value));
  if (is_symbol(tag, "names")) *names = value;
  return QG_OK;
}

static qg_status read_attributes(r_reader *reader, int depth, r_object *object)
{
  for (bool more = true; more;) QG_TRY(read_pair(reader, depth, &object->names, &more));
  return QG_OK;
}

static qg_status read_reference(r_reader *reader, int32_t flags, r_object **out)
{
  int32_t index = flags >> 8;
  if (index == 0) QG_TRY(read_i32(reader, &index));
  QG_CHECK(index >= 1 && index <= reader->reference_count, QG_ERR_INPUT, "%s: a reference leads nowhere",
           reader->path);
  *out = reader->references[index - 1];
  return QG_OK;
}

static qg_status read_content(r_reader *reader, int depth, r_object *object)
{
  switch (object->type) {
    case R_NIL:
      return QG_OK;
    case R_SYMBOL:
      return read_symbol(reader, depth, object);
    case R_CHARACTER:
      return read_characters(reader, object);
    case R_LOGICAL:
    case R_INTEGER:
      return read_integers(reader, object);
    case R_STRINGS:
    case R_LIST:
      return read_vector(reader, depth, object);
    default:
      return QG_FAIL(QG_ERR_INPUT,
                     "%s: an object of R's type %d is not supported, only texts, integers and lists",
                     reader->path, (int)object->type);
  }
}

static qg_status read_object(r_reader *reader, int depth, r_object **out)
{
  int32_t flags;
  QG_CHECK(depth < MOST_DEPTH, QG_ERR_INPUT, "%s: objects are nested too deep", reader->path);
  QG_TRY(read_i32(reader, &flags));
  if ((flags & 0xff) == R_REFERENCE) return read_reference(reader, flags, out);
  QG_TRY(new_object(reader, (r_type)(flags & 0xff), out));
  QG_TRY(read_content(reader, depth, *out));
  if (flags & HAS_ATTRIBUTES) QG_TRY(read_attributes(reader, depth, *out));
  return QG_OK;
}

/* "X", a newline, the version and two R versions, and since version 3 the name of the encoding. */
static qg_status read_header(r_reader *reader)
{
  int32_t version, ignored;
  int64_t encoding;
  QG_TRY(need(reader, 2));
  QG_CHECK(memcmp(reader->data, "X\n", 2) == 0, QG_ERR_INPUT, "%s: not a serialised R object in XDR form",
           reader->path);
  reader->at = 2;
  QG_TRY(read_i32(reader, &version));
  QG_TRY(read_i32(reader, &ignored));
  QG_TRY(read_i32(reader, &ignored));
  QG_CHECK(version == 2 || version == 3, QG_ERR_INPUT,
           "%s: serialisation version %d is not supported, only 2 and 3", reader->path, version);
  if (version == 2) return QG_OK;
  QG_TRY(read_count(reader, 1, &encoding));
  reader->at += (size_t)encoding;
  return QG_OK;
}

qg_status r_reader_parse(r_reader *reader, const char *path, const void *data, size_t bytes, r_object **root)
{
  *reader = (r_reader){.path = path, .data = data, .bytes = bytes};
  QG_TRY(read_header(reader));
  return read_object(reader, 0, root);
}

void r_reader_free(r_reader *reader)
{
  while (reader->last) {
    r_object *object = reader->last;
    reader->last = object->allocated_before;
    free(object->items);
    free(object->integers);
    free(object);
  }
  free(reader->references);
}

const r_object *r_object_element(const r_object *list, const char *name)
{
  if (list->type != R_LIST || !list->names || list->names->type != R_STRINGS) return NULL;
  for (int64_t i = 0; i < list->count && i < list->names->count; i++)
    if (text_equals(list->names->items[i], name)) return list->items[i];
  return NULL;
}
