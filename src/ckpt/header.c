#include "ckpt/header.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ckpt/attributes.h"
#include "ckpt/h5_check.h"
#include "ckpt/layout.h"
#include "qgalore/base.h"

enum { MAX_TEXT = 16 << 20 };

static const uint64_t largest_block = (uint64_t)256 << 20;

/* The numbers of the run, each one attribute. */
typedef struct {
  const char *name, *unit;
  qg_dtype type;
  size_t offset;
} number;

#define META(member) offsetof(qg_ckpt_header, meta.member)

static const number numbers[] = {
    {"step", "steps done", QG_I64, META(step)},
    {"tokens", "tokens", QG_I64, META(tokens)},
    {"cursor", "sequences", QG_I64, META(cursor)},
    {"seed", "1", QG_U64, META(seed)},
    {"elapsed", "s", QG_F64, META(elapsed)},
    {"last_loss", "nat/token", QG_F64, META(last_loss)},
    {"last_grad_norm", "1", QG_F64, META(last_grad_norm)},
    {"probe_loss", "nat/token", QG_F64, META(selftest_loss)},
    {"slab_bytes", "B", QG_U64, offsetof(qg_ckpt_header, block_bytes)},
};

/* The texts of the run, each one attribute. */
typedef struct {
  const char *name;
  size_t offset; /* of a const char * in qg_ckpt_header */
} text_attribute;

static const text_attribute texts[] = {
    {"arrangement", META(arrangement)},
    {"history", META(history)},
    {"resolved_input", META(resolved_input)},
};

/* Came with format version 1.1: a text with a checksum of its own, so that readers of 1.0 can do without. */
static const char data_name[] = "data", data_sum_name[] = "data_crc32c";

static const char *text_of(const qg_ckpt_header *header, int i)
{
  return *(const char *const *)((const char *)header + texts[i].offset);
}

static const char **text_at(qg_ckpt_header *header, int i)
{
  return (const char **)((char *)header + texts[i].offset);
}

/* Tests make blocks small to have several of them in small data. */
static qg_status choose_block_bytes(uint64_t *out)
{
  const char *setting = getenv("QGALORE_CKPT_SLAB");
  *out = setting ? strtoull(setting, NULL, 10) : QG_CKPT_BLOCK_BYTES;
  QG_CHECK(*out >= 8 && *out % 8 == 0 && *out <= largest_block, QG_ERR_INPUT,
           "QGALORE_CKPT_SLAB is \"%s\": it must be a multiple of 8 bytes, at most %llu", setting,
           (unsigned long long)largest_block);
  return QG_OK;
}

static qg_status fill_root(const qg_ckpt_meta *meta, qg_ckpt_header *out)
{
  out->meta = *meta;
  snprintf(out->software, sizeof out->software, "qgalore_hpc %s (%s)", QG_VERSION, QG_GIT);
  qg_format_utc(out->created, sizeof out->created, time(NULL));
  return choose_block_bytes(&out->block_bytes);
}

/* The root's text on all ranks. */
static qg_status share_text(qg_par *par, const char **text)
{
  bool root = qg_par_is_root(qg_par_grid(par));
  const char *mine = root && *text ? *text : "";
  size_t bytes = strlen(mine);
  void *copy = NULL;
  *text = NULL;
  QG_TRY(qg_par_broadcast(par, &bytes, sizeof bytes, 0));
  QG_TRY(qg_par_agree(par, qg_calloc(bytes + 1, 1, "a text of a checkpoint", &copy)));
  memcpy(copy, mine, root ? bytes : 0);
  *text = copy;
  return qg_par_broadcast(par, copy, bytes, 0);
}

