/* Code that is meant to end its program, in a child. */
#ifndef QG_TESTS_CUDA_CHILD_H
#define QG_TESTS_CUDA_CHILD_H

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

/* How a child ends that does `act`. */
static int end_of_child(void (*act)())
{
  fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    if (!freopen("/dev/null", "w", stderr)) _exit(2);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    act();
    _exit(0);
  }
  int state = 0;
  assert_int_equal(waitpid(child, &state, 0), child);
  return state;
}

#endif
