/* Promises of loading: a checkpoint that is damaged, unfinished, foreign or of another model is refused by
 * name, never believed and never a crash; and the newest that can be trusted is found. ranks: 1 2 3 also
 * with: QGALORE_CKPT_SLAB=512 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <hdf5.h>
#include <math.h>

#include "qgalore/numerics/philox.h"
#include "support/fixtures/ckpt_fixture.h"

static qg_par *par;
static const qg_grid *grid;
static char folder[FIXTURE_PATH], path[FIXTURE_PATH]; /* path: of step 7 */
static FILE *log_file;
static qg_log log_to_file;

static int enter(void **unused)
{
  (void)unused;
  make_folder(par, folder);
  step_path(folder, 7, path);
  log_file = tmpfile();
  log_to_file = qg_log_make(log_file, grid->rank == 0);
  return save_step(par, &host_backend, folder, in_blocks, 7, 5, 0) == QG_OK ? 0 : -1;
}

static int leave(void **unused)
{
  (void)unused;
  fclose(log_file);
  remove_folder(par, folder);
  return 0;
}

/* --- what the root does to the file --- */

static void flip_byte(const char *name, off_t offset, unsigned char mask)
{
  unsigned char byte;
  int file = open(name, O_RDWR);
  assert_int_equal(pread(file, &byte, 1, offset), 1);
  byte ^= mask;
  assert_int_equal(pwrite(file, &byte, 1, offset), 1);
  close(file);
}

static off_t offset_of(const char *dataset)
{
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), data = H5Dopen2(file, dataset, H5P_DEFAULT);
  haddr_t offset = H5Dget_offset(data);
  H5Dclose(data);
  H5Fclose(file);
  assert_true(offset != HADDR_UNDEF);
  return (off_t)offset;
}

typedef void (*change)(hid_t file);

/* One rank changes the file with HDF5 itself, as a careless tool would. Collective. */
static void edit(change how)
{
  if (grid->rank == 0) {
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    how(file);
    H5Fclose(file);
  }
  assert_int_equal(qg_par_barrier(par), QG_OK);
}

static void set_number(hid_t object, const char *name, hid_t type, const void *value)
{
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  assert_true(H5Awrite(attribute, type, value) >= 0);
  H5Aclose(attribute);
}

