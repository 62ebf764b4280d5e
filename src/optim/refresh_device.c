#include "optim/refresh_device.h"

#include <math.h>

#include "optim/rotation.h"
#include "qgalore/base.h"

uint64_t qg_refresh_seed(const qg_projected *p)
{
  const qg_optim_context *o = p->sink.o;
  qg_rng rng = {o->options.seed, (uint64_t)o->step, (uint32_t)p->sink.param->id, QG_RNG_SUBSPACE};
  qg_rng_block block = qg_rng_draw(rng, 0);
  return (uint64_t)block.v[1] << 32 | block.v[0];
}

/* A warm basis was refined, a random one made. */
static qg_subspace_method method_of(const qg_subspace_args *args)
{
  if (args->solver == QG_SOLVER_GRAM) return QG_SUBSPACE_EXACT;
  return args->previous ? QG_SUBSPACE_WARM : QG_SUBSPACE_RANDOMIZED;
}

static qg_subspace_args describe(const qg_projected *p, const float *previous)
{
  const qg_optim_context *o = p->sink.o;
  const qg_refresher *r = o->refresher;
  const qg_subspace_options *options = &o->options.subspace;
  int64_t m = p->sink.param->rows, n = p->sink.param->cols;
  qg_subspace_try first = qg_subspace_first_try(options->method, m, n, previous != NULL);
  return (qg_subspace_args){.gradient = qg_view_make(p->full, QG_F32, m, n),
                            .rank = p->projector.rank,
                            .solver = first.exact ? QG_SOLVER_GRAM : QG_SOLVER_POWER,
                            .previous = options->method == QG_SUBSPACE_RANDOMIZED ? NULL : previous,
                            .more_steps = first.more_steps,
                            .min_energy_ratio = options->min_energy_ratio,
                            .seed = qg_refresh_seed(p),
                            .workspace = r->device_workspace,
                            .workspace_bytes = r->device_workspace_bytes,
                            .basis = r->device_basis,
                            .singular_values = r->singular_values};
}

static qg_status change_basis(const qg_projected *p, const float *from, const float *to,
                              qg_basis_change_args *out)
{
  const qg_optim_context *o = p->sink.o;
  *out = (qg_basis_change_args){.left = p->projector.side == QG_SIDE_LEFT,
                                .rank = p->projector.rank,
                                .d = qg_min_i64(p->sink.param->rows, p->sink.param->cols),
                                .from = from,
                                .to = to,
                                .rotation = o->scratch.rotation};
  return o->be->ops->basis_change(o->be, out);
}

/* Against the singular vectors of the same gradient. What these cannot settle is not compared. */
static qg_status validate(const qg_projected *p, const qg_subspace_args *found)
{
  const qg_optim_context *o = p->sink.o;
  qg_subspace_validation *v = &o->refresher->validation;
  qg_subspace_args truth = *found;
  qg_basis_change_args change;
  truth.solver = QG_SOLVER_SVD;
  truth.basis = o->refresher->device_basis + o->refresher->basis_stride;
  QG_TRY(o->be->ops->subspace(o->be, &truth));
  if (!truth.accepted) return QG_OK;
  QG_TRY(change_basis(p, truth.basis, found->basis, &change));
  v->lost_energy = fmax(v->lost_energy, 1.0 - found->energy / truth.energy);
  v->overlap = v->count == 0 ? change.overlap : fmin(v->overlap, change.overlap);
  v->count++;
  return QG_OK;
}

/* The old subspace is what was stored, rounded to INT4; the new one is as it was solved. */
static qg_status change_to(const qg_projected *p, const float *previous, double *similarity)
{
  const qg_optim_context *o = p->sink.o;
  qg_basis_change_args change;
  *similarity = NAN;
  if (!previous) return QG_OK;
  QG_TRY(change_basis(p, previous, o->refresher->device_basis, &change));
  *similarity = o->options.similarity == QG_SIMILARITY_OVERLAP ? change.overlap : change.cosine;
  return qg_rotates(p) ? qg_rotate_moments(p) : QG_OK;
}

qg_status qg_refresh_on_device(qg_projected *p, bool *done)
{
  qg_optim_context *o = p->sink.o;
  qg_view previous = {0};
  double similarity;
  qg_sink_name(&p->sink);
  if (qg_projected_has_basis(p)) QG_TRY(qg_projector_read(o, &p->projector, QG_F32, &previous));
  qg_subspace_args args = describe(p, previous.data);
  QG_TRY(o->be->ops->subspace(o->be, &args));
  *done = args.accepted;
  if (!args.accepted) return QG_OK;
  if (o->options.validate_subspaces) QG_TRY(validate(p, &args));
  QG_TRY(change_to(p, previous.data, &similarity));
  QG_TRY(qg_projector_keep(o, &p->projector, args.basis));
  qg_refresher_note(o->refresher, p, similarity, args.energy, method_of(&args));
  return QG_OK;
}
