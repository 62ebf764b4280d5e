#include "app/memory_check.h"

#include <stdlib.h>
#include <string.h>

#include "qgalore/base.h"

/* Bytes of one rank, or of all ranks of a node. */
typedef struct {
  char host[64];
  int ranks;
  size_t planned, resident; /* resident: already taken, and part of the plan */
  size_t limit, available;  /* of the node */
} node_memory;

static qg_status plan_rank(const qg_config *config, const qg_grid *grid, qg_backend *be, qg_dry_run_job job,
                           node_memory *mine)
{
  qg_dry_run dry;
  qg_trainer_request request = qg_dry_run_request(config, be, grid->stage, grid->stages);
  qg_status status = job(&request, mine->resident, &dry);
  if (status == QG_OK)
    mine->planned = be->ops->unified_memory ? qg_mem_total(dry.mem) : qg_mem_space(dry.mem, QG_SPACE_HOST);
  qg_mem_destroy(dry.mem);
  return status;
}

/* Adds a rank to its node among `nodes`; returns how many these are then. */
static int add_to_node(node_memory *nodes, int count, const node_memory *rank)
{
  int i = 0;
  while (i < count && strcmp(nodes[i].host, rank->host) != 0) i++;
  if (i == count) {
    nodes[i] = *rank;
    return count + 1;
  }
  nodes[i].ranks += rank->ranks;
  nodes[i].planned += rank->planned;
  nodes[i].resident += rank->resident;
  return count;
}

static qg_status check_node(const node_memory *node, const char *advice, const qg_log *log)
{
  char planned[32], has[32];
  qg_format_bytes(planned, sizeof planned, (double)node->planned);
  QG_CHECK(node->planned <= node->limit, QG_ERR_RESOURCE,
           "the plan for %s, %s with %d of the ranks, does not fit into the %s that it may use: more nodes, "
           "or %s; --check shows who needs what",
           node->host, planned, node->ranks, qg_format_bytes(has, sizeof has, (double)node->limit), advice);
  size_t free = node->available == SIZE_MAX ? SIZE_MAX : node->available + node->resident;
  if (node->planned > free)
    qg_log_warn(log, "the plan for %s is %s, but only %s are available there at present", node->host, planned,
                qg_format_bytes(has, sizeof has, (double)free));
  return QG_OK;
}

static qg_status check_nodes(node_memory *ranks, int count, const char *advice, const qg_log *log)
{
  int nodes = 0;
  for (int i = 0; i < count; i++) {
    node_memory rank = ranks[i];
    nodes = add_to_node(ranks, nodes, &rank);
  }
  for (int i = 0; i < nodes; i++) QG_TRY(check_node(&ranks[i], advice, log));
  return QG_OK;
}

qg_status qg_memory_check(const qg_config *config, qg_par *par, qg_backend *be, qg_dry_run_job job,
                          const char *advice, const qg_log *log)
{
  const qg_grid *grid = qg_par_grid(par);
  node_memory mine = {.ranks = 1,
                      .resident = qg_memory_resident(),
                      .limit = qg_memory_limit(),
                      .available = qg_memory_available()};
  node_memory *all = NULL;
  qg_status status;
  snprintf(mine.host, sizeof mine.host, "%s", grid->host);
  QG_TRY(qg_par_agree(par, plan_rank(config, grid, be, job, &mine)));
  QG_TRY_OUT(qg_calloc((size_t)grid->size, sizeof *all, "the plans of the ranks", (void **)&all));
  QG_TRY_OUT(qg_par_gather(par, &mine, sizeof mine, all, 0));
  if (qg_par_is_root(grid)) status = check_nodes(all, grid->size, advice, log);
out:
  free(all);
  return qg_par_agree(par, status);
}
