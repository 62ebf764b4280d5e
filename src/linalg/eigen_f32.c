#define REAL float
#define EIGEN qg_eigen_f32
#define EIGEN_LAY_OUT qg_eigen_f32_lay_out
#define EIGEN_TOP qg_eigen_f32_top
#define SYTRD LAPACKE_ssytrd_work
#define STEDC LAPACKE_sstedc_work
#define ORMTR LAPACKE_sormtr_work

#include "linalg/eigen_body.h"