/* Puts a table of `type` in the place of a dataset and its checksums. */
static void replace_table(hid_t file, const char *name, hid_t type, hsize_t rows, hsize_t columns,
                          const char *element)
{
  hsize_t shape[2] = {rows, columns};
  hid_t space = H5Screate_simple(2, shape, NULL), scalar = H5Screate(H5S_SCALAR), text = H5Tcopy(H5T_C_S1);
  hid_t create = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY);
  H5Ldelete(file, name, H5P_DEFAULT);
  hid_t data = H5Dcreate2(file, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
  assert_true(data >= 0);
  H5Tset_size(text, strlen(element) + 1);
  hid_t attribute = H5Acreate2(data, "element", text, scalar, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(H5Awrite(attribute, text, element) >= 0);
  H5Aclose(attribute);
  H5Dclose(data);
  H5Pclose(create);
  H5Tclose(text);
  H5Sclose(scalar);
  H5Sclose(space);
}

/* --- what everybody must say --- */

/* Opening or loading fails on all ranks with the same words. */
static void check_refused(const char *words)
{
  int64_t wrong;
  assert_int_equal(qg_par_barrier(par), QG_OK);
  assert_int_equal(load_path(par, &host_backend, path, round_robin, 7, &wrong), QG_ERR_CHECKPOINT);
  assert_non_null(strstr(qg_error_message(), words));
  assert_non_null(strstr(qg_error_message(), "step-0000000007.h5"));
}

/* The same of the verification that reads every byte. */
static void check_refused_and_not_found(const char *words)
{
  char found[FIXTURE_PATH];
  check_refused(words);
  assert_int_equal(qg_ckpt_verify(path), QG_ERR_CHECKPOINT);
  assert_non_null(strstr(qg_error_message(), words));
  assert_int_equal(qg_ckpt_find(par, &log_to_file, folder, found, sizeof found), QG_OK);
  assert_string_equal(found, "");
}

static void an_undamaged_one_is_found(void **unused)
{
  (void)unused;
  char found[FIXTURE_PATH];
  assert_int_equal(qg_ckpt_verify(path), QG_OK);
  assert_int_equal(qg_ckpt_find(par, &log_to_file, folder, found, sizeof found), QG_OK);
  assert_string_equal(found, path);
}

static void a_folder_without_checkpoints_has_none(void **unused)
{
  (void)unused;
  char found[FIXTURE_PATH] = "x", missing[FIXTURE_PATH];
  snprintf(missing, sizeof missing, "%.900s/none", folder);
  assert_int_equal(qg_ckpt_find(par, &log_to_file, missing, found, sizeof found), QG_OK);
  assert_string_equal(found, "");
}

static void a_flipped_bit_in_any_dataset_is_refused_by_name(void **unused)
{
  (void)unused;
  static const struct {
    const char *name;
    int bytes;
  } datasets[] = {{"weights/q_proj/codes", 6000},  {"weights/q_proj/scale", 888},
                  {"projector/q_proj/codes", 96},  {"moments/q_proj/v", 9600},
                  {"tracker/q_proj/interval", 48}, {"weights/embed", 1002}};
  for (int i = 0; i < QG_COUNT_OF(datasets); i++) {
    off_t where = 0;
    if (grid->rank == 0) where = offset_of(datasets[i].name) + datasets[i].bytes - 1;
    if (grid->rank == 0) flip_byte(path, where, 0x10);
    check_refused_and_not_found(datasets[i].name);
    if (grid->rank == 0) flip_byte(path, where, 0x10);
  }
  assert_int_equal(qg_par_barrier(par), QG_OK);
  assert_int_equal(qg_ckpt_verify(path), QG_OK);
}

static void damage_to_what_is_not_asked_for_does_no_harm(void **unused)
{
  (void)unused;
  int64_t wrong = -1;
  if (grid->rank == 0) flip_byte(path, offset_of("moments/q_proj/v"), 1);
  check_refused("\"moments/q_proj/v\"");
  assert_int_equal(load_weights(par, &host_backend, path, round_robin, 7, &wrong), QG_OK);
  assert_int_equal(wrong, 0);
}

/* As a careless version wrote it: a NaN under a checksum that fits. */
static void spoil(hid_t file)
{
  float values[37];
  uint32_t sum;
  hsize_t start[2] = {0, 0}, row[2] = {1, 37}, one[2] = {1, 1}, length = 37, single = 1;
  hid_t data = H5Dopen2(file, "weights/q_proj/scale", H5P_DEFAULT),
        sums = H5Dopen2(file, "weights/q_proj/scale.crc32c", H5P_DEFAULT);
  hid_t in_data = H5Dget_space(data), in_sums = H5Dget_space(sums);
  hid_t memory = H5Screate_simple(1, &length, NULL), number = H5Screate_simple(1, &single, NULL);
  H5Sselect_hyperslab(in_data, H5S_SELECT_SET, start, NULL, row, NULL);
  H5Sselect_hyperslab(in_sums, H5S_SELECT_SET, start, NULL, one, NULL);
  assert_true(H5Dread(data, H5T_IEEE_F32LE, memory, in_data, H5P_DEFAULT, values) >= 0);
  values[20] = NAN;
  sum = qg_crc32c(0, values, sizeof values);
  assert_true(H5Dwrite(data, H5T_IEEE_F32LE, memory, in_data, H5P_DEFAULT, values) >= 0);
  assert_true(H5Dwrite(sums, H5T_STD_U32LE, number, in_sums, H5P_DEFAULT, &sum) >= 0);
  hid_t spaces[] = {in_data, in_sums, memory, number};
  for (int i = 0; i < QG_COUNT_OF(spaces); i++) H5Sclose(spaces[i]);
  H5Dclose(sums);
  H5Dclose(data);
}

static void weights_that_are_not_finite_are_refused_though_they_are_what_was_written(void **unused)
{
  (void)unused;
  edit(spoil);
  check_refused_and_not_found("\"weights/q_proj/scale\", item 0 holds numbers that are not finite");
}

static void a_flipped_checksum_is_refused_by_name(void **unused)
{
  (void)unused;
  if (grid->rank == 0) flip_byte(path, offset_of("weights/embed.crc32c"), 1);
  check_refused_and_not_found("\"weights/embed\", item 0 is damaged");
}

static void a_file_that_was_cut_off_is_refused(void **unused)
{
  (void)unused;
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  for (int i = 3; i >= 0; i--) {
    assert_int_equal(qg_par_barrier(par), QG_OK);
    if (grid->rank == 0) assert_int_equal(truncate(path, info.st_size * i / 4 + (i == 3 ? 1 : 0)), 0);
    check_refused_and_not_found("cannot be opened");
  }
}

static void not_an_hdf5_file(void **unused)
{
  (void)unused;
  if (grid->rank == 0) assert_int_equal(qg_write_file_atomic(path, "hello", 5), QG_OK);
  check_refused_and_not_found("cannot be opened");
  if (grid->rank == 0) assert_int_equal(unlink(path) + mkdir(path, 0777), 0);
  check_refused_and_not_found("is a folder");
}

static void drop_dataset(hid_t file)
{
  H5Ldelete(file, "moments/q_proj/v", H5P_DEFAULT);
}

static void a_missing_dataset_is_named(void **unused)
{
  (void)unused;
  edit(drop_dataset);
  check_refused("\"moments/q_proj/v\" is missing");
}

static void drop_sums(hid_t file)
{
  H5Ldelete(file, "moments/q_proj/v.crc32c", H5P_DEFAULT);
}

static void missing_checksums_are_named(void **unused)
{
  (void)unused;
  edit(drop_sums);
  check_refused_and_not_found("checksums of dataset \"moments/q_proj/v\" are missing");
}

static void reshape(hid_t file)
{
  replace_table(file, "weights/embed", H5T_STD_U16LE, 1, 500, "bf16");
}

/* The table that was replaced before is a sound one again. */
static void resize_items(hid_t file)
{
  replace_table(file, "weights/embed", H5T_STD_U16LE, 1, 501, "bf16");
  replace_table(file, "tracker/q_proj/interval", H5T_STD_I64LE, LAYERS + 2, 1, "i64");
  replace_table(file, "tracker/q_proj/interval.crc32c", H5T_STD_U32LE, LAYERS + 2, 1, "u32");
}

static void retype(hid_t file)
{
  replace_table(file, "weights/embed", H5T_STD_U16LE, 1, 501, "f32");
}

static void a_wrong_shape_or_type_is_named(void **unused)
{
  (void)unused;
  edit(reshape);
  check_refused("\"weights/embed\"");
  edit(retype);
  check_refused("\"weights/embed\" has an unknown element type");
  edit(resize_items);
  check_refused("\"tracker/q_proj/interval\" is i64 [8, 1], but the input needs i64 [6, 1]");
}

/* A u4 tensor and a u8 tensor of as many bytes look alike to HDF5. */
static void mistake_nibbles(hid_t file)
{
  replace_table(file, "projector/q_proj/codes", H5T_STD_U8LE, LAYERS, 16, "u8");
}

static void packed_nibbles_are_not_bytes(void **unused)
{
  (void)unused;
  edit(mistake_nibbles);
  check_refused("\"projector/q_proj/codes\" is u8 [6, 16], but the input needs u4 [6, 16]");
}

static void promise_much(hid_t file)
{
  replace_table(file, "moments/q_proj/v", H5T_IEEE_F64LE, LAYERS, 200, "f64");
  hsize_t shape[2] = {(hsize_t)1 << 40, (hsize_t)1 << 20};
  hid_t space = H5Screate_simple(2, shape, NULL);
  H5Ldelete(file, "weights/embed", H5P_DEFAULT);
  H5Dclose(H5Dcreate2(file, "weights/embed", H5T_STD_U16LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Sclose(space);
  hid_t data = H5Dopen2(file, "weights/embed", H5P_DEFAULT), scalar = H5Screate(H5S_SCALAR),
        text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 5);
  hid_t attribute = H5Acreate2(data, "element", text, scalar, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, text, "bf16");
  H5Aclose(attribute);
  H5Tclose(text);
  H5Sclose(scalar);
  H5Dclose(data);
}

static void a_shape_that_is_larger_than_the_file_is_refused_at_once(void **unused)
{
  (void)unused;
  edit(promise_much);
  check_refused_and_not_found("is not wholly in the file");
}

static void lead_outside(hid_t file)
{
  H5Ldelete(file, "weights/embed", H5P_DEFAULT);
  H5Lcreate_external("/etc/passwd", "x", file, "weights/embed", H5P_DEFAULT, H5P_DEFAULT);
}

static void a_link_out_of_the_file_is_not_followed(void **unused)
{
  (void)unused;
  edit(lead_outside);
  check_refused_and_not_found("leads out of the file");
}

static void unmark(hid_t file)
{
  set_number(file, "complete", H5T_STD_U32LE, &(uint32_t){0});
}

static void an_incomplete_one_is_refused(void **unused)
{
  (void)unused;
  edit(unmark);
  check_refused_and_not_found("never completed");
}

static void change_step(hid_t file)
{
  set_number(file, "step", H5T_STD_I64LE, &(int64_t){8});
}
static void drop_cursor(hid_t file)
{
  H5Adelete(file, "cursor");
}

static void a_changed_attribute_is_refused(void **unused)
{
  (void)unused;
  edit(change_step);
  check_refused_and_not_found("attributes are damaged");
  edit(drop_cursor);
  check_refused_and_not_found("attribute \"cursor\" is missing");
}

static void set_text(hid_t file, const char *name, const char *value)
{
  hid_t attribute = H5Aopen(file, name, H5P_DEFAULT), type = H5Aget_type(attribute);
  assert_true(H5Awrite(attribute, type, value) >= 0);
  H5Tclose(type);
  H5Aclose(attribute);
}

static void make_newer(hid_t file)
{
  set_text(file, "format_version", "2.0");
}
static void make_foreign(hid_t file)
{
  set_text(file, "format", "somebody-else-file");
}

static void another_format_is_told(void **unused)
{
  (void)unused;
  edit(make_newer);
  check_refused_and_not_found("its format version is 2.0, this program reads 1.x");
  edit(make_foreign);
  check_refused_and_not_found("not a checkpoint");
}

static void the_newest_that_can_be_trusted_is_found_and_the_refusal_told(void **unused)
{
  (void)unused;
  char newer[FIXTURE_PATH], found[FIXTURE_PATH], text[4096];
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 9, 5, 0), QG_OK);
  assert_int_equal(save_step(par, &host_backend, folder, in_blocks, 8, 5, 0), QG_OK);
  step_path(folder, 9, newer);
  if (grid->rank == 0) assert_int_equal(truncate(newer, 3000), 0);
  step_path(folder, 8, path);
  if (grid->rank == 0) flip_byte(path, offset_of("weights/q_proj/codes"), 1);
  assert_int_equal(qg_par_barrier(par), QG_OK);
  assert_int_equal(qg_ckpt_find(par, &log_to_file, folder, found, sizeof found), QG_OK);
  step_path(folder, 7, path);
  assert_string_equal(found, path);
  if (grid->rank != 0) return;
  rewind(log_file);
  text[fread(text, 1, sizeof text - 1, log_file)] = '\0';
  const char *first = strstr(text, "step-0000000009.h5: cannot be opened"),
             *second = strstr(text, "step-0000000008.h5");
  assert_true(first && second && first < second);
  assert_non_null(strstr(second, "\"weights/q_proj/codes\""));
}

