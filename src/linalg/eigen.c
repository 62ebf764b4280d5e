#include "linalg/eigen.h"

/* Optimal block sizes of ?sytrd and ?ormtr stay under 64; ?ormtr adds a 65 x 64 triangle. */
static int64_t work_needed(int64_t d)
{
  int64_t conquer = 1 + 4 * d + d * d;
  int64_t blocked = 64 * d + 65 * 64;
  return conquer > blocked ? conquer : blocked;
}

#define REAL float
#define EIGEN qg_eigen_f32
#define EIGEN_LAY_OUT qg_eigen_f32_lay_out
#define EIGEN_TOP qg_eigen_f32_top
#define SYTRD LAPACKE_ssytrd_work
#define STEDC LAPACKE_sstedc_work
#define ORMTR LAPACKE_sormtr_work
#include "linalg/eigen_body.h"

#define REAL double
#define EIGEN qg_eigen_f64
#define EIGEN_LAY_OUT qg_eigen_f64_lay_out
#define EIGEN_TOP qg_eigen_f64_top
#define SYTRD LAPACKE_dsytrd_work
#define STEDC LAPACKE_dstedc_work
#define ORMTR LAPACKE_dormtr_work
#include "linalg/eigen_body.h"
