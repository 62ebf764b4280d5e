/* Moments follow the subspace: what Adam remembers in the old basis is read in the new one. */
#ifndef QG_OPTIM_ROTATION_H
#define QG_OPTIM_ROTATION_H

#include "optim/projected.h"

/* Whether moments of p have anything to be rotated at this step. */
bool qg_rotates(const qg_projected *p);
/* Where the solver is on the host: the change of basis C, [2, rank^2] with room for its squares, goes where
 * the device reads it. */
qg_status qg_rotation_place(qg_optim_context *o, float *host, int64_t rank);
/* Moments of p into the basis that scratch.rotation leads to. */
qg_status qg_rotate_moments(const qg_projected *p);

#endif
