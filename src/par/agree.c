/* One rank's failure becomes everybody's, so that nobody waits for a rank that has given up. */
#include <stdio.h>
#include <string.h>

#include "par/mpi_check.h"
#include "par/par_private.h"
#include "qgalore/par.h"

typedef struct {
  int32_t status;
  char message[2048];
} report;

static bool already_names_a_rank(const char *message)
{
  int rank, end = 0;
  return sscanf(message, "rank %d: %n", &rank, &end) == 1 && end > 0;
}

static void describe_mine(const qg_grid *grid, qg_status mine, report *out)
{
  const char *message = qg_error_message();
  memset(out, 0, sizeof *out);
  out->status = (int32_t)mine;
  if (grid->size > 1 && !already_names_a_rank(message))
    snprintf(out->message, sizeof out->message, "rank %d: %s", grid->rank, message);
  else
    snprintf(out->message, sizeof out->message, "%s", message);
}

qg_status qg_par_agree(qg_par *par, qg_status mine)
{
  const qg_grid *grid = &par->grid;
  int candidate = mine == QG_OK ? grid->size : grid->rank, lowest;
  QG_MPI(MPI_Allreduce(&candidate, &lowest, 1, MPI_INT, MPI_MIN, par->comm));
  if (lowest == grid->size) return QG_OK;
  report verdict;
  describe_mine(grid, mine, &verdict);
  QG_MPI(MPI_Bcast(&verdict, (int)sizeof verdict, MPI_BYTE, lowest, par->comm));
  return qg_error_adopt((qg_status)verdict.status, verdict.message);
}
