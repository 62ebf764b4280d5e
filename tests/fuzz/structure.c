#include "fuzz/structure.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/reader.h"
#include "qgalore/base.h"

enum { MOST_DATASETS = 256, NAME = 128, MOST_CHANGES = 8, SMALL = 1 << 16 };

typedef struct {
  const uint8_t *next;
  size_t left;
} cursor;

typedef struct {
  hid_t file;
  cursor recipe;
  char datasets[MOST_DATASETS][NAME];
  int count;
} change;

/* The next byte of the recipe as a choice among `options`; past its end the first. */
static unsigned choose(change *c, unsigned options)
{
  if (c->recipe.left == 0) return 0;
  c->recipe.left--;
  return *c->recipe.next++ % options;
}

static int64_t choose_number(change *c)
{
  static const int64_t numbers[] = {
      0, 1, -1, 2, 3, 8, 64, 255, 65536, INT32_MAX, UINT32_MAX, INT64_MAX, INT64_MIN, (int64_t)1 << 62};
  return numbers[choose(c, QG_COUNT_OF(numbers))];
}

static hid_t choose_type(change *c)
{
  const hid_t types[] = {H5T_STD_U8LE,  H5T_STD_U16LE, H5T_STD_U32LE,  H5T_STD_I32LE,  H5T_STD_I64LE,
                         H5T_STD_U64LE, H5T_STD_I64BE, H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_STD_B64LE};
  return types[choose(c, QG_COUNT_OF(types))];
}

/* --- attributes --- */

/* A text of `bytes` without an end, or one of variable length. */
static hid_t text_type(size_t bytes)
{
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, bytes ? bytes : H5T_VARIABLE);
  return type;
}

static hid_t choose_space(change *c)
{
  hsize_t length = 1 + choose(c, 3);
  switch (choose(c, 3)) {
    case 0:
      return H5Screate(H5S_SCALAR);
    case 1:
      return H5Screate(H5S_NULL);
    default:
      return H5Screate_simple(1, &length, NULL);
  }
}

static void write_value(change *c, hid_t attribute, hid_t type)
{
  static char text[4 * SMALL];
  const char *variable[4] = {"x", "y", "z", NULL};
  int64_t numbers[4] = {choose_number(c), 0, 0, 0};
  memset(text, 'x', sizeof text);
  if (H5Tis_variable_str(type) > 0) H5Awrite(attribute, type, variable);
  else
    H5Awrite(attribute, type, H5Tget_class(type) == H5T_STRING ? (void *)text : (void *)numbers);
}

static void replace_attribute(change *c, hid_t object, const char *name)
{
  static const size_t lengths[] = {1, 2, 8, 16, 63, 64, 1000, 60000, 0};
  bool is_text = choose(c, 2);
  hid_t type = is_text ? text_type(lengths[choose(c, QG_COUNT_OF(lengths))]) : H5Tcopy(choose_type(c));
  hid_t space = choose_space(c);
  H5Adelete(object, name);
  hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  if (attribute >= 0) {
    write_value(c, attribute, type);
    H5Aclose(attribute);
  }
  H5Sclose(space);
  H5Tclose(type);
}

static void change_attribute(change *c, hid_t object)
{
  H5O_info_t info;
  char name[NAME] = "";
  if (H5Oget_info(object, &info) < 0 || info.num_attrs == 0) return;
  hsize_t which = choose(c, (unsigned)info.num_attrs);
  if (H5Aget_name_by_idx(object, ".", H5_INDEX_NAME, H5_ITER_INC, which, name, sizeof name, H5P_DEFAULT) < 0)
    return;
  if (choose(c, 4) == 0) H5Adelete(object, name);
  else
    replace_attribute(c, object, name);
}

/* --- datasets --- */

/* As external storage in one to three segments. */
static void choose_segments(change *c, hid_t create)
{
  static const char *const names[] = {"step-0000000002.h5.0.rank-0", "step-0000000002.h5.9.rank-0",
                                      "../step-0000000002.h5.0.rank-0", "/dev/zero",
                                      "step-0000000002.h5.0.rank-000000000000000000000000"};
  for (unsigned i = choose(c, 3) + 1; i > 0; i--) {
    const char *name = names[choose(c, QG_COUNT_OF(names))];
    off_t offset = (off_t)choose_number(c);
    H5Pset_external(create, name, offset, (hsize_t)choose_number(c));
  }
}

/* Space is taken only where it is small. */
static hid_t choose_layout(change *c, const hsize_t *shape, int rank, uint64_t bytes)
{
  hid_t create = H5Pcreate(H5P_DATASET_CREATE);
  hsize_t chunk[3] = {1, 1, 1};
  H5Pset_fill_time(create, H5D_FILL_TIME_ALLOC);
  H5Pset_alloc_time(create, bytes > 0 && bytes <= SMALL ? H5D_ALLOC_TIME_EARLY : H5D_ALLOC_TIME_LATE);
  switch (choose(c, 6)) {
    case 0:
      choose_segments(c, create);
      break;
    case 1:
      H5Pset_layout(create, H5D_COMPACT);
      break;
    case 2:
      for (int i = 0; i < rank; i++) chunk[i] = shape[i] > 0 && shape[i] < 64 ? shape[i] : 1;
      H5Pset_chunk(create, rank, chunk);
      break;
    default:
      break;
  }
  return create;
}

