/* Block power iteration with Rayleigh-Ritz: a few products with H instead of its eigenvalues.
 *
 * Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 53 (2011), algorithms 4.4
 * and 5.3. Warm: the block starts as the previous basis and a few random vectors that find directions the old
 * basis has never seen; one step. Randomized: all random, two steps. Either may take one step more. */
#ifndef QG_LINALG_POWER_H
#define QG_LINALG_POWER_H

#include "linalg/problem.h"
#include "linalg/scratch.h"

/* For the hungrier of the two starts. */
size_t qg_power_bytes(int d, int length, int rank);

/* previous == NULL: a random start. Publishes a result whose energy is at least `min_energy_ratio` of the
 * estimated optimum; otherwise *accepted is false, the job's arrays are unchanged and the exact route is due.
 * `scratch` holds qg_power_bytes. The problem must fit fp32 and not be zero. */
qg_status qg_power_solve(const qg_problem *problem, const float *previous, double min_energy_ratio,
                         qg_scratch scratch, qg_subspace_job *job, bool *accepted);

#endif
