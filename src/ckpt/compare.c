#include "ckpt/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"

typedef struct {
  const qg_ckpt_file *other;
  qg_ckpt_reporter report;
  void *context;
} comparison;

/* Element i as a number, and its bits. U4 counts nibbles. */
typedef struct {
  double value;
  uint64_t bits;
} element;

static element u4_at(const void *data, int64_t i)
{
  uint8_t byte = ((const uint8_t *)data)[i / 2], nibble = i % 2 ? byte >> 4 : byte & 15;
  return (element){nibble, nibble};
}

static element f32_of(uint32_t bits)
{
  float value;
  memcpy(&value, &bits, sizeof value);
  return (element){(double)value, bits};
}

static element f64_of(uint64_t bits)
{
  double value;
  memcpy(&value, &bits, sizeof value);
  return (element){value, bits};
}

static element element_at(qg_dtype type, const void *data, int64_t i)
{
  uint64_t bits = 0;
  size_t bytes = qg_dtype_bytes(type, 1);
  if (type == QG_U4) return u4_at(data, i);
  memcpy(&bits, (const char *)data + (size_t)i * bytes, bytes);
  switch (type) {
    case QG_BF16:
      return f32_of((uint32_t)bits << 16);
    case QG_F32:
      return f32_of((uint32_t)bits);
    case QG_F64:
      return f64_of(bits);
    case QG_I32:
      return (element){(double)(int32_t)bits, bits};
    case QG_I64:
      return (element){(double)(int64_t)bits, bits};
    default:
      return (element){(double)bits, bits};
  }
}

static int64_t elements_of_item(const qg_ckpt_reader *r)
{
  return r->type == QG_U4 ? 2 * r->elements : r->elements;
}

static void compare_elements(const qg_ckpt_reader *r, const void *a, const void *b, qg_ckpt_difference *d)
{
  for (int64_t i = 0; i < elements_of_item(r); i++) {
    element x = element_at(r->type, a, i), y = element_at(r->type, b, i);
    if (x.bits == y.bits) continue;
    double distance = fabs(x.value - y.value);
    d->different++;
    if (isnan(distance) || distance > d->largest) d->largest = distance;
  }
}

static qg_status read_item(const qg_ckpt_reader *r, int64_t item, char *buffer)
{
  qg_ckpt_block block;
  for (int64_t index = 0; index < r->blocks; index++, buffer += block.bytes)
    QG_TRY(qg_ckpt_reader_read(r, item, index, buffer, &block));
  return QG_OK;
}

/* Whole items, since the two files may have blocks of different sizes. */
static qg_status compare_values(const qg_ckpt_reader *a, const qg_ckpt_reader *b, qg_ckpt_difference *d)
{
  size_t bytes = (size_t)a->elements * a->element_bytes;
  void *memory = NULL;
  qg_status status = QG_OK;
  QG_TRY(qg_calloc(2, bytes, "the comparison of two checkpoints", &memory));
  char *left = memory, *right = left + bytes;
  for (int64_t item = 0; item < a->items; item++) {
    QG_TRY_OUT(read_item(a, item, left));
    QG_TRY_OUT(read_item(b, item, right));
    if (memcmp(left, right, bytes) != 0) compare_elements(a, left, right, d);
  }
  d->kind = d->different > 0 ? QG_CKPT_OTHER_VALUES : QG_CKPT_SAME;
out:
  free(memory);
  return status;
}

static bool has_dataset(const qg_ckpt_file *file, const char *name)
{
  /* The link alone proves nothing where a parent group is missing, and asking is then an error. */
  hid_t data = H5Dopen2(file->file, name, file->access);
  if (data >= 0) H5Dclose(data);
  return data >= 0;
}

static qg_status compare_dataset(void *context, const qg_ckpt_reader *a)
{
  const comparison *c = context;
  qg_ckpt_difference d = {
      .name = a->name, .kind = QG_CKPT_ONLY_IN_A, .elements = a->items * elements_of_item(a)};
  if (has_dataset(c->other, a->name)) {
    qg_ckpt_reader b;
    QG_TRY(qg_ckpt_reader_open(c->other, a->name, &b));
    bool alike = a->type == b.type && a->items == b.items && a->elements == b.elements;
    d.kind = QG_CKPT_OTHER_SHAPE;
    qg_status status = alike ? compare_values(a, &b, &d) : QG_OK;
    qg_ckpt_reader_close(&b);
    QG_TRY(status);
  }
  c->report(c->context, &d);
  return QG_OK;
}

static qg_status report_missing(void *context, const qg_ckpt_reader *b)
{
  const comparison *c = context;
  qg_ckpt_difference d = {
      .name = b->name, .kind = QG_CKPT_ONLY_IN_B, .elements = b->items * elements_of_item(b)};
  if (!has_dataset(c->other, b->name)) c->report(c->context, &d);
  return QG_OK;
}

qg_status qg_ckpt_compare(const qg_ckpt_file *a, const qg_ckpt_file *b, qg_ckpt_reporter report,
                          void *context)
{
  comparison with_b = {b, report, context}, with_a = {a, report, context};
  QG_TRY(qg_ckpt_for_each_dataset(a, compare_dataset, &with_b));
  return qg_ckpt_for_each_dataset(b, report_missing, &with_a);
}
