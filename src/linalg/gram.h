/* H = G^T G (right side) or G G^T (left side), [d, d]; only the upper triangle of the row-major matrix is
 * written. */
#ifndef QG_LINALG_GRAM_H
#define QG_LINALG_GRAM_H

#include "linalg/projection_problem.h"
#include "linalg/scratch.h"

void qg_gram_f32(const qg_projection_problem *problem, float *gram);

/* Elements of the panel that qg_gram_f64 converts at a time. */
int64_t qg_gram_panel_count(int d);
void qg_gram_f64(const qg_projection_problem *problem, double *panel, double *gram);

#endif
