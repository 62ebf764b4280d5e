#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "qgalore/app.h"
#include "qgalore/base/status.h"

/* What OpenBLAS and MPI map before the program has said a word. */
enum { LIBRARIES_MIB = 448 };

/* Under a small limit of address space (ulimit -v) OpenBLAS asks for its buffer again and again while it is
 * loaded. This runs before libraries do. */
__attribute__((no_sanitize("address", "undefined"))) static void check_address_space(void)
{
  struct rlimit limit;
  char line[256];
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  size_t bytes = (size_t)LIBRARIES_MIB << 20;
  void *room = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room != MAP_FAILED) {
    munmap(room, bytes);
    return;
  }
  int length =
      snprintf(line, sizeof line,
               "error: the limit of address space (ulimit -v %llu) leaves no %d MiB for the libraries "
               "alone: raise it, or run without it\n",
               (unsigned long long)limit.rlim_cur >> 10, LIBRARIES_MIB);
  if (write(STDERR_FILENO, line, (size_t)length) < 0) _exit(QG_ERR_RESOURCE);
  _exit(QG_ERR_RESOURCE);
}

__attribute__((section(".preinit_array"),
               used)) static void (*const before_libraries)(void) = check_address_space;

int main(int argc, char **argv)
{
  return (int)qg_app_main(argc, argv);
}
