/* The kept corpus of one reader, tests/fuzz/corpus/NAME for the program .../test_fuzz_NAME, as TAP: files
 * called good-* are read, all others are refused, and so is, or does no harm, each of them with some bytes
 * changed. Run from the repository root. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/reader.h"
#include "qgalore/numerics/philox.h"

enum { MUTANTS = 64, CHANGES = 4 };

static uint8_t *read_file(const char *path, size_t *size)
{
  uint8_t *data = NULL;
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  long end = ftell(file);
  rewind(file);
  if (end >= 0) data = malloc((size_t)end + 1);
  if (data) *size = fread(data, 1, (size_t)end, file);
  fclose(file);
  return data;
}

/* Fixed by its number. That it returns is the promise. */
static void read_mutant(const uint8_t *data, size_t size, uint64_t number)
{
  qg_rng rng = {number, 0, 0, QG_RNG_SUBSPACE};
  uint8_t *mutant = malloc(size + 1);
  if (!mutant || size == 0) abort();
  memcpy(mutant, data, size);
  for (uint64_t change = 0; change < CHANGES; change++) {
    qg_rng_block block = qg_rng_draw(rng, change);
    mutant[block.v[0] % size] = (uint8_t)block.v[1];
  }
  (void)qg_fuzz_read(mutant, size);
  free(mutant);
}

static bool replay(const char *folder, const char *name)
{
  char path[512];
  size_t size = 0;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  uint8_t *data = read_file(path, &size);
  bool expected = data && (qg_fuzz_read(data, size) == QG_OK) == (strncmp(name, "good-", 5) == 0);
  if (!expected) printf("# %s\n", qg_error_message());
  for (uint64_t number = 0; expected && size > 0 && number < MUTANTS; number++)
    read_mutant(data, size, number);
  free(data);
  return expected;
}

static int is_file(const struct dirent *entry)
{
  return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
  char folder[256];
  struct dirent **entries;
  const char *name = argc > 0 ? strstr(argv[0], "test_fuzz_") : NULL;
  if (!name) return 2;
  snprintf(folder, sizeof folder, "tests/fuzz/corpus/%s", name + strlen("test_fuzz_"));
  int count = scandir(folder, &entries, is_file, alphasort), failed = count <= 0;
  printf("1..%d\n", count > 0 ? count : 1);
  for (int i = 0; i < count; i++) {
    bool good = replay(folder, entries[i]->d_name);
    printf("%sok %d - %s\n", good ? "" : "not ", i + 1, entries[i]->d_name);
    fflush(stdout);
    failed |= !good;
    free(entries[i]);
  }
  if (count > 0) free(entries);
  return failed;
}
