/* Subspaces: the r directions of a gradient that capture most of it.
 *
 * All matrices here are host memory, fp32, row-major. A basis is stored as the projector uses it
 * (doc/method.md section 4):
 *   QG_SIDE_RIGHT (m >= n): P [r, n], rows are the first r right singular vectors;  R = G P^T [m, r]
 *   QG_SIDE_LEFT  (m <  n): P [m, r], columns are the first r left singular vectors; R = P^T G [r, n] */
#ifndef QGALORE_LINALG_H
#define QGALORE_LINALG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qgalore/backend.h"
#include "qgalore/base/status.h"
#include "qgalore/spec/method.h"

typedef enum { QG_SIDE_RIGHT, QG_SIDE_LEFT } qg_side;

static inline qg_side qg_side_of(int64_t m, int64_t n) { return m >= n ? QG_SIDE_RIGHT : QG_SIDE_LEFT; }

/* What the methods of qgalore/spec/method.h do. qg_subspace_method_name: "exact", "warm", ... as users read it.
 * EXACT: eigenvectors of the Gram matrix of the short side, in double precision where fp32 would lose the last ones
 * (s_r^2 < 1e-6 s_1^2, or entries whose squares leave fp32). Where the rank is under a third of the short side, block power steps
 * from a random start come first; their result counts as exact when nothing is left to find, to some 1e-7 of the energy.
 * WARM: a block power step from `previous`, a second one or EXACT when that holds too little; without a
 * `previous`, or with one that is no basis (not finite, components over 2), like AUTO.
 * RANDOMIZED: two or three block power steps from a random start, or EXACT when they hold too little.
 * AUTO: WARM with a previous basis, else EXACT, for a short side under 2048. From there on block power steps alone, from
 * the previous basis or a random start, up to five of them: no memory is asked for an eigenproblem of the whole side.
 * Whichever fails numerically, RANDOMIZED has the last try. */
const char *qg_subspace_method_name(qg_subspace_method method);

/* A gradient that is not formed: G = dy^T x. The products with it run on the backend, in its compute type with fp32 sums;
 * its memory must be unified. Scratch, c = qg_subspace_directions(rank, min(m, n)) directions:
 *   block  compute type [c * max(m, n)];   tokens  compute type [t * c] */
typedef struct {
  qg_backend *be;
  qg_view dy, x; /* [t, m], [t, n] compute type */
  void *block, *tokens;
} qg_implicit_gradient;

/* Directions that block power steps work on: the rank and some more, at most d. */
int64_t qg_subspace_directions(int64_t rank, int64_t d);

/* Whether a job of this shape is solved from the factors of `tokens` tokens: without the formed gradient it has to do with
 * block power steps alone (AUTO from a short side of 2048 on), and they should be cheaper on the factors:
 * tokens (m + n) < m n. Pure. */
bool qg_subspace_prefers_implicit(qg_subspace_method method, int64_t m, int64_t n, int64_t tokens);

/* One matrix whose subspace is wanted. */
typedef struct {
  int64_t m, n, rank;
  const float *gradient;   /* [m, n]; NULL: `implicit` */
  const qg_implicit_gradient *implicit; /* where qg_subspace_prefers_implicit */
  const float *previous;   /* the old basis in projector layout, or NULL */
  float *basis;            /* out, projector layout, orthonormal; may not alias previous. The largest component of
                            * every vector is positive. Unit vectors for a zero gradient, whose energy counts as 1 */
  float *singular_values;  /* out [rank], descending */
  double energy;           /* out: ||P G||_F^2 / ||G||_F^2, in [0, 1] */
  qg_subspace_method used; /* out: the method that gave the result */
  uint64_t seed;           /* for random starts: a function of run seed, step and tensor */
  qg_status status;        /* out: QG_OK, or QG_ERR_NUMERICAL (non-finite input, no convergence): basis is then unchanged */
} qg_subspace_job;

typedef struct {
  qg_subspace_method method; /* subspace.method; SCALAPACK jobs are not for this call */
  double min_energy_ratio;   /* subspace.min_energy: a warm result under this share of the estimated optimum is redone exactly */
  int threads;
  bool bf16; /* products of block power steps may be made of bf16: of operands rounded to it, and of all but rounded ones, as two of them
              * each, where EXACT has to be exact. qg_optim_create sets it with the compute type */
} qg_subspace_options;

/* What qg_subspace_solve would try first, for devices that solve subspaces themselves (qg_subspace_args in
 * qgalore/backend.h): the exact solution, or block power steps with up to more_steps beyond the usual ones. Pure. */
typedef struct {
  bool exact;
  int more_steps;
} qg_subspace_try;

qg_subspace_try qg_subspace_first_try(qg_subspace_method method, int64_t m, int64_t n, bool has_previous);

/* Scratch bytes that qg_subspace_solve wants for these shapes: [count] jobs of which at most `threads` run at once; those
 * with an `implicit` need its views' shapes. About 24 d^2 bytes for each that runs, d = min(m, n), most of it for the
 * eigenproblem in double; far less where block power steps do alone, which with `bf16` split the gradient once more. Local. */
size_t qg_subspace_workspace(const qg_subspace_options *options, const qg_subspace_job *shapes, int count);

/* Solves all jobs: those with a short side under 2048 several at a time with one BLAS thread each, the wider ones
 * one after the other with all threads. The result of a job is the same bits whichever others are in the call,
 * and under 2048 whatever the number of threads. A job that fails says so in its status; the call fails only when
 * it cannot work at all: QG_ERR_INPUT for a rank outside 1..min(m, n) or a short side over 46000, QG_ERR_RUNTIME for
 * missing arrays or workspace. Allocates nothing itself. Local. */
qg_status qg_subspace_solve(const qg_subspace_options *options, qg_subspace_job *jobs, int count,
                            void *workspace, size_t workspace_bytes);

/* Who solves subspaces, for users that shall not know: the host below, or a stand-in in tests. Both members take the solver
 * itself as `self` and hold what the two functions above promise. */
typedef struct qg_subspace_solver qg_subspace_solver;
struct qg_subspace_solver {
  qg_subspace_options options;
  void *impl; /* of other solvers than the host's; belongs to who made it */
  size_t (*workspace)(const qg_subspace_solver *self, const qg_subspace_job *shapes, int count);
  qg_status (*solve)(const qg_subspace_solver *self, qg_subspace_job *jobs, int count, void *workspace, size_t workspace_bytes);
};

/* qg_subspace_workspace and qg_subspace_solve with a copy of `options`. Local. */
qg_subspace_solver qg_subspace_host_solver(const qg_subspace_options *options);

/* The change of basis C [rank, rank] from `from` to `to`: coordinates R in `from` become R C (right) or C^T R (left) in
 * `to`.  Right: C = from to^T.  Left: C = from^T to.  d = the short side of the gradient. Local. */
void qg_subspace_rotation(qg_side side, int64_t d, int64_t rank, const float *from, const float *to, float *rotation);

/* How much of one subspace lies in the other: ||C||_F^2 / r in [0, 1] for a rotation between orthonormal bases; basis-free
 * and sign-free (doc/method.md section 7). Local. */
double qg_subspace_overlap(int64_t rank, const float *rotation);

/* The reference's similarity: signed cosine of the first basis vectors (doc/method.md section 7). Local. */
double qg_subspace_cosine(qg_side side, int64_t d, int64_t rank, const float *a, const float *b);

/* Limits the BLAS libraries of this process, and OpenMP regions without a count of their own, to `threads`
 * threads: the OpenMP build of OpenBLAS takes its team from OpenMP. Local. */
void qg_blas_threads(int threads);

#endif