/* Byte after byte is set to noise: what is still accepted must be whole. HDF5 reads the damaged structures
 * first, so this asks whether it survives, too. */
static void random_damage_is_refused_or_harmless(void **unused)
{
  (void)unused;
  struct stat info;
  int accepted = 0;
  if (grid->size > 1) skip();
  assert_int_equal(stat(path, &info), 0);
  for (uint64_t i = 0; i < 400; i++) {
    qg_rng_block noise = qg_rng_draw((qg_rng){.seed = 11, .purpose = QG_RNG_SYNTHETIC}, i);
    off_t where = noise.v[0] % (i % 2 ? info.st_size : 4096);
    unsigned char mask = (unsigned char)(1u << noise.v[1] % 8);
    int64_t wrong = -1;
    flip_byte(path, where, mask);
    if (qg_ckpt_verify(path) == QG_OK && load_path(par, &host_backend, path, in_blocks, 7, &wrong) == QG_OK) {
      assert_int_equal(wrong, 0);
      accepted++;
    }
    flip_byte(path, where, mask);
  }
  assert_true(accepted < 200);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter, leave)

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {
      IN_FOLDER(an_undamaged_one_is_found),
      IN_FOLDER(a_folder_without_checkpoints_has_none),
      IN_FOLDER(a_flipped_bit_in_any_dataset_is_refused_by_name),
      IN_FOLDER(damage_to_what_is_not_asked_for_does_no_harm),
      IN_FOLDER(a_flipped_checksum_is_refused_by_name),
      IN_FOLDER(weights_that_are_not_finite_are_refused_though_they_are_what_was_written),
      IN_FOLDER(a_file_that_was_cut_off_is_refused),
      IN_FOLDER(not_an_hdf5_file),
      IN_FOLDER(a_missing_dataset_is_named),
      IN_FOLDER(missing_checksums_are_named),
      IN_FOLDER(a_wrong_shape_or_type_is_named),
      IN_FOLDER(packed_nibbles_are_not_bytes),
      IN_FOLDER(a_shape_that_is_larger_than_the_file_is_refused_at_once),
      IN_FOLDER(a_link_out_of_the_file_is_not_followed),
      IN_FOLDER(an_incomplete_one_is_refused),
      IN_FOLDER(a_changed_attribute_is_refused),
      IN_FOLDER(another_format_is_told),
      IN_FOLDER(the_newest_that_can_be_trusted_is_found_and_the_refusal_told),
      IN_FOLDER(random_damage_is_refused_or_harmless),
  };
  par = mpi_test_begin(&argc, &argv);
  grid = qg_par_grid(par);
  int failures = cmocka_run_group_tests_name("ckpt damage", tests, NULL, NULL);
  return mpi_test_end(par, failures);
}