qg_status qg_ckpt_header_make(qg_par *par, const qg_ckpt_meta *meta, qg_ckpt_header *out)
{
  bool root = qg_par_is_root(qg_par_grid(par));
  qg_ckpt_header header = {0};
  *out = header;
  QG_TRY(qg_par_agree(par, root ? fill_root(meta, &header) : QG_OK));
  QG_TRY(qg_par_broadcast(par, &header, sizeof header, 0));
  *out = header;
  for (int i = 0; i < QG_COUNT_OF(texts); i++) *text_at(out, i) = NULL;
  for (int i = 0; i < QG_COUNT_OF(texts); i++) {
    const char *shared = *text_at(&header, i);
    QG_TRY(share_text(par, &shared));
    *text_at(out, i) = shared;
  }
  out->meta.data = NULL;
  QG_TRY(share_text(par, &header.meta.data));
  out->meta.data = header.meta.data;
  return QG_OK;
}

void qg_ckpt_header_free(qg_ckpt_header *header)
{
  /* The members are const for readers of the meta; the texts are ours. */
  for (int i = 0; i < QG_COUNT_OF(texts); i++) {
    free((char *)*text_at(header, i));
    *text_at(header, i) = NULL;
  }
  free((char *)header->meta.data);
  header->meta.data = NULL;
}

/* Over the values in the order of the table and the texts with their zeros. */
static uint32_t checksum(const qg_ckpt_header *h)
{
  uint32_t crc = 0;
  for (int i = 0; i < QG_COUNT_OF(numbers); i++) crc = qg_crc32c(crc, (const char *)h + numbers[i].offset, 8);
  crc = qg_crc32c(crc, h->software, strlen(h->software) + 1);
  crc = qg_crc32c(crc, h->created, strlen(h->created) + 1);
  for (int i = 0; i < QG_COUNT_OF(texts); i++) {
    const char *value = text_of(h, i);
    crc = qg_crc32c(crc, value, strlen(value) + 1);
  }
  return crc;
}

static void describe_units(char *text, size_t size)
{
  size_t used = 0;
  for (int i = 0; i < QG_COUNT_OF(numbers) && used < size; i++)
    used += (size_t)snprintf(text + used, size - used, "%s%s: %s", i ? "; " : "", numbers[i].name,
                             numbers[i].unit);
}

qg_status qg_ckpt_header_write(hid_t file, const char *path, const qg_ckpt_header *h)
{
  uint32_t complete = 0, crc = checksum(h);
  char units[512];
  describe_units(units, sizeof units);
  QG_TRY(qg_ckpt_attribute_write_text(file, path, "format", QG_CKPT_FORMAT));
  QG_TRY(qg_ckpt_attribute_write_text(file, path, "format_version", QG_CKPT_VERSION));
  QG_TRY(qg_ckpt_attribute_write_number(file, path, "complete", H5T_STD_U32LE, &complete));
  for (int i = 0; i < QG_COUNT_OF(numbers); i++)
    QG_TRY(qg_ckpt_attribute_write_number(file, path, numbers[i].name, qg_ckpt_h5_type(numbers[i].type),
                                          (const char *)h + numbers[i].offset));
  QG_TRY(qg_ckpt_attribute_write_text(file, path, "units", units));
  QG_TRY(qg_ckpt_attribute_write_text(file, path, "software", h->software));
  QG_TRY(qg_ckpt_attribute_write_text(file, path, "created", h->created));
  for (int i = 0; i < QG_COUNT_OF(texts); i++)
    QG_TRY(qg_ckpt_attribute_write_text(file, path, texts[i].name, text_of(h, i)));
  QG_TRY(qg_ckpt_attribute_write_number(file, path, "meta_crc32c", H5T_STD_U32LE, &crc));
  crc = qg_crc32c(0, h->meta.data, strlen(h->meta.data));
  QG_TRY(qg_ckpt_attribute_write_text(file, path, data_name, h->meta.data));
  return qg_ckpt_attribute_write_number(file, path, data_sum_name, H5T_STD_U32LE, &crc);
}

qg_status qg_ckpt_header_complete(hid_t file, const char *path)
{
  qg_status status = QG_OK;
  uint32_t complete = 1;
  hid_t attribute = -1;
  QG_H5_OUT(path, attribute = H5Aopen(file, "complete", H5P_DEFAULT));
  QG_H5_OUT(path, H5Awrite(attribute, H5T_STD_U32LE, &complete));
out:
  qg_h5_release(attribute);
  return status;
}

