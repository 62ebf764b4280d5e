/* Due subspaces on a device that solves them itself: gradient, basis and moments stay where they are. */
#include <math.h>

#include "optim/internal.h"
#include "qgalore/base.h"

static qg_device_solver solver_of(const qg_subspace_try *first)
{
  return first->exact ? QG_SOLVER_GRAM : QG_SOLVER_POWER;
}

/* With and without a basis to start from, and what validates both. */
static size_t bytes_for(const qg_optim *optim, const qg_optim_param *p)
{
  int64_t m = p->info.rows, n = p->info.cols, rank = p->policy.rank;
  size_t most = 0;
  for (int warm = 0; warm < 2; warm++) {
    qg_subspace_try first = qg_subspace_first_try(optim->options.subspace.method, m, n, warm);
    most = qg_max_size(most, optim->be->ops->subspace_bytes(optim->be, m, n, rank, solver_of(&first)));
  }
  if (!optim->options.validate_subspaces) return most;
  return qg_max_size(most, optim->be->ops->subspace_bytes(optim->be, m, n, rank, QG_SOLVER_SVD));
}

void qg_optim_measure_device_solver(qg_optim *optim)
{
  qg_optim_refresher *r = &optim->refresher;
  if (!optim->be->ops->subspace) return;
  for (int id = 0; id < optim->param_count; id++) {
    const qg_optim_param *p = &optim->params[id];
    if (!p->held || !p->policy.projected || p->policy.route == QG_ROUTE_DISTRIBUTED) continue;
    r->device_workspace_bytes = qg_max_size(r->device_workspace_bytes, bytes_for(optim, p));
  }
}

qg_status qg_optim_take_device_bases(qg_optim *optim)
{
  qg_optim_refresher *r = &optim->refresher;
  int bases = optim->options.validate_subspaces ? 2 : 1;
  void *memory;
  if (!optim->be->ops->subspace) return QG_OK;
  QG_TRY(qg_mem_alloc(optim->mem, QG_OWNER_WORKSPACE, "new subspaces on the device",
                      qg_dtype_bytes(QG_F32, bases * r->basis_stride), &memory));
  r->device_basis = memory;
  return QG_OK;
}

/* A warm basis was refined, a random one made. */
static qg_subspace_method method_of(const qg_subspace_args *args)
{
  if (args->solver == QG_SOLVER_GRAM) return QG_SUBSPACE_EXACT;
  return args->previous ? QG_SUBSPACE_WARM : QG_SUBSPACE_RANDOMIZED;
}

static qg_subspace_args describe(const qg_optim *optim, const qg_optim_param *p, const float *previous)
{
  const qg_optim_refresher *r = &optim->refresher;
  const qg_subspace_options *options = &optim->options.subspace;
  int64_t m = p->info.rows, n = p->info.cols;
  qg_subspace_try first = qg_subspace_first_try(options->method, m, n, previous != NULL);
  return (qg_subspace_args){.gradient = qg_view_make(p->full, QG_F32, m, n),
                            .rank = p->policy.rank,
                            .solver = solver_of(&first),
                            .previous = options->method == QG_SUBSPACE_RANDOMIZED ? NULL : previous,
                            .more_steps = first.more_steps,
                            .min_energy_ratio = options->min_energy_ratio,
                            .seed = qg_optim_refresh_seed(optim, p),
                            .workspace = r->device_workspace,
                            .workspace_bytes = r->device_workspace_bytes,
                            .basis = r->device_basis,
                            .singular_values = r->singular_values};
}

static qg_status change_basis(qg_optim *optim, const qg_optim_param *p, const float *from, const float *to,
                              qg_basis_change_args *out)
{
  *out = (qg_basis_change_args){.left = p->policy.side == QG_SIDE_LEFT,
                                .rank = p->policy.rank,
                                .d = qg_min_i64(p->info.rows, p->info.cols),
                                .from = from,
                                .to = to,
                                .rotation = optim->scratch.rotation};
  return optim->be->ops->basis_change(optim->be, out);
}

/* Against the singular vectors of the same gradient. What these cannot settle is not compared. */
static qg_status validate(qg_optim *optim, const qg_optim_param *p, const qg_subspace_args *found)
{
  qg_subspace_validation *v = &optim->validation;
  qg_subspace_args truth = *found;
  qg_basis_change_args change;
  truth.solver = QG_SOLVER_SVD;
  truth.basis = optim->refresher.device_basis + optim->refresher.basis_stride;
  QG_TRY(optim->be->ops->subspace(optim->be, &truth));
  if (!truth.accepted) return QG_OK;
  QG_TRY(change_basis(optim, p, truth.basis, found->basis, &change));
  v->lost_energy = fmax(v->lost_energy, 1.0 - found->energy / truth.energy);
  v->overlap = v->count == 0 ? change.overlap : fmin(v->overlap, change.overlap);
  v->count++;
  return QG_OK;
}

/* The old subspace is what was stored, rounded to INT4; the new one is as it was solved. */
static qg_status move(qg_optim *optim, const qg_optim_param *p, const float *previous, double *similarity)
{
  qg_basis_change_args change;
  *similarity = NAN;
  if (!previous) return QG_OK;
  QG_TRY(change_basis(optim, p, previous, optim->refresher.device_basis, &change));
  *similarity = optim->options.similarity == QG_SIMILARITY_OVERLAP ? change.overlap : change.cosine;
  return qg_optim_rotates(optim, p) ? qg_optim_rotate_moments(optim, p) : QG_OK;
}

qg_status qg_optim_refresh_on_device(qg_optim *optim, qg_optim_param *p, bool *done)
{
  qg_view previous = {0};
  double similarity;
  qg_optim_name(optim, p);
  if (qg_optim_has_projector(p)) QG_TRY(qg_optim_projector_read(optim, p, QG_F32, &previous));
  qg_subspace_args args = describe(optim, p, previous.data);
  QG_TRY(optim->be->ops->subspace(optim->be, &args));
  *done = args.accepted;
  if (!args.accepted) return QG_OK;
  if (optim->options.validate_subspaces) QG_TRY(validate(optim, p, &args));
  QG_TRY(move(optim, p, previous.data, &similarity));
  QG_TRY(qg_optim_projector_keep(optim, p, args.basis));
  qg_optim_note_refresh(optim, p, similarity, args.energy, method_of(&args));
  return QG_OK;
}
