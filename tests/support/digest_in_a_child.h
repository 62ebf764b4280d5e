/* The emulation takes its order from the environment when it is loaded: what is computed in a certain order
 * is computed in a child, and a digest of it comes back. */
#ifndef QG_TESTS_DIGEST_IN_A_CHILD_H
#define QG_TESTS_DIGEST_IN_A_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* False if the child gave up. `what` is handed to digest_of. */
static inline bool digest_in_a_child(uint32_t (*digest_of)(const void *what), const void *what, int seed,
                                     uint32_t *digest)
{
  int ends[2];
  char text[16];
  assert_int_equal(pipe(ends), 0);
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    snprintf(text, sizeof text, "%d", seed);
    setenv("CUDAEMU_SEED", text, 1);
    uint32_t result = digest_of(what);
    _exit(write(ends[1], &result, sizeof result) != sizeof result);
  }
  close(ends[1]);
  ssize_t got = read(ends[0], digest, sizeof *digest);
  close(ends[0]);
  assert_int_equal(waitpid(child, NULL, 0), child);
  return got == sizeof *digest;
}

#endif
