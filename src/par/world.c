/* Start and end of MPI, and each rank's place in the grid. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "par/mpi_check.h"
#include "par/par_private.h"
#include "qgalore/base.h"
#include "qgalore/par/mpi.h"

/* Wants mpi.h before it. */
#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif

static const size_t default_chunk = (size_t)1 << 30;

static qg_status start_mpi(int *argc, char ***argv)
{
  int provided;
  QG_MPI(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
  QG_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  QG_CHECK(provided >= MPI_THREAD_FUNNELED, QG_ERR_RUNTIME,
           "this MPI library has no thread support (MPI_THREAD_FUNNELED): use a build with it");
  return QG_OK;
}

/* Ranks that share memory are on one node. */
static qg_status place_on_node(MPI_Comm comm, qg_grid *grid)
{
  MPI_Comm node;
  QG_MPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, grid->rank, MPI_INFO_NULL, &node));
  QG_MPI(MPI_Comm_rank(node, &grid->local_rank));
  QG_MPI(MPI_Comm_size(node, &grid->local_size));
  QG_MPI(MPI_Comm_free(&node));
  return QG_OK;
}

static qg_status make_grid(MPI_Comm comm, qg_grid *grid)
{
  QG_MPI(MPI_Comm_rank(comm, &grid->rank));
  QG_MPI(MPI_Comm_size(comm, &grid->size));
  grid->replicas = 1;
  grid->stages = grid->size / grid->replicas;
  grid->stage = grid->rank % grid->stages;
  grid->replica = grid->rank / grid->stages;
  if (gethostname(grid->host, sizeof grid->host) != 0) strcpy(grid->host, "unknown");
  grid->host[sizeof grid->host - 1] = '\0';
  return place_on_node(comm, grid);
}

/* MPI libraries without the query include some that take device pointers. */
static qg_device_pointers ask_mpi(void)
{
#ifdef MPIX_CUDA_AWARE_SUPPORT
  return MPIX_Query_cuda_support() == 1 ? QG_DEVICE_POINTERS_TAKEN : QG_DEVICE_POINTERS_REFUSED;
#else
  return QG_DEVICE_POINTERS_UNKNOWN;
#endif
}

static qg_status read_device_pointers(qg_device_pointers *out)
{
  const char *text = getenv("QGALORE_PAR_DEVICE");
  *out = ask_mpi();
  if (!text) return QG_OK;
  QG_CHECK(text[0] >= '0' && text[0] <= '2' && text[1] == '\0', QG_ERR_INPUT,
           "QGALORE_PAR_DEVICE is \"%s\": it must be 0 (refused), 1 (unknown) or 2 (taken)", text);
  *out = (qg_device_pointers)(text[0] - '0');
  return QG_OK;
}

static qg_status read_settings(qg_par *par)
{
  const char *chunk = getenv("QGALORE_PAR_CHUNK"), *synchronous = getenv("QGALORE_PAR_SYNCHRONOUS");
  par->synchronous = synchronous && strcmp(synchronous, "1") == 0;
  QG_TRY(read_device_pointers(&par->device_pointers));
  if (!chunk || strcmp(chunk, "0") == 0) return QG_OK;
  char *end;
  long long bytes = strtoll(chunk, &end, 10);
  QG_CHECK(end != chunk && *end == '\0' && bytes > 0 && bytes <= INT_MAX, QG_ERR_INPUT,
           "QGALORE_PAR_CHUNK is \"%s\": it must be a number of bytes from 1 to %d", chunk, INT_MAX);
  par->chunk = (size_t)bytes;
  return QG_OK;
}

/* Launchers may hand the environment to some ranks only, and both ends of a message must cut it alike. */
static qg_status share_settings(qg_par *par)
{
  uint64_t settings[3];
  QG_TRY(qg_par_agree(par, par->grid.rank == 0 ? read_settings(par) : QG_OK));
  settings[0] = par->chunk;
  settings[1] = par->synchronous;
  settings[2] = par->device_pointers;
  QG_MPI(MPI_Bcast(settings, 3, MPI_UINT64_T, 0, par->comm));
  par->chunk = (size_t)settings[0];
  par->synchronous = settings[1] != 0;
  par->device_pointers = (qg_device_pointers)settings[2];
  return QG_OK;
}

static qg_status take_buffer(qg_par *par)
{
  void *memory;
  QG_TRY(qg_calloc((size_t)par->grid.size * QG_PAR_PIECE_VALUES, sizeof(double), "sums over ranks", &memory));
  par->gathered = memory;
  return QG_OK;
}

static qg_status set_up(qg_par *par)
{
  QG_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &par->comm));
  QG_MPI(MPI_Comm_set_errhandler(par->comm, MPI_ERRORS_RETURN));
  QG_TRY(make_grid(par->comm, &par->grid));
  par->chunk = default_chunk;
  QG_TRY(take_buffer(par));
  return share_settings(par);
}

qg_status qg_par_init(int *argc, char ***argv, qg_par **out)
{
  void *memory;
  *out = NULL;
  QG_TRY(start_mpi(argc, argv));
  QG_TRY(qg_calloc(1, sizeof(qg_par), "the table of ranks", &memory));
  qg_par *par = memory;
  par->comm = MPI_COMM_NULL;
  qg_status status = set_up(par);
  if (status != QG_OK) {
    qg_par_finalize(par);
    return status;
  }
  *out = par;
  return QG_OK;
}

void qg_par_finalize(qg_par *par)
{
  if (!par) return;
  /* Nobody is left to be told of a failure here. */
  if (par->comm != MPI_COMM_NULL) MPI_Comm_free(&par->comm);
  MPI_Finalize();
  free(par->gathered);
  free(par);
}

void qg_par_abort(qg_par *par, qg_status code)
{
  if (par) MPI_Abort(par->comm, (int)code);
  _exit((int)code);
}

const qg_grid *qg_par_grid(const qg_par *par)
{
  return &par->grid;
}

qg_device_pointers qg_par_device_pointers(const qg_par *par)
{
  return par->device_pointers;
}

MPI_Comm qg_par_comm(const qg_par *par)
{
  return par->comm;
}
