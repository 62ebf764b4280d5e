#include "linalg/scalapack_layout.h"

#include <limits.h>

#include "qgalore/base.h"

/* Large enough for the BLAS on a block; small matrices get smaller ones, so that more ranks have a part. */
enum { LARGEST_BLOCK = 64 };

/* The divisor of `size` next below its root: grids close to squares send the fewest bytes. */
static int choose_grid_rows(int size)
{
  int best = 1;
  for (int rows = 1; rows <= size / rows; rows++)
    if (size % rows == 0) best = rows;
  return best;
}

/* Elements out of `count`, dealt in blocks to `places`, that `place` gets (ScaLAPACK's NUMROC). */
static int64_t dealt(int64_t count, int64_t block, int64_t place, int64_t places)
{
  int64_t whole = count / block, mine = whole / places * block;
  int64_t extra = whole % places;
  if (place < extra) return mine + block;
  return place == extra ? mine + count % block : mine;
}

/* The place with number 0 holds the largest part, so its sizes bound those of all. */
static int64_t largest_part(int64_t count, int64_t block, int64_t places)
{
  return dealt(count, block, 0, places);
}

/* Work of pssyevd for np x nq local elements: its documented minimum, and that of psormtr, which its own
 * check leaves out and which is larger for small matrices. */
static int64_t eigen_work(int64_t d, int64_t block, int64_t np, int64_t nq)
{
  int64_t conquer = 1 + 6 * d + 2 * np * nq;
  int64_t reduce = 3 * d + qg_max_i64(block * (np + 1), 3 * block);
  int64_t back = qg_max_i64(block * (block - 1) / 2, (np + nq) * block) + block * block;
  return 2 * d + qg_max_i64(qg_max_i64(conquer, reduce), back);
}

static qg_status check_shape(int64_t m, int64_t n, int64_t rank, int owner, int size)
{
  int64_t d = qg_min_i64(m, n);
  QG_CHECK(owner >= 0 && owner < size, QG_ERR_RUNTIME, "rank %d cannot own a subspace job of %d ranks", owner,
           size);
  QG_CHECK(rank >= 1 && rank <= d, QG_ERR_INPUT,
           "rank %lld of a %lld x %lld matrix: choose a rank from 1 to %lld", (long long)rank, (long long)m,
           (long long)n, (long long)d);
  QG_CHECK(m <= INT_MAX / 8 && n <= INT_MAX / 8, QG_ERR_INPUT,
           "a %lld x %lld matrix is too long for ScaLAPACK's 32-bit integers (a side up to %d)", (long long)m,
           (long long)n, INT_MAX / 8);
  return QG_OK;
}

/* The bounds are those of the largest part, so that all ranks come to the same answer. */
static qg_status check_counts(const qg_scalapack_layout *p)
{
  int64_t tall = largest_part(p->n, p->block, p->grid_rows) * largest_part(p->m, p->block, p->grid_cols);
  int64_t np = largest_part(p->d, p->block, p->grid_rows), nq = largest_part(p->d, p->block, p->grid_cols);
  QG_CHECK(tall <= INT_MAX && eigen_work(p->d, p->block, np, nq) <= INT_MAX, QG_ERR_INPUT,
           "a %d x %d matrix on a grid of %d x %d ranks exceeds ScaLAPACK's 32-bit integers: use more ranks",
           p->m, p->n, p->grid_rows, p->grid_cols);
  return QG_OK;
}

qg_status qg_scalapack_layout_make(int rank, int size, int owner, int64_t m, int64_t n, int64_t subspace_rank,
                                   qg_scalapack_layout *out)
{
  QG_TRY(check_shape(m, n, subspace_rank, owner, size));
  qg_scalapack_layout p = {.side = qg_side_of(m, n),
                           .m = (int)m,
                           .n = (int)n,
                           .d = (int)qg_min_i64(m, n),
                           .length = (int)qg_max_i64(m, n),
                           .rank = (int)subspace_rank,
                           .grid_rows = choose_grid_rows(size),
                           .is_owner = rank == owner};
  p.grid_cols = size / p.grid_rows;
  p.row = rank / p.grid_cols;
  p.col = rank % p.grid_cols;
  p.block = (int)qg_min_i64(LARGEST_BLOCK, qg_ceil_div(p.d, p.grid_cols));
  QG_TRY(check_counts(&p));
  p.tall_rows = (int)dealt(p.n, p.block, p.row, p.grid_rows);
  p.tall_cols = (int)dealt(p.m, p.block, p.col, p.grid_cols);
  p.square_rows = (int)dealt(p.d, p.block, p.row, p.grid_rows);
  p.square_cols = (int)dealt(p.d, p.block, p.col, p.grid_cols);
  p.work_count = (int)eigen_work(p.d, p.block, p.square_rows, p.square_cols);
  p.iwork_count = 7 * p.d + 8 * p.grid_cols + 2;
  *out = p;
  return QG_OK;
}

void qg_scalapack_scratch_lay_out(qg_scratch *scratch, const qg_scalapack_layout *layout,
                                  qg_scalapack_scratch *out)
{
  int64_t square = (int64_t)layout->square_rows * layout->square_cols;
  *out = (qg_scalapack_scratch){0};
  out->tall = qg_scratch_take(scratch, (int64_t)layout->tall_rows * layout->tall_cols, sizeof(float));
  out->gram = qg_scratch_take(scratch, square, sizeof(float));
  out->vectors = qg_scratch_take(scratch, square, sizeof(float));
  out->values = qg_scratch_take(scratch, layout->d, sizeof(float));
  out->work = qg_scratch_take(scratch, layout->work_count, sizeof(float));
  out->iwork = qg_scratch_take(scratch, layout->iwork_count, sizeof(int));
  if (!layout->is_owner) return;
  out->rows = qg_scratch_take(scratch, (int64_t)layout->rank * layout->d, sizeof(float));
  out->eigenvalues = qg_scratch_take(scratch, layout->rank, sizeof(double));
  qg_orthonormal_lay_out(scratch, layout->rank, &out->orthonormal);
}