/* Reads a short text into an array. */
static qg_status read_short(hid_t file, const char *path, const char *name, char *out, size_t size)
{
  char *text = NULL;
  QG_TRY(qg_ckpt_attribute_read_text(file, path, name, size, &text));
  snprintf(out, size, "%s", text);
  free(text);
  return QG_OK;
}

static qg_status check_format(hid_t file, const char *path)
{
  char format[64], version[64];
  uint32_t complete = 0;
  QG_TRY(read_short(file, path, "format", format, sizeof format));
  QG_CHECK(strcmp(format, QG_CKPT_FORMAT) == 0, QG_ERR_CHECKPOINT, "%s: not a checkpoint but \"%.40s\"", path,
           format);
  QG_TRY(read_short(file, path, "format_version", version, sizeof version));
  /* Minor versions add, major versions change. */
  QG_CHECK(strncmp(version, "1.", 2) == 0, QG_ERR_CHECKPOINT,
           "%s: its format version is %.40s, this program reads 1.x; use a newer qgalore_hpc", path, version);
  QG_TRY(qg_ckpt_attribute_read_number(file, path, "complete", H5T_STD_U32LE, &complete));
  QG_CHECK(complete == 1, QG_ERR_CHECKPOINT, "%s: it was never completed (its save was cut off)", path);
  return QG_OK;
}

static qg_status read_values(hid_t file, const char *path, qg_ckpt_header *out)
{
  for (int i = 0; i < QG_COUNT_OF(numbers); i++)
    QG_TRY(qg_ckpt_attribute_read_number(file, path, numbers[i].name, qg_ckpt_h5_type(numbers[i].type),
                                         (char *)out + numbers[i].offset));
  QG_TRY(read_short(file, path, "software", out->software, sizeof out->software));
  QG_TRY(read_short(file, path, "created", out->created, sizeof out->created));
  for (int i = 0; i < QG_COUNT_OF(texts); i++) {
    char *value = NULL;
    QG_TRY(qg_ckpt_attribute_read_text(file, path, texts[i].name, MAX_TEXT, &value));
    *text_at(out, i) = value;
  }
  return QG_OK;
}

static qg_status read_data(hid_t file, const char *path, qg_ckpt_header *out)
{
  char *text = NULL;
  uint32_t crc = 0;
  if (H5Aexists(file, data_name) <= 0) return QG_OK;
  QG_TRY(qg_ckpt_attribute_read_text(file, path, data_name, MAX_TEXT, &text));
  out->meta.data = text;
  QG_TRY(qg_ckpt_attribute_read_number(file, path, data_sum_name, H5T_STD_U32LE, &crc));
  QG_CHECK(crc == qg_crc32c(0, text, strlen(text)), QG_ERR_CHECKPOINT,
           "%s: its attributes are damaged (checksum)", path);
  return QG_OK;
}

qg_status qg_ckpt_header_read(hid_t file, const char *path, qg_ckpt_header *out)
{
  qg_status status = QG_OK;
  uint32_t crc = 0;
  *out = (qg_ckpt_header){0};
  QG_TRY_OUT(check_format(file, path));
  QG_TRY_OUT(read_values(file, path, out));
  QG_TRY_OUT(qg_ckpt_attribute_read_number(file, path, "meta_crc32c", H5T_STD_U32LE, &crc));
  QG_CHECK_OUT(crc == checksum(out), QG_ERR_CHECKPOINT, "%s: its attributes are damaged (checksum)", path);
  QG_TRY_OUT(read_data(file, path, out));
  QG_CHECK_OUT(out->block_bytes >= 8 && out->block_bytes % 8 == 0 && out->block_bytes <= largest_block,
               QG_ERR_CHECKPOINT, "%s: its attribute \"slab_bytes\" makes no sense", path);
out:
  if (status != QG_OK) qg_ckpt_header_free(out);
  return status;
}
