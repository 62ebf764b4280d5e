#include "support/bench/peer_process.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qgalore/base.h"

const char *const peer_tuned_torch[] = {"OMP_NUM_THREADS=2",
                                        "MKL_NUM_THREADS=2",
                                        "MALLOC_MMAP_THRESHOLD_=4294967296",
                                        "MALLOC_TRIM_THRESHOLD_=17179869184",
                                        "MALLOC_TOP_PAD_=268435456",
                                        NULL};

/* Reads on until a line begins with `word`, and takes numbers from it; those that are missing are 0. */
static qg_status read_answer(peer_process *c, const char *word, double *numbers, int count)
{
  char line[1024];
  size_t length = strlen(word);
  do {
    QG_CHECK(fgets(line, sizeof line, c->from), QG_ERR_RUNTIME, "a peer ended before it said %s", word);
  } while (strncmp(line, word, length) != 0);
  char *at = line + length;
  for (int i = 0; i < count; i++) numbers[i] = strtod(at, &at);
  return QG_OK;
}

/* In the child: never returns. */
static void become(const char *const argv[], const char *const environment[], int input, int output)
{
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  for (int i = 0; environment && environment[i]; i++) putenv((char *)environment[i]);
  execv(argv[0], (char *const *)argv);
  perror(argv[0]);
  _exit(127);
}

qg_status peer_start(const char *const argv[], const char *const environment[], double *numbers, int count,
                     peer_process *out)
{
  int down[2], up[2]; /* to the child, from it */
  *out = (peer_process){0};
  QG_CHECK(pipe2(down, O_CLOEXEC) == 0 && pipe2(up, O_CLOEXEC) == 0, QG_ERR_RESOURCE, "no pipe for %s",
           argv[0]);
  pid_t pid = fork();
  QG_CHECK(pid >= 0, QG_ERR_RESOURCE, "cannot start %s", argv[0]);
  if (pid == 0) become(argv, environment, down[0], up[1]);
  close(down[0]);
  close(up[1]);
  *out = (peer_process){.pid = pid, .to = fdopen(down[1], "w"), .from = fdopen(up[0], "r")};
  return read_answer(out, "ready", numbers, count);
}

qg_status peer_ask(peer_process *c, const char *command, double *numbers, int count)
{
  fprintf(c->to, "%s\n", command);
  fflush(c->to);
  return read_answer(c, "ok", numbers, count);
}

qg_status peer_quit(peer_process *c, double *peak_bytes)
{
  double peak = 0;
  if (c->pid == 0) return QG_OK;
  qg_status status = peer_ask(c, "quit", &peak, 1);
  fclose(c->to);
  fclose(c->from);
  waitpid(c->pid, NULL, 0);
  c->pid = 0;
  if (peak_bytes) *peak_bytes = peak;
  return status;
}

static qg_status serve_one(const peer_command *commands, int count, void *state, const char *name)
{
  for (int i = 0; i < count; i++)
    if (strcmp(commands[i].name, name) == 0) {
      printf("ok");
      QG_TRY(commands[i].run(state));
      printf("\n");
      fflush(stdout);
      return QG_OK;
    }
  return QG_FAIL(QG_ERR_INPUT, "%s: no such command", name);
}

qg_status peer_serve(const peer_command *commands, int count, void *state)
{
  char line[64];
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "quit") == 0) break;
    QG_TRY(serve_one(commands, count, state, line));
  }
  printf("ok %zu\n", qg_memory_peak());
  fflush(stdout);
  return QG_OK;
}