static hid_t create_dataset(change *c, const char *name, hid_t type)
{
  hsize_t shape[3];
  int rank = (int)choose(c, 3) + 1;
  uint64_t bytes = H5Tget_size(type);
  for (int i = 0; i < rank; i++) {
    shape[i] = (hsize_t)choose_number(c);
    if (__builtin_mul_overflow(bytes, shape[i], &bytes)) bytes = UINT64_MAX;
  }
  hid_t space = choose(c, 8) ? H5Screate_simple(rank, shape, NULL) : H5Screate(H5S_SCALAR);
  hid_t create = choose_layout(c, shape, rank, bytes);
  hid_t data = H5Dcreate2(c->file, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
  H5Pclose(create);
  if (space >= 0) H5Sclose(space);
  return data;
}

/* What a reader wants to know of the elements, true or not. */
static void describe_elements(change *c, hid_t data)
{
  static const char *const names[] = {"f32", "f64", "bf16", "i32", "u32", "i64", "u64", "u8", "u4", "u128"};
  const char *name = names[choose(c, QG_COUNT_OF(names))];
  hid_t type = text_type(strlen(name) + 1), space = H5Screate(H5S_SCALAR);
  hid_t attribute = H5Acreate2(data, "element", type, space, H5P_DEFAULT, H5P_DEFAULT);
  if (attribute >= 0) {
    H5Awrite(attribute, type, name);
    H5Aclose(attribute);
  }
  H5Sclose(space);
  H5Tclose(type);
}

/* One checksum for each row of zeros, as a checkpoint has them beside its datasets. */
static void write_sums(change *c, const char *name, hsize_t rows, size_t row_bytes)
{
  static const uint8_t zeros[SMALL];
  static uint32_t sums[SMALL];
  char companion[NAME + 8];
  hsize_t shape[2] = {rows, 1};
  snprintf(companion, sizeof companion, "%s.crc32c", name);
  H5Ldelete(c->file, companion, H5P_DEFAULT);
  for (hsize_t i = 0; i < rows; i++) sums[i] = qg_crc32c(0, zeros, row_bytes);
  hid_t space = H5Screate_simple(2, shape, NULL);
  hid_t table = H5Dcreate2(c->file, companion, H5T_STD_U32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  if (table >= 0) {
    H5Dwrite(table, H5T_NATIVE_UINT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, sums);
    H5Dclose(table);
  }
  H5Sclose(space);
}

static void fix_sums(change *c, const char *name, hid_t data)
{
  hsize_t shape[2] = {0, 0};
  hid_t space = H5Dget_space(data), type = H5Dget_type(data);
  size_t width = H5Tget_size(type);
  bool is_table =
      H5Sget_simple_extent_ndims(space) == 2 && H5Sget_simple_extent_dims(space, shape, NULL) == 2;
  bool is_small = shape[0] > 0 && shape[1] > 0 && shape[0] < SMALL && shape[1] < SMALL / width;
  if (is_table && is_small) write_sums(c, name, shape[0], (size_t)shape[1] * width);
  H5Tclose(type);
  H5Sclose(space);
}

static void replace_dataset(change *c, const char *name)
{
  H5Ldelete(c->file, name, H5P_DEFAULT);
  hid_t data = create_dataset(c, name, choose_type(c));
  if (data < 0) return;
  describe_elements(c, data);
  if (choose(c, 2)) fix_sums(c, name, data);
  H5Dclose(data);
}

static void replace_link(change *c, const char *name)
{
  H5Ldelete(c->file, name, H5P_DEFAULT);
  switch (choose(c, 4)) {
    case 0:
      H5Lcreate_soft("/nowhere", c->file, name, H5P_DEFAULT, H5P_DEFAULT);
      break;
    case 1:
      H5Lcreate_external("/dev/null", "/x", c->file, name, H5P_DEFAULT, H5P_DEFAULT);
      break;
    case 2:
      H5Lcreate_hard(c->file, "/", c->file, name, H5P_DEFAULT, H5P_DEFAULT);
      break;
    default:
      break;
  }
}

static void change_attribute_of(change *c, const char *name)
{
  hid_t data = H5Dopen2(c->file, name, H5P_DEFAULT);
  if (data < 0) return;
  change_attribute(c, data);
  H5Dclose(data);
}

static void change_once(change *c)
{
  unsigned what = choose(c, 4);
  const char *name = what > 0 && c->count > 0 ? c->datasets[choose(c, (unsigned)c->count)] : NULL;
  if (!name) change_attribute(c, c->file);
  else if (what == 1)
    replace_dataset(c, name);
  else if (what == 2)
    replace_link(c, name);
  else
    change_attribute_of(c, name);
}

/* --- the file --- */

static herr_t list_dataset(hid_t root, const char *name, const H5O_info_t *info, void *context)
{
  change *c = context;
  (void)root;
  if (info->type == H5O_TYPE_DATASET && c->count < MOST_DATASETS)
    snprintf(c->datasets[c->count++], NAME, "%s", name);
  return 0;
}

static const char *copy_file(const char *good)
{
  static uint8_t bytes[SMALL];
  FILE *file = fopen(good, "rb");
  if (!file) return NULL;
  size_t size = fread(bytes, 1, sizeof bytes, file);
  fclose(file);
  return qg_fuzz_file(bytes, size);
}

/* The first byte of a recipe is the number of changes. */
const char *qg_fuzz_structure(const char *good, const uint8_t *recipe, size_t size, qg_fuzz_fixer fix)
{
  static change c;
  const char *path = copy_file(good);
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  c = (change){.file = path ? H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT) : -1, .recipe = {recipe, size}};
  if (c.file < 0) return NULL;
  H5Ovisit(c.file, H5_INDEX_NAME, H5_ITER_INC, list_dataset, &c);
  for (unsigned i = choose(&c, MOST_CHANGES); i > 0; i--) change_once(&c);
  if (fix) fix(c.file);
  H5Fclose(c.file);
  H5close(); /* the reader is to begin with nothing */
  return path;
}
