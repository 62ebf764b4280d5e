#define REAL double
#define EIGEN qg_eigen_f64
#define EIGEN_LAY_OUT qg_eigen_f64_lay_out
#define EIGEN_TOP qg_eigen_f64_top
#define SYTRD LAPACKE_dsytrd_work
#define STEDC LAPACKE_dstedc_work
#define ORMTR LAPACKE_dormtr_work

#include "linalg/eigen_body.h"
